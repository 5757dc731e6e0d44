"""Records of a CRM in memory, served over HTTP with planned faults."""

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
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
    """A record; ``number`` counts records, ``became`` is the id after a merge or a conversion."""

    id: str
    number: int
    values: dict[str, str]
    made_at: datetime
    changed_at: datetime
    is_deleted: bool = False
    became: str = ""
    is_converted: bool = False


class WrongValue(Exception):
    """A refused write: ``kind`` is ``field``, ``choice`` or ``exists``, ``subject`` its field or record."""

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
        """Create a record.

        Raises:
            WrongValue: a field or a value is not there, or a value is taken.
        """
        clean = self._checked(values, "")
        number = len(self.records) + 1
        made_at = self.next_time()
        stored_record = StoredRecord(record_id or str(1000 + number), number, clean, made_at, made_at)
        self.records[stored_record.id] = stored_record
        return stored_record

    def change(self, record: StoredRecord, values: dict[str, Any]) -> None:
        """Change the fields that are named.

        Raises:
            WrongValue: as ``make``.
        """
        record.values |= self._checked(values, record.id)
        record.changed_at = self.next_time()

    def live(self) -> Iterator[StoredRecord]:
        """Yield records that are not deleted, the oldest first."""
        return (record for record in self.records.values() if not record.is_deleted)

    def find(self, name: str, value: str, *, at_once: bool = False) -> list[StoredRecord]:
        """Return records with this value; a lagging search leaves out the newest."""
        newest = len(self.records) - (0 if at_once else self.lag)
        searchable = [record for record in self.live() if record.number <= newest]
        return [record for record in searchable if record.values.get(name, "").casefold() == value.casefold()]

    def changed_after(self, at: datetime | None, excluded_ids: set[str]) -> list[StoredRecord]:
        """Return our records that changed at or after a time, by time, without the excluded ones."""
        own_records = [record for record in self.records.values() if record.values.get(self.our_id)]
        since = [record for record in own_records if at is None or record.changed_at >= at]
        changed = [record for record in since if record.id not in excluded_ids]
        return sorted(changed, key=lambda record: (record.changed_at, record.number))

    def merge(self, record_id: str, into_id: str) -> StoredRecord:
        """Merge a record into another, keep the values of the latter, and return it."""
        source, target = self.records[record_id], self.records[into_id]
        values = {**source.values, **{name: value for name, value in target.values.items() if value}}
        merged_at = self.next_time()
        merged = [source]
        if self.merges_anew:
            number = len(self.records) + 1
            merged, target = (
                [source, target],
                StoredRecord(str(1000 + number), number, {}, merged_at, merged_at),
            )
            self.records[target.id] = target
        for record in merged:
            record.is_deleted, record.became, record.changed_at = True, target.id, merged_at
        target.values, target.changed_at = values, merged_at
        return target

    def delete(self, record_id: str) -> None:
        self.records[record_id].is_deleted = True
        self.records[record_id].changed_at = self.next_time()

    def drop_field(self, name: str) -> None:
        """Remove a field, as an administrator does."""
        del self.fields[name]
        for record in self.records.values():
            record.values.pop(name, None)

    def drop_choice(self, name: str, value: str) -> None:
        """Remove a value from a list, as an administrator does."""
        choices = tuple(choice for choice in self.fields[name].choices if choice[0] != value)
        self.fields[name] = replace(self.fields[name], choices=choices)

    def backup(self) -> dict[str, StoredRecord]:
        return deepcopy(self.records)

    def next_time(self) -> datetime:
        """Return the CRM's own time, which goes on by a second with each call."""
        self.ticks += 1
        return START + self.skew + timedelta(seconds=self.ticks)

    def _checked(self, values: dict[str, Any], record_id: str) -> dict[str, str]:
        clean = {name: "" if value is None else str(value) for name, value in values.items()}
        for name, value in clean.items():
            known_field = self.fields.get(name)
            if known_field is None:
                raise WrongValue("field", name)
            is_choice = known_field.kind is FieldKind.CHOICE and value
            if (is_choice and value not in dict(known_field.choices)) or (
                known_field.limit and len(value) > known_field.limit
            ):
                raise WrongValue("choice", name)
        for name in self.unique & {name for name, value in clean.items() if value}:
            duplicates = [
                record.id for record in self.find(name, clean[name], at_once=True) if record.id != record_id
            ]
            if duplicates:
                raise WrongValue("exists", duplicates[0])
        return clean


