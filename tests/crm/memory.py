"""A CRM in memory with a connector that speaks to it: every fault of the engine's own, without a socket."""

import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from contatto.crm.connectors.json_api import UNREADABLE_ANSWER, json_request, read_json
from contatto.crm.model import (
    ChangesListed,
    ConnectorSetting,
    ConnectorTraits,
    CrmField,
    CrmLink,
    CrmRecord,
    Cursor,
    DescribeFields,
    Erased,
    EraseRecord,
    Exists,
    Expired,
    FieldGone,
    FieldsDescribed,
    FindBy,
    FindRecord,
    FoundRecords,
    ListChanges,
    ListRecords,
    MergeRecords,
    Moved,
    NoRecord,
    Operation,
    ReadRecord,
    RecordChange,
    RecordsListed,
    RenewSecrets,
    Reply,
    SecretsRenewed,
    ValueGone,
    WriteRecord,
    Written,
    plain_reply,
)
from contatto.integrations.model import Denied
from contatto.kit.outbound.model import HttpAnswer, HttpRequest, NotNow

CHOICES = ("New", "Working", "Won", "Lost")
type Record = dict[str, Any]


class Records(dict[str, Record]):
    """Records by id, which can be looked up by a value: of ten thousand not each is gone through."""

    def __init__(self, kept: Iterable[Record] = ()) -> None:
        self._ids: dict[tuple[str, str], dict[str, None]] = {}
        for each in kept:
            self[each["id"]] = each

    def __setitem__(self, record_id: str, made: Record) -> None:
        super().__setitem__(record_id, made)
        self.index(made)

    def index(self, changed: Record) -> None:
        for name, value in changed.items():
            self._ids.setdefault((name, str(value)), {})[changed["id"]] = None

    def having(self, name: str, value: str) -> list[Record]:
        known = (self.get(each) for each in self._ids.get((name, value), ()))
        return [each for each in known if each and not each["moved_to"] and each.get(name) == value]


@dataclass
class MemoryCrm:
    """Records by id. ``writes`` is what was asked for, in order; ``fields`` those that it has."""

    records: Records = field(default_factory=Records)
    writes: list[tuple[str, int]] = field(default_factory=list)
    fields: set[str] = field(default_factory=lambda: {"Name", "Email", "Phone", "State", "Budget"})
    choices: set[str] = field(default_factory=lambda: set(CHOICES))
    token: str = "1"
    renewals: int = 0
    is_unique: bool = True
    ticks: Any = field(default_factory=lambda: itertools.count(1))

    def handle(self, request: HttpRequest) -> HttpAnswer:
        asked = json.loads(request.body)
        if asked["do"] == "renew":
            self.renewals += 1
            return _json(200, {"token": self.token})
        if request.headers["token"] != self.token:
            return _json(401, {})
        return _acts()[asked["do"]](self, asked)

    def live(self) -> list[Record]:
        return [each for each in self.records.values() if not each["moved_to"]]

    def touch(self, record: Record) -> None:
        record["tick"] = next(self.ticks)

    def _describe(self, asked: Any) -> HttpAnswer:
        return _json(200, {"fields": sorted(self.fields), "choices": sorted(self.choices)})

    def _find(self, asked: Any) -> HttpAnswer:
        return _json(200, {"records": self.records.having(asked["by"], asked["value"])})

    def _read(self, asked: Any) -> HttpAnswer:
        found = self.records.get(asked["id"])
        if found is None:
            return _json(404, {})
        return (
            _json(301, {"to": found["moved_to"]}) if found["moved_to"] else _json(200, {"records": [found]})
        )

    def _wrong(self, values: Mapping[str, str]) -> dict[str, str]:
        unknown = [{"field": name} for name in values if name not in self.fields]
        if not unknown and "State" in values and values["State"] not in self.choices:
            return {"value": "State"}
        return unknown[0] if unknown else {}

    def _write(self, asked: Any) -> HttpAnswer:
        values = asked["values"]
        if wrong := self._wrong(values):
            return _json(422, wrong)
        found = self.records.get(asked["id"] or "")
        if asked["id"] and found is None:
            return _json(404, {})
        if found is not None and found["moved_to"]:
            return _json(301, {"to": found["moved_to"]})
        same = self.records.having("Email", values["Email"]) if values.get("Email") else []
        if found is None and self.is_unique and same:
            return _json(409, {"id": same[0]["id"]})
        if found is None:
            found = {"id": str(next(self.ticks)), "moved_to": "", "note": ""}
            self.records[found["id"]] = found
        found |= {**values, "external_id": asked["external_id"], "note": asked["note"] or found["note"]}
        self.touch(found)
        self.records.index(found)
        self.writes.append((asked["external_id"], asked["revision"]))
        return _json(200, {"id": found["id"]})

    def _merge(self, asked: Any) -> HttpAnswer:
        gone = self.records.get(asked["id"])
        if gone is None:
            return _json(404, {})
        if asked["id"] == asked["into"]:
            return _json(400, {})
        gone["moved_to"] = asked["into"]
        return _json(200, {"id": asked["into"]})

    def _erase(self, asked: Any) -> HttpAnswer:
        return _json(200, {}) if self.records.pop(asked["id"], None) else _json(404, {})

    def _enumerate(self, asked: Any) -> HttpAnswer:
        ours = [each for each in self.live() if each.get("external_id")]
        place = int(asked["after"] or 0)
        following = str(place + 2) if len(ours) > place + 2 else ""
        return _json(200, {"records": ours[place : place + 2], "after": following})

    def _changes(self, asked: Any) -> HttpAnswer:
        after = int(asked["after"] or 0)
        found = sorted((each for each in self.live() if each["tick"] > after), key=lambda each: each["tick"])
        return _json(200, {"records": found[:2], "is_more": len(found) > 2})


