"""How well a calibrated simulator predicts real agents: calibrate and run, again and again, the workloads in turn.

Each round calibrates the executor anew and then runs both workloads in a closed loop, so that a machine that changes
its speed does so for the profile and the run alike. Tool waits are short, so that what is predicted is the engine.
Prints, for each workload, the error of the predicted mean completion time less the tool waits: of every round, and the
median of their absolute values.

    python benchmarks/executor_prediction.py --model toy --rounds 5
    python benchmarks/executor_prediction.py --model default --rounds 5 --seconds 60
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

WORKLOADS = {
    "calculator": ("--length-scale", "0.3"),
    "swebench": ("--length-scale", "0.02", "--time-scale", "0.02"),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="toy")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--agents", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to calibrate")
    parser.add_argument("--policy", default="astraea")
    options = parser.parse_args()
    errors: dict[str, list[float]] = {name: [] for name in WORKLOADS}
    steps: list[float] = []
    with TemporaryDirectory() as folder:
        engine = Path(folder) / "engine.toml"
        for number in range(options.rounds):
            found = astraea(
                "calibrate", "--model", options.model, "--threads", "1", "--seconds", str(options.seconds),
                "--seed", str(number), "--out", str(engine),
            )  # fmt: skip
            steps.append(100 * found["held_out"]["median"])
            for name, scales in WORKLOADS.items():
                report = astraea(
                    "run", "--model", options.model, "--threads", "1", "--engine", str(engine), "--workload", name,
                    *scales, "--agents", str(options.agents), "--jobs", str(options.jobs), "--policy", options.policy,
                )  # fmt: skip
                (row,) = report["policies"]
                errors[name].append(row["service_error_percent"])
                waits = 1 - row["mean_service_s"] / row["mean_jct_s"]
                print(f"round {number}: {name}: {row['mean_service_s']:.2f} s less waits ({waits:.0%} of JCT)", end=" ")
                print(f"predicted {row['predicted_service_s']:.2f} s ({errors[name][-1]:+.1f} %)", flush=True)
    print(f"step time on batches held out, median of {options.rounds}: {median(steps):.1f} %")
    for name, values in errors.items():
        print(f"{name}: median absolute error {median(map(abs, values)):.1f} %")


def astraea(*arguments: str) -> Any:  # noqa: ANN401 - JSON
    """Run one command with --json and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", "from astraea.cli import main; main()", *arguments, "--json"],
        check=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
