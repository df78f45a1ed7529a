"""What a client says about its own turn beside who it is: read in every dialect, brought to one unit, and clipped.

A hint is a wish. It is cut to its bounds rather than refused, the answer says in a header what became of it, and no
claim of the scheduler rests on one. Servers disagree about which priority is the higher one; here more is sooner.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from attrs import field, frozen

from astraea.events import Hints
from astraea.server.fields import Body, FieldError, Header, Place, Request, field_name, identifier, whole_number
from astraea.units import US_PER_S

__all__ = ["SOURCES", "Hint", "Source", "TurnHints", "read_hints"]

_US_PER_MS = 1_000
_PRIORITY_MAX = 100
_TTL_US_MAX = 3_600 * US_PER_S
_TOOL_WAIT_US_MAX = 24 * 3_600 * US_PER_S


class Hint(StrEnum):
    """What can be hinted, by the name that the answer's header uses; the unit is part of it."""

    PRIORITY = "priority"
    """More is sooner, 0 is as without."""
    OUTPUT = "expected-output-tokens"
    TOOL_WAIT = "expected-tool-wait-us"
    """Of the tool that this turn will call."""
    TTL = "ttl-us"
    """How long the turn's cache is of use."""


@frozen(slots=True)
class Source:
    """Where one kind of client writes a hint."""

    hint: Hint
    place: Place
    times: int = field(default=1, kw_only=True)
    """What brings its number to our unit; negative where less is sooner."""
    words: Mapping[str, int] | None = field(default=None, kw_only=True)
    """In place of numbers: the words that it may be, and what each stands for."""


SOURCES: tuple[Source, ...] = (
    Source(Hint.PRIORITY, Header("x-dynamo-request-priority")),
    Source(Hint.PRIORITY, Body("nvext.agent_hints.priority")),
    Source(Hint.PRIORITY, Body("priority"), times=-1),
    Source(
        Hint.PRIORITY,
        Header("x-smg-priority"),
        words={"system": _PRIORITY_MAX, "interactive": _PRIORITY_MAX // 2, "default": 0, "bulk": -_PRIORITY_MAX // 2},
    ),
    Source(Hint.OUTPUT, Body("expected_output_tokens")),
    Source(Hint.OUTPUT, Body("nvext.agent_hints.osl")),
    Source(Hint.TOOL_WAIT, Body("agent_hints.expected_tool_duration_ms"), times=_US_PER_MS),
    Source(Hint.TTL, Body("agent_hints.cache_ttl_ms"), times=_US_PER_MS),
    Source(Hint.TTL, Body("agent_hint.cache_control.ttl"), times=US_PER_S),
    Source(Hint.TTL, Body("nvext.session_control.timeout"), times=US_PER_S),
    Source(Hint.TTL, Body("cache_control.ttl"), words={"5m": 300 * US_PER_S, "1h": _TTL_US_MAX}),
    Source(Hint.TTL, Body("prompt_cache_retention"), words={"in_memory": 300 * US_PER_S, "24h": 24 * 3_600 * US_PER_S}),
)
"""Every dialect; of those of one hint the first that is there counts."""

_HANDED_ON = frozenset({Hint.OUTPUT, Hint.TOOL_WAIT})
"""What the scheduler is told, for its policy to use or not; the rest is read so that a client learns it is not."""


@frozen(slots=True)
class TurnHints:
    """The hints of one request, within bounds."""

    values: Mapping[Hint, int]
    clipped: frozenset[Hint]

    def for_core(self, parent_job_id: str | None = None) -> Hints:
        """Return what the scheduler is told; the parent is the server's finding and no client's word."""
        return Hints(
            expected_output_tokens=self.values.get(Hint.OUTPUT),
            expected_tool_wait_us=self.values.get(Hint.TOOL_WAIT),
            parent_job_id=parent_job_id,
        )

    def header(self, *, final: bool) -> str:
        """Return what became of each hint, as a dictionary of structured fields; empty where none was given.

        ``clipped`` stands behind what was cut to its bound, ``unused`` behind what the scheduler is not told.
        """
        members = ["final"] if final else []
        for hint in Hint:
            if hint in self.values:
                clipped = ";clipped" if hint in self.clipped else ""
                unused = "" if hint in _HANDED_ON else ";unused"
                members.append(f"{hint}={self.values[hint]}{clipped}{unused}")
        return ", ".join(members)


def read_hints(body: Mapping[str, object], headers: Mapping[str, str], *, output_tokens_max: int) -> TurnHints:
    """Return the hints of a request whose turn may produce ``output_tokens_max`` tokens, at least 1.

    Raises :class:`~astraea.server.fields.FieldError`, which names the field, for a malformed value, and nothing else.
    """
    bounds = {
        Hint.PRIORITY: (-_PRIORITY_MAX, _PRIORITY_MAX),
        Hint.OUTPUT: (1, output_tokens_max),
        Hint.TOOL_WAIT: (0, _TOOL_WAIT_US_MAX),
        Hint.TTL: (0, _TTL_US_MAX),
    }
    request = Request(body, headers)
    values: dict[Hint, int] = {}
    clipped = set()
    for source in SOURCES:
        asked = None if source.hint in values else _asked(request, source)
        if asked is None:
            continue
        least, most = bounds[source.hint]
        values[source.hint] = max(least, min(most, asked))
        if values[source.hint] != asked:
            clipped.add(source.hint)
    return TurnHints(values, frozenset(clipped))


def _asked(request: Request, source: Source) -> int | None:
    if source.words is None:
        return whole_number(request, source.place, unit=source.times)
    word = identifier(request, source.place)
    if word is None:
        return None
    if word.lower() not in source.words:
        raise FieldError(field_name(source.place), f"must be one of {', '.join(source.words)}")
    return source.words[word.lower()]
