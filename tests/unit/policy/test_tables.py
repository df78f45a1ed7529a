"""The two machines: every state meets every input."""

from __future__ import annotations

from itertools import product

import pytest

from astraea.errors import InvariantError
from astraea.events import Hints
from astraea.policy.state import Holding, Turn
from astraea.policy.tables import (
    KV_TABLE,
    TURN_ENDS,
    TURN_TABLE,
    KvInput,
    KvState,
    TurnInput,
    TurnState,
)


def turn_in(state):
    return Turn("t", 1, None, None, 8, 4, 8, Hints(), state)


MACHINES = {
    "turn": (TURN_TABLE, TurnState, TurnInput, turn_in),
    "kv": (KV_TABLE, KvState, KvInput, lambda state: Holding(state=state)),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_any_input_in_any_state_moves_by_its_row_or_is_a_bug(machine):
    table, states, inputs, thing_in = MACHINES[machine]
    for state, happened in product(states, inputs):
        thing, expected = thing_in(state), table[state].get(happened)
        if expected is not None:
            thing.take(happened)
            assert thing.state is expected
            continue
        with pytest.raises(InvariantError, match=f"INV-2: .*{state}.*{happened}") as error:
            thing.take(happened)
        assert error.value.claim == "INV-2"
        assert thing.state is state


@pytest.mark.parametrize("machine", MACHINES)
def test_every_state_is_reached_and_every_input_has_a_row(machine):
    table, states, inputs, _ = MACHINES[machine]
    reached = {target for row in table.values() for target in row.values()}
    first = next(iter(states))
    assert reached | {first} == set(states)
    assert {happened for row in table.values() for happened in row} == set(inputs)


def test_an_ended_turn_takes_nothing_more_and_every_other_may_end():
    for state in TurnState:
        row = TURN_TABLE[state]
        assert bool(row) is (state not in TURN_ENDS)
        assert not row or TURN_ENDS & set(row.values()), f"{state} cannot end"


def test_only_gone_is_final_for_a_holding():
    assert [state for state in KvState if not KV_TABLE[state]] == [KvState.GONE]


def test_what_is_quarantined_waits_for_a_report_and_for_nothing_else():
    assert set(KV_TABLE[KvState.QUARANTINED].values()) == {KvState.GONE}
    assert set(KV_TABLE[KvState.QUARANTINED]) == {KvInput.SWAP_DONE, KvInput.SWAP_FAILED, KvInput.BATCH_DONE}