SLOW_S: Final = 30.0
"""Longer than anybody waits for an answer."""
PATIENCE_S: Final = 20.0
"""Timeout of an answer that is on its way, on a busy machine."""
NO_PATIENCE_S: Final = 0.1
"""Timeout of an answer that will not come."""


class VendorFault(StrEnum):
    """Fault of one request; ``LOST`` executes it and loses the answer."""

    EXPIRED = "expired"
    THROTTLED = "throttled"
    DOWN = "down"
    SLOW = "slow"
    RESET = "reset"
    LOST = "lost"
    HTML = "html"


@dataclass(frozen=True, slots=True)
class VendorRequest:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body) if self.body else {}


@dataclass(frozen=True, slots=True)
class VendorResponse:
    """A response of a CRM; a body of None is an empty one."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Vendor(Protocol):
    """The API of one vendor over records in memory."""

    @property
    def crm(self) -> MemoryCrm: ...

    def answer(self, request: VendorRequest) -> VendorResponse: ...

    def expired(self) -> VendorResponse:
        """Return the response to an expired token or session."""
        ...

    def throttled(self, after_s: int) -> VendorResponse: ...


class CrmServer:
    """A vendor on a port of this machine; ``faults`` holds one fault for each request to come."""

    def __init__(self, vendor: Vendor) -> None:
        self.vendor = vendor
        self.faults: deque[VendorFault | None] = deque()
        self.requests = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one packet an answer: a second one would wait 40 ms for the first

            def handle_any(self) -> None:
                size = int(self.headers.get("content-length") or 0)
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = VendorRequest(self.command, parts.path, query, headers, self.rfile.read(size))
                fault, response = server.take(request)
                if fault is VendorFault.SLOW:
                    server.wait_slowly()
                if fault in (VendorFault.RESET, VendorFault.LOST, VendorFault.SLOW):
                    self.close_connection = True
                    return
                self._write(response)

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any  # noqa: N815 - the library's names

            def _write(self, response: VendorResponse) -> None:
                is_text = isinstance(response.body, str)
                body = b""
                if response.body is not None:
                    body = response.body.encode() if is_text else msgspec.json.encode(response.body)
                self.send_response(response.status)
                self.send_header("content-type", "text/html" if is_text else "application/json")
                self.send_header("content-length", str(len(body)))
                for name, value in response.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Write no log: requests hold personal data."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
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

    def take(self, request: VendorRequest) -> tuple[VendorFault | None, VendorResponse]:
        """Return the fault of a request, and its response."""
        with self._lock:
            self.requests += 1
            fault = self.faults.popleft() if self.faults else None
            fixed_responses: dict[VendorFault | None, VendorResponse] = {
                VendorFault.EXPIRED: self.vendor.expired(),
                VendorFault.THROTTLED: self.vendor.throttled(1),
                VendorFault.DOWN: VendorResponse(503),
                VendorFault.HTML: VendorResponse(200, "<!doctype html><title>Sign in</title>"),
                VendorFault.RESET: VendorResponse(0),
            }
            return fault, fixed_responses.get(fault) or self.vendor.answer(request)

    def patience_s(self) -> float:
        """Return how long the next answer is worth waiting for."""
        return NO_PATIENCE_S if self.faults and self.faults[0] is VendorFault.SLOW else PATIENCE_S

    def wait_slowly(self) -> None:
        self._over.wait(SLOW_S)


def stamp(at: Any, form: str = "%Y-%m-%dT%H:%M:%S.000Z") -> str:
    """Return a time as vendors write it."""
    return str(at.strftime(form))
