"""Exclude objects loaded at start from garbage collection."""

import gc
from threading import Event
from typing import Final

_YOUNG: Final = 20_000
"""New objects between two collections; a batch makes some thousands, and Python's default is 2,000."""
_is_enabled: Final = Event()
"""Set in processes that freeze objects; `gc.get_freeze_count` would count them all."""


def freeze_loaded_objects() -> None:
    """Exclude all current objects from collection, and collect new ones less often.

    A collection of all objects would take a fifth of a second.
    """
    _is_enabled.set()
    gc.collect()
    gc.freeze()
    _, *older = gc.get_threshold()
    gc.set_threshold(_YOUNG, *older)


def freeze_new_objects() -> None:
    """Exclude objects loaded since; without an earlier freeze, do nothing."""
    if _is_enabled.is_set():
        gc.collect()
        gc.freeze()
