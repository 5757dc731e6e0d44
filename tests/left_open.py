"""Connections to PostgreSQL that were left open: where each was made is told after the run.

The driver warns of one that is collected while it is open. That happens in whichever test the collector runs
next, so as an error it would fail a test that has nothing to do with it.
"""

import gc
import os
import traceback
from collections.abc import Callable
from typing import Any, Final

from psycopg import AsyncConnection, Connection

LEFT_OPEN: Final = "left_open"
"""Under this name a process of the tests sends its lines to the one that began the run."""
_OURS: Final = ("/src/contatto/", "/tests/")
_lines: list[str] = []


def note_connections() -> None:
    """From now on each connection knows where it was made; call it once in a process."""
    kinds: tuple[Any, ...] = (Connection, AsyncConnection)
    for kind in kinds:
        kind.__init__ = _noting(kind.__init__)
        kind.__del__ = _tell_if_open


def lines_of_left_open() -> list[str]:
    """One for each connection that nobody closed and nobody can reach any more."""
    gc.collect()
    return list(_lines)


def _noting(make: Callable[..., None]) -> Callable[..., None]:
    def make_and_note(self: Any, *given: Any, **named: Any) -> None:
        make(self, *given, **named)
        self._made_in = _test_now()
        frames = traceback.walk_stack(None)
        self._made_at = traceback.StackSummary.extract(frames, lookup_lines=False)  # a line costs a file

    return make_and_note


def _tell_if_open(self: Any) -> None:
    if not hasattr(self, "_made_at") or self.closed:
        return
    path = " < ".join(
        f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}"
        for frame in self._made_at
        if any(folder in frame.filename for folder in _OURS) and frame.filename != __file__
    )
    kind = type(self).__name__
    _lines.append(f"left open: {kind} made in {self._made_in} at {path}; collected in {_test_now()}")


def _test_now() -> str:
    return os.environ.get("PYTEST_CURRENT_TEST", "no test")
