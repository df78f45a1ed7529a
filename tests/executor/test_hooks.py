"""What a server hears of a turn: that it began and what it found, that it ended; and how long it goes on at least."""

from __future__ import annotations

import pytest
from dialogues import tiny

from astraea.executor.requests import Finish, TurnRequest
from astraea.executor.runner import Engine
from astraea.executor.sampling import Sampling
from astraea.policy.limits import Limits

LIMITS = Limits(device_blocks=64, block_tokens=4)
PROMPT = list(range(1, 14))


def _asked(engine, turn, prompt, **changes):
    asked = {"session_id": "s", "job_id": turn, "turn_id": turn, "prompt": prompt, "max_output_tokens": 9}
    return engine.submit(TurnRequest(**asked | changes))


def test_a_turn_tells_once_that_it_began_and_how_much_of_its_prompt_was_held():
    held = []
    with Engine(tiny(), LIMITS) as engine:
        first = _asked(engine, "t1", PROMPT, on_start=held.append)
        engine.run_until_idle()
        assert held == [0]
        _asked(engine, "t2", [*PROMPT, *first.tokens, 5, 6], on_start=held.append)
        engine.run_until_idle()
    # The KV of the token that was sampled last is not computed.
    assert held == [0, len(PROMPT) + len(first.tokens) - 1]


def test_a_turn_tells_once_that_it_ended_however_it_did():
    ended = []
    with Engine(tiny(), LIMITS) as engine:
        _asked(engine, "done", PROMPT, on_end=ended.append)
        engine.run_until_idle()
        _asked(engine, "too large", PROMPT, max_output_tokens=10_000, on_end=ended.append)
        _asked(engine, "left", PROMPT, context_id="other", on_end=ended.append)
        engine.cancel("left")
        engine.run_until_idle()
        _asked(engine, "closed", PROMPT, on_end=ended.append)
    told = [(answer.request.turn_id, answer.finish) for answer in ended]
    assert told == [
        ("done", Finish.LENGTH), ("left", Finish.CANCELLED), ("too large", Finish.REFUSED),
        ("closed", Finish.CANCELLED),
    ]  # fmt: skip


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=1.0, seed=1), Sampling(frequency_penalty=0.5)])
def test_no_token_that_ends_a_turn_comes_before_its_least_number_of_tokens(sampling):
    with Engine(tiny(), LIMITS) as engine:
        free = _asked(engine, "free", PROMPT, sampling=sampling)
        engine.run_until_idle()
        ends = frozenset({free.tokens[0], free.tokens[4]})
        for least in (0, 3):
            name = f"at least {least}"
            asked = {"context_id": name, "sampling": sampling, "stop_tokens": ends, "min_output_tokens": least}
            held = _asked(engine, name, PROMPT, **asked)
            engine.run_until_idle()
            assert not ends & set(held.tokens[:least])
            assert (len(held.tokens) == 1) is (least == 0)


def test_after_its_least_number_of_tokens_a_turn_draws_as_ever():
    with Engine(tiny(), LIMITS) as engine:
        free = _asked(engine, "free", PROMPT)
        engine.run_until_idle()
        end = free.tokens[5]
        assert end not in free.tokens[:5]
        asked = {"stop_tokens": frozenset({end}), "min_output_tokens": 5}
        held = _asked(engine, "held", PROMPT, context_id="other", **asked)
        engine.run_until_idle()
    assert held.tokens == free.tokens[:6]
    assert held.finish is Finish.STOP
