"""The paper's feedback: queues, quotas and the two classes."""

from __future__ import annotations

import pytest

from astraea.policy.classification import QUOTAS_TOKENS, ComputeClass, classify, next_level


def test_the_quotas_are_those_that_were_chosen_for_the_paper():
    assert QUOTAS_TOKENS == (128, 256, 384, 512, 640)


@pytest.mark.parametrize(
    ("level", "tokens", "to_tool", "after"),
    [
        (0, 128, True, 0),  # within the quota and already in the first queue
        (0, 129, True, 1),  # over the quota: down, tool or not
        (0, 129, False, 1),
        (1, 256, True, 0),  # an early yield: up
        (1, 256, False, 1),  # an answer within the quota: stays
        (3, 513, False, 4),
        (4, 641, True, 4),  # nowhere further down
        (4, 640, True, 3),
    ],
)
def test_a_turn_moves_its_job(level, tokens, to_tool, after):
    assert next_level(level, tokens, yielded_to_tool=to_tool) == after


def test_the_upper_queues_are_io_intensive():
    classes = [classify(level) for level in range(len(QUOTAS_TOKENS))]
    assert classes == [ComputeClass.IO_INTENSIVE] * 3 + [ComputeClass.COMPUTE_INTENSIVE] * 2
