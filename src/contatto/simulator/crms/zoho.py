"""Zoho CRM's leads, as its API v6 speaks of them; of COQL only what is asked here."""

import re
from datetime import datetime
from typing import Any, Final

from contatto.crm.connectors.zoho import OUR_ID
from contatto.crm.model import CrmField, FieldKind
from contatto.simulator.crms.memory import MemoryCrm, StoredRecord, WrongValue
from contatto.simulator.crms.server import Answered, Asked, stamp

TOKEN = "zoho-token"  # noqa: S105 - of a CRM in memory
_LEADS: Final = "/crm/v6/Leads"
_WHERE: Final = re.compile(r"from Leads where (?P<where>.+) order by (?P<order>\w+).* limit (?P<limit>\d+)$")
_TEST: Final = re.compile(
    r"(?P<name>\w+) (?P<sign>=|>=|not in|is not null) ?(?P<value>'(?:[^'\\]|\\.)*'|\([^)]*\))?"
)
_TYPES: Final = {FieldKind.EMAIL: "email", FieldKind.PHONE: "phone", FieldKind.CHOICE: "picklist"}


def make_crm() -> MemoryCrm:
    """Leads as an organisation has them once an administrator has made our field."""
    statuses = (("Attempted to Contact", "Attempted to Contact"), ("Qualified", "Qualified"))
    listed = [
        CrmField("Last_Name", "Last Name", is_required=True, limit=80),
        CrmField("First_Name", "First Name", limit=40),
        CrmField("Email", "Email", FieldKind.EMAIL, limit=100),
        CrmField("Phone", "Phone", FieldKind.PHONE, limit=30),
        CrmField("Mobile", "Mobile", FieldKind.PHONE, limit=30),
        CrmField("Description", "Description"),
        CrmField("Lead_Status", "Lead Status", FieldKind.CHOICE, choices=statuses),
        CrmField(OUR_ID, "Contatto Lead ID"),
    ]
    return MemoryCrm({each.name: each for each in listed}, OUR_ID, {"Email", OUR_ID})


class ZohoFake:
    """Answers as Zoho does: what is wrong stands beside the record, and unknown fields are passed over."""

    def __init__(self) -> None:
        self.crm = make_crm()

    def expired(self) -> Answered:
        return Answered(
            401, {"code": "INVALID_TOKEN", "details": {}, "message": "invalid", "status": "error"}
        )

    def throttled(self, after_s: int) -> Answered:
        body = {"code": "TOO_MANY_REQUESTS", "details": {}, "message": "wait", "status": "error"}
        return Answered(429, body, {"retry-after": str(after_s)})

    def answer(self, asked: Asked) -> Answered:
        if asked.headers.get("authorization") != f"Zoho-oauthtoken {TOKEN}":
            return self.expired()
        if asked.path == "/crm/v6/coql":
            return self._query(asked.json()["select_query"])
        if asked.path == "/crm/v6/settings/fields":
            return Answered(200, {"fields": [_field(field) for field in self.crm.fields.values()]})
        try:
            return self._leads(asked)
        except WrongValue as wrong:
            return Answered(202 if asked.method == "PUT" else 200, {"data": [_wrong(wrong)]})

    def _leads(self, asked: Asked) -> Answered:
        if asked.method == "POST":
            values = self._known(asked.json())
            known = self.crm.find(OUR_ID, values[OUR_ID], at_once=True)
            if known:
                return self._changed(known[0], values)
            return self._done(201, self._make(values))
        record_id = asked.query.get("ids") or asked.path.removeprefix(f"{_LEADS}/")
        record = self.crm.records.get(record_id)
        if record is None or record.is_deleted:
            gone = {
                "code": "INVALID_DATA",
                "details": {"id": record_id},
                "message": "invalid",
                "status": "error",
            }
            return Answered(204) if asked.method == "GET" else Answered(400, {"data": [gone]})
        if asked.method == "GET":
            return Answered(200, {"data": [self._row(record)]})
        if asked.method == "DELETE":
            self.crm.delete(record_id)
            return self._done(200, record)
        return self._changed(record, self._known(asked.json()))

    def _known(self, body: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in body["data"][0].items() if name in self.crm.fields}

    def _make(self, values: dict[str, Any]) -> StoredRecord:
        if not values.get("Last_Name"):
            raise WrongValue("required", "Last_Name")
        return self.crm.make(values)

    def _changed(self, record: StoredRecord, values: dict[str, Any]) -> Answered:
        self.crm.change(record, values)
        return self._done(200, record)

    def _done(self, status: int, record: StoredRecord) -> Answered:
        details = {"id": record.id, "Modified_Time": stamp(record.changed_at, "%Y-%m-%dT%H:%M:%S+00:00")}
        one = {"code": "SUCCESS", "details": details, "message": "done", "status": "success"}
        return Answered(status, {"data": [one]})

    def _row(self, record: StoredRecord) -> dict[str, Any]:
        return {
            **dict.fromkeys(self.crm.fields), **record.values, "id": record.id,
            "Modified_Time": stamp(record.changed_at, "%Y-%m-%dT%H:%M:%S+00:00"),
            "Owner.email": "sam@example.com", "Modified_By.full_name": "Sam", "$converted": False,
        }  # fmt: skip

    def _query(self, coql: str) -> Answered:
        parts = _WHERE.search(coql)
        if parts is None:
            return Answered(400, {"code": "SYNTAX_ERROR", "details": {}, "message": "?", "status": "error"})
        rows = [self._row(each) for each in self.crm.live()]
        is_any = " or " in parts["where"]
        found = [row for row in rows if _fits(row, parts["where"], is_any=is_any)]
        if parts["order"] == "Modified_Time":
            found.sort(key=lambda row: (row["Modified_Time"], row["id"]))
        if not found:
            return Answered(204)
        most = int(parts["limit"])
        return Answered(
            200, {"data": found[:most], "info": {"count": len(found), "more_records": len(found) > most}}
        )


def _fits(row: dict[str, Any], where: str, *, is_any: bool) -> bool:
    tests = [_passes(row, test) for test in _TEST.finditer(where)]
    return any(tests) if is_any else all(tests)


def _passes(row: dict[str, Any], test: re.Match[str]) -> bool:
    has, value = str(row.get(test["name"]) or ""), test["value"] or ""
    if test["sign"] == "is not null":
        return bool(has)
    if test["sign"] == "not in":
        return f"'{has}'" not in value
    plain = re.sub(r"\\(.)", r"\1", value.strip("'"))
    if test["sign"] == ">=":
        return datetime.fromisoformat(has) >= datetime.fromisoformat(plain)
    return has.casefold() == plain.casefold()


def _field(one: CrmField) -> dict[str, Any]:
    values = [{"actual_value": value, "display_value": label} for value, label in one.choices]
    return {
        "api_name": one.name, "field_label": one.label, "data_type": _TYPES.get(one.kind, "text"),
        "system_mandatory": one.is_required, "read_only": False, "length": one.limit or 2000,
        "pick_list_values": values,
    }  # fmt: skip


def _wrong(wrong: WrongValue) -> dict[str, Any]:
    plain: dict[str, Any] = {"message": "invalid data", "status": "error"}
    if wrong.kind == "exists":
        return {**plain, "code": "DUPLICATE_DATA", "details": {"api_name": "Email", "id": wrong.subject}}
    code = "MANDATORY_NOT_FOUND" if wrong.kind == "required" else "INVALID_DATA"
    return {**plain, "code": code, "details": {"api_name": wrong.subject}}
