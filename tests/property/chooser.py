"""A policy that answers anything: sizes, orders, keeping, swapping and headroom as somebody else draws them.

What the claims promise they promise for every policy inside the safety rules, so they must hold for this one, whose
estimates are absurd, whose order is another at every look and whose answers contradict each other.
"""

from __future__ import annotations

from collections.abc import Callable

from astraea.policy.protocol import Blocking

SIZES = (1, 2, 1_000, 10**15, 1 << 200)
KEEPS_US = (-1, 0, 1, 1_000_000, 1 << 62)
HEADROOMS = (0, 0, 1, 5, 10**6)


class AnyCursor:
    """Walks the waiting turns in an order that is drawn as it goes."""

    def __init__(self, turns, answer) -> None:
        self._turns = list(turns)
        self._answer = answer
        self._no_starts = False

    def next(self):
        while self._turns:
            turn = self._turns.pop(self._answer(len(self._turns)))
            if not (turn.starts and self._no_starts):
                return turn
        return None

    def skip_starts(self) -> None:
        self._no_starts = True


class AnyQueue:
    """Holds the waiting turns in no order."""

    def __init__(self, answer) -> None:
        self._answer = answer
        self._turns: dict = {}

    def add(self, turn) -> None:
        self._turns[turn.serial] = turn
        turn.place = turn.serial

    def remove(self, turn) -> None:
        del self._turns[turn.serial]
        turn.place = None

    def cursor(self, now_us):
        return AnyCursor(self._turns.values(), self._answer)

    def key(self, job, size, serial, now_us):
        return (self._answer(3),)

    def __len__(self) -> int:
        return len(self._turns)


class AnyMemory:
    """Keeps, evicts, swaps and leaves room as it is told at the moment."""

    def __init__(self, answer) -> None:
        self._answer = answer
        self.headroom_blocks_max = HEADROOMS[answer(len(HEADROOMS))]

    def keep_until_us(self, context, ledger, now_us):
        return now_us + KEEPS_US[self._answer(len(KEEPS_US))]

    def may_evict_protected(self, turn, victim, ledger, now_us, *, ranks_before, lossless):
        return self._answer(2) == 1

    def swaps(self, tokens, start_tokens):
        return self._answer(2) == 1

    def headroom_blocks(self, active_contexts):
        return self._answer(self.headroom_blocks_max + 1)


class AnyChooser:
    """``answer(n)`` draws a number below n; a policy object is for one scheduler."""

    name = "anything"
    summary = "whatever is drawn"
    source = "the property suite"
    guarded = True
    clairvoyant = False

    def __init__(self, answer: Callable[[int], int]) -> None:
        self._answer = answer
        self.blocking = list(Blocking)[answer(len(Blocking))]
        self.queue = AnyQueue(answer)
        self.memory = AnyMemory(answer)

    def size(self, turn, resident_tokens, host_tokens, now_us):
        return SIZES[self._answer(len(SIZES))]

    def steps_done(self, steps):
        """Learn nothing."""

    def turn_ended(self, turn, tool, *, to_tool):
        pass

    def tool_returned(self, context, wait_us):
        pass

    def job_ended(self, job):
        pass


def answers_from(numbers):
    """Return a function that draws from a list of numbers, over and over: short to write, and it shrinks."""
    asked = 0

    def answer(below):
        nonlocal asked
        asked += 1
        return (numbers[asked % len(numbers)] + asked // len(numbers)) % below

    return answer
