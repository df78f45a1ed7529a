"""``astraea bench policy``: the shape of what it prints; the figures themselves depend on the machine."""

from __future__ import annotations

import json

import pytest

from astraea.cli import bench, policy_cost
from astraea.cli.app import run


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(bench, "QUEUE_LENGTHS", (50, 200))
    monkeypatch.setattr(policy_cost, "RUNNING", 32)


def test_json_has_the_promised_keys(capsys):
    assert run(["bench", "policy", "--rounds", "5", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert set(record) == {"pick16", "pick16_at_bound", "running256", "full_sort16", "nlargest16"}
    for key in ("pick16", "pick16_at_bound", "full_sort16", "nlargest16"):
        assert set(record[key]) == {"50", "200"}
        assert all(0 < row["p50_us"] <= row["p99_us"] for row in record[key].values())
    assert 0 < record["running256"]["p50_us"] <= record["running256"]["p99_us"]


def test_the_table_has_the_plain_ways_beside_ours(capsys):
    assert run(["bench", "policy", "--rounds", "5"]) == 0
    text = capsys.readouterr().out
    assert text.count("decide") == 5
    assert text.count("heapq.nlargest") == text.count("full sort") == 2


def test_the_real_queue_lengths_are_those_promised():
    assert policy_cost.QUEUE_LENGTHS == (1_000, 10_000, 100_000)
    assert policy_cost.PICKED == 16


def test_the_collector_is_on_again_afterwards():
    policy_cost.queue_cost(40, 2)
    assert policy_cost.gc.isenabled()
