"""Does the simulator's step-time model have the right terms? Steps of many shapes, each timed at its best.

Each shape is computed several times on one thread, all shapes in turn, and its least processor time counts, so that
other work on the machine matters little. The model is fitted to these times; an error that a shape keeps is a term that
the model lacks. Only the passes of the model are timed: no scheduler and no sampling, which are in what
``astraea calibrate`` measures.

    python benchmarks/executor_steps.py --model default --rounds 5
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch

from astraea.cli.calibration import draft_profile
from astraea.cli.fitting import fit_profile, predicted_us
from astraea.executor.attention import PagedModel
from astraea.executor.model import load_model
from astraea.executor.ragged import Row
from astraea.trace.steps import RanBatch

BLOCK_TOKENS = 16
DECODES = [(count, held) for count in (1, 2, 4, 8, 16, 32) for held in (128, 512)] + [(1, 1_900), (8, 1_900)]
"""Turns that decode, and what each of them holds."""
PIECES = [(1, count, 0) for count in (4, 16, 64, 128, 256)] + [(1, 64, 1_024), (1, 256, 1_024), (4, 64, 0), (16, 16, 0)]
"""Pieces of prompts, the tokens of each, and what each holds already."""
MIXED = [(4, 128, 64), (16, 128, 128), (30, 256, 200)]
"""Turns that decode, what each holds, and the tokens of a prompt that begins beside them."""


def shapes() -> dict[str, list[tuple[int, int]]]:
    """Return each shape by name as (tokens held, tokens computed) of its turns."""
    named = {f"{count} decode at {held}": [(held, 1)] * count for count, held in DECODES}
    named |= {f"{count} x {tokens} of prompts at {held}": [(held, tokens)] * count for count, tokens, held in PIECES}
    named |= {
        f"{count} decode at {held}, prompt of {new}": [(held, 1)] * count + [(0, new)] for count, held, new in MIXED
    }
    return named


def main() -> None:
    """Print a line a shape and the median."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="toy")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(1)
    loaded = load_model(options.model)
    paged = PagedModel(loaded.model, 1_300, BLOCK_TOKENS)
    best = dict.fromkeys(shapes(), float("inf"))
    for _ in range(options.rounds):
        for name, chunks in shapes().items():
            best[name] = min(best[name], seconds(paged, chunks))
    batches = {name: RanBatch(tuple(chunks), 1, 0, round(1e6 * best[name])) for name, chunks in shapes().items()}
    profile = fit_profile(draft_profile(loaded), list(batches.values()))
    errors = []
    for name, batch in batches.items():
        errors.append(predicted_us(profile, batch) / batch.end_us - 1)
        print(f"{name:40} {batch.end_us / 1000:8.2f} ms, model {errors[-1]:+7.1%}")
    print(f"median absolute error {median(map(abs, errors)):.1%}")


def seconds(paged: PagedModel, chunks: list[tuple[int, int]]) -> float:
    """Return the processor time of one step, its layout included."""
    rows, block = [], 0
    for held, tokens in chunks:
        blocks = -(-(held + tokens) // BLOCK_TOKENS)
        rows.append(Row(range(block, block + blocks), held, tokens))
        block += blocks
    ids = torch.full((sum(tokens for _, tokens in chunks),), 3)
    began = time.thread_time()
    batch = paged.batch(rows)
    paged.forward(batch, ids, batch.last_tokens).argmax(dim=-1).tolist()
    return time.thread_time() - began


if __name__ == "__main__":
    main()
