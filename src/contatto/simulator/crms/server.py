"""Records of a CRM in memory, served over HTTP with planned faults."""

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, urlsplit

import msgspec

from contatto.crm.model import CrmField, FieldKind

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class StoredRecord:
    """One record; ``number`` counts the records, ``became`` is what it was merged into or converted to."""

    id: str
    number: int
    values: dict[str, str]
    made_at: datetime
    changed_at: datetime
    is_deleted: bool = False
    became: str = ""
    is_converted: bool = False


class WrongValue(Exception):
    """A write that is not taken: ``kind`` is ``field``, ``choice`` or ``exists``, with what it is about."""

    def __init__(self, kind: str, subject: str) -> None:
        super().__init__(kind, subject)
        self.kind, self.subject = kind, subject


@dataclass
class MemoryCrm:
    """The records of one CRM.

    Attributes:
        our_id: the field that holds our id.
        unique: fields of which no two records have the same value.
        lag: how many writes a search by e-mail or phone is behind.
        skew: how far its clock is from ours.
        merges_anew: a merge makes a third record with an id of its own, to which both others lead.
    """

    fields: dict[str, CrmField]
    our_id: str
    unique: set[str] = field(default_factory=set)
    lag: int = 0
    skew: timedelta = timedelta()
    records: dict[str, StoredRecord] = field(default_factory=dict)
    ticks: int = 0
    merges_anew: bool = False

    def make(self, values: dict[str, Any], record_id: str = "") -> StoredRecord:
        """A new record.

        Raises:
            WrongValue: a field or a value is not there, or a value is taken.
        """
        clean = self._checked(values, "")
        number = len(self.records) + 1
        now = self.now()
        stored_record = StoredRecord(record_id or str(1000 + number), number, clean, now, now)
        self.records[stored_record.id] = stored_record
        return stored_record

    def change(self, record: StoredRecord, values: dict[str, Any]) -> None:
        """Change the fields that are named.

        Raises:
            WrongValue: as ``make``.
        """
        record.values |= self._checked(values, record.id)
        record.changed_at = self.now()

    def live(self) -> Iterator[StoredRecord]:
        """Records that are there, the oldest first."""
        return (record for record in self.records.values() if not record.is_deleted)

    def find(self, name: str, value: str, *, at_once: bool = False) -> list[StoredRecord]:
        """Records with this value, those left out that a lagging search does not know yet."""
        newest = len(self.records) - (0 if at_once else self.lag)
        known = [record for record in self.live() if record.number <= newest]
        return [record for record in known if record.values.get(name, "").casefold() == value.casefold()]

    def changed_after(self, at: datetime | None, seen: set[str]) -> list[StoredRecord]:
        """Records of ours that changed at or after a time, the oldest change first, without those seen."""
        ours = [record for record in self.records.values() if record.values.get(self.our_id)]
        since = [record for record in ours if at is None or record.changed_at >= at]
        kept = [record for record in since if record.id not in seen]
        return sorted(kept, key=lambda record: (record.changed_at, record.number))

    def merge(self, record_id: str, into_id: str) -> StoredRecord:
        """Make one of two, as a person does it in the CRM: what the second has stands; give what is left."""
        gone, left = self.records[record_id], self.records[into_id]
        values = {**gone.values, **{name: value for name, value in left.values.items() if value}}
        now = self.now()
        merged = [gone]
        if self.merges_anew:
            number = len(self.records) + 1
            merged, left = [gone, left], StoredRecord(str(1000 + number), number, {}, now, now)
            self.records[left.id] = left
        for each in merged:
            each.is_deleted, each.became, each.changed_at = True, left.id, now
        left.values, left.changed_at = values, now
        return left

    def delete(self, record_id: str) -> None:
        self.records[record_id].is_deleted = True
        self.records[record_id].changed_at = self.now()

    def drop_field(self, name: str) -> None:
        """Somebody removed a field."""
        del self.fields[name]
        for record in self.records.values():
            record.values.pop(name, None)

    def drop_choice(self, name: str, value: str) -> None:
        """Somebody removed a value from a list."""
        known = self.fields[name]
        choices = tuple(choice for choice in known.choices if choice[0] != value)
        self.fields[name] = CrmField(
            known.name, known.label, known.kind, known.is_required, choices, known.limit
        )

    def backup(self) -> dict[str, StoredRecord]:
        return deepcopy(self.records)

    def now(self) -> datetime:
        """Its own clock, which goes on by a second with each change."""
        self.ticks += 1
        return START + self.skew + timedelta(seconds=self.ticks)

    def _checked(self, values: dict[str, Any], record_id: str) -> dict[str, str]:
        clean = {name: "" if value is None else str(value) for name, value in values.items()}
        for name, value in clean.items():
            known = self.fields.get(name)
            if known is None:
                raise WrongValue("field", name)
            is_choice = known.kind is FieldKind.CHOICE and value
            if (is_choice and value not in dict(known.choices)) or (known.limit and len(value) > known.limit):
                raise WrongValue("choice", name)
        for name in self.unique & {name for name, value in clean.items() if value}:
            taken = [each.id for each in self.find(name, clean[name], at_once=True) if each.id != record_id]
            if taken:
                raise WrongValue("exists", taken[0])
        return clean


