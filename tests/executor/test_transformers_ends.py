"""Which releases of ``transformers`` are tried follows from the range that is allowed and what the index has."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import transformers
from packaging.specifiers import SpecifierSet

SCRIPT = Path(__file__).parents[2] / "scripts" / "transformers_ends.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("transformers_ends", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_ends_are_those_of_the_range_and_no_release_before_its_time(script):
    listing = "transformers (6.0.0)\nAvailable versions: 6.0.0, 5.100.0rc1, 5.99.1, 5.9.0, 5.16.0, 5.15.4\n"
    assert script.ends(listing, SpecifierSet(">=5.16,<6")) == ("5.16.0", "5.99.1")


@pytest.mark.parametrize("listing", ["", "Available versions: 4.57.6, 6.0.0"])
def test_an_index_that_has_none_of_them_is_told(listing, script):
    with pytest.raises(SystemExit, match="no release of transformers"):
        script.ends(listing, SpecifierSet(">=5.16,<6"))


def test_the_installed_release_is_in_the_range_and_the_tests_that_it_runs_are_there(script):
    assert transformers.__version__ in script.allowed()
    assert all((Path(__file__).parent / name).is_file() for name in script.TESTS)
