"""thunderagent by cases worked out by hand: who is paused, who is restored, and what follows for order and memory."""

from __future__ import annotations

import pytest
from told import LIMITS, Told, held, waiting

from astraea.policy.tables import TurnState
from astraea.rivals import make_policy
from astraea.rivals.thunderagent import GROWTH_TOKENS, INTERVAL_US, Programs, ProgramState, decayed

ACTIVE, MARKED, PAUSED = ProgramState


def programs(*turns, decays=True, now_us=0):
    known = Programs(1_000, decays=decays)
    for turn in turns:
        known.requests(turn)
    known.judge(now_us)
    return known


def states(known, *turns):
    return [known.state(turn.context) for turn in turns]


def acts(known, turn, since_us=0):
    """Let a turn end in a tool call."""
    known.acts(turn)
    turn.context.turn, turn.context.waits_for, turn.context.waits_since_us = None, "grep", since_us


def test_an_acting_context_halves_with_every_interval():
    times = [0, INTERVAL_US // 2, INTERVAL_US, 2 * INTERVAL_US, 20 * INTERVAL_US]
    assert [decayed(800, time_us) for time_us in times] == [800, 565, 400, 200, 0]  # 800 / sqrt 2 = 565.7


def test_programs_are_restored_smallest_first_while_they_fit():
    turns = waiting(300), waiting(350), waiting(250)
    # With 100 tokens each for growth: 350 + 400 of 1,000; 450 do not fit.
    assert GROWTH_TOKENS == 100
    known = programs(*turns)
    assert states(known, *turns) == [ACTIVE, PAUSED, ACTIVE]
    # A smaller one that comes later fits no better.
    assert states(known, waiting(1)) == [PAUSED]


def test_programs_that_had_begun_come_before_new_ones_and_acting_ones_last():
    new, begun, acting = waiting(100), waiting(700, index=3), waiting(50, index=1)
    known = Programs(1_000, decays=True)
    for turn in (new, begun, acting):
        known.requests(turn)
    acts(known, acting)
    known.judge(0)
    # 800 and 200 are all of it: nothing is left for the one that acts.
    assert states(known, new, begun, acting) == [ACTIVE, ACTIVE, PAUSED]


@pytest.mark.parametrize("decays", [True, False])
def test_an_acting_context_counts_less_with_time_where_it_decays(decays):
    stays, goes, comes = waiting(300), waiting(250), waiting(350)
    known = programs(stays, goes, decays=decays)
    known.requests(comes)
    acts(known, goes)
    # 400 for the one that stays, 450 for the one that comes: 150 are left, 100 of them for growth.
    # Of 250 there are 125, 62 and 31 after one, two and three intervals.
    seen = []
    for intervals in (1, 2, 3):
        known.judge(intervals * INTERVAL_US)
        seen.append(known.state(comes.context))
    assert seen == [PAUSED, PAUSED, ACTIVE if decays else PAUSED]
    assert known.state(goes.context) is ACTIVE


def test_acting_programs_are_paused_before_reasoning_ones_and_small_ones_before_large_ones():
    small, large, waits, runs = waiting(100), waiting(150), waiting(120), waiting(130)
    known = programs(small, large, waits, runs)
    runs.state = TurnState.RUNNING
    acts(known, small)
    acts(known, large)
    assert states(known, small, large, waits, runs) == [ACTIVE] * 4  # 900 with growth
    runs.sampled = 101  # 231 tokens: 1,001 with growth, and 801 without the smallest of those that act
    known.requests(runs)
    known.judge(0)
    assert states(known, small, large, waits, runs) == [PAUSED, ACTIVE, ACTIVE, ACTIVE]
    runs.sampled = 600  # 830 with growth leave 170: the other one that acts goes, and one that waits
    known.requests(runs)
    known.judge(0)
    assert states(known, small, large, waits, runs) == [PAUSED, PAUSED, PAUSED, ACTIVE]


def test_a_running_program_is_marked_and_paused_when_its_request_ends():
    turns = waiting(300), waiting(400)
    known = programs(*turns)
    for turn in turns:
        turn.state = TurnState.RUNNING
    turns[1].sampled = 150  # 400 + 650
    known.requests(turns[1])
    known.judge(0)
    assert states(known, *turns) == [MARKED, ACTIVE]
    known.judge(0)  # its tokens are still there, and are not asked for twice
    assert states(known, *turns) == [MARKED, ACTIVE]
    acts(known, turns[0])
    known.judge(0)
    assert states(known, *turns) == [PAUSED, ACTIVE]


def test_a_paused_program_that_found_room_counts_as_restored_and_one_that_ended_is_forgotten():
    turns = waiting(500), waiting(600)
    known = programs(*turns)
    assert states(known, *turns) == [ACTIVE, PAUSED]
    turns[1].state = TurnState.RUNNING
    turns[0].context.job = None
    known.judge(0)
    assert states(known, *turns) == [PAUSED, ACTIVE]  # what is not known is no better than paused
    known.judge(0)
    assert known.state(turns[1].context) is ACTIVE


def test_requests_are_served_as_they_entered_the_engine():
    first, second = waiting(200), waiting(250)
    known = programs(first, second)
    assert [known.rank(turn) for turn in (first, second)] == [(0, 1), (0, 2)]
    known.requests(first)  # its residency changed: it stays where it is
    assert known.rank(first) == (0, 1)
    acts(known, first)
    again = waiting(210, context=first.context, job=first.job, index=1)
    known.requests(again)
    assert known.rank(again) == (0, 3)
    # Paused, and restored later, a request enters anew.
    grown = waiting(650)
    known.requests(grown)
    grown.state = TurnState.RUNNING
    known.judge(0)  # 310 + 350 + 750: the smaller of those that wait goes
    assert known.rank(again) == (1, 0, 210, 1, again.serial, again.serial)
    grown.context.job = None
    known.judge(0)
    assert known.rank(again) == (0, 5)  # 4 is that of the one that ended


def test_requests_of_active_programs_come_before_those_of_paused_ones():
    told = Told("thunderagent")
    told.arrive("huge", 550)
    told.arrive("large", 500)
    told.arrive("small", 50)
    # 150 and 600 fit and enter in this order; the huge one is paused, and enters when there is room.
    assert told.serve() == ["small", "large", "huge"]


def test_the_cache_of_a_paused_program_goes_for_anybody_and_others_for_active_programs():
    policy = make_policy("thunderagent", LIMITS)
    active, other, paused = waiting(300), waiting(310), waiting(600)
    for turn in (active, other, paused):
        policy.size(turn, 0, 0, 0)
    policy.queue.cursor(0)

    def may(turn, victim):
        return policy.memory.may_evict_protected(turn, victim, None, 0, ranks_before=True, lossless=True)

    assert may(active, paused.context)
    assert may(active, other.context)
    assert not may(paused, other.context)
    assert may(paused, waiting(10).context)  # not known: paused
    assert may(paused, None)
    assert policy.queue.key(active.job, 300, 0, 0) > policy.queue.key(paused.job, 600, paused.serial, 0)


def test_a_cache_in_a_tool_call_is_looked_at_again_after_an_interval_where_time_alone_changes_it():
    assert make_policy("thunderagent", LIMITS).memory.keep_until_us(held(10), None, 7) == 7 + INTERVAL_US
    assert make_policy("thunderagent-undecayed", LIMITS).memory.keep_until_us(held(10), None, 7) > 10**12
