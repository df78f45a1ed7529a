"""A toy engine around the scheduler: it tells what happened, asks what it owes, does it, and never decides.

It computes nothing, knows how long each answer will be, and takes six milliseconds a step.
"""

from heapq import heappop, heappush

from attrs import define

from astraea import Limits, Scheduler
from astraea.decisions import RunBatch
from astraea.events import BatchDone, Outcome, SessionClosed, TurnArrived, TurnOutcome

STEP_US, TOOL_US = 6_000, 40_000
AGENTS = {  # the turns of each: (prompt tokens, output tokens, tool)
    "fix": [(300, 9, "grep"), (420, 7, "pytest"), (500, 12, "")],
    "summary": [(640, 20, "")],
    "hello": [(30, 4, "")],
}


@define
class Turn:
    """What the engine knows of a turn: its agent, its KV tokens, and how many tokens it has sampled."""

    agent: str
    index: int
    held: int = 0
    sampled: int = 0


def run(batch: RunBatch, turns: dict[str, Turn], steps_max: int) -> tuple[int, tuple[TurnOutcome, ...]]:
    """Run the chunks until a turn ends, at most ``steps_max`` steps; return the steps and the turns that ended."""
    steps, ended = 0, list[TurnOutcome]()
    while steps < steps_max and not ended:
        steps += 1
        for chunk in batch.chunks:
            turn = turns[chunk.turn_id]
            prompt, output, tool = AGENTS[turn.agent][turn.index]
            turn.held += chunk.tokens
            turn.sampled += turn.held == prompt + turn.sampled  # the last known token gives one more
            if turn.sampled == output:
                ended.append(TurnOutcome(chunk.turn_id, Outcome.TOOL_CALL if tool else Outcome.FINAL, tool or None))
    return steps, tuple(ended)


def main() -> None:
    """Serve the agents until the last has its answer."""
    core = Scheduler(Limits(device_blocks=64, step_tokens_max=256))
    now_us, turns, calls = 0, dict[str, Turn](), [(0, agent, 0) for agent in AGENTS]
    while calls or turns:
        while calls and calls[0][0] <= now_us:
            _, agent, index = heappop(calls)
            reusable = sum(AGENTS[agent][index - 1][:2]) if index else 0
            prompt, turn_id = AGENTS[agent][index][0], f"{agent}/{index}"
            turns[turn_id] = Turn(agent, index)
            core.handle(TurnArrived(now_us, "me", agent, agent, turn_id, "main", prompt, reusable, 32))
        batch = next((decision for decision in core.decide(now_us) if isinstance(decision, RunBatch)), None)
        if batch is None:
            now_us = calls[0][0]  # all agents wait for their tools
            continue
        for dispatch in batch.dispatched:
            turns[dispatch.turn_id].held = dispatch.start_tokens
            print(f"{now_us // 1000:4} ms  {dispatch.turn_id} goes on from token {dispatch.start_tokens}")
        until_call = (calls[0][0] - now_us) // STEP_US + 1 if calls else batch.max_steps
        steps, ended = run(batch, turns, min(batch.max_steps, until_call))
        now_us += steps * STEP_US
        core.handle(BatchDone(now_us, batch.batch_id, steps, ended))
        for end in ended:
            turn = turns.pop(end.turn_id)
            print(f"{now_us // 1000:4} ms  {end.turn_id} ends: {end.tool or end.outcome}")
            if end.tool:
                heappush(calls, (now_us + TOOL_US, turn.agent, turn.index + 1))
            else:
                core.handle(SessionClosed(now_us, "me", turn.agent))


if __name__ == "__main__":
    main()
