"""Sampling draws what the library's own logits processors allow, by the row's own number and nothing else."""

from __future__ import annotations

import math
import random

import pytest
import torch
from dialogues import prompt, tiny
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from astraea.errors import UsageError
from astraea.executor import sampling
from astraea.executor.requests import Finish, TurnRequest
from astraea.executor.runner import Engine
from astraea.executor.sampling import SamplerState, Sampling, draw
from astraea.policy.limits import Limits

VOCABULARY = 64
ASKED = [
    Sampling(),
    Sampling(temperature=1.0, seed=1),
    Sampling(temperature=0.3, seed=2),
    Sampling(temperature=1.5, top_k=5, seed=3),
    Sampling(temperature=0.9, top_k=1, seed=4),
    Sampling(temperature=1.0, top_p=0.6, seed=5),
    Sampling(temperature=1.0, top_p=1e-9, seed=6),
    Sampling(temperature=2.0, min_p=0.2, seed=7),
    Sampling(temperature=1.3, top_k=20, top_p=0.8, min_p=0.05, seed=8),
    Sampling(repetition_penalty=1.7),
    Sampling(presence_penalty=0.8, frequency_penalty=0.4),
    Sampling(temperature=0.8, repetition_penalty=1.3, frequency_penalty=-0.2, top_p=0.9, seed=9),
]


def _begin(asked, before):
    return SamplerState.begin(asked, before, VOCABULARY, torch.device("cpu"))


def _told(logits, states):
    return draw(logits, states).told()


def _logits(count, seed=0):
    return 2 * torch.randn(count, VOCABULARY, generator=torch.Generator().manual_seed(seed))


class Twin:
    """One turn, sampled the long way: a list of tokens, the library's processors and a walk along the probabilities."""

    def __init__(self, asked, before):
        self.asked, self.before, self.output = asked, list(before), []
        self.generator = torch.Generator().manual_seed(asked.seed or 0)

    def draw(self, logits):
        asked, seen = self.asked, torch.tensor([self.before + self.output])
        scores = logits[None].clone()
        if asked.repetition_penalty != 1:
            scores = RepetitionPenaltyLogitsProcessor(asked.repetition_penalty)(seen, scores)
        for token in set(self.output):
            count = self.output.count(token)
            scores[0, token] = scores[0, token] - asked.presence_penalty - asked.frequency_penalty * count
        token = int(scores[0].argmax()) if not asked.temperature else self._by_chance(seen, scores.double())
        self.output.append(token)
        return token

    def _by_chance(self, seen, scores):
        asked, warpers = self.asked, LogitsProcessorList([TemperatureLogitsWarper(self.asked.temperature)])
        if asked.top_k:
            warpers.append(TopKLogitsWarper(asked.top_k))
        if asked.top_p < 1:
            warpers.append(TopPLogitsWarper(asked.top_p))
        if asked.min_p:
            warpers.append(MinPLogitsWarper(asked.min_p))
        chances = warpers(seen, scores)[0].softmax(-1).tolist()
        number = float(torch.rand((), generator=self.generator, dtype=torch.float64))
        for token in sorted(range(VOCABULARY), key=lambda token: -chances[token]):
            number -= chances[token]
            if number < 0:
                return token
        raise AssertionError("the probabilities do not reach 1")


@pytest.mark.parametrize("asked", ASKED)
def test_every_token_is_the_one_that_the_librarys_own_processors_and_a_plain_walk_give(asked):
    before = [3, 5, 5, 40]
    twin, state = Twin(asked, before), _begin(asked, before)
    for logits in _logits(300):
        assert _told(logits[None], [state]).tokens == [twin.draw(logits)]


@pytest.mark.parametrize("field", ["temperature", "top_k", "top_p", "min_p", "repetition_penalty", "presence_penalty"])
def test_a_setting_that_is_ignored_would_be_noticed(field):
    values = {"temperature": 2.0, "top_k": 3, "top_p": 0.3, "min_p": 0.3, "repetition_penalty": 2.0,
              "presence_penalty": 3.0}  # fmt: skip
    twin = Twin(Sampling(**({"temperature": 1.0, "seed": 5} | {field: values[field]})), [3, 5])
    state = _begin(Sampling(temperature=1.0, seed=5), [3, 5])
    assert any(_told(logits[None], [state]).tokens != [twin.draw(logits)] for logits in _logits(300))


def test_what_is_drawn_has_the_right_frequencies():
    asked = Sampling(temperature=1.0, seed=11)
    logits, state, count = _logits(1), _begin(asked, [1]), 6_000
    drawn = torch.tensor([_told(logits, [state]).tokens[0] for _ in range(count)]).bincount(minlength=VOCABULARY)
    expected = count * logits[0].softmax(-1)
    likely = expected > 20
    assert ((drawn - expected)[likely].abs() < 5 * expected[likely].sqrt()).all()


def test_a_row_draws_the_same_alone_and_among_any_others():
    steps = [_logits(len(ASKED), seed) for seed in range(40)]
    alone = []
    for row, asked in enumerate(ASKED):
        state = _begin(asked, [7, 8])
        alone.append([_told(logits[row : row + 1], [state]).tokens[0] for logits in steps])
    states = [_begin(asked, [7, 8]) for asked in ASKED]
    rng, together = random.Random(1), [[] for _ in ASKED]
    for logits in steps:  # in another order and with other neighbours in every step
        rows = rng.sample(range(len(ASKED)), len(ASKED))
        for part in (rows[: rng.randrange(len(rows))],):
            for some in (part, [row for row in rows if row not in part]):
                if some:
                    for row, token in zip(some, _told(logits[some], [states[i] for i in some]).tokens, strict=True):
                        together[row].append(token)
    assert together == alone


