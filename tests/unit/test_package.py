"""What holds for every module: its exports are true, its docstring is there, it is small, and its types are shipped."""

from __future__ import annotations

import ast
import importlib
import re
from importlib import resources
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
FILES = sorted((SOURCE / "astraea").rglob("*.py"))

LINES_MAX = 250
LONG: dict[str, str] = {}
"""Files of up to 300 lines, each with the reason why it is better whole."""
LONG_LINES_MAX = 300


def name_of(file: Path) -> str:
    return file.relative_to(SOURCE / "astraea").as_posix()


def module_of(file: Path) -> str:
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_public(file: Path) -> bool:
    return not any(part.startswith("_") for part in module_of(file).split("."))


def export_order(name: str) -> tuple[int, str]:
    """CONSTANTS, then Classes, then functions: the order that ruff's RUF022 keeps."""
    return (0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2, name)


every_file = pytest.mark.parametrize("file", FILES, ids=name_of)
every_public_file = pytest.mark.parametrize("file", [file for file in FILES if is_public(file)], ids=name_of)
every_policy_file = pytest.mark.parametrize(
    "file", [file for file in FILES if name_of(file).startswith("policy/")], ids=name_of
)


@every_public_file
def test_all_is_sorted_and_true(file):
    module = importlib.import_module(module_of(file))
    exported = list(getattr(module, "__all__", ()))
    assert exported == sorted(set(exported), key=export_order)
    missing = [name for name in exported if not hasattr(module, name)]
    assert not missing, "__all__ names what is not there"
    defined = [
        node.name
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    untold = [name for name in defined if not name.startswith("_") and name not in exported]
    assert not untold, "a public class or function is in __all__, or begins with an underscore"


@every_policy_file
def test_a_policy_module_says_what_it_is(file):
    assert ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))


@every_file
def test_a_file_is_small(file):
    lines = len(file.read_text(encoding="utf-8").splitlines())
    assert lines <= (LONG_LINES_MAX if name_of(file) in LONG else LINES_MAX)


def test_no_exception_from_the_size_is_stale():
    assert set(LONG) <= {name_of(file) for file in FILES}


def test_the_type_marker_is_packaged():
    assert resources.files("astraea").joinpath("py.typed").is_file()


def test_the_readme_example_runs():
    readme = (SOURCE.parent / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    exec(compile(example, "README.md", "exec"), {"__name__": "readme"})  # noqa: S102 - it is our own text
