"""The capacity of an engine: computed once, kept by content, never trusted blindly."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from attrs import evolve

import astraea
from astraea.simulator import capacity
from astraea.simulator.capacity import CAPACITY_POLICY, cache_folder, capacity_jobs_per_s, content_key, source_digest
from astraea.simulator.driver import simulate
from astraea.simulator.generators import generate
from astraea.simulator.profiles import load_engine
from astraea.simulator.verdict import middle_throughput

PROFILE = load_engine("llama-8b-h100")
JOBS = generate("calculator", 12, 0)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ASTRAEA_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def runs(monkeypatch):
    """Counts the simulations that are really made."""
    made = []

    def counted(jobs, profile, policy, **options):
        made.append((policy, options["host_ratio"], {job.arrival_us for job in jobs}))
        return simulate(jobs, profile, policy, **options)

    monkeypatch.setattr(capacity, "simulate", counted)
    return made


def test_capacity_is_the_throughput_of_job_fcfs_kept_with_all_jobs_at_zero(runs):
    jobs = [evolve(job, arrival_us=0) for job in JOBS]
    expected = middle_throughput(simulate(jobs, PROFILE, "job-fcfs-kept").jobs)
    assert capacity_jobs_per_s(JOBS, PROFILE, host_ratio=0.5) == pytest.approx(expected)
    assert runs == [(CAPACITY_POLICY, 0.5, {0})]


def test_the_second_time_is_answered_from_the_cache(runs, folder):
    first = capacity_jobs_per_s(JOBS, PROFILE)
    assert capacity_jobs_per_s(JOBS, PROFILE) == first
    assert len(runs) == 1
    (file,) = (folder / "capacity").iterdir()
    assert json.loads(file.read_text()) == {"capacity_jobs_per_s": first}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"capacity_jobs_per_s": -1.0}', '{"capacity_jobs_per_s": "1"}', "\0"])
def test_a_broken_cache_file_is_ignored_and_mended(runs, folder, text):
    first = capacity_jobs_per_s(JOBS, PROFILE)
    (file,) = (folder / "capacity").iterdir()
    file.write_text(text)
    assert capacity_jobs_per_s(JOBS, PROFILE) == first
    assert len(runs) == 2
    assert json.loads(file.read_text()) == {"capacity_jobs_per_s": first}


def test_a_cache_that_cannot_be_written_costs_only_time(runs, folder):
    folder.write_text("a file where a folder should be")
    assert capacity_jobs_per_s(JOBS, PROFILE) > 0


def test_the_key_changes_with_what_the_capacity_depends_on_and_with_nothing_else():
    key = content_key(JOBS, PROFILE, host_ratio=0.0)
    assert key == content_key([evolve(job, arrival_us=5) for job in JOBS], PROFILE, host_ratio=0.0)
    others = {
        content_key(JOBS[:-1], PROFILE, host_ratio=0.0),
        content_key(JOBS[::-1], PROFILE, host_ratio=0.0),
        content_key(JOBS, evolve(PROFILE, step_ns=1), host_ratio=0.0),
        content_key(JOBS, PROFILE, host_ratio=1.0),
    }
    assert len(others | {key}) == 5


@pytest.mark.parametrize("changed", ["policy/core.py", "rivals/job_fcfs.py", "simulator/driver.py", "events.py"])
def test_a_changed_source_is_never_answered_from_the_cache(tmp_path, monkeypatch, changed):
    before = source_digest()
    copy = tmp_path / "astraea"
    shutil.copytree(Path(astraea.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(astraea, "__file__", str(copy / "__init__.py"))
    try:
        source_digest.cache_clear()
        assert source_digest() == before
        with (copy / changed).open("a") as file:
            file.write("# changed\n")
        source_digest.cache_clear()
        assert source_digest() != before
    finally:
        source_digest.cache_clear()


def test_the_cache_lies_where_the_environment_says(monkeypatch):
    monkeypatch.delenv("ASTRAEA_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/astraea")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_folder() == Path("/home/someone/.cache/astraea")
