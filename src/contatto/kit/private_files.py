"""Files for their owner alone: those that the program writes, and those of its own that it finds."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_BESIDE: Final = ("", "-wal", "-shm", "-journal")
"""What SQLite puts beside a database; it gets the rights that the database has."""


def write_privately() -> None:
    """From here on, whatever this process writes only its owner may read: names lie in clear in it."""
    os.umask(_OTHERS)


def take_from_others(paths: Iterable[Path]) -> None:
    """Take the rights of others on files that were made before, such as by a copy that was put back."""
    for path in paths:
        if path.is_file() and (mode := path.stat().st_mode) & _OTHERS:
            path.chmod(stat.S_IMODE(mode) & ~_OTHERS)


def files_of_sqlite(url: str) -> list[Path]:
    """The files of a database by its URL; none where it is no SQLite."""
    path = url.removeprefix("sqlite:///").partition("?")[0]
    return [Path(f"{path}{end}") for end in _BESIDE] if path != url else []
