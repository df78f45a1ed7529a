"""Agents with the OpenAI SDK against a server that counts words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise

import pytest
from attrs import evolve

from astraea.errors import UsageError
from astraea.fleet.filler import Ruler
from astraea.fleet.run import Fleet
from astraea.simulator.agents import stages_of
from astraea.simulator.generators import generate
from astraea.simulator.jobs import JobSpec, TurnSpec
from astraea.simulator.scaling import scaled
from astraea.simulator.scenario import JobSource, Scenario

from .fake_server import MESSAGE_TOKENS, TOOL_TOKENS, FakeServer, prompt_length, serving

FORM_TOKENS = TOOL_TOKENS + 2 * MESSAGE_TOKENS
"""What stands around the workload's tokens: a tool, two messages; what each turn adds is made good by the next."""
RULER = Ruler(FORM_TOKENS + 4, 1.0, 2 * MESSAGE_TOKENS + 1)
SMALL = Scenario(workload="calculator", jobs=6, agents=3, length_scale=0.2)


def run(fake, scenario=SMALL, **how):
    with serving(fake) as url:
        return Fleet(url=url, scenario=scenario, **how).run("here", [])


def jobs_of(scenario):
    jobs = generate(scenario.workload, scenario.jobs, 0)
    return [scaled(job, scenario.length_scale, scenario.time_scale) for job in jobs]


def by_session(fake):
    sessions = defaultdict(list)
    for body in fake.asked:
        sessions[body["session_id"].split("-", 1)[1]].append(body)
    return sessions


def test_turns_lengths_and_tools_are_those_of_the_workload():
    fake = FakeServer()
    verdict = run(fake)
    sessions = by_session(fake)
    jobs = jobs_of(SMALL)
    assert set(sessions) == {job.job_id for job in jobs}
    for job in jobs:
        bodies = sessions[job.job_id]
        assert [body["max_tokens"] for body in bodies] == [turn.output_tokens for turn in job.turns]
        assert all(body["min_tokens"] == body["max_tokens"] and body["ignore_eos"] for body in bodies)
        assert [body["tool_choice"] for body in bodies[:-1]] == [
            {"type": "function", "function": {"name": "calculator"}}
        ] * (len(job.turns) - 1)
        assert bodies[-1]["tool_choice"] == "auto"
        assert ["final" in body for body in bodies] == [False] * (len(job.turns) - 1) + [True]
    assert (verdict.jobs, verdict.failed, verdict.turns) == (6, 0, sum(len(job.turns) for job in jobs))
    assert verdict.output_tokens == sum(turn.output_tokens for job in jobs for turn in job.turns)
    assert verdict.prompt_tokens == sum(prompt_length(body) for body in fake.asked)
    assert verdict.cached_share == round(verdict.turns / verdict.prompt_tokens, 6)
    assert 0 < verdict.mean_service_s < verdict.mean_jct_s <= verdict.p99_jct_s < verdict.wall_s


def test_prompts_grow_as_the_workload_says_beside_the_form_of_a_chat():
    fake = FakeServer()
    scenario = Scenario(workload="swebench", jobs=4, agents=2, length_scale=0.02, time_scale=0.0001)
    run(fake, scenario)
    for job in jobs_of(scenario):
        bodies = by_session(fake)[job.job_id]
        for turn, body in zip(job.turns, bodies, strict=True):
            assert abs(prompt_length(body) - FORM_TOKENS - turn.context_tokens) <= 12
        longest = max(prompt_length(body) + body["max_tokens"] for body in bodies)
        assert abs(longest - RULER.peak_tokens(job)) <= 12


def test_the_history_goes_on_from_what_the_server_said_and_each_call_is_answered():
    fake = FakeServer()
    run(fake)
    for bodies in by_session(fake).values():
        for before, after in pairwise(bodies):
            history = after["messages"]
            assert history[: len(before["messages"])] == before["messages"]
            answer, result = history[len(before["messages"]) :]
            assert answer["role"] == "assistant"
            assert answer["tool_calls"][0]["function"]["arguments"].split()[0] == "noise"
            assert (result["role"], result["tool_call_id"]) == ("tool", answer["tool_calls"][0]["id"])


def test_where_the_server_makes_no_call_the_agent_makes_it_itself():
    fake = FakeServer(makes_calls=False)
    run(fake)
    for bodies in by_session(fake).values():
        for message in bodies[-1]["messages"]:
            if message["role"] == "assistant":
                assert message["content"].split()[0] == "noise"
                assert message["tool_calls"][0]["function"] == {"name": "calculator", "arguments": "{}"}


def test_a_server_that_takes_no_named_tool_is_asked_without_one():
    fake, notes = FakeServer(), []
    fake.fails = lambda body: (400, "auto alone") if body["tool_choice"] != "auto" else None
    with serving(fake) as url:
        verdict = Fleet(url=url, scenario=SMALL).run("here", notes)
    assert verdict.failed == 0
    assert "takes no tool_choice" in notes[0]
    assert all(body["messages"][-1]["role"] in {"user", "tool"} for body in fake.asked)


