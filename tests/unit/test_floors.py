"""Imports go down only, and the policy core is pure: read off the source, so nothing has to run to break a rule.

    6  cli                                         commands
    5  server | fleet                              HTTP <-> events and decisions; agents that ask over HTTP
    4  simulator | executor | integrations         drivers; none imports another
    3  rivals | trace | testing | folders          other policies; what happened; the conformance kit; caches on disk
    2  policy                                      the pure rules
    1  events | decisions                          what goes in, what comes out
    0  units | errors

A module imports lower floors and its own unit (the name in the table), never a neighbour. The package's own
``__init__`` is how others see floors 0 to 2, so it imports those and is imported from floor 3 on.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"

FLOORS = {
    "units": 0,
    "errors": 0,
    "events": 1,
    "decisions": 1,
    "policy": 2,
    "rivals": 3,
    "trace": 3,
    "testing": 3,
    "folders": 3,
    "simulator": 4,
    "executor": 4,
    "integrations": 4,
    "server": 5,
    "fleet": 5,
    "cli": 6,
}
ROOT = ""  # the unit of astraea/__init__.py
ROOT_REACH = 2

BASE_PACKAGES = {"attrs", "sortedcontainers"}
EXTRA_PACKAGES = {
    "testing": {"hypothesis"},
    "executor": {
        "filelock",
        "gguf",
        "huggingface_hub",
        "numpy",
        "safetensors",
        "tokenizers",
        "torch",
        "transformers",
    },
    "fleet": {"openai"},
    "server": {"fastapi", "h11", "prometheus_client", "pydantic", "starlette", "structlog", "uvicorn"},
    "cli": {"matplotlib", "numpy", "rich", "structlog", "typer"},
}
"""What a unit may import beyond the base install: what its extra brings."""

POLICY_STDLIB = {
    "__future__",
    "bisect",
    "collections",
    "collections.abc",
    "enum",
    "functools",
    "heapq",
    "itertools",
    "operator",
    "typing",
}
"""The pure parts of the standard library: no clock, no randomness, no I/O, no logging, no float."""

POLICY_FORBIDDEN_BUILTINS = {
    "__import__": "imports past this test",
    "breakpoint": "does I/O",
    "complex": "is not an integer",
    "eval": "runs what this test cannot read",
    "exec": "runs what this test cannot read",
    "float": "is not an integer",
    "hash": "depends on the hash seed",
    "id": "depends on the process",
    "input": "does I/O",
    "open": "does I/O",
    "print": "does I/O",
}

FLOATS_ALLOWED: set[str] = set()
"""Policy modules that may hold a float: none."""


def unit_of(module: str) -> str:
    """``astraea.policy.core`` belongs to ``policy``."""
    return [*module.split("."), ROOT][1]


def imports_of(module: str, *, is_package: bool, tree: ast.Module) -> list[tuple[int, str, str]]:
    """(line, module, name) of every import, relative ones made absolute, lazy and type-checking ones too."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                package = module.split(".") + ([""] if is_package else [])
                source = ".".join(filter(None, [*package[: -node.level], source]))
            found += [(node.lineno, source, alias.name) for alias in node.names]
    return found


def floor_breaches(module: str, imports: list[tuple[int, str, str]]) -> list[str]:
    unit = unit_of(module)
    reach = ROOT_REACH if unit == ROOT else FLOORS[unit] - 1
    breaches = []
    for line, source, name in imports:
        if source.split(".")[0] != "astraea":
            continue
        target = unit_of(f"{source}.{name}" if source == "astraea" and name in FLOORS else source)
        if target != unit and (ROOT_REACH if target == ROOT else FLOORS.get(target, 99)) > reach:
            breaches.append(f"{module}:{line}: imports {source} {name}".rstrip() + ", which is not on a lower floor")
    return breaches


def package_breaches(module: str, imports: list[tuple[int, str, str]]) -> list[str]:
    unit = unit_of(module)
    packages = BASE_PACKAGES if unit == "policy" else BASE_PACKAGES | EXTRA_PACKAGES.get(unit, set())
    breaches = []
    for line, source, _name in imports:
        top = source.split(".")[0]
        if top in sys.stdlib_module_names:
            allowed = unit != "policy" or source in POLICY_STDLIB
        else:
            allowed = top == "astraea" or top in packages
        if not allowed:
            breaches.append(f"{module}:{line}: imports {source}, which is not for {unit or 'astraea'}")
    return breaches


def purity_breaches(module: str, tree: ast.Module) -> list[str]:
    """Floats and impure builtins in a policy module."""
    breaches = []
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=float() | complex()) if module not in FLOATS_ALLOWED:
                what = f"the literal {node.value} is not an integer"
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()) if module not in FLOATS_ALLOWED:
                what = "true division makes a float"
            case ast.Name(id=name) if name in POLICY_FORBIDDEN_BUILTINS:
                what = f"{name} {POLICY_FORBIDDEN_BUILTINS[name]}"
            case _:
                continue
        breaches.append(f"{module}:{node.lineno}: {what}")
    return breaches