def _acts() -> Mapping[str, Callable[[MemoryCrm, Any], HttpAnswer]]:
    crm = MemoryCrm
    return {
        "describe": crm._describe, "find": crm._find, "read": crm._read, "write": crm._write,
        "merge": crm._merge, "erase": crm._erase, "changes": crm._changes,
        "enumerate": crm._enumerate,
    }  # fmt: skip


def _json(status: int, content: Any) -> HttpAnswer:
    return HttpAnswer(status, {}, json.dumps(content).encode())


NAMES: Final = {FindBy.EXTERNAL_ID: "external_id", FindBy.EMAIL: "Email", FindBy.PHONE: "Phone"}


def _body(operation: Operation) -> dict[str, Any]:
    if isinstance(operation, FindRecord):
        return {"do": "find", "by": NAMES[operation.by], "value": operation.value}
    if isinstance(operation, WriteRecord):
        return {
            "do": "write", "id": operation.record_id, "external_id": operation.external_id,
            "values": dict(operation.values), "note": operation.note, "revision": operation.revision,
        }  # fmt: skip
    if isinstance(operation, ListChanges | ListRecords):
        is_feed = isinstance(operation, ListChanges)
        after = operation.after.at if isinstance(operation, ListChanges) else operation.after
        return {"do": "changes" if is_feed else "enumerate", "after": after}
    if isinstance(operation, MergeRecords):
        return {"do": "merge", "id": operation.record_id, "into": operation.into_id}
    if isinstance(operation, ReadRecord | EraseRecord):
        do = "read" if isinstance(operation, ReadRecord) else "erase"
        return {"do": do, "id": operation.record_id}
    return {"do": "renew" if isinstance(operation, RenewSecrets) else "describe"}


class MemoryConnector:
    """Speaks to a ``MemoryCrm``."""

    traits: ClassVar[ConnectorTraits] = ConnectorTraits(
        name="memory",
        label="Memory",
        settings=(ConnectorSetting("password", "Password", is_secret=True),),
        defaults=(("name", "Name"), ("email", "Email"), ("phone", "Phone"), ("status", "State")),
        merges=True,
        tells_changes=True,
        enumerates=True,
    )

    def ask(self, link: CrmLink, operation: Operation) -> HttpRequest | Reply:
        token = link.secrets.get("access_token", "")
        if not isinstance(operation, RenewSecrets) and not token:
            return Expired()
        return json_request("POST", link.address, {"token": token}, _body(operation))

    def read(self, link: CrmLink, operation: Operation, answer: HttpAnswer, memory: str) -> Reply:
        body = read_json(answer)
        if answer.status in (301, 404, 409, 422):
            return _missed(answer.status, body)
        wrong = plain_reply(answer)
        if wrong is not None:
            return wrong
        return _good(operation, body) if isinstance(body, dict) else NotNow(UNREADABLE_ANSWER)

    def record_url(self, link: CrmLink, record_id: str) -> str:
        return f"{link.address}/records/{record_id}"

    def is_same_value(self, field: str, written: str, current: str) -> bool:
        return written.strip().casefold() == current.strip().casefold()


def _missed(status: int, body: Any) -> Reply:
    if status == 301:
        return Moved(body["to"])
    if status == 409:
        return Exists(body["id"])
    if status == 422:
        return FieldGone(body["field"]) if "field" in body else ValueGone(body["value"])
    return NoRecord()


def _good(operation: Operation, body: dict[str, Any]) -> Reply:
    if isinstance(operation, RenewSecrets):
        return SecretsRenewed({"access_token": body["token"]}) if body["token"] else Denied("over")
    if isinstance(operation, DescribeFields):
        return FieldsDescribed(tuple(_field(each, body["choices"]) for each in body["fields"]))
    if isinstance(operation, FindRecord | ReadRecord):
        found = tuple(CrmRecord(each["id"], each.get("external_id", ""), each) for each in body["records"])
        return FoundRecords(found) if found else NoRecord()
    if isinstance(operation, ListChanges):
        changes = tuple(_change(each) for each in body["records"])
        return ChangesListed(changes, changes[-1].cursor if changes else operation.after, body["is_more"])
    if isinstance(operation, ListRecords):
        held = tuple((each["id"], each["external_id"]) for each in body["records"])
        return RecordsListed(held, body["after"])
    return Erased() if isinstance(operation, EraseRecord) else Written(body["id"])


def _field(name: str, choices: list[str]) -> CrmField:
    if name != "State":
        return CrmField(name, name)
    return CrmField(name, name, choices=tuple((each, each) for each in choices))


def _change(found: Record) -> RecordChange:
    return RecordChange(
        found["id"], Cursor(str(found["tick"]), found["id"]), found.get("external_id", ""),
        found.get("State"), found.get("Owner"), found.get("Value"), found.get("By", ""),
    )  # fmt: skip
