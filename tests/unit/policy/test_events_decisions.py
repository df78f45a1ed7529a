"""Events and decisions are values: frozen, comparable, and each told in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from attrs import fields, has
from attrs.exceptions import FrozenInstanceError

from astraea import decisions, events
from astraea.decisions import Because, Chunk, Decision, Reason
from astraea.events import BatchDone, Event, Hints, TurnArrived

VALUES = [
    value
    for module in (events, decisions)
    for name in module.__all__
    if isinstance(value := getattr(module, name), type) and has(value)
]


@pytest.mark.parametrize("cls", VALUES, ids=lambda cls: cls.__name__)
def test_a_value_is_frozen_slotted_and_documented(cls):
    assert cls.__doc__
    assert not hasattr(cls(**{f.name: 0 for f in fields(cls)}), "__dict__")
    value = cls(**{f.name: 0 for f in fields(cls)})
    with pytest.raises(FrozenInstanceError):
        setattr(value, fields(cls)[0].name, 1)


def test_every_event_carries_the_time_first():
    for cls in get_args(Event):
        assert fields(cls)[0].name == "now_us", cls.__name__


def test_every_decision_says_why():
    for cls in get_args(Decision):
        assert "because" in {f.name for f in fields(cls)}, cls.__name__


def test_equal_values_are_equal_and_hash_alike():
    assert Chunk("t1", 4) == Chunk("t1", 4)
    assert len({BatchDone(1, 2, 3), BatchDone(1, 2, 3)}) == 1
    assert Because(Reason.RANKED, (("need_blocks", 1),)) != Because(Reason.RANKED, (("need_blocks", 2),))


def test_hints_say_nothing_by_default():
    event = TurnArrived(0, "acme", "s", "j", "t", "main", 8, 0, 4)
    assert event.hints == Hints()
    assert event.hints.oracle is None
    assert event.shared_prefix is None


def test_every_reason_is_documented():
    text = Path(decisions.__file__).read_text(encoding="utf-8")
    for reason in Reason:
        after = text.split(f'    {reason.name} = "{reason.value}"\n', 1)[1]
        assert after.startswith('    """'), reason
