"""What is proved is proved, each wrong variant is refuted, and the command says which is not as expected."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("z3", reason="z3-solver is in the extra `test`")

from specs import proofs
from specs.proofs import OBLIGATIONS, Obligation, main, tried


@pytest.mark.parametrize("obligation", OBLIGATIONS, ids=lambda obligation: obligation.name)
def test_an_obligation_comes_out_as_expected(obligation):
    verdict = tried(obligation)
    assert verdict.verdict == obligation.expected


def test_every_claim_has_a_wrong_variant_beside_it():
    wrong = {o.name.split(" / wrong: ")[0] for o in OBLIGATIONS if o.expected == "refuted"}
    assert wrong == {o.name for o in OBLIGATIONS if o.expected == "proved"}
    assert len({o.name for o in OBLIGATIONS}) == len(OBLIGATIONS)


def test_the_command_prints_names_verdicts_and_seconds(capsys):
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" s  ")[1] for line in lines] == [o.name for o in OBLIGATIONS]
    assert main(["--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["ok"]
    assert [(p["name"], p["verdict"]) for p in printed["proofs"]] == [(o.name, o.expected) for o in OBLIGATIONS]


def test_the_command_fails_where_a_verdict_is_not_the_expected_one(monkeypatch, capsys):
    other = {"proved": "refuted", "refuted": "proved"}
    turned = [Obligation(o.name, o.claim, other[o.expected]) for o in OBLIGATIONS[:2]]
    monkeypatch.setattr(proofs, "OBLIGATIONS", turned)
    assert main([]) == 1
    assert capsys.readouterr().out.count("EXPECTED") == 2


def test_what_z3_gives_up_on_is_not_proved(monkeypatch):
    class GivesUp(proofs.z3.Solver):
        def check(self, *assumptions):
            return proofs.z3.unknown

    monkeypatch.setattr(proofs.z3, "Solver", GivesUp)
    assert not tried(OBLIGATIONS[0]).ok
