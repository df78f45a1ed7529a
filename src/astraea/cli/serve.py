"""``astraea-serve``: an OpenAI-compatible server around one model."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from astraea.cli.app import run_app
from astraea.errors import UsageError

__all__ = ["run_serve", "serve_command"]

_MODEL, _SIZES, _NETWORK, _RUN = "Model", "Sizes", "Network", "Run"

serve_app = typer.Typer(
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@serve_app.command()
def serve_command(
    *,
    model: Annotated[
        str | None, typer.Option(help="default, toy, a folder, or a name on the hub.", rich_help_panel=_MODEL)
    ] = None,
    served_model_name: Annotated[
        str | None, typer.Option(help="What clients call it; its own name by default.", rich_help_panel=_MODEL)
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Of a model on the hub.", rich_help_panel=_MODEL)] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 and so on.", rich_help_panel=_MODEL)] = None,
    dtype: Annotated[
        str | None, typer.Option(help="bfloat16, float16, float32 or float64; as stored.", rich_help_panel=_MODEL)
    ] = None,
    threads: Annotated[int | None, typer.Option(help="On the CPU; what torch takes.", rich_help_panel=_MODEL)] = None,
    policy: Annotated[str | None, typer.Option(help="See: astraea policies.", rich_help_panel=_RUN)] = None,
    host: Annotated[str | None, typer.Option(help="127.0.0.1; others need a key.", rich_help_panel=_NETWORK)] = None,
    port: Annotated[int | None, typer.Option(help="8000; 0 for a free one.", rich_help_panel=_NETWORK)] = None,
    keys_file: Annotated[
        Path | None, typer.Option(help="A key a line, or a tenant's name and a key.", rich_help_panel=_NETWORK)
    ] = None,
    max_model_len: Annotated[
        int | None, typer.Option(help="Tokens of prompt and output together.", rich_help_panel=_SIZES)
    ] = None,
    max_num_seqs: Annotated[int | None, typer.Option(help="Turns in one batch: 32.", rich_help_panel=_SIZES)] = None,
    kv_tokens: Annotated[int | None, typer.Option(help="Tokens of the device pool.", rich_help_panel=_SIZES)] = None,
    host_kv_tokens: Annotated[
        int | None, typer.Option(help="Tokens of the host pool: 0, nothing is swapped.", rich_help_panel=_SIZES)
    ] = None,
    engine: Annotated[
        Path | None,
        typer.Option(help="By astraea calibrate; else measured quickly.", rich_help_panel=_SIZES),
    ] = None,
    max_queue: Annotated[int | None, typer.Option(help="Live turns: 1024.", rich_help_panel=_SIZES)] = None,
    log_format: Annotated[str | None, typer.Option(help="console or json.", rich_help_panel=_RUN)] = None,
    record: Annotated[
        Path | None, typer.Option(help="Write the run's trace, for astraea check.", rich_help_panel=_RUN)
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings as TOML; flags and ASTRAEA_* go before.", rich_help_panel=_RUN)
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print all settings as TOML and stop.", rich_help_panel=_RUN)
    ] = False,
) -> int:
    """Serve a model to agents: OpenAI's API, scheduled by the whole job.

    Without any option: the default model on http://127.0.0.1:8000. Every option can be set in the environment, as
    ASTRAEA_ and its name, or in a TOML file. Keys come from a file or from ASTRAEA_API_KEYS.
    """
    flags: dict[str, object] = {
        "model": model, "served_model_name": served_model_name, "revision": revision, "device": device, "dtype": dtype,
        "threads": threads, "policy": policy, "host": host, "port": port, "keys_file": keys_file,
        "max_model_len": max_model_len, "max_num_seqs": max_num_seqs, "kv_tokens": kv_tokens,
        "host_kv_tokens": host_kv_tokens, "engine": engine, "max_queue": max_queue, "log_format": log_format,
        "record": record,
    }  # fmt: skip
    from astraea.server.keys import read_keys
    from astraea.server.settings import ENVIRONMENT_PREFIX, read_settings

    if config is None and os.environ.get(f"{ENVIRONMENT_PREFIX}CONFIG"):
        config = Path(os.environ[f"{ENVIRONMENT_PREFIX}CONFIG"])
    settings = read_settings(flags, os.environ, config)
    keys = read_keys(settings, os.environ)
    if print_config:
        print(settings.as_toml())
        return 0
    if not _is_guarded(settings.policy):
        print(f"astraea-serve: {settings.policy} is for comparison: it bounds no wait", file=sys.stderr)
    from astraea.executor.machine import dtype_named, use_threads
    from astraea.executor.model import load_model
    from astraea.server.logs import configure_logs
    from astraea.server.process import make_server

    configure_logs(settings.log_format)
    use_threads(settings.threads)
    loaded = load_model(
        settings.model, device=settings.device, dtype=dtype_named(settings.dtype), revision=settings.revision,
        on_progress=lambda sentence: print(f"astraea-serve: {sentence}", file=sys.stderr),
    )  # fmt: skip
    server = make_server(settings, keys, loaded)
    print(f"astraea-serve: {loaded.note}", file=sys.stderr)
    print(f"astraea-serve: {server.url}/v1, model {settings.model_name}", file=sys.stderr)
    return server.serve_until_told()


def _is_guarded(policy: str) -> bool:
    """Return whether a policy keeps the bound on bypassing; raise :class:`UsageError` for one that cannot serve."""
    from astraea.policy.limits import Limits
    from astraea.rivals import make_policy

    made = make_policy(policy, Limits(device_blocks=1))
    if made.clairvoyant:
        raise UsageError(f"{policy} is told the future, which a server does not know")
    return made.guarded


def run_serve(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    return run_app(serve_app, "astraea-serve", arguments)
