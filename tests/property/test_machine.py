"""The scheduler against its twin: every event in every state, all claims after each.

Hypothesis chooses; the driver makes the choice legal, the model recounts, the predicates look at the snapshot. At the
end of each example nothing more arrives, everything owed is reported, and the queue must empty (LIVE-4).
"""

from __future__ import annotations

from driver import Arrival, Driver
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from astraea.policy.limits import EngineCosts, Limits, Tuning

POLICIES = ("astraea", "fcfs", "astraea-paper", "hrrn-turn", "job-fcfs", "job-fcfs-kept", "srpt-oracle")
CHOICE = st.integers(0, 7)
FATES = st.lists(st.integers(0, 8), max_size=4)
STEPS = st.sampled_from([1, 1, 2, 5, 1 << 20])


@st.composite
def limits(draw):
    """Pools so tiny that every rule is in force at once."""
    blocks = draw(st.integers(8, 40))
    return Limits(
        device_blocks=blocks,
        host_blocks=blocks * draw(st.sampled_from([0, 0, 1, 2, 6])) // 2,
        block_tokens=draw(st.sampled_from([4, 1, 16])),
        step_tokens_max=draw(st.sampled_from([64, 8, 3, 1])),
        batch_turns_max=draw(st.integers(1, 4)),
        steps_max=draw(st.sampled_from([16, 4, 1])),
        bypass_max=draw(st.integers(0, 6)),
        preemptions_max=draw(st.integers(0, 2)),
        growth_ahead_steps=draw(st.sampled_from([4, 1, 32])),
        blocked_scan_max=draw(st.sampled_from([256, 2, 1])),
        turns_max=draw(st.sampled_from([1000, 12, 4])),
        tenant_turns_max=draw(st.sampled_from([1000, 3])),
        tenant_kv_blocks_max=draw(st.sampled_from([None, None, blocks // 2])),
        costs=EngineCosts(swap_ns_per_token=draw(st.sampled_from([5_243, 100, 1_000_000]))),
        tuning=Tuning(
            keep_tenths=draw(st.sampled_from([35, 0, 1000])), prior_tool_wait_us=draw(st.sampled_from([1, 10**6]))
        ),
    )


@st.composite
def arrivals(draw):
    huge = draw(st.integers(0, 9)) == 9
    return Arrival(
        session=draw(st.integers(0, 5)),
        context=draw(st.sampled_from([0, 0, 0, 1, 2])),
        new=draw(st.integers(0, 600 if huge else 40)),
        output=draw(st.integers(1, 600) if huge else st.sampled_from([1, 2, 3, 9, 40])),
        keep=draw(st.sampled_from([0, 0, 0, 1, 4, 7])),
        prefix=draw(st.sampled_from([0, 0, 1, 2])),
        parent=draw(st.sampled_from([0, 0, 0, 1, 2, 5])),
        job=draw(st.sampled_from([0, 0, 0, 1])),
        hint=draw(st.integers(0, 3)),
    )


class SchedulerMachine(RuleBasedStateMachine):
    driver: Driver | None = None

    @initialize(limits=limits(), policy=st.sampled_from(POLICIES))
    def begin(self, limits, policy):
        self.driver = Driver(limits, policy)

    @invariant()
    def count(self):
        Driver.machine_steps += 1

    # Clients

    @rule(arrival=arrivals())
    def arrive(self, arrival):
        self.driver.arrive(arrival)

    @rule(first=arrivals(), second=arrivals())
    def arrive_together(self, first, second):
        self.driver.arrive(first)
        self.driver.arrive(second)
        self.driver.decide()

    @precondition(lambda self: self.driver.model.turns)
    @rule(choice=CHOICE)
    def cancel_turn(self, choice):
        self.driver.cancel_turn(choice)

    @precondition(lambda self: self.driver.model.jobs)
    @rule(choice=CHOICE)
    def cancel_job(self, choice):
        self.driver.cancel_job(choice)

    @precondition(lambda self: len(self.driver.model.sessions) > 1)
    @rule(choice=CHOICE)
    def close_session(self, choice):
        self.driver.close_session(choice)

    @rule(choice=CHOICE)
    def tool_returns(self, choice):
        self.driver.tool_returns(choice)

    @precondition(lambda self: self.driver.verbs > 60 and not self.driver.draining)
    @rule()
    def drain(self):
        self.driver.drain()

    # The engine

    @rule(pause=CHOICE)
    def decide(self, pause):
        self.driver.pause(pause)
        self.driver.decide()

    @precondition(lambda self: self.driver.model.batch)
    @rule(steps=STEPS, fates=FATES)
    def batch_done(self, steps, fates):
        self.driver.report_batch(steps, fates)

    @precondition(lambda self: self.driver.model.batch)
    @rule(steps=STEPS, fates=FATES)
    def batch_done_and_decide(self, steps, fates):
        self.driver.report_batch(steps, fates)
        self.driver.decide()

    @precondition(lambda self: self.driver.model.batch)
    @rule(fates=FATES)
    def batch_failed(self, fates):
        self.driver.report_batch(0, [8 if fate % 2 else 0 for fate in fates])

    @precondition(lambda self: self.driver.model.batch)
    @rule()
    def batch_overdue(self):
        self.driver.batch_overdue()

    @precondition(lambda self: self.driver.model.lost_batches)
    @rule(choice=CHOICE, steps=STEPS)
    def batch_done_late(self, choice, steps):
        self.driver.late_batch(choice, steps)

    @precondition(lambda self: self.driver.model.copies)
    @rule(choice=CHOICE, failed=st.sampled_from([False, False, True]))
    def swap_done(self, choice, failed):
        self.driver.swap_done(choice, failed=failed)

    @precondition(lambda self: self.driver.model.copies_owed())
    @rule(choice=CHOICE)
    def swap_overdue(self, choice):
        self.driver.swap_overdue(choice)

    # The end

    def teardown(self):
        driver = self.driver
        if driver is None:
            return
        driver.finish()
        driver.check_trace()


EXAMPLES = settings.default.max_examples
SchedulerMachine.TestCase.settings = settings(max_examples=10 * EXAMPLES, stateful_step_count=60)
TestMachine = SchedulerMachine.TestCase