def test_one_generator_for_all_rows_would_be_noticed(monkeypatch):
    shared = torch.Generator().manual_seed(1)
    begin = SamplerState.begin.__func__

    def sharing(cls, *arguments):
        state = begin(cls, *arguments)
        state.generator = state.generator and shared
        return state

    monkeypatch.setattr(SamplerState, "begin", classmethod(sharing))
    with pytest.raises(AssertionError):
        test_a_row_draws_the_same_alone_and_among_any_others()


def test_logprobs_are_of_the_models_own_distribution_whatever_is_asked_beside_them():
    asked = Sampling(temperature=0.7, top_k=3, presence_penalty=9.0, seed=3, logprobs=4)
    state, mate = _begin(asked, [1]), _begin(Sampling(), [1])
    for logits in _logits(20):
        drawn = _told(torch.stack((logits, logits)), [state, mate])
        own = logits.log_softmax(-1)
        told, most = drawn.logprobs[0]
        assert drawn.logprobs[1] is None
        assert told == pytest.approx(float(own[drawn.tokens[0]]))
        assert [token for token, _ in most] == own.topk(4).indices.tolist()
        assert [value for _, value in most] == pytest.approx(own.topk(4).values.tolist())


def test_no_more_logprobs_are_told_than_there_are_tokens():
    drawn = _told(_logits(1), [_begin(Sampling(logprobs=1_000), [1])])
    assert len(drawn.logprobs[0][1]) == VOCABULARY
    assert math.fsum(math.exp(value) for _, value in drawn.logprobs[0][1]) == pytest.approx(1)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("asked", [Sampling(), Sampling(temperature=1.0, top_p=0.5, seed=1, logprobs=2)])
def test_a_row_that_is_not_finite_is_named_and_its_mates_are_drawn_as_ever(bad, asked):
    logits = _logits(3)
    expected = _told(logits, [_begin(asked, [1]) for _ in range(3)])
    assert None not in expected.tokens
    logits[1, 17] = bad
    drawn = _told(logits, [_begin(asked, [1]) for _ in range(3)])
    assert drawn.tokens[1] is None
    assert (drawn.tokens[0], drawn.tokens[2]) == (expected.tokens[0], expected.tokens[2])


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1}, {"temperature": float("nan")}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.1},
        {"min_p": -0.1}, {"min_p": 1.5}, {"repetition_penalty": 0.0}, {"logprobs": -1}, {"temperature": float("inf")},
        {"presence_penalty": float("nan")}, {"frequency_penalty": float("-inf")}, {"repetition_penalty": float("inf")},
        {"seed": -1}, {"seed": 2**64},
    ],
)  # fmt: skip
def test_what_cannot_be_sampled_from_is_refused_with_its_value(wrong):
    ((field, value),) = wrong.items()
    with pytest.raises(UsageError, match=f"{field} {value}"):
        Sampling(**wrong)


# Through the engine


def _ask(engine, name, asked, dialogue=0, output=16):
    return engine.submit(
        TurnRequest(
            session_id=name, job_id=name, turn_id=name, prompt=prompt(dialogue, 0), max_output_tokens=output,
            sampling=asked,
        )
    )  # fmt: skip


def _answers(limits, asked, mates):
    """Answers of turns with the sampling ``asked``, beside so many greedy mates."""
    with Engine(tiny(), limits) as engine:
        answers = [_ask(engine, f"t{i}", one) for i, one in enumerate(asked)]
        others = [_ask(engine, f"m{i}", Sampling(temperature=1.0), i % 8, 5 + i) for i in range(mates)]
        engine.run_until_idle()
    assert all(answer.finish is Finish.LENGTH for answer in answers + others)
    return [(answer.tokens, [round(value, 3) for value, _ in answer.logprobs]) for answer in answers]


def test_a_turn_draws_the_same_tokens_whatever_runs_beside_it_and_however_often_it_is_preempted():
    asked = [Sampling(temperature=1.0, seed=seed, frequency_penalty=0.3, logprobs=2) for seed in range(4)]
    roomy, tight = Limits(device_blocks=64), Limits(device_blocks=14, block_tokens=4, step_tokens_max=7)
    expected = _answers(roomy, asked, mates=0)
    assert len({tuple(tokens) for tokens, _ in expected}) == len(asked)
    assert _answers(roomy, asked, mates=5) == expected
    assert _answers(tight, asked, mates=3) == expected


def test_without_a_seed_no_two_turns_draw_alike():
    asked = [Sampling(temperature=3.0) for _ in range(4)]
    answers = _answers(Limits(device_blocks=64), asked, mates=0)
    assert len({tuple(tokens) for tokens, _ in answers}) == len(asked)


def test_rows_that_are_all_greedy_take_the_short_way(monkeypatch):
    monkeypatch.setattr(sampling, "_drawn", None)
    assert _told(_logits(2), [_begin(Sampling(), [1])] * 2).tokens == _logits(2).argmax(-1).tolist()
