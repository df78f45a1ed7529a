from __future__ import annotations

import hashlib
import math
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from astraea.errors import UsageError
from astraea.simulator.generators import WORKLOADS, generate, workload_names
from astraea.simulator.jobs import JobSpec
from astraea.simulator.workloads.dice import Dice

JOBS = 1_500
NAMES = ["bfcl", "calculator", "deep-research", "infercept-mix", "sharegpt-chat", "swebench"]


@pytest.fixture(scope="module")
def drawn() -> dict[str, list[JobSpec]]:
    return {name: generate(name, JOBS, seed=1) for name in NAMES}


@pytest.fixture(scope="module")
def mixed() -> list[JobSpec]:
    return generate("infercept-mix", 6_000, seed=3)


def mean_waits_s(jobs: list[JobSpec]) -> float:
    return statistics.mean(turn.tool_wait_us / 1e6 for job in jobs for turn in job.turns if turn.tool is not None)


def mean_turns(jobs: list[JobSpec]) -> float:
    return statistics.mean(len(job.turns) for job in jobs)


def final_tokens(job: JobSpec) -> int:
    return job.turns[-1].context_tokens + job.turns[-1].output_tokens


def near(value: float, share: float) -> object:
    return pytest.approx(value, rel=share)


def test_the_registry_names_a_summary_and_a_source_for_each():
    assert list(workload_names()) == NAMES
    for workload in WORKLOADS.values():
        assert workload.summary
        assert workload.source
        assert "\n" not in workload.summary + workload.source


@pytest.mark.parametrize("name", NAMES)
def test_every_job_is_legal(drawn, name):
    jobs = drawn[name]
    assert [job.job_id for job in jobs] == [f"{name}-{index}" for index in range(JOBS)]
    for job in jobs:
        assert job.arrival_us is None
        assert job.turns[-1].tool is None
        assert job.turns[-1].tool_wait_us == 0
        for turn in job.turns:
            numbers = (turn.new_prompt_tokens, turn.context_tokens, turn.output_tokens, turn.tool_wait_us)
            assert all(type(number) is int for number in numbers)
            assert 1 <= turn.new_prompt_tokens <= turn.context_tokens
            assert turn.output_tokens >= 1
            assert turn.tool_wait_us >= 0


@pytest.mark.parametrize("name", [name for name in NAMES if name != "deep-research"])
def test_contexts_grow_by_output_and_new_prompt_alone(drawn, name):
    for job in drawn[name][:200]:
        held = 0
        for turn in job.turns:
            assert turn.context_tokens == held + turn.new_prompt_tokens
            held = turn.context_tokens + turn.output_tokens


@pytest.mark.parametrize("name", NAMES)
def test_a_shorter_list_is_the_beginning_of_a_longer_one_and_seeds_differ(drawn, name):
    assert generate(name, 20, seed=1) == drawn[name][:20]
    assert generate(name, 20, seed=2) != drawn[name][:20]


def test_generators_draw_the_same_whatever_the_hash_seed():
    program = (
        "import hashlib; from astraea.simulator.generators import generate, workload_names\n"
        "print(hashlib.sha256(repr([generate(n, 30, 7) for n in workload_names()]).encode()).hexdigest())"
    )
    source = str(Path(__file__).parents[2] / "src")
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": source},
            capture_output=True, text=True, check=True,
        ).stdout.strip()
        for hash_seed in ("0", "1", "4242")
    }  # fmt: skip
    here = repr([generate(name, 30, 7) for name in workload_names()])
    assert digests == {hashlib.sha256(here.encode()).hexdigest()}


# The published means. The bounds allow for the sample and for cutting at the ends of a range.


@pytest.mark.parametrize(
    ("kind", "wait_s", "interceptions", "context_tokens"),
    [
        ("math", 9e-5, 3.75, 1_422),
        ("qa", 0.69, 2.52, 1_846),
        ("ve", 0.09, 28.18, 2_185),
        ("chatbot", 28.6, 4.45, 753),
        ("image", 20.03, 6.91, 1_247),
        ("tts", 17.24, 6.91, 1_251),
    ],
)
def test_infercept_mix_is_near_table_1(mixed, kind, wait_s, interceptions, context_tokens):
    jobs = [job for job in mixed if job.turns[0].tool == kind]
    assert len(jobs) == 1_000
    assert mean_waits_s(jobs) == near(wait_s, 0.04)
    assert mean_turns(jobs) - 1 == near(interceptions, 0.08)
    when_intercepted = [
        statistics.mean(turn.context_tokens + turn.output_tokens for turn in job.turns[:-1]) for job in jobs
    ]
    assert statistics.mean(when_intercepted) == near(context_tokens, 0.08)


def test_infercept_mix_deals_the_kinds_in_equal_shares(drawn):
    for start in range(0, 60, 6):
        kinds = {job.turns[0].tool for job in drawn["infercept-mix"][start : start + 6]}
        assert kinds == {"math", "qa", "ve", "chatbot", "image", "tts"}


