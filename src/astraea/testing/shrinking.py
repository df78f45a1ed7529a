"""Makes a stream that breaks a claim shorter and plainer, as long as it breaks the same one: greedy, and bounded.

Hypothesis would shrink what it finds itself, but in many times more runs than these few values need. This also serves
for walks, and for schedulers that are not deterministic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from attrs import evolve

from astraea.testing.moves import Advance, Arrive, Cancel, CancelAll, Job, Move, Turn

__all__ = ["shrink"]


def shrink(moves: Sequence[Move], breaks: Callable[[Sequence[Move]], bool], tries_max: int) -> Sequence[Move]:
    """Return the plainest moves found in at most ``tries_max`` tries for which ``breaks`` still holds."""
    best = tuple(moves)
    tried = {best}
    while True:
        for candidate in _plainer(best):
            if len(tried) > tries_max:
                return best
            if candidate not in tried:
                tried.add(candidate)
                if breaks(candidate):
                    best = candidate
                    break
        else:
            return best


def _plainer(moves: tuple[Move, ...]) -> Iterator[tuple[Move, ...]]:
    """Yield the moves with some left out, in halves, quarters and so on; then with one of them plainer."""
    size = (len(moves) + 1) // 2
    while size and len(moves) > 1:
        for start in reversed(range(0, len(moves), size)):
            yield moves[:start] + moves[start + size :]
        size //= 2
    for at, move in enumerate(moves):
        for plainer in _plainer_move(move):
            yield (*moves[:at], plainer, *moves[at + 1 :])


def _plainer_move(move: Move) -> Iterator[Move]:
    match move:
        case Arrive(jobs):
            yield Arrive((Job((Turn(1, 1),)),) * len(jobs))
            yield from (Arrive(jobs[:at] + jobs[at + 1 :]) for at in range(len(jobs)) if len(jobs) > 1)
            for at, job in enumerate(jobs):
                yield from (Arrive((*jobs[:at], plainer, *jobs[at + 1 :])) for plainer in _plainer_job(job))
        case Advance(steps):
            yield from (Advance(fewer) for fewer in _less(steps, 1))
        case Cancel(choice):
            yield from (Cancel(lower) for lower in _less(choice, 0))
        case CancelAll():
            yield Cancel(0)


def _plainer_job(job: Job) -> Iterator[Job]:
    turns = job.turns
    if len(turns) > 1:  # as one turn of the same length
        held = sum(turn.new_tokens + turn.output_tokens for turn in turns[:-1])
        yield Job((evolve(turns[-1], new_tokens=held + turns[-1].new_tokens),))
    yield from (Job(turns[:at] + turns[at + 1 :]) for at in range(len(turns)) if len(turns) > 1)
    for at, turn in enumerate(turns):
        yield from (Job((*turns[:at], plainer, *turns[at + 1 :])) for plainer in _plainer_turn(turn))


def _plainer_turn(turn: Turn) -> Iterator[Turn]:
    yield from (evolve(turn, new_tokens=fewer) for fewer in _less(turn.new_tokens, 1))
    yield from (evolve(turn, output_tokens=fewer) for fewer in _less(turn.output_tokens, 1))
    yield from (evolve(turn, slack_tokens=fewer) for fewer in _less(turn.slack_tokens, 0))
    yield from (evolve(turn, tool_us=fewer) for fewer in _less(turn.tool_us, 0))


def _less(number: int, least: int) -> Iterator[int]:
    """Yield the least, the half way, and the next below, as far as they differ from the number."""
    yield from dict.fromkeys(n for n in (least, (number + least) // 2, number - 1) if least <= n < number)
