"""The model, the tables and the code speak of the same things in the same words."""

from __future__ import annotations

import re

from astraea import decisions, events
from specs.tlc import SPECS


def test_the_actions_of_the_model_have_the_names_of_events_and_decisions():
    model = (SPECS / "astraea.tla").read_text(encoding="utf-8")
    steps = re.search(r"^Decision ==.*?(?=^Spec ==)", model, re.MULTILINE | re.DOTALL)[0]
    actions = set(re.findall(r"\b[A-Z]\w+", steps)) - {"Decision", "Event", "Sessions", "BOOLEAN"}
    assert {name.removesuffix("Late") for name in actions} <= {*events.__all__, *decisions.__all__}
    assert len(actions) == 14
