"""The folder of a demo world: its lock, its notes with the keys in clear, and how it is emptied."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from contatto.kit.vault import KEY_FILE
from contatto.simulator.world import World

NOTES: Final = "demo.json"
LOG: Final = "demo.log"
CRM: Final = "crm.json"
_LOCK: Final = "demo.lock"
_DATABASE: Final = "contatto.sqlite3"
_OURS: Final = (_DATABASE, f"{_DATABASE}-wal", f"{_DATABASE}-shm", KEY_FILE, CRM, NOTES, LOG)


class HomeState(StrEnum):
    """What is in the folder."""

    EMPTY = "empty"
    SEEDING = "seeding"
    """A world whose history was not played to its end."""
    READY = "ready"


class Occupied(Exception):
    """The folder cannot be used: something else lives in it, or another demo runs there."""


@dataclass(frozen=True, slots=True)
class _Notes:
    state: HomeState
    world: World | None


class Home:
    """One folder. It is only ever emptied of what a demo made itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def log(self) -> Path:
        return self.folder / LOG

    @property
    def crm(self) -> Path:
        return self.folder / CRM

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other demos out; the lock goes with the process, however it ends.

        Raises:
            Occupied: another demo runs here.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.folder / _LOCK, timeout=0, isolation_level=None)
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            connection.close()
            raise Occupied(f"Another demo runs in {self.folder}.") from error
        try:
            yield
        finally:
            connection.close()

    def look(self) -> tuple[HomeState, World | None]:
        """What is here.

        Raises:
            Occupied: a database that no demo made, or notes that cannot be read.
        """
        path = self.folder / NOTES
        if not path.exists():
            if (self.folder / _DATABASE).exists():
                raise Occupied(f"{self.folder} holds an installation that is no demo; choose another folder.")
            return HomeState.EMPTY, None
        try:
            notes = msgspec.json.decode(path.read_bytes(), type=_Notes)
        except msgspec.MsgspecError:
            return (
                HomeState.SEEDING,
                None,
            )  # of another release, or cut off: it can be built anew, not gone on with
        if notes.world is None or notes.state is not HomeState.READY:
            return HomeState.SEEDING, None
        return HomeState.READY, notes.world

    def note(self, state: HomeState, world: World | None) -> None:
        write_private(self.folder / NOTES, _Notes(state, world))

    def clear(self) -> None:
        """Remove what a demo made here; its notes go last, so a removal that was cut off is finished."""
        for name in sorted(_OURS, key=lambda each: each == NOTES):
            (self.folder / name).unlink(missing_ok=True)


def write_private(path: Path, content: Any) -> None:
    """Write JSON that only its owner may read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
    fresh.replace(path)
