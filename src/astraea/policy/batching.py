"""The batch: which tokens each running turn computes in a step, for how many steps, and where their blocks come from.

Decoding turns compute one token each; what is left of the step's token budget goes to prefills in order of dispatch
(chunked prefill). A *plan* says how many steps the same chunks can go on: until a prefill's chunk must change, a turn
reaches its maximum, or free blocks run out. The blocks for all of them are taken at once; while nothing else happens
the plan is carried on, whole or a step at a time, with the same chunks, so a steady batch costs O(1) a step and the
decisions do not depend on how many steps the driver runs at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from astraea.decisions import Because, Chunk, Decision, Preempt, Reason
from astraea.policy.evicting import Evicting
from astraea.policy.kv import KvCaches
from astraea.policy.limits import Limits
from astraea.policy.running import Running
from astraea.policy.state import Turn
from astraea.policy.tables import TurnInput
from astraea.policy.waiting import Waiting

__all__ = ["Batching"]


class Batching:
    """Grows the running turns and plans what they compute."""

    def __init__(self, limits: Limits, kv: KvCaches, waiting: Waiting, running: Running, evicting: Evicting) -> None:
        self._limits = limits
        self._kv = kv
        self._ledger = kv.ledger
        self._waiting = waiting
        self._running = running
        self._evicting = evicting
        self._out: list[Decision] = kv.out
        self.chunks: tuple[Chunk, ...] = ()
        self._planned: list[tuple[Turn, int]] = []
        """Turns of the plan and their tokens a step."""
        self.steps_left = 0
        self.steps_done = 0
        """Steps of the plan that were run and are not yet written to the turns."""

    # Progress

    def advance(self, steps: int) -> None:
        """Note that ``steps`` more steps of the plan were run."""
        self.steps_done += steps
        self.steps_left -= steps

    def settle(self, *, keep_blocks: bool = False, lost: Collection[str] = (), lost_steps: int = 0) -> None:
        """Write the steps that were run to their turns, and end the plan; blocks taken for more steps are freed.

        ``keep_blocks``: they are not, because the engine may still be writing to them. ``lost``: ids of turns for which
        the last ``lost_steps`` steps failed, so that these are not written.
        """
        steps, self.steps_done, self.steps_left = self.steps_done, 0, 0
        planned, self._planned = self._planned, []
        for turn, tokens in planned:
            computed = tokens * (steps - lost_steps if turn.turn_id in lost else steps)
            if computed:
                turn.sampled += max(0, turn.context.holding.device_tokens + computed - turn.goal_tokens + 1)
            self._kv.progress(turn, computed, keep_blocks=keep_blocks)

    def unwritten_tokens(self) -> dict[int, int]:
        """Return the tokens that each planned turn has computed and that are not written yet, by turn serial."""
        return {turn.serial: tokens * self.steps_done for turn, tokens in self._planned}

    def samples_after(self, turn: Turn, steps: int) -> bool:
        """Return whether ``steps`` more steps of the plan end with a token sampled for this turn."""
        tokens = dict(self._planned).get(turn, 0) * (self.steps_done + steps)
        return tokens > 0 and turn.context.holding.device_tokens + tokens >= turn.goal_tokens

    def at_maximum_after(self, steps: int) -> list[Turn]:
        """Return the turns that ``steps`` more steps of the plan bring to their last allowed token."""
        reached = []
        for turn, tokens in self._planned:
            over = turn.context.holding.device_tokens + tokens * (self.steps_done + steps) - turn.goal_tokens + 1
            if turn.sampled + max(0, over) >= turn.max_output_tokens:
                reached.append(turn)
        return reached

    # Growth

    def grow(self, now_us: int) -> bool:
        """Give every running turn the block of its next token (rule 4); return whether one was preempted for it."""
        preempted = False
        need = self._growth_blocks(1)
        if need > self._ledger.device_free:
            because = Because(Reason.GROWTH, (("need_blocks", need), ("free_blocks", self._ledger.device_free)))
            self._evicting.for_growth(self._growth_blocks(self._limits.growth_ahead_steps), because, now_us)
            while (need := self._growth_blocks(1)) > self._ledger.device_free:
                self._preempt_latest(need, now_us)
                preempted = True
                self._evicting.for_growth(self._growth_blocks(1), because, now_us)
        if need:
            for turn in self._running.turns.values():
                self._ledger.grow(turn.context.holding, self._tokens_after(turn, 1))
        return preempted

    def _growth_blocks(self, steps: int) -> int:
        """Return the blocks that ``steps`` more steps of decoding take at the most."""
        short, after = self._ledger.short_blocks, self._tokens_after
        return sum([short(turn.context.holding, after(turn, steps)) for turn in self._running.turns.values()])

    @staticmethod
    def _tokens_after(turn: Turn, steps: int) -> int:
        """Return how many tokens ``steps`` more steps of decoding may bring a running turn to."""
        after = max(turn.context.holding.device_tokens + steps, turn.prompt_tokens + turn.sampled)
        return min(after, turn.prompt_tokens + turn.max_output_tokens)

    def _preempt_latest(self, need: int, now_us: int) -> None:
        """Preempt the latest-arrived running turn that does not hold its maximum, the requester included."""
        candidates = [t for t in self._running.turns.values() if not t.reserves_max]
        turn = max(candidates, key=_arrived)
        turn.take(TurnInput.PREEMPT)
        turn.preemptions += 1
        self._running.remove(turn)
        self._kv.end_run(turn, trusted=True)
        self._waiting.wait(turn, now_us)
        numbers = (("need_blocks", need), ("preemptions", turn.preemptions))
        self._out.append(Preempt(turn.turn_id, Because(Reason.GROWTH, numbers)))

    # The plan

    def plan(self) -> bool:
        """Plan the next steps of the running turns; whether there is anything to run."""
        running = self._running.turns.values()
        wanted = [(turn, turn.prompt_tokens + turn.sampled - turn.context.holding.device_tokens) for turn in running]
        budget, first = self._limits.step_tokens_max, None
        if sum([left for _, left in wanted]) > budget:
            # One token of each step is the earliest-arrived turn's own: it advances whatever passes it (LIVE-3).
            budget, first = budget - 1, min(running, key=_arrived)
        steps = self._limits.steps_max
        decoding: list[Turn] = []
        planned: list[tuple[Turn, int]] = []
        for turn, left in wanted:
            if left == 1 and (budget or turn is first):
                budget -= turn is not first
                decoding.append(turn)
                planned.append((turn, 1))
                steps = min(steps, turn.max_output_tokens - turn.sampled)
        for turn, left in wanted:
            if left > 1 and (budget or turn is first):
                own = turn is first
                tokens = min(left, budget + own)
                budget -= tokens - own
                planned.append((turn, tokens))
                steps = min(steps, left // tokens)
        steps = self._affordable(decoding, steps)
        self._planned = planned
        self.steps_left = steps
        self.chunks = self._chunks(planned)
        return bool(planned)

    def _affordable(self, decoding: list[Turn], steps: int) -> int:
        """Return how many of the steps the free blocks allow, and take the blocks of these."""
        if not decoding:
            return steps
        ledger = self._ledger
        holdings = [turn.context.holding for turn in decoding]
        spares = Counter([ledger.spare_tokens(holding) for holding in holdings])
        low, high = 1, steps
        while low < high:
            middle = (low + high + 1) // 2
            blocks = sum(
                [n * ledger.limits.blocks_for(middle - spare) for spare, n in spares.items() if spare < middle]
            )
            if blocks <= ledger.device_free:
                low = middle
            else:
                high = middle - 1
        for holding in holdings:
            ledger.grow(holding, holding.device_tokens + low)
        return low

    def _chunks(self, planned: list[tuple[Turn, int]]) -> tuple[Chunk, ...]:
        """Return the chunks of the plan, the same object as before where they are equal."""
        chunks = []
        for turn, tokens in planned:
            if tokens == 1:
                chunk = turn.decode_chunk
                if chunk is None:
                    chunk = turn.decode_chunk = Chunk(turn.turn_id, 1)
            else:
                chunk = Chunk(turn.turn_id, tokens)
            chunks.append(chunk)
        return self.chunks if len(chunks) == len(self.chunks) and tuple(chunks) == self.chunks else tuple(chunks)


def _arrived(turn: Turn) -> tuple[int, int]:
    return turn.job.arrival, turn.serial