def test_an_anonymous_fleet_says_nothing_of_sessions():
    fake = FakeServer()
    assert run(fake, is_anonymous=True).failed == 0
    said = {key for body in fake.asked for key in body}
    assert said.isdisjoint({"session_id", "final"})
    assert run(fake).failed == 0


def test_no_more_agents_than_asked_for_are_at_work():
    fake = FakeServer(delay_s=0.02)
    run(fake, evolve(SMALL, agents=2))
    assert fake.most_live == 2


def test_two_runs_share_no_session():
    fake = FakeServer()
    run(fake)
    first = {body["session_id"] for body in fake.asked}
    run(fake)
    assert len({body["session_id"] for body in fake.asked}) == 2 * len(first)


def test_the_key_is_shown():
    fake = FakeServer()
    run(fake, key="sesame")
    assert fake.keys == {"Bearer sesame"}


def test_a_turn_that_is_sent_away_comes_again():
    fake = FakeServer()
    refused = set()

    def fails(body):
        session = body.get("session_id")
        if session is None or session in refused:
            return None
        refused.add(session)
        return 429, "the queue is full"

    fake.fails = fails
    assert run(fake).failed == 0
    assert len(refused) == 6


def test_a_job_whose_turn_fails_is_given_up_and_the_others_go_on():
    fake = FakeServer()
    fake.fails = lambda body: (400, "no\nthanks") if "calculator-3" in body.get("session_id", "") else None
    verdict = run(fake)
    assert (verdict.jobs, verdict.failed, verdict.first_error) == (6, 1, "400: no thanks")


def test_where_no_job_comes_to_its_end_there_are_no_figures():
    fake = FakeServer()
    fake.fails = lambda body: (400, "no") if "session_id" in body else None
    with pytest.raises(UsageError, match="none of the 6 jobs was done; the first: 400: no"):
        run(fake)


def test_a_server_that_cannot_answer_a_first_question_is_told_of():
    fake = FakeServer()
    fake.fails = lambda _body: (403, "not you")
    with pytest.raises(UsageError, match="does not answer a first question: 403: not you"):
        run(fake)


def test_the_model_that_is_asked_for_must_be_there():
    assert run(FakeServer(), model="fake").failed == 0
    with pytest.raises(UsageError, match="has no model 'other': it has fake"):
        run(FakeServer(), model="other")


def test_jobs_that_the_server_cannot_take_are_left_out():
    notes = []
    with serving(FakeServer(context_tokens=600)) as url:
        verdict = Fleet(url=url, scenario=evolve(SMALL, length_scale=0.4)).run("here", notes)
    assert verdict.jobs < 6
    assert "tokens that fake serves" in notes[0]


def drawn(monkeypatch, *jobs):
    monkeypatch.setattr(JobSource, "draw", lambda _source, _seed: list(jobs))


def test_branches_run_side_by_side_in_contexts_of_their_own_behind_a_shared_prefix(monkeypatch):
    (job,) = (scaled(job, 0.02, 0.0001) for job in generate("deep-research", 1, 0))
    drawn(monkeypatch, job)
    fake = FakeServer(delay_s=0.2)
    assert run(fake).failed == 0
    widest = max(len(stage) for stage in stages_of(job.turns))
    assert fake.most_live == widest > 1
    assert len({body["session_id"] for body in fake.asked}) == 1
    assert len({body["messages"][0]["content"] for body in fake.asked}) == 1
    main = [body for body in fake.asked if body["tool_choice"] != "auto"]
    alone = [body for body in fake.asked if body["tool_choice"] == "auto"][:-1]
    assert len(main) == len(stages_of(job.turns)) - 1
    assert all(len(body["messages"]) == 2 for body in alone)
    assert sum("final" in body for body in fake.asked) == 1


def test_an_agent_that_compacts_its_history_drops_whole_rounds(monkeypatch):
    turns = (
        TurnSpec(50, 50, 10, "math", 0),
        TurnSpec(40, 100, 10, "math", 0),
        TurnSpec(40, 150, 10, "math", 0),
        TurnSpec(30, 100, 10, "math", 0),  # 70 of 160 tokens are still its beginning: the first round, and words
        TurnSpec(20, 20, 10, None, 0),  # nothing is
    )
    drawn(monkeypatch, JobSpec("job", turns))
    fake = FakeServer()
    assert run(fake).failed == 0
    roles = [[message["role"] for message in body["messages"]] for body in fake.asked]
    one, again = ["system", "user"], ["assistant", "tool"]
    assert roles == [one, [*one, *again], [*one, *again, *again], [*one, *again], one]
    assert fake.asked[3]["messages"][:3] == fake.asked[2]["messages"][:3]
    assert fake.asked[3]["messages"][3]["content"] != fake.asked[2]["messages"][3]["content"]


def test_a_server_without_usage_is_no_server_to_measure():
    fake = FakeServer()
    answer = fake.answer

    def without(body):
        status, said = answer(body)
        assert isinstance(said, Mapping)
        del said["usage"]
        return status, said

    fake.answer = without
    with pytest.raises(UsageError, match="no usage"):
        run(fake)
