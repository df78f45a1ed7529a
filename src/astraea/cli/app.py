"""The commands in one tree, and what becomes of errors: a user's mistake is one sentence and exit code 2."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import astraea
from astraea.cli.agents import agents_command
from astraea.cli.bench import bench_app
from astraea.cli.calibrate import calibrate_command
from astraea.cli.catalog import engines, policies, workloads
from astraea.cli.demo import demo_command
from astraea.cli.run import run_command
from astraea.cli.simulate import simulate_command
from astraea.cli.torture import torture_command
from astraea.cli.trace_commands import check, explain, export, replay
from astraea.errors import TraceError, UsageError

__all__ = ["app", "run", "run_app"]

app = typer.Typer(
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("simulate")(simulate_command)
app.command("torture")(torture_command)
app.command("run")(run_command)
app.command("demo")(demo_command)
app.command("agents")(agents_command)
app.command("calibrate")(calibrate_command)
app.command("policies")(policies)
app.command("engines")(engines)
app.command("workloads")(workloads)
app.command("check")(check)
app.command("explain")(explain)
app.command("export")(export)
app.command("replay")(replay)
app.add_typer(bench_app, name="bench")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"astraea {astraea.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Schedule LLM agents by the whole job, and see on agent work what that buys.

    Start with: [bold]astraea simulate --workload swebench[/bold]
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors that are nobody's mistake come through."""
    return run_app(app, "astraea", arguments)


def run_app(command: typer.Typer, name: str, arguments: Sequence[str]) -> int:
    """Run a command that people call ``name``, and return its exit code."""
    try:
        outcome = command(args=list(arguments), prog_name=name, standalone_mode=False)
    except typer.Exit as ended:
        return ended.exit_code
    except (UsageError, TraceError) as error:
        return _mistake(name, str(error))
    except (KeyboardInterrupt, typer.Abort):
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has left: no error, and nothing more to write
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        # What a command line does wrong is told by an exception of typer or of click, whichever typer rests on.
        sentence = getattr(error, "format_message", None)
        if sentence is None:
            raise
        return _mistake(name, sentence())
    return outcome if isinstance(outcome, int) else 0


def _mistake(name: str, sentence: str) -> int:
    print(f"{name}: {' '.join(sentence.split())}", file=sys.stderr)
    return 2
