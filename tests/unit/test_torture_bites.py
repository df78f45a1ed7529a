"""A search is believed once it has found something: the core's rules are broken on purpose, and torture must see it."""

from __future__ import annotations

import json

import pytest

from astraea.cli.app import run
from astraea.errors import ContractError
from astraea.policy import admission
from astraea.policy.copies import Copies
from astraea.policy.endings import Endings
from astraea.policy.guard import BypassGuard
from astraea.policy.kv import KvCaches
from astraea.policy.registry import Registry
from astraea.policy.reports import Reports
from astraea.simulator.torture.files import write_trace
from astraea.simulator.torture.plan import draw_plan
from astraea.simulator.torture.shrinking import shrink
from astraea.simulator.torture.verdict import carry_out
from astraea.trace.check import check_trace
from astraea.trace.reader import read_trace

ROUNDS = 60


def no_guard(patch):
    """Rule 1 gone: nobody is ever promoted."""
    init = BypassGuard.__init__
    patch.setattr(BypassGuard, "__init__", lambda self, bypass_max: init(self, None))


def free_before_the_report(patch):
    """A SwapOut frees its device blocks when it is decided, not when its bytes have arrived."""
    begin = Copies.begin_out

    def early(self, context, evict_blocks, because):
        freed = begin(self, context, evict_blocks, because)
        self._ledger.device_free += freed
        context.holding.device_blocks -= freed
        return freed

    patch.setattr(Copies, "begin_out", early)


def lost_cancel(patch):
    """A cancelled turn lives on."""
    patch.setattr(Endings, "cancel", lambda self, turn, now_us: None)


def double_report(patch):
    """A batch may be reported twice."""
    done = Reports.batch_done
    told = {}

    def twice(self, event):
        if told.get(event.batch_id) is self:
            return False
        told[event.batch_id] = self
        return done(self, event)

    patch.setattr(Reports, "batch_done", twice)


def late_reports_free_nothing(patch):
    """The blocks that an overdue batch froze stay frozen for ever."""
    patch.setattr(KvCaches, "batch_reported", lambda self, holding, turn: None)


def quarantine_ends_nobody(patch):
    """Rule 9 gone: turns that no longer fit stay admitted."""
    patch.setattr(Endings, "squeeze", lambda self, now_us: None)


def no_preemption_cap(patch):
    """Rule 5 gone: no number of preemptions reserves the maximum."""
    patch.setattr(admission, "reserve_tokens", lambda turn, limits: turn.goal_tokens)


def nothing_yields_to_the_first(patch):
    """Rule 6 gone: when nothing runs, kept caches stay."""
    patch.setattr(admission.Admission, "_place_first", lambda self: None)


def history_is_never_edited(patch):
    """What the client cut from its history is taken for a prefix still."""
    patch.setattr(KvCaches, "edit_history", lambda self, context, reusable_tokens, prefix_tokens: None)


def jobs_never_end(patch):
    """A final answer ends no job."""
    patch.setattr(Registry, "end_job_if_done", lambda self, job: None)


def failed_kv_is_kept(patch):
    """What a failed turn computed is reused."""
    end = KvCaches.end_run
    patch.setattr(KvCaches, "end_run", lambda self, turn, *, trusted: end(self, turn, trusted=True))


def refusals_half_taken(patch):
    """A report of a batch that is not owed is refused, and leaves something behind."""
    check = Reports._owed_batch  # noqa: SLF001 - the mutant

    def careless(self, batch_id):
        try:
            return check(self, batch_id)
        except ContractError:
            self._kv.ledger.device_free -= 1
            raise

    patch.setattr(Reports, "_owed_batch", careless)


MUTANTS = {
    no_guard: {"LIVE-1"},
    free_before_the_report: {"INV-1", "INV-3"},
    lost_cancel: {"INV-2", "INV-4"},
    double_report: {"INV-8"},
    late_reports_free_nothing: {"INV-1"},
    quarantine_ends_nobody: {"INV-5"},
    no_preemption_cap: {"LIVE-3"},
    nothing_yields_to_the_first: {"LIVE-2", "INV-6"},
    history_is_never_edited: {"INV-3"},
    jobs_never_end: {"LIVE-1", "LIVE-4", "CONTRACT"},
    failed_kv_is_kept: {"INV-1", "INV-3"},
    refusals_half_taken: {"INV-8"},
}


def first_found():
    """Return the verdict of the first round that finds something."""
    verdicts = (carry_out(draw_plan(7, number, "astraea")) for number in range(ROUNDS))
    return next((verdict for verdict in verdicts if not verdict.ok), None)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_rule_is_found_under_its_claim(mutant, monkeypatch):
    mutant(monkeypatch)
    found = first_found()
    assert found is not None, f"{mutant.__name__}: {mutant.__doc__} Nothing was found in {ROUNDS} rounds."
    assert found.claim in MUTANTS[mutant], f"{mutant.__name__} is found as {found.claim}: {found.sentence}"


@pytest.mark.parametrize("mutant", [lost_cancel, quarantine_ends_nobody, history_is_never_edited])
def test_what_is_found_is_shrunk_to_a_trace_that_the_checker_fails(mutant, monkeypatch, tmp_path):
    mutant(monkeypatch)
    found = first_found()
    smallest = shrink(found.plan)
    assert smallest.seen.claim in MUTANTS[mutant]
    assert len(smallest.plan.jobs) <= 4 < len(found.plan.jobs)
    assert len(smallest.plan.faults) <= 4
    file = write_trace(smallest.shown, tmp_path)
    report = check_trace(read_trace(file))
    assert report.breach == smallest.traced.breach
    assert report.breach is not None
    assert run(["check", str(file)]) == 1
    assert shrink(found.plan).plan == smallest.plan


def test_a_breach_that_only_a_snapshot_shows_has_a_trace_too(monkeypatch, tmp_path):
    refusals_half_taken(monkeypatch)
    smallest = shrink(first_found().plan)
    assert (smallest.seen.claim, smallest.traced.breach) == ("INV-8", None)
    assert check_trace(read_trace(write_trace(smallest.shown, tmp_path))).events > 0


def test_the_command_names_what_it_found_and_leaves_with_1(monkeypatch, tmp_path, capsys):
    lost_cancel(monkeypatch)
    number = str(first_found().plan.round)
    arguments = ["torture", "--seed", "7", "--round", number, "--workers", "1", "--record", str(tmp_path / "found")]
    assert run([*arguments, "--json"]) == 1
    night = json.loads(capsys.readouterr().out)
    assert night["violations"] == 1
    (finding,) = night["findings"]
    assert (finding["seed"], finding["round"]) == (7, int(number))
    assert finding["claim"] in MUTANTS[lost_cancel]
    assert finding["checker"].endswith(": INV-4")
    assert run(["check", finding["trace"]]) == 1
    assert f"{finding['trace']}:" in capsys.readouterr().out
    assert run(arguments) == 1
    text = capsys.readouterr().out
    assert "1 violations" in text
    assert f"seed 7, round {number}: {finding['claim']} is broken" in text
    assert f"astraea torture --seed 7 --round {number}" in text


def test_a_folder_that_cannot_be_written_is_the_users_mistake(monkeypatch, tmp_path, capsys):
    lost_cancel(monkeypatch)
    (tmp_path / "file").write_text("")
    folder, number = str(tmp_path / "file" / "below"), str(first_found().plan.round)
    assert run(["torture", "--seed", "7", "--round", number, "--workers", "1", "--record", folder]) == 2
    assert "cannot be written" in capsys.readouterr().err
