"""The page ``docs/evaluation.md``: its sections in order, around sentences that no run changes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from astraea.simulator.sustain import Sustained
from evaluation import sections, text
from evaluation.contenders import FAVOURED, ORACLES, OWN, RIVALS
from evaluation.grid import Grid
from evaluation.losses import losses, targets_table
from evaluation.pictures import draw_all
from evaluation.results import Results
from evaluation.targets import findings
from evaluation.works import Setting

__all__ = ["Page"]


@frozen(slots=True, kw_only=True)
class Page:
    """What the page is made from."""

    results: Results
    grid: Grid
    sustained: Mapping[tuple[Setting, str], Sustained]
    command: str
    """The command line that writes it."""

    def write(self, path: Path) -> None:
        """Write the page, and its pictures to ``images/`` beside it."""
        shown = draw_all(path.parent / "images", self.results, self.grid)
        path.write_text("\n".join(self.lines(shown)).rstrip() + "\n", encoding="utf-8")

    def lines(self, pictures: Mapping[str, str]) -> list[str]:
        """Return the page, line by line; where others are better comes first."""
        found = findings(self.results, self.grid, self.sustained)
        lines = [*self._head(), *losses(self.results, self.grid, found), *targets_table(found)]
        for title, body in self._sections(pictures):
            if body:
                lines += [f"## {title}", "", *body]
        return lines

    def _sections(self, pictures: Mapping[str, str]) -> list[tuple[str, list[str]]]:
        results, grid = self.results, self.grid
        policies = grid.choice.policies
        shown = {name: [pictures[name], ""] if name in pictures else [] for name in _PICTURES}
        by_load = [*shown["jct"], *sections.by_point(results, grid.loads)]
        by_host = [
            *sections.by_point(results, grid.hosts),
            text.GUARD_OFF, "", *sections.by_point(results, grid.hosts, "astraea-no-guard"),
        ]  # fmt: skip
        spread = [line for name in ("slowdown", "recomputed", "fairness") for line in shown[name]]
        return [
            ("At full size", self._if("targets", text.BY_POINT, sections.by_point(results, grid.targets))),
            ("Against load", by_load if grid.has("loads") else []),
            ("With a host pool", by_host if grid.has("hosts") else []),
            ("The tail and the bound", self._if(
                "bounds", text.BOUND, [*shown["frontier"], *sections.bounds(results, grid.bounds)])),
            ("Sustained load", self._if("sustained", text.SUSTAINED, sections.sustained_section(self.sustained))),
            ("What each part is worth", self._if("ablation", text.PARTS, sections.parts(results, grid))),
            ("Wrong predictions", self._if("noise", text.NOISE, sections.noise(results, grid.noisy))),
            ("What the traces flatter", self._if("left-out", text.LEFT_OUT, sections.left_out(results, grid.traces))),
            ("Sensitivity", self._if("sensitivity", text.SENSITIVITY, sections.sensitivity(results, grid))),
            ("Slowdowns, lost work and fairness", self._if("loads", text.FAIRNESS, spread)),
            ("What is left out", [text.LEFT_OUT_OF_THE_MODEL, ""]),
            ("Every figure", self._if(
                "loads", text.EVERYTHING, sections.everything(results, grid.judged, policies))),
        ]  # fmt: skip

    def _if(self, section: str, sentence: str, body: list[str]) -> list[str]:
        return [sentence, "", *body] if self.grid.has(section) else []

    def _head(self) -> list[str]:
        choice = self.grid.choice
        sizes = self.grid.sizes()
        introduction = text.INTRODUCTION.format(
            count=len(RIVALS), rivals=_names(RIVALS), own=_names(OWN[1:]), oracles=_names(ORACLES),
            favoured=_names(FAVOURED), sizes=sizes, seeds=choice.seeds,
        )  # fmt: skip
        made = "This page is made, pictures included, by the command below, and not edited."
        return ["# Against every rival", "", made, "", f"    {self.command}", "", introduction, ""]


_PICTURES = ("jct", "slowdown", "recomputed", "fairness", "frontier")


def _names(policies: tuple[str, ...]) -> str:
    return ", ".join(f"`{policy}`" for policy in policies)
