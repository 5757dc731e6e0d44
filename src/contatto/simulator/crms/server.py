"""A simulated CRM: records in memory, served over HTTP with planned faults."""

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from contatto.crm.model import CrmField

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


@dataclass(eq=False)
class WrongValue(Exception):
    """A refused write.

    ``kind`` is ``field``, ``choice``, ``required``, ``warning`` or ``exists``; ``subject`` is its field or
    record.
    """

    kind: str
    subject: str


@dataclass
class MemoryCrm:
    """The records of one CRM.

    Attributes:
        our_id: the field that holds our id.
        unique: fields of which no two records have the same value.
        lag: how many of the newest records a search by e-mail or phone misses.
        skew: how far its clock is from ours.
        merges_anew: a merge makes a third record with an id of its own, to which both others lead.
        id_form: the form of an id with its number.
    """

    fields: dict[str, CrmField]
    our_id: str
    unique: set[str] = field(default_factory=set)
    lag: int = 0
    skew: timedelta = timedelta()
    records: dict[str, StoredRecord] = field(default_factory=dict)
    ticks: int = 0
    merges_anew: bool = False
    id_form: str = "{}"

    def make(self, values: dict[str, Any]) -> StoredRecord:
        """Create a record. Raises WrongValue: an unknown field or choice, a missing or a duplicate value."""
        for crm_field in self.fields.values():
            if crm_field.is_required and not values.get(crm_field.name):
                raise WrongValue("required", crm_field.name)
        return self._add(self._checked(values, ""))

    def change(self, record: StoredRecord, values: dict[str, Any]) -> None:
        """Change the fields that are named. Raises WrongValue: as ``make``."""
        record.values |= self._checked(values, record.id)
        record.changed_at = self.next_time()

    def upsert(self, name: str, value: str, values: dict[str, Any]) -> tuple[StoredRecord, bool]:
        """Change the record with this value, or create one; return it, and True for a new one."""
        existing = self.find(name, value, at_once=True)
        if not existing:
            return self.make(values), True
        self.change(existing[0], values)
        return existing[0], False

    def known_values(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the values without those of unknown fields."""
        return {name: value for name, value in values.items() if name in self.fields}

    def live(self, *, at_once: bool = True) -> list[StoredRecord]:
        """Return records that are not deleted, oldest first; without ``at_once``, as a search finds them."""
        live = [record for record in self.records.values() if not record.is_deleted]
        newest = len(self.records) - self.lag
        return live if at_once else [record for record in live if record.number <= newest]

    def live_record(self, record_id: str) -> StoredRecord:
        """Return the record with this id. Raises KeyError: it is not there, or deleted."""
        record = self.records[record_id]
        if record.is_deleted:
            raise KeyError(record_id)
        return record

    def find(self, name: str, value: str, *, at_once: bool = False) -> list[StoredRecord]:
        """Return records with this value, as a search finds them; ``at_once`` ignores its lag."""
        searchable = self.live(at_once=at_once)
        return [record for record in searchable if record.values.get(name, "").casefold() == value.casefold()]

    def merge(self, record_id: str, into_id: str) -> StoredRecord:
        """Merge a record into another, keep the values of the latter, and return it."""
        source, target = self.records[record_id], self.records[into_id]
        values = {**source.values, **{name: value for name, value in target.values.items() if value}}
        merged = [source]
        if self.merges_anew:
            merged, target = [source, target], self._add({})
        target.values, target.changed_at = values, self.next_time()
        for record in merged:
            record.is_deleted, record.became, record.changed_at = True, target.id, target.changed_at
        return target

    def delete(self, record_id: str) -> None:
        self.records[record_id].is_deleted = True
        self.records[record_id].changed_at = self.next_time()

    def erase(self, record: StoredRecord) -> None:
        """Delete a record for good, with its values."""
        record.values, record.is_deleted, record.became = {}, True, ""

    def next_time(self) -> datetime:
        """Return the CRM's own time, which goes on by a second with each call."""
        self.ticks += 1
        return START + self.skew + timedelta(seconds=self.ticks)

    def _add(self, values: dict[str, str]) -> StoredRecord:
        number, made_at = len(self.records) + 1, self.next_time()
        record = StoredRecord(self.id_form.format(1000 + number), number, values, made_at, made_at)
        self.records[record.id] = record
        return record

    def _checked(self, values: dict[str, Any], record_id: str) -> dict[str, str]:
        clean = {name: "" if value is None else str(value) for name, value in values.items()}
        for name, value in clean.items():
            known_field = self.fields.get(name)
            if known_field is None:
                raise WrongValue("field", name)
            if (known_field.choices and value and value not in dict(known_field.choices)) or (
                known_field.limit and len(value) > known_field.limit
            ):
                raise WrongValue("choice", name)
        for name in self.unique & {name for name, value in clean.items() if value}:
            for record in self.find(name, clean[name], at_once=True):
                if record.id != record_id:
                    raise WrongValue("exists", record.id)
        return clean


SLOW_S: Final = 30.0
"""Longer than anybody waits for an answer."""
PATIENCE_S: Final = 20.0
"""Client's timeout for an answer that will come, on a busy machine."""
NO_PATIENCE_S: Final = 0.1
"""Client's timeout for an answer that will not come."""


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


class Vendor(ABC):
    """The API of one vendor over records in memory.

    Class variables describe the records: see ``MemoryCrm``. A request without the credential gets the
    response to an expired token.
    """

    our_id: ClassVar[str]
    fields: ClassVar[Iterable[CrmField]]
    unique: ClassVar[tuple[str, ...]] = ()
    merges_anew: ClassVar = False
    id_form: ClassVar = "{}"
    header: ClassVar = "authorization"
    credential: ClassVar = ""
    """Value of the header; empty where a route checks requests itself."""
    has_merges: ClassVar = True
    expired = VendorResponse(401)
    """Response to an expired token or session."""
    throttled = VendorResponse(429)
    missing = VendorResponse(404)

    def __init__(self) -> None:
        fields = {crm_field.name: crm_field for crm_field in self.fields}
        self.crm = MemoryCrm(
            fields, self.our_id, set(self.unique), merges_anew=self.merges_anew, id_form=self.id_form
        )
        self.notes: dict[Any, dict[str, Any]] = {}
        self.contacts: dict[str, dict[str, str]] = {}
        """Contacts that leads were converted to."""
        self.deals: list[dict[str, Any]] = []
        self.rows: list[list[str]] = []
        """Cells of a sheet."""
        self.seen: set[str] = set()
        """Ids of confirmed warnings, or of messages that may come again."""

    def list_values(self) -> list[Mapping[str, str]]:
        """Return the values of all records."""
        return [record.values for record in self.crm.live()]

    def remove(self, record_id: str) -> None:
        """Delete a record, as a person does."""
        self.crm.delete(record_id)

    def answer(self, request: VendorRequest) -> VendorResponse:
        if self.credential and request.headers.get(self.header) != self.credential:
            return self.expired
        try:
            return self.route(request)
        except WrongValue as wrong:
            return self.refuse(request, wrong)
        except LookupError:
            return self.missing

    @abstractmethod
    def route(self, request: VendorRequest) -> VendorResponse:
        """Return the response. Raises WrongValue, LookupError: a write is refused; a record is not there."""

    def refuse(self, request: VendorRequest, wrong: WrongValue) -> VendorResponse:
        """Return the response to a refused write."""
        return VendorResponse(400)


class CrmServer:
    """A vendor on a port of this machine; ``faults`` holds one fault for each request to come."""

    def __init__(self, vendor: Vendor) -> None:
        self.vendor = vendor
        self.faults: deque[VendorFault | None] = deque()
        self.requests = 0
        self._lock = threading.Lock()
        self.over = threading.Event()
        """Set when the server stops, which ends slow answers."""
        server = self
        fixed_responses: dict[VendorFault | None, VendorResponse] = {
            VendorFault.EXPIRED: vendor.expired,
            VendorFault.THROTTLED: replace(vendor.throttled, headers={"retry-after": "1"}),
            VendorFault.DOWN: VendorResponse(503),
            VendorFault.HTML: VendorResponse(200, "<!doctype html><title>Sign in</title>"),
            VendorFault.RESET: VendorResponse(0),
        }

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one packet an answer: a second one would wait 40 ms for the first

            def handle_any(self) -> None:
                size = int(self.headers.get("content-length") or 0)
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = VendorRequest(self.command, parts.path, query, headers, self.rfile.read(size))
                with server._lock:
                    server.requests += 1
                    fault = server.faults.popleft() if server.faults else None
                    response = fixed_responses.get(fault) or vendor.answer(request)
                if fault is VendorFault.SLOW:
                    server.over.wait(SLOW_S)
                if fault in (VendorFault.RESET, VendorFault.LOST, VendorFault.SLOW):
                    self.close_connection = True
                    return
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

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any  # noqa: N815 - the library's names

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
            self.over.set()
            self._server.shutdown()
            self._server.server_close()

    def patience_s(self) -> float:
        """Return the client's timeout for its next request."""
        return NO_PATIENCE_S if self.faults and self.faults[0] is VendorFault.SLOW else PATIENCE_S


def stamp(at: Any, form: str = "%Y-%m-%dT%H:%M:%S.000Z") -> str:
    """Return a time as vendors write it."""
    return str(at.strftime(form))
