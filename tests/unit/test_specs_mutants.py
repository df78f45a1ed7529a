"""The command that tries wrong variants of the code, on a tree of one file: what it calls killed, survived, broken."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from specs import mutants as command
from specs.mutants import ROOT, Mutant, mutants, tried

CHECK = "tests/test_half.py"


@pytest.fixture
def tree(tmp_path):
    """Make a tree of one function and its test."""
    (tmp_path / "src").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "src" / "half.py").write_text("def half(n):\n    return n // 2\n", encoding="utf-8")
    (tmp_path / CHECK).write_text(
        "from half import half\n\ndef test_half():\n    assert half(7) == 3\n", encoding="utf-8"
    )
    return tmp_path


def mutant(find, replace, check=CHECK):
    return Mutant(name=find, claim="half", file="src/half.py", find=find, replace=replace, check=check)


def test_a_mutant_is_killed_by_a_check_that_fails_and_survives_one_that_passes(tree):
    results = list(tried([mutant("n // 2", "n / 2"), mutant("half(n)", "half(n, m=1)")], tree))
    assert [result.verdict for result in results] == ["killed", "survived"]


def test_the_tree_itself_and_the_copy_for_the_next_mutant_are_left_as_they_were(tree):
    before = (tree / "src" / "half.py").read_text(encoding="utf-8")
    results = list(tried([mutant("// 2", "// 3"), mutant("2", "(1 + 1)"), mutant("// 2", "// 4")], tree))
    assert [result.verdict for result in results] == ["killed", "survived", "killed"]
    assert (tree / "src" / "half.py").read_text(encoding="utf-8") == before


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (mutant("n // 3", "n"), "stands 0 times"),
        (mutant("n", "m"), "times in src/half.py"),
        (mutant("2", "2"), "stands 1 times"),
        (mutant("2", "3", "tests/test_gone.py"), "without the mutant its check fails"),
        (mutant("2", "3", "python -c 'raise SystemExit(3)'"), "without the mutant its check fails"),
    ],
)
def test_a_mutant_that_cannot_be_judged_is_broken_and_never_skipped(tree, broken, why):
    (result,) = tried([broken], tree)
    assert result.verdict == "broken"
    assert why in result.why


def test_a_check_that_hangs_on_a_mutant_has_noticed_it(tree, monkeypatch):
    monkeypatch.setattr(command, "TIMEOUT_S", 3)
    hangs = Mutant(
        name="hangs", claim="half", file="src/half.py", find="def half", replace="while True:\n    pass\ndef half",
        check="python src/half.py",
    )  # fmt: skip
    (result,) = tried([hangs], tree)
    assert result.verdict == "killed"


def test_each_mutant_has_its_own_name_and_its_text_stands_once_in_its_file():
    names = Counter(mutant.name for mutant in mutants())
    assert len(names) >= 25
    assert set(names.values()) == {1}
    for mutant in mutants():
        text = (ROOT / mutant.file).read_text(encoding="utf-8")
        assert text.count(mutant.find) == 1, f"{mutant.name}: change specs/mutants.toml along with {mutant.file}"
        assert mutant.find != mutant.replace, mutant.name


def test_the_command_kills_a_real_mutant_and_says_so_in_json(capsys):
    assert command.main(["--json", "--only", "growth preempts the earliest turn"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["ok"]
    (killed,) = printed["mutants"]
    assert (killed["verdict"], killed["claim"]) == ("killed", "rule 4")


def test_a_survivor_is_a_failure_and_is_named(monkeypatch, tree, capsys):
    monkeypatch.setattr(command, "mutants", lambda: [mutant("half(n)", "half(n, m=1)"), mutant("2", "3")])
    monkeypatch.setattr(command, "tried", lambda chosen: tried(chosen, tree))
    assert command.main([]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 of 2 mutants killed"
    ok, part = command.check(quick=False, tell=lambda line: None)
    assert (ok, part) == (False, {"mutants": {"killed": 1, "total": 2, "survivors": ["half(n)"]}})


def test_an_unknown_name_is_a_mistake_of_the_user(capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(["--only", "no such thing"])
    assert stopped.value.code == 2