def test_swebench_is_near_table_2(drawn):
    jobs = drawn["swebench"]
    assert mean_turns(jobs) == near(10.9, 0.03)
    assert statistics.mean(map(final_tokens, jobs)) == near(70_126, 0.03)
    assert statistics.stdev(map(final_tokens, jobs)) == near(19_732, 0.10)
    assert mean_waits_s(jobs) == near(0.925, 0.12)  # a heavy tail: the mean itself wanders


def test_bfcl_is_near_table_2_but_for_the_window(drawn):
    jobs = drawn["bfcl"]
    assert mean_turns(jobs) == near(6.3, 0.03)
    assert mean_waits_s(jobs) == near(1.923, 0.06)
    assert max(job.peak_tokens for job in jobs) == 131_072
    assert statistics.mean(map(final_tokens, jobs)) == near(79_600, 0.04)  # E[min(X, 131,072)] of the lognormal


def test_sharegpt_chat_is_near_its_published_means(drawn):
    jobs = drawn["sharegpt-chat"]
    turns = [turn for job in jobs for turn in job.turns]
    assert mean_turns(jobs) == near(6.66, 0.06)
    assert max(len(job.turns) for job in jobs) <= 80
    assert statistics.mean(turn.new_prompt_tokens for turn in turns) == near(256, 0.04)
    assert statistics.mean(turn.output_tokens for turn in turns) == near(277, 0.04)
    assert mean_waits_s(jobs) == near(28.6, 0.04)


def test_calculator_is_the_math_kind(drawn):
    assert mean_turns(drawn["calculator"]) == near(4.75, 0.04)
    assert mean_waits_s(drawn["calculator"]) == near(9e-5, 0.04)


def test_deep_research_has_groups_a_shared_prefix_and_long_waits(drawn):
    for job in drawn["deep-research"]:
        assert (job.shared_prefix_id, job.shared_prefix_tokens) == ("deep-research/tools", 4_096)
        assert job.peak_tokens <= 100_000
        groups = [turn.parallel_group for turn in job.turns]
        assert groups[0] is None
        assert groups[-1] is None
        assert groups[1:-1] == sorted(groups[1:-1])
        assert set(groups[1:-1]) in ({0, 1}, {0, 1, 2}, {0, 1, 2, 3})
        assert all(2 <= groups.count(group) <= 4 for group in set(groups[1:-1]))
        assert all(turn.context_tokens > job.shared_prefix_tokens for turn in job.turns)
    assert mean_waits_s(drawn["deep-research"]) > 40


def test_outputs_of_the_agent_workloads_are_tens_to_hundreds_of_tokens(drawn):
    for name in ("bfcl", "calculator", "infercept-mix", "swebench"):
        assert 10 < statistics.mean(turn.output_tokens for job in drawn[name] for turn in job.turns) < 300


# The dice.


def test_dice_compute_what_the_library_of_c_does():
    dice, reference = Dice(5), Dice(5)
    for _ in range(1_000):
        assert dice.exponential(2.0) == pytest.approx(-2.0 * math.log(1.0 - reference.uniform()), rel=1e-13, abs=1e-15)
    for _ in range(1_000):
        variance = math.log(1.0 + (3.0 / 7.0) ** 2)
        expected = math.exp(math.log(7.0) - variance / 2 + math.sqrt(variance) * reference.normal())
        assert dice.lognormal(7.0, 3.0) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("cv", [0.3, 1.0, 4.0])
def test_gamma_has_the_moments_asked_for(cv):
    dice = Dice(6)
    draws = [dice.gamma(3.0, cv) for _ in range(20_000)]
    assert statistics.mean(draws) == near(3.0, 0.08)
    assert statistics.stdev(draws) / statistics.mean(draws) == near(cv, 0.08)


@pytest.mark.parametrize(("total", "weights"), [(3, [1.0, 1.0, 1.0]), (1_000, [1.0, 2.0, 0.5]), (7, [1e-9, 1.0])])
def test_shares_add_up_and_none_is_empty(total, weights):
    parts = Dice(0).shares(total, weights)
    assert sum(parts) == total
    assert len(parts) == len(weights)
    assert min(parts) >= 1


def test_a_permutation_holds_each_once():
    assert sorted(Dice(0).permutation(50)) == list(range(50))
    assert Dice(0).permutation(50) != list(range(50))


@pytest.mark.parametrize(
    ("name", "jobs", "seed", "complaint"),
    [
        ("nonesuch", 1, 0, "unknown workload 'nonesuch': name one of bfcl, calculator"),
        ("bfcl", 0, 0, "the number of jobs must be at least 1, not 0"),
        ("bfcl", 1, -1, "a seed must be at least 0, not -1"),
    ],
)
def test_a_bad_request_is_refused(name, jobs, seed, complaint):
    with pytest.raises(UsageError, match=complaint):
        generate(name, jobs, seed)
