"""Decisions on their way to the log: packed one by one between answers, and written down together."""

import asyncio
import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from contatto.delivery.actions.budgeting import keep_promises
from contatto.delivery.model.ledger import Promise
from contatto.delivery.model.lines import AdGroupLine, AdLine
from contatto.delivery.model.log import EntryKind, Record
from contatto.delivery.store import log as entries
from contatto.kit.db.tx import Tx

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Record)
_LINES: Final = msgspec.msgpack.Decoder(list[AdGroupLine | AdLine])
KEEP_LINES_US: Final = 86_400_000_000
"""Ad groups and ads that were written down longer ago are written down anew for who names them: when old
entries go, they go a day before such a decision at the earliest."""


@dataclass(slots=True)
class Noted:
    """A decision, and the place in the budget that is kept for its view; ``body`` when it is packed."""

    record: Record
    promise: Promise | None
    body: bytes = b""


class Packer:
    """Packs decisions when the event loop has no answer to give, one a turn.

    Were all of them packed by the thread that writes them, both threads would take the interpreter from each
    other for as long as that lasts, and the answers of that time would wait several times.
    """

    def __init__(self) -> None:
        self._unpacked: deque[Noted] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        """The loop that will take the next one, if there is any."""

    def add(self, noted: Noted) -> None:
        """Have a decision packed soon; whoever writes it down before that packs it."""
        self._unpacked.append(noted)
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            loop.call_soon(self._pack_one)

    def _pack_one(self) -> None:
        try:
            while self._unpacked:
                noted = self._unpacked.popleft()
                if not noted.body:
                    noted.body = encode_record(noted.record)
                    break
        finally:
            if self._unpacked and self._loop is not None:
                self._loop.call_soon(self._pack_one)
            else:
                self._loop = None


def log_decisions(tx: Tx, business_id: str, made: Sequence[Noted]) -> None:
    """Append decisions to the log, and tell all processes what they promise.

    A viewer may be quicker than this: then the view is there already. It taught nothing, as nobody knew of
    what, so it is said again behind its decision.
    """
    if not made:
        return
    rows = list_entries(tx, business_id, made)
    promised = [noted.promise for noted in made if noted.promise is not None]
    early = entries.list_touches_of(tx, business_id, [each.nonce for each in promised])
    entries.append_entries(tx, business_id, rows + early)
    seen = {each.nonce for each in early}
    keep_promises(tx, [each for each in promised if each.nonce not in seen])


def list_entries(tx: Tx, business_id: str, decisions: Sequence[Noted]) -> list[entries.NewEntry]:
    """List the entries of decisions, behind those of the ad groups and ads that the log lacks."""
    return _new_lines(tx, business_id, decisions) + [_entry(decision) for decision in decisions]


def write_log(tx: Tx, business_id: str, rows: Sequence[entries.NewEntry]) -> None:
    """Append entries of decisions, and of what followed them, in the order of the rows."""
    entries.append_entries(tx, business_id, rows)


def _new_lines(tx: Tx, business_id: str, made: Sequence[Noted]) -> list[entries.NewEntry]:
    """Ad groups and ads that these decisions name and the log does not have, or has had for long."""
    named = {noted.record.lines: noted.record for noted in made if noted.record.lines}
    if not named:
        return []
    since = min(record.ts for record in named.values()) - KEEP_LINES_US
    known = {line.nonce for line in entries.list_lines(tx, business_id, named, since)}
    return [
        entries.NewEntry(EntryKind.LINES, record.ts, digest, body=_pack(record.added))
        for digest, record in named.items()
        if digest not in known
    ]


def _entry(noted: Noted) -> entries.NewEntry:
    record = noted.record
    return entries.NewEntry(
        EntryKind.DECISION, record.ts, record.nonce, person_id=record.viewer or None,
        body=noted.body or encode_record(record),
    )  # fmt: skip


def encode_record(record: Record) -> bytes:
    """A decision as the body of an entry of the log, without the ad groups and ads that it names."""
    return _pack(msgspec.structs.replace(record, added=[]) if record.lines else record)


def _pack(value: object) -> bytes:
    return zlib.compress(_ENCODER.encode(value), 1)


def read_record(body: bytes) -> Record:
    """The decision of an entry of the log; ad groups and ads that it names stay out (`load_added`)."""
    return _DECODER.decode(zlib.decompress(body))


def read_lines(body: bytes) -> list[AdGroupLine | AdLine]:
    """The ad groups and ads of an entry of the log."""
    return _LINES.decode(zlib.decompress(body))


def load_added(tx: Tx, business_id: str, record: Record) -> bool:
    """Give a decision of the log the ad groups and ads that it names; False if they are no longer kept."""
    if record.lines:
        lines = entries.list_lines(tx, business_id, [record.lines])
        record.added = read_lines(lines[0].body) if lines else []
    return bool(record.added) or not record.lines
