"""Text whose length in tokens can be foretold: common short words, and how a model counts them."""

from __future__ import annotations

from random import Random

from attrs import frozen

from astraea.simulator.agents import stages_of
from astraea.simulator.jobs import JobSpec, TurnSpec

__all__ = ["Ruler", "filler"]

_TEXT = """
able about again air also answer area back ball bank base bear bed best bird blue boat body book box bring build
call car care case chair check child city clean clear cold come cook corn cost count course cover cut dark day deep
door down draw dress drive dry early earth east easy eat end even face fact fair fall far farm fast feel field file
fill find fire first fish floor flow food foot form free front full game give glass gold good grass great green
ground group grow hand hard head hear heart heat help high hill hold home hope horse hot house idea inch iron join
jump keep kind king know lake land large last late lead learn leave left level light line list live long look love
low main make map mark mean meet mile milk mind moon more morning mother mountain move music name near new night
north note ocean old open order own page paint paper part pass pay people piece place plan plant play point poor
pound power press print pull push question quick rain read ready red rest rich ride right ring rise river road rock
room round rule run safe sail salt same sand school sea seed send serve shape ship shop short show side sign simple
sing sit size sleep slow small snow song south space speak spring stand star start state step still stone story
street strong summer sun table talk teach team tell test thing think time town trade train travel tree true try turn
valley value verb view voice wait walk wall warm water week west wheel white wide wild wind winter wish wood word
work world write year
"""
_WORDS = _TEXT.split()


def filler(dice: Random, words: int) -> str:
    """Return so many words."""
    return " ".join(dice.choices(_WORDS, k=words))


@frozen(slots=True)
class Ruler:
    """How a model counts: found out by asking it."""

    base_tokens: float
    """A prompt with one empty message: the chat form's marks, our instructions, the tools."""
    tokens_per_word: float
    round_tokens: float = 0.0
    """What the form adds for a tool call and its result, both empty."""

    @classmethod
    def measured(cls, short: tuple[int, int], long: tuple[int, int], tooled: tuple[int, int]) -> Ruler:
        """Return the ruler through two prompts and one with a call and its result besides; each as words and tokens."""
        tokens_per_word = max(0.1, (long[1] - short[1]) / (long[0] - short[0]))
        base_tokens = short[1] - tokens_per_word * short[0]
        return cls(base_tokens, tokens_per_word, max(0.0, tooled[1] - base_tokens - tokens_per_word * tooled[0]))

    def lacking(self, turn: TurnSpec, held_tokens: float | None) -> float:
        """Return how many tokens of words a turn's prompt needs behind what is held; ``None`` where nothing is yet."""
        if held_tokens is None:
            return turn.context_tokens
        return max(self.tokens_per_word, self.base_tokens + turn.context_tokens - held_tokens - self.round_tokens)

    def peak_tokens(self, job: JobSpec) -> float:
        """Return about how long the job's longest context gets, the form of a chat included."""
        held: float | None = None
        peak = 0.0
        for stage in stages_of(job.turns):
            for branch, turn in enumerate(stage):
                before = None if branch else held
                start = self.base_tokens if before is None else before + self.round_tokens
                end = start + self.lacking(turn, before) + turn.output_tokens
                peak = max(peak, end)
                held = held if branch else end
        return peak

    def words(self, tokens: float) -> int:
        """Return how many words make about so many tokens, at least one."""
        return max(1, round(tokens / self.tokens_per_word))
