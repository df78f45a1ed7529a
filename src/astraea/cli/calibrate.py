"""``astraea calibrate``: measure a model on this machine, and write the engine profile that ``simulate`` reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from astraea.cli.models import (
    BatchTurns,
    BlockTokens,
    ContextTokens,
    Device,
    Dtype,
    Model,
    PoolTokens,
    StepTokens,
    Threads,
    load,
    tell,
)
from astraea.errors import UsageError
from astraea.simulator.scenario import check_positive

if TYPE_CHECKING:
    from astraea.cli.calibration import Calibration

__all__ = ["calibrate_command"]


def calibrate_command(
    *,
    model: Model = "default",
    device: Device = "cpu",
    dtype: Dtype = None,
    threads: Threads = None,
    pool_tokens: PoolTokens = None,
    context_tokens: ContextTokens = None,
    step_tokens: StepTokens = None,
    batch_turns: BatchTurns = None,
    block_tokens: BlockTokens = None,
    seconds: Annotated[float, typer.Option(help="How long to measure, about.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Seed of the loads that are measured.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Where to write the profile, a .toml file; by default it is only printed.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure what a model costs on this machine: step time, recomputation, and copies of KV to the host.

    Batches of many kinds run through the whole engine, scheduler included; the constants of the simulator's
    step-time model are fitted to three quarters of them, and the error is told on the rest.

    Try it: [bold]astraea calibrate --model toy --seconds 20 --out toy.toml[/bold]

    Then: [bold]astraea simulate --workload calculator --engine toy.toml[/bold]
    """
    check_positive("the time to measure", seconds)
    if seed < 0:
        raise UsageError(f"the seed must not be negative, not {seed}")
    if out is not None and (out.suffix != ".toml" or not out.absolute().parent.is_dir()):
        raise UsageError(f"{out}: a profile is a .toml file in a folder that is there")
    loaded = load(model, device, dtype, threads)
    from astraea.cli.calibration import calibrate, draft_profile, sized
    from astraea.simulator.profiles import to_toml

    sizes = {
        "pool_tokens": pool_tokens, "context_tokens_max": context_tokens, "step_tokens_max": step_tokens,
        "batch_turns_max": batch_turns, "block_tokens": block_tokens,
    }  # fmt: skip
    draft = sized(draft_profile(loaded), loaded, sizes)
    tell(f"measuring {loaded.note} for about {seconds:g} s")
    calibration = calibrate(loaded, draft, seconds=seconds, seed=seed)
    text = to_toml(calibration.profile)
    if out is not None:
        _write(out, text)
    if as_json:
        print(json.dumps({"model": loaded.name, "note": loaded.note, **calibration.as_json()}, indent=2))
    else:
        print(text, end="")
        print(_comments(calibration), end="")


def _comments(calibration: Calibration) -> str:
    """Return what else was found, as comments of the same file."""
    swap_us = calibration.example_tokens * calibration.profile.swap_ns_per_token / 1000
    error = calibration.held_out
    return (
        f"# On {error.batches} batches that the fit did not see: median error {error.median:.1%}, 90 % are within "
        f"{error.p90:.1%}, summed time {error.total:+.1%}.\n"
        f"# A context of {calibration.example_tokens:,} tokens: {swap_us:,.0f} us to copy back, "
        f"{calibration.recompute_us:,.0f} us to compute again.\n"
    )


def _write(out: Path, text: str) -> None:
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{out}: the profile cannot be written ({error.strerror})") from error
