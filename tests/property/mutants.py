"""Rules broken on purpose, each with the claims of which one must see it."""

from __future__ import annotations

from astraea.policy import admission, core, endings
from astraea.policy.copies import Copies
from astraea.policy.guard import BypassGuard
from astraea.policy.kv import KvCaches
from astraea.policy.ledger import Ledger
from astraea.policy.prefixes import Prefixes
from astraea.policy.registry import Registry
from astraea.policy.safety import Safety


def no_guard(patch):
    """Rule 1 gone: nobody is ever promoted."""
    init = BypassGuard.__init__
    patch.setattr(BypassGuard, "__init__", lambda self, bypass_max: init(self, None))


def one_dispatch_too_many(patch):
    """``<`` for ``<=``: a job is promoted at K + 1."""
    init = BypassGuard.__init__
    patch.setattr(BypassGuard, "__init__", lambda self, k: init(self, None if k is None else k + 1))


def waits_forget_their_bypasses(patch):
    """A wait that ends without a dispatch loses what was counted in it."""
    ends = BypassGuard.wait_ends

    def forget(self, job):
        before = job.bypasses
        ends(self, job)
        job.bypasses = before

    patch.setattr(BypassGuard, "wait_ends", forget)


def free_before_the_report(patch):
    """A SwapOut frees its device blocks when it is decided, not when its bytes have arrived."""
    begin = Copies.begin_out

    def early(self, context, evict_blocks, because):
        freed = begin(self, context, evict_blocks, because)
        self._ledger.device_free += freed
        context.holding.device_blocks -= freed
        return freed

    patch.setattr(Copies, "begin_out", early)


def host_blocks_forgotten(patch):
    """A host copy that is given up keeps its blocks."""
    resize = Ledger.resize_host

    def forget(self, holding, blocks):
        freed = resize(self, holding, blocks)
        self.host_free -= max(0, freed)
        return freed

    patch.setattr(Ledger, "resize_host", forget)


def history_is_never_edited(patch):
    """What the client cut from its history is taken for a prefix still."""
    patch.setattr(KvCaches, "edit_history", lambda self, context, reusable_tokens, prefix_tokens: None)


def edits_during_a_copy_are_lost(patch):
    """The same, but only while the cache is being copied."""
    edit = KvCaches.edit_history

    def settled_only(self, context, reusable_tokens, prefix_tokens):
        if context.holding.state not in {"leaving", "returning"}:
            edit(self, context, reusable_tokens, prefix_tokens)

    patch.setattr(KvCaches, "edit_history", settled_only)


def prefixes_are_shared_across_tenants(patch):
    """The tenant is no part of a prefix's key."""
    name = Prefixes.name

    def careless(self, context, prefix_id, tokens):
        tenant, context.session.tenant = context.session.tenant, "all"
        name(self, context, prefix_id, tokens)
        context.session.tenant = tenant

    patch.setattr(Prefixes, "name", careless)


def prefixes_are_evicted_under_those_that_need_them(patch):
    """Rule 8 gone: dependents do not hold a prefix."""

    def settle(self, prefix):
        if prefix.holders or not prefix.device_blocks:
            self.unpark(prefix)
        elif not prefix.cache_serial:
            self.park(prefix)

    patch.setattr(Ledger, "settle_prefix", settle)


def two_turns_fill_one_prefix(patch):
    """Nobody waits for a prefix that another turn is computing."""
    barred = admission.Admission._barred  # noqa: SLF001 - the mutant

    def hasty(self, turn):
        reason = barred(self, turn)
        return None if reason == "prefix_filling" else reason

    patch.setattr(admission.Admission, "_barred", hasty)


def a_full_hit_computes_nothing(patch):
    """Rule 10 gone: a turn starts from all its tokens."""
    begin = KvCaches.begin_run

    def untrimmed(self, turn, reserve_tokens):
        held = self.resident_tokens(turn.context)
        start = begin(self, turn, reserve_tokens)
        if held >= turn.goal_tokens:
            start = turn.context.holding.device_tokens = turn.goal_tokens
        return start

    patch.setattr(KvCaches, "begin_run", untrimmed)


def no_preemption_cap(patch):
    """Rule 5 gone: no number of preemptions reserves the maximum."""
    patch.setattr(admission, "reserve_tokens", lambda turn, limits: turn.goal_tokens)


def nothing_yields_to_the_first(patch):
    """Rule 6 gone: when nothing runs, kept caches stay."""
    patch.setattr(admission.Admission, "_place_first", lambda self: None)


def quarantine_ends_nobody(patch):
    """Rule 9 gone: turns that no longer fit stay admitted."""
    patch.setattr(endings.Endings, "squeeze", lambda self, now_us: None)


def quarantine_is_not_counted(patch):
    """What an overdue report froze counts as usable."""
    patch.setattr(Ledger, "quarantine", lambda self, blocks: None)


def impossible_turns_are_admitted(patch):
    """Nothing is refused for its size."""
    why = core.Scheduler._why_refused  # noqa: SLF001 - the mutant

    def generous(self, event):
        reason, retry_us = why(self, event)
        return (None, None) if reason == "never_fits" else (reason, retry_us)

    patch.setattr(core.Scheduler, "_why_refused", generous)


def failed_kv_is_kept(patch):
    """What a failed turn computed is reused."""
    end = KvCaches.end_run
    patch.setattr(KvCaches, "end_run", lambda self, turn, *, trusted: end(self, turn, trusted=True))


def jobs_never_end(patch):
    """A final answer ends no job."""
    patch.setattr(Registry, "end_job_if_done", lambda self, job: None)


def live_jobs_never_yield(patch):
    """A promoted or first-ranked turn may take the caches of ended jobs only."""
    victims = Safety._victims  # noqa: SLF001 - the mutant

    def polite(self, turn, force):
        return [cache for cache in victims(self, turn, force) if getattr(cache, "job", None) is None]

    patch.setattr(Safety, "_victims", polite)


MUTANTS = {
    no_guard: {"LIVE-1"},
    one_dispatch_too_many: {"LIVE-1"},
    waits_forget_their_bypasses: {"LIVE-1"},
    free_before_the_report: {"INV-1", "INV-3"},
    host_blocks_forgotten: {"INV-1"},
    history_is_never_edited: {"INV-3"},
    edits_during_a_copy_are_lost: {"INV-3"},
    prefixes_are_shared_across_tenants: {"INV-3"},
    prefixes_are_evicted_under_those_that_need_them: {"INV-3"},
    two_turns_fill_one_prefix: {"INV-3"},
    a_full_hit_computes_nothing: {"INV-3"},
    no_preemption_cap: {"LIVE-3", "INV-1"},
    nothing_yields_to_the_first: {"LIVE-2"},
    quarantine_ends_nobody: {"INV-5"},
    quarantine_is_not_counted: {"INV-1"},
    impossible_turns_are_admitted: {"INV-5"},
    failed_kv_is_kept: {"INV-1", "INV-3"},
    jobs_never_end: {"LIVE-1", "LIVE-4"},
    live_jobs_never_yield: {"LIVE-2"},
}