def breaches_of(module: str, text: str, *, is_package: bool = False) -> list[str]:
    """Every sentence that can be said against a module."""
    tree = ast.parse(text)
    unit = unit_of(module)
    if unit != ROOT and unit not in FLOORS:
        return [f"{module}:1: stands on no floor; give {unit} one in this file and in CONTRIBUTING.md"]
    imports = imports_of(module, is_package=is_package, tree=tree)
    breaches = floor_breaches(module, imports) + package_breaches(module, imports)
    return breaches + (purity_breaches(module, tree) if unit == "policy" else [])


def test_every_module_keeps_to_its_floor():
    files = sorted((SOURCE / "astraea").rglob("*.py"))
    assert len(files) > 4, "the source was not found"
    breaches = []
    for file in files:
        parts = file.relative_to(SOURCE).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        breaches += breaches_of(module, file.read_text(encoding="utf-8"), is_package=is_package)
    assert not breaches, "\n".join(["", *breaches])


@pytest.mark.parametrize(
    ("module", "text", "complaint"),
    [
        # Upwards.
        ("astraea.units", "import astraea.events", "not on a lower floor"),
        ("astraea.events", "from astraea.policy import core", "not on a lower floor"),
        ("astraea.policy.core", "from astraea.rivals import fcfs", "not on a lower floor"),
        ("astraea.policy.core", "from astraea import rivals", "not on a lower floor"),
        ("astraea.policy.core", "from ..simulator import run", "not on a lower floor"),
        ("astraea.policy.core", "from .. import simulator", "not on a lower floor"),
        ("astraea.policy.core", "from astraea import Scheduler", "not on a lower floor"),
        ("astraea.policy.core", "from astraea.nowhere import thing", "not on a lower floor"),
        ("astraea.trace.replay", "from astraea.simulator import run", "not on a lower floor"),
        ("astraea.simulator.run", "def late():\n    from astraea.cli import main", "not on a lower floor"),
        # Sideways.
        ("astraea.events", "import astraea.decisions", "not on a lower floor"),
        ("astraea.rivals.fcfs", "from astraea.trace import digest", "not on a lower floor"),
        ("astraea.simulator.run", "from astraea.executor import model", "not on a lower floor"),
        ("astraea.integrations.ray", "from ..executor.model import Model", "not on a lower floor"),
        ("astraea.fleet.run", "from astraea.server.identity import identify", "not on a lower floor"),
        # The package's own __init__, lazily too.
        ("astraea", "from astraea.rivals import fcfs", "not on a lower floor"),
        ("astraea", "def __getattr__(name):\n    from astraea import simulator", "not on a lower floor"),
        ("astraea", "import rich", "not for astraea"),
        # Impure, or not in the base install.
        ("astraea.policy.core", "import time", "imports time"),
        ("astraea.policy.core", "from random import Random", "imports random"),
        ("astraea.policy.core", "import math", "imports math"),
        ("astraea.policy.core", "if True:\n    import logging", "imports logging"),
        ("astraea.policy.core", "from os import path", "imports os"),
        ("astraea.policy.core", "import collections.abc, importlib", "imports importlib"),
        ("astraea.policy.core", "import torch", "imports torch"),
        ("astraea.simulator.run", "import numpy", "imports numpy"),
        ("astraea.trace.file", "from rich import print", "imports rich"),
        # Floats and what depends on more than the arguments.
        ("astraea.policy.core", "share = 0.5", "literal 0.5"),
        ("astraea.policy.core", "big = 1e6", "literal 1000000.0"),
        ("astraea.policy.core", "share = a / b", "true division"),
        ("astraea.policy.core", "share /= b", "true division"),
        ("astraea.policy.core", "share = float(a)", "float is not an integer"),
        ("astraea.policy.core", "print('here')", "print does I/O"),
        ("astraea.policy.core", "key = hash(a)", "depends on the hash seed"),
        # Nowhere.
        ("astraea.helpers", "", "stands on no floor"),
    ],
)
def test_a_mutant_is_caught(module, text, complaint):
    breaches = breaches_of(module, text)
    assert len(breaches) == 1
    assert breaches[0].startswith(f"{module}:")
    assert complaint in breaches[0]


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("astraea", "from astraea.policy.core import Scheduler\nfrom astraea.units import ceil_div"),
        ("astraea.policy.core", "import heapq\nfrom collections.abc import Iterable\nfrom attrs import frozen"),
        ("astraea.policy.core", "from astraea.policy.ledger import Ledger\nfrom .ranking import rank\nx = 7 // 2"),
        ("astraea.policy.core", "from astraea import events\nfrom astraea.units import ceil_div"),
        ("astraea.rivals.fcfs", "from astraea.policy import ranking\nfrom astraea import Scheduler"),
        ("astraea.simulator.run", "import random, time\nimport astraea\nshare = 1 / 2"),
        ("astraea.cli.simulate", "import typer\nfrom astraea import rivals\nfrom astraea.simulator import run"),
    ],
)
def test_what_is_legal_passes(module, text):
    assert breaches_of(module, text) == []


def test_a_relative_import_in_a_package_starts_from_the_package():
    assert breaches_of("astraea.policy", "from .core import Scheduler", is_package=True) == []
    assert breaches_of("astraea.policy", "from ..rivals import fcfs", is_package=True) != []
