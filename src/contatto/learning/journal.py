"""Snapshots of a marketplace, and a journal of the lines since.

After a kill the newest snapshot is loaded, and the journal is replayed. A digest detects damage; then the
snapshot before it is used, with the journal since. A loss of power may take the newest lines of the journal;
then the caller has to begin further back.
"""

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from contatto.learning.marketplace import Marketplace, UnusableLine
from contatto.learning.model import AnyLine
from contatto.learning.storage import Damaged

SAVE_EVERY: Final = 200_000
"""Lines between two snapshots."""
_HEAD: Final = struct.Struct("<II")


class InUse(Exception):
    """Error: another process has locked the folder."""


class MarketplaceJournal:
    """Snapshots and journal of one marketplace; opening them restores it.

    ``count`` is the number of lines so far, ``every`` that between two snapshots. ``say`` gets warnings.
    Raises InUse, Damaged (no snapshot can be used) and Different.
    """

    def __init__(
        self, folder: Path, marketplace: Marketplace, say: Callable[[str], None], every: int = SAVE_EVERY
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._marketplace, self._say, self._every = folder, marketplace, say, every
        self._lock = (folder / "lock").open("w")
        self.count = 0
        self._journal = -1
        try:
            _lock(self._lock.fileno())
            self._load()
        except BaseException:
            self._lock.close()
            raise
        self._waiting: list[bytes] = []
        self._since = 0
        if marketplace.is_busy:  # a snapshot would end the work early, and answers would differ
            self._begin_journal()
            self._since = every
        else:
            self._save()

    def note(self, line: bytes) -> None:
        """Buffer a line for the journal."""
        self._waiting.append(_HEAD.pack(len(line), zlib.crc32(line)) + line)

    def flush(self) -> None:
        """Write the buffered lines to the journal, before their answers go out."""
        if not self._waiting:
            return
        view = memoryview(b"".join(self._waiting))
        while view:
            view = view[os.write(self._journal, view) :]
        self.count += len(self._waiting)
        self._since += len(self._waiting)
        self._waiting.clear()
        if self._since >= self._every and not self._marketplace.is_busy:
            self._save()

    def close(self) -> None:
        self.flush()
        os.close(self._journal)
        self._lock.close()

    def _load(self) -> None:
        states = sorted(self._folder.glob("state-*.bin"), reverse=True)
        damage: Damaged | None = None
        for path in states:
            try:
                self._marketplace.restore(path.read_bytes())
            except Damaged as error:
                damage = error
                self._say(f"{path.name} is not used: {error}")
                continue
            self.count = int(path.stem.removeprefix("state-"))
            break
        else:
            if states and not self._journal_path(0).exists():
                raise damage or Damaged("no state can be used")
        decode = msgspec.json.Decoder(AnyLine.__value__).decode
        before = -1
        while before < self.count and (journal := self._journal_path(self.count)).exists():
            before = self.count
            for line in read_journal(journal, self._say):
                with suppress(UnusableLine):
                    self._marketplace.take(decode(line))
                self.count += 1

    def _journal_path(self, count: int) -> Path:
        return self._folder / f"lines-{count:015d}.log"

    def _begin_journal(self) -> None:
        if self._journal >= 0:
            os.close(self._journal)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        self._journal = os.open(self._journal_path(self.count), flags, 0o600)

    def _save(self) -> None:
        """Write a snapshot, begin a new journal, and delete all but the last two snapshots."""
        name = f"state-{self.count:015d}.bin"
        part = self._folder / "state.part"
        part.touch(0o600)
        with part.open("wb") as file:
            file.write(self._marketplace.save())
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._folder / name)
        self._begin_journal()
        self._since = 0
        states = sorted(self._folder.glob("state-*.bin"))
        for path in states[:-2]:
            path.unlink()
        oldest = int(states[-2:][0].stem.removeprefix("state-"))
        for path in self._folder.glob("lines-*.log"):
            if int(path.stem.removeprefix("lines-")) < oldest:
                path.unlink()


def read_journal(path: Path, say: Callable[[str], None]) -> Iterator[bytes]:
    """Yield the lines of a journal up to the first incomplete one."""
    raw = path.read_bytes()
    at = 0
    while at < len(raw):
        if at + _HEAD.size > len(raw):
            break
        size, digest = _HEAD.unpack_from(raw, at)
        line = raw[at + _HEAD.size : at + _HEAD.size + size]
        if len(line) < size or zlib.crc32(line) != digest:
            break
        yield line
        at += _HEAD.size + size
    if at < len(raw):
        say(f"{path.name}: {len(raw) - at} bytes at its end are not whole and are left out")


def _lock(file: int) -> None:
    """Lock the folder for this process, if the system can. Raises InUse: another process has the lock."""
    try:
        import fcntl  # noqa: PLC0415 — not on every system
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise InUse("another process uses this folder") from error