SLOW_S: Final = 30.0
"""Longer than anybody waits for an answer."""
PATIENCE_S: Final = 20.0
"""How long an answer is waited for that is on its way, however busy the machine is."""
NO_PATIENCE_S: Final = 0.1
"""How long one is waited for that will not come: nothing is learned while one waits."""


class Fault(StrEnum):
    """What goes wrong with one request; ``LOST`` does what was asked and loses the answer."""

    EXPIRED = "expired"
    THROTTLED = "throttled"
    DOWN = "down"
    SLOW = "slow"
    RESET = "reset"
    LOST = "lost"
    HTML = "html"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as a CRM sees it."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body) if self.body else {}


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer; a body of None is an empty one."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Vendor(Protocol):
    """One CRM's way to speak about the records in memory."""

    @property
    def crm(self) -> MemoryCrm: ...

    def answer(self, asked: Asked) -> Answered: ...

    def expired(self) -> Answered:
        """What it says when an access token or session is over."""
        ...

    def throttled(self, after_s: int) -> Answered: ...


class CrmServer:
    """A vendor on a port of this machine; ``faults`` are those of the requests to come, one each."""

    def __init__(self, vendor: Vendor) -> None:
        self.vendor = vendor
        self.faults: deque[Fault | None] = deque()
        self.requests = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator["CrmServer"]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            self._server.shutdown()
            self._server.server_close()

    def take(self, asked: Asked) -> tuple[Fault | None, Answered]:
        """The answer to a request, and what is wrong with it."""
        with self._lock:
            self.requests += 1
            fault = self.faults.popleft() if self.faults else None
            plain: dict[Fault | None, Answered] = {
                Fault.EXPIRED: self.vendor.expired(),
                Fault.THROTTLED: self.vendor.throttled(1),
                Fault.DOWN: Answered(503),
                Fault.HTML: Answered(200, "<!doctype html><title>Sign in</title>"),
                Fault.RESET: Answered(0),
            }
            return fault, plain.get(fault) or self.vendor.answer(asked)

    def patience_s(self) -> float:
        """Return how long the next answer is worth waiting for."""
        return NO_PATIENCE_S if self.faults and self.faults[0] is Fault.SLOW else PATIENCE_S

    def wait_slowly(self) -> None:
        self._over.wait(SLOW_S)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one packet an answer: a second one would wait 40 ms for the first

            def handle_any(self) -> None:
                size = int(self.headers.get("content-length") or 0)
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, parts.path, query, headers, self.rfile.read(size))
                fault, answered = server.take(asked)
                if fault is Fault.SLOW:
                    server.wait_slowly()
                if fault in (Fault.RESET, Fault.LOST, Fault.SLOW):
                    self.close_connection = True
                    return
                self._write(answered)

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any  # noqa: N815 - the library's names

            def _write(self, answered: Answered) -> None:
                is_text = isinstance(answered.body, str)
                body = b""
                if answered.body is not None:
                    body = answered.body.encode() if is_text else msgspec.json.encode(answered.body)
                self.send_response(answered.status)
                self.send_header("content-type", "text/html" if is_text else "application/json")
                self.send_header("content-length", str(len(body)))
                for name, value in answered.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Requests hold what people wrote: they stand in no log."""

        return Handler


def stamp(at: Any, form: str = "%Y-%m-%dT%H:%M:%S.000Z") -> str:
    """A time as vendors write it."""
    return str(at.strftime(form))
