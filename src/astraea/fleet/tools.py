"""The tools of the agents: a fixed list of real programs, fed from a seed and never with a model's words.

A tool of a workload is a name and a wait. Each name stands for one of four tools here: the program runs, and what is
left of the wait is slept. A person's pause, and a tool whose work is elsewhere, is all sleep.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

from astraea.errors import AstraeaError
from astraea.fleet import programs
from astraea.fleet.filler import filler

__all__ = ["TOOLS", "Tools", "tool_for"]

TOOLS = {
    "calculator": "Adds, subtracts, multiplies or divides two whole numbers.",
    "search": "Lists the files that hold a word.",
    "fetch": "Reads a page.",
    "wait": "Waits for someone to answer.",
}
"""Each tool, and what a model is told of it."""

_STANDS_FOR = {
    "bash": "search",
    "browse": "fetch",
    "math": "calculator",
    "qa": "fetch",
    "ve": "search",
    "web": "fetch",
}
"""Tools of the workloads; all others wait."""

_FOLDER = Path(programs.__file__).parent
_AT_ONCE = 8
"""Programs that run side by side, so that many agents do not take the machine from the server."""
_FILES = 32
_FILE_WORDS = 40


def tool_for(name: str | None) -> str:
    """Return which of our tools stands for a workload's."""
    return _STANDS_FOR.get(name or "", "wait")


class Tools:
    """The tools at work: a folder of files to search, and a server with pages to fetch. An async context manager."""

    async def __aenter__(self) -> Self:
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._folder = tempfile.TemporaryDirectory(prefix="astraea-")
        for index in range(_FILES):
            text = filler(Random(f"file {index}"), _FILE_WORDS).replace(" ", "\n")
            (Path(self._folder.name) / f"notes-{index:02}.txt").write_text(text, encoding="utf-8")
        self._pages = await asyncio.start_server(_serve_page, "127.0.0.1", 0)
        self._port = str(self._pages.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pages.close()
        await self._pages.wait_closed()
        self._folder.cleanup()

    async def run(self, tool: str, dice: Random, wait_us: int) -> str:
        """Run a tool, take at least ``wait_us`` for it, and return what it printed."""
        began_s = asyncio.get_running_loop().time()
        said = await self._printed(tool, dice)
        left_s = began_s + wait_us / 1_000_000 - asyncio.get_running_loop().time()
        await asyncio.sleep(max(0.0, left_s))
        return said

    async def _printed(self, tool: str, dice: Random) -> str:
        match tool:
            case "calculator":
                return await self._program(
                    tool, [str(dice.randrange(10_000)), dice.choice("+-*/"), str(dice.randrange(1, 99))]
                )
            case "search":
                return await self._program(tool, [self._folder.name, filler(dice, 1)])
            case "fetch":
                return await self._program(tool, [self._port, f"/{dice.randrange(1_000)}"])
            case _:
                return "done\n"

    async def _program(self, name: str, arguments: Sequence[str]) -> str:
        """Run one of our files in a process without a shell, an environment's packages or ours."""
        command = [sys.executable, "-I", "-S", str(_FOLDER / f"{name}.py"), *arguments]
        async with self._slots:
            process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
            said, complaint = await process.communicate()
        if process.returncode:
            last = complaint.decode(errors="replace").strip().splitlines()[-1:]
            raise AstraeaError(f"the tool {name} ended with {process.returncode}: {' '.join(last)}")
        return said.decode()


async def _serve_page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request with a page that its path determines."""
    try:
        request = await reader.readuntil(b"\r\n\r\n")
        page = filler(Random(request.split(b"\r\n")[0]), 30).encode() + b"\n"
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + page)
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass  # whoever asked is gone, or is none of our programs
    finally:
        writer.close()
