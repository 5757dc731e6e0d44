"""Connections to PostgreSQL and sockets that were left open: where each was made is told after the run.

Who is collected while it is open gives a warning. That happens in whichever test the collector runs next, so
as an error it would fail a test that has nothing to do with it.
"""

import gc
import os
import socket
import traceback
from collections.abc import Callable
from typing import Any, Final

from psycopg import AsyncConnection, Connection

LEFT_OPEN: Final = "left_open"
"""Under this name a process of the tests sends its lines to the one that began the run."""
_OURS: Final = ("/src/contatto/", "/tests/")
_DEPTH: Final = 40
"""Calls that are looked back for where it was made."""
_made: dict[int, tuple[str, traceback.StackSummary]] = {}
_lines: list[str] = []


def note_connections() -> None:
    """From now on it is known of each where it was made; call it once in a process."""
    for kind in (Connection, AsyncConnection, socket.socket):
        watched: Any = kind
        watched.__init__ = _noting(kind.__init__)
        watched.__del__ = _tell_if_open


def lines_of_left_open() -> list[str]:
    """One for each connection that nobody closed and nobody can reach any more."""
    gc.collect()
    return list(_lines)


def _noting(make: Callable[..., None]) -> Callable[..., None]:
    def make_and_note(self: Any, *given: Any, **named: Any) -> None:
        make(self, *given, **named)
        frames = traceback.walk_stack(None)
        # without the lines: each costs a file
        stack = traceback.StackSummary.extract(frames, limit=_DEPTH, lookup_lines=False)
        _made[id(self)] = (_test_now(), stack)

    return make_and_note


def _tell_if_open(of: Any) -> None:
    made = _made.pop(id(of), None)
    is_socket = isinstance(of, socket.socket)
    if made is None or (of.fileno() < 0 if is_socket else of.closed):
        return
    if is_socket:
        of.close()
    test, stack = made
    path = " < ".join(
        f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}"
        for frame in stack
        if any(folder in frame.filename for folder in _OURS) and frame.filename != __file__
    )
    _lines.append(f"left open: {type(of).__name__} made in {test} at {path}; collected in {_test_now()}")


def _test_now() -> str:
    return os.environ.get("PYTEST_CURRENT_TEST", "no test")
