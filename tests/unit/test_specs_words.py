"""The model, the tables and the code speak of the same things in the same words."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from astraea.decisions import Decision, Dispatch
from astraea.events import Event
from astraea.policy.tables import KV_TABLE, TURN_ENDS, TURN_TABLE, KvInput, KvState, TurnInput
from specs.tlc import SPECS

CODE = {kind.__name__ for kind in (*get_args(Event), *get_args(Decision), Dispatch)}
ONLY_IN_CODE = {"Refuse", "ToolReturned", "WakeAt"}
"""They change no turn and no holding: a refusal is an arrival that does not happen, the others are about time."""
BROUGHT_BY = {
    "finish": "BatchDone",
    "fail": "BatchDone",
    "cancel": "TurnCancelled",
    "cancel_in_batch": "TurnCancelled",
    "squeeze": "BatchOverdue",
    "squeeze_in_batch": "SwapOverdue",
    "allocate": "Dispatch",
    "empty": "DropCache",
    "empty_to_host": "DropCache",
    "drop_host": "DropCache",
    "swap_done_empty": "SwapDone",
    "swap_failed": "SwapDone",
    "close": "SessionClosed",
    "close_in_batch": "SessionClosed",
}
"""Inputs of the tables that are not themselves an event or a decision, and one that brings each."""
DEFINED = re.compile(r"^(\w+)(?:\([^)]*\))? ==", re.MULTILINE)


def text_of(name):
    return (SPECS / f"{name}.tla").read_text(encoding="utf-8")


def model_of(text):
    """Return the operators of a model and their bodies, without comments."""
    text = re.sub(r"\\\*.*", "", re.sub(r"\(\*.*?\*\)", "", text, flags=re.DOTALL))
    parts = DEFINED.split(text)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def actions_of(model):
    """Return the steps that ``Decision`` and ``Event`` come to; what ``Place`` and ``Placing`` gather, one by one."""
    found, todo = set(), ["Decision", "Event"]
    while todo:
        for name in re.findall(r"\b[A-Z]\w+", model[todo.pop()]):
            if name in {"Place", "Placing"}:
                todo.append(name)
            elif "'" in model.get(name, "") or re.sub(r"(Late|ToGrow)$", "", name) in CODE:
                found.add(name)
    return found


def same_steps(model):
    return {re.sub(r"(Late|ToGrow)$", "", name) for name in actions_of(model)} == CODE - ONLY_IN_CODE


def same_states(model):
    """Whether turns and holdings have the states of the tables, and ``tool`` and ``idle`` for a turn that ended.

    What is frozen is a record in the model, and what is gone is nothing.
    """
    states = (set(TURN_TABLE) - TURN_ENDS) | (set(KV_TABLE) - {KvState.QUARANTINED, KvState.GONE}) | {"tool", "idle"}
    text = " ".join(model[name] for name in model if name not in {"Outcomes", "BatchDone"})
    told = re.findall(r'(?:turn|t|kv)(?:\'|\[\w+\]) *(?:=|#|\\in|\\notin) *\{?((?:"\w+"(?:, )?)+)', text)
    words = {word for group in told for word in re.findall(r'"(\w+)"', group)}
    return words <= states and all(f'"{state}"' in text for state in states)


def test_the_steps_of_the_model_are_the_events_and_decisions():
    assert same_steps(model_of(text_of("astraea")))


def test_the_states_of_the_model_are_those_of_the_tables():
    assert same_states(model_of(text_of("astraea")))


@pytest.mark.parametrize(
    ("right", "wrong"), [("JobCancelled(j) \\/ ", ""), ("SwapIn(", "FetchCopy("), ("Preempt(c)", "Pause(c)")]
)
def test_a_step_that_is_missing_or_has_another_name_is_noticed(right, wrong):
    text = text_of("astraea")
    assert right in text
    assert not same_steps(model_of(text.replace(right, wrong)))


@pytest.mark.parametrize(("right", "wrong"), [('"leaving"', '"departing"'), ('"preempted"', '"waiting"')])
def test_a_state_that_is_missing_or_has_another_name_is_noticed(right, wrong):
    assert not same_states(model_of(text_of("astraea").replace(right, wrong)))


def test_the_steps_of_the_model_of_blocks_are_events_and_decisions():
    """But a prefix has its own drop, the two late reports are one, and whom all yields to is chosen in a step."""
    assert actions_of(model_of(text_of("blocks"))) - {"DropPrefix", "Promote", "ReportLate"} <= CODE


@pytest.mark.parametrize("happened", sorted({*TurnInput, *KvInput}))
def test_each_input_of_the_tables_is_an_event_or_decision_or_is_brought_by_one(happened):
    named = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() for name in CODE}
    assert (happened in named) != (happened in BROUGHT_BY)
    assert BROUGHT_BY.get(happened, "BatchDone") in actions_of(model_of(text_of("astraea")))


def test_no_word_is_explained_that_the_tables_do_not_have():
    assert set(BROUGHT_BY) <= {*TurnInput, *KvInput}
