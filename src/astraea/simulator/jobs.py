"""What an agent will do, as counts: the future that the simulator knows and the scheduler does not.

A job is a list of turns. Consecutive turns with the same ``parallel_group`` run side by side, each in a context of its
own (branch 0 continues the session's main context); the next turn starts when all of them and their tools are done.
"""

from __future__ import annotations

from attrs import frozen

__all__ = ["JobSpec", "TurnSpec"]


@frozen(slots=True)
class TurnSpec:
    """One LLM call of a job and the tool wait after it."""

    new_prompt_tokens: int
    """Prompt tokens to compute if the KV of the job's earlier prompt and output is still held; at least 1."""
    context_tokens: int
    """The whole prompt, at least ``new_prompt_tokens``."""
    output_tokens: int
    """At least 1."""
    tool: str | None
    """Name of the tool called at the end, or ``None`` (no tool: the job goes on at once, or ends)."""
    tool_wait_us: int
    """From the end of this turn to the start of the next one; 0 after the last."""
    parallel_group: int | None = None

    @property
    def reusable_tokens(self) -> int:
        """Leading tokens of the context's earlier history that this prompt still begins with."""
        return self.context_tokens - self.new_prompt_tokens


@frozen(slots=True)
class JobSpec:
    """One user request to an agent: its arrival, its session and its turns."""

    job_id: str
    turns: tuple[TurnSpec, ...]
    arrival_us: int | None = None
    """``None`` where the source records none; an arrival process then draws it."""
    session_id: str = ""
    """Empty means a session of its own."""
    tenant: str = "default"
    shared_prefix_id: str = ""
    """Empty means no shared prefix."""
    shared_prefix_tokens: int = 0

    @property
    def peak_tokens(self) -> int:
        """Largest prompt plus output of any turn."""
        return max(turn.context_tokens + turn.output_tokens for turn in self.turns)
