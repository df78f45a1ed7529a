"""``search.py FOLDER WORD``: the names of the files in a folder that hold a word, sorted."""

import os
import sys


def _holds(path: str, word: str) -> bool:
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib takes longer to import than this to run
        return any(word in line for line in file)


if __name__ == "__main__":
    folder, wanted = sys.argv[1:]
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file() and _holds(entry.path, wanted))
    sys.stdout.write("".join(f"{name}\n" for name in names))
