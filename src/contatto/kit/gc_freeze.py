"""Exclude objects loaded at start from garbage collection."""

import gc
from threading import Event
from typing import Final

_YOUNG: Final = 20_000
"""New objects after which circles are looked for among them.

A batch of messages makes some thousands that are gone when it ends; with Python's own 2,000 they were gone
through again and again meanwhile.
"""
_is_told: Final = Event()
"""Whether this process keeps what it loads. The collector would count all that it keeps to tell it."""


def freeze_loaded_objects() -> None:
    """Tell the collector that what is here stays, and to look less often at what is new.

    Else it goes through all of it now and then, for a fifth of a second, while others wait.
    """
    _is_told.set()
    gc.collect()
    gc.freeze()
    _, *older = gc.get_threshold()
    gc.set_threshold(_YOUNG, *older)


def freeze_new_objects() -> None:
    """The same for what was loaded since; in a process that was not told before, nothing."""
    if _is_told.is_set():
        gc.collect()
        gc.freeze()
