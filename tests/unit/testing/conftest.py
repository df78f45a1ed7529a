"""Lets the tests of this folder import the mutants by name; so does the other process that repeats their walks."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
