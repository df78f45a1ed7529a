"""An executor can ask which shared prefix a live turn's context begins with."""

from __future__ import annotations

import pytest

from astraea.errors import ContractError
from astraea.events import SharedPrefix, TurnArrived
from astraea.policy.core import Scheduler
from astraea.policy.limits import Limits


def test_a_turn_tells_its_prefix_in_whole_blocks_and_one_without_tells_none():
    core = Scheduler(Limits(device_blocks=20, block_tokens=4))
    core.handle(TurnArrived(0, "t", "s", "j", "a", "c", 20, 0, 1, SharedPrefix("tools", 10)))
    core.handle(TurnArrived(0, "t", "s", "j", "b", "d", 20, 0, 1))
    assert core.shared_prefix_of("a") == SharedPrefix("tools", 8)
    assert core.shared_prefix_of("b") is None


def test_a_turn_that_is_not_live_has_no_answer():
    with pytest.raises(ContractError, match="unknown-turn: turn 'a' is not live"):
        Scheduler(Limits(device_blocks=20)).shared_prefix_of("a")
