"""Salesforce's leads and contacts, as its REST API speaks of them; of SOQL only what is asked here."""

import re
from datetime import datetime
from typing import Any, Final

from contatto.crm.connectors.salesforce import OUR_ID
from contatto.crm.model import CrmField, FieldKind
from contatto.simulator.crms.memory import MemoryCrm, StoredRecord, WrongValue
from contatto.simulator.crms.server import Answered, Asked, stamp

TOKEN = "salesforce-session"  # noqa: S105 - of a CRM in memory
_DATA: Final = re.compile(r"^/services/data/v[0-9.]+")
_QUERY: Final = re.compile(
    r"SELECT (?P<columns>.+?) FROM (?P<source>\w+)(?: WHERE (?P<where>.+?))?"
    r"(?: ORDER BY (?P<order>.+?))?(?: LIMIT (?P<limit>\d+))?$",
    re.DOTALL,
)
_TEST: Final = re.compile(
    r"(?P<name>[\w.]+) (?P<sign>=|!=|>=|>|NOT IN) (?P<value>'(?:[^'\\]|\\.)*'|\([^)]*\)|\S+?)(?=\)|$)"
)
_TYPES: Final = {FieldKind.EMAIL: "email", FieldKind.PHONE: "phone", FieldKind.CHOICE: "picklist"}


def make_crm() -> MemoryCrm:
    """Leads as an organisation has them once an administrator has made our field."""
    statuses = (("Open", "Open"), ("Working", "Working"), ("Qualified", "Qualified"))
    sources = (("Web", "Web"), ("Ad", "Ad"))
    listed = [
        CrmField("LastName", "Last Name", is_required=True, limit=80),
        CrmField("FirstName", "First Name", limit=40),
        CrmField("Company", "Company", is_required=True, limit=255),
        CrmField("Email", "Email", FieldKind.EMAIL),
        CrmField("Phone", "Phone", FieldKind.PHONE),
        CrmField("MobilePhone", "Mobile", FieldKind.PHONE),
        CrmField("Description", "Description"),
        CrmField("Status", "Status", FieldKind.CHOICE, choices=statuses),
        CrmField("LeadSource", "Lead Source", FieldKind.CHOICE, choices=sources),
        CrmField(OUR_ID, "Contatto Lead ID"),
    ]
    return MemoryCrm({each.name: each for each in listed}, OUR_ID, {"Email", OUR_ID})


class SalesforceFake:
    """Answers as Salesforce does; a duplicate rule blocks a second lead of one e-mail address."""

    def __init__(self) -> None:
        self.crm = make_crm()
        self.contacts: dict[str, dict[str, str]] = {}

    def convert(self, record_id: str) -> str:
        """A person converts a lead to a contact; its id."""
        record = self.crm.records[record_id]
        contact = f"003{record.number:015d}"
        self.contacts[contact] = {"Id": contact, "LastName": record.values.get("LastName", "")}
        record.is_converted, record.became, record.changed_at = True, contact, self.crm.now()
        return contact

    def expired(self) -> Answered:
        return _errors(401, "INVALID_SESSION_ID", "Session expired or invalid")

    def throttled(self, after_s: int) -> Answered:
        return _errors(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", after_s)

    def answer(self, asked: Asked) -> Answered:
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return self.expired()
        path = _DATA.sub("", asked.path).rstrip("/")
        try:
            if path in ("/query", "/queryAll"):
                return self._query(asked.query["q"], deleted=path == "/queryAll")
            return self._object(asked, path.split("/")[2:])
        except WrongValue as wrong:
            return _wrong(wrong)
        except KeyError:
            return _errors(404, "NOT_FOUND", "The requested resource does not exist")

    def _object(self, asked: Asked, names: list[str]) -> Answered:
        kind, *rest = names
        if kind == "Contact":
            return self._contact(asked, rest[0])
        if rest and rest[0] == OUR_ID:
            return self._by_our_id(asked, rest[1])
        if not rest:
            made = self._make(asked.json())
            return Answered(201, {"id": made.id, "success": True, "errors": []})
        return self._lead(asked, self.crm.records[rest[0]])

    def _lead(self, asked: Asked, record: StoredRecord) -> Answered:
        if record.is_deleted:
            return _errors(404, "ENTITY_IS_DELETED", "entity is deleted")
        if asked.method == "GET":
            return Answered(200, self._row(record))
        if asked.method == "DELETE":
            self.crm.delete(record.id)
            return Answered(204)
        if record.is_converted:
            return _errors(400, "CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
        self.crm.change(record, asked.json())
        return Answered(204)

    def _contact(self, asked: Asked, contact: str) -> Answered:
        known = self.contacts[contact]
        if asked.method == "GET":
            return Answered(200, known)
        if asked.method == "DELETE":
            del self.contacts[contact]
            return Answered(204)
        known |= asked.json()
        return Answered(204)

    def _by_our_id(self, asked: Asked, our_id: str) -> Answered:
        known = self.crm.find(OUR_ID, our_id, at_once=True)
        if asked.method == "GET":
            if not known:
                raise KeyError(our_id)
            return Answered(200, self._row(known[0]))
        if known and known[0].is_converted:
            return _errors(400, "CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
        if known:
            self.crm.change(known[0], asked.json())
            return Answered(200, {"id": known[0].id, "success": True, "errors": [], "created": False})
        made = self._make({**asked.json(), OUR_ID: our_id})
        return Answered(201, {"id": made.id, "success": True, "errors": [], "created": True})

    def _make(self, values: dict[str, Any]) -> StoredRecord:
        for name in ("LastName", "Company"):
            if not values.get(name):
                raise WrongValue("required", name)
        return self.crm.make(values, f"00Q{len(self.crm.records) + 1:015d}")

    def _row(self, record: StoredRecord) -> dict[str, Any]:
        is_merged = record.is_deleted and bool(record.became)
        return {
            "attributes": {"type": "Lead"}, **dict.fromkeys(self.crm.fields), **record.values,
            "Id": record.id,
            "SystemModstamp": stamp(record.changed_at, "%Y-%m-%dT%H:%M:%S.000+0000"),
            "IsDeleted": record.is_deleted, "MasterRecordId": record.became if is_merged else None,
            "IsConverted": record.is_converted,
            "ConvertedContactId": record.became if record.is_converted else None,
            "Owner": {"Email": "sam@example.com", "Name": "Sam"}, "LastModifiedBy": {"Name": "Sam"},
            "ConvertedOpportunity": {"Amount": 1200.5} if record.is_converted else None,
        }  # fmt: skip

    def _query(self, soql: str, *, deleted: bool) -> Answered:
        parts = _QUERY.match(soql)
        if parts is None:
            return _errors(400, "MALFORMED_QUERY", "unexpected token")
        sources = {"EntityParticle": self._particles, "PicklistValueInfo": self._choices}
        if parts["source"] in sources:
            rows = sources[parts["source"]]()
        else:
            kept = [record for record in self.crm.records.values() if deleted or not record.is_deleted]
            rows = [row for row in map(self._row, kept) if _fits(row, parts["where"] or "")]
            if "SystemModstamp" in (parts["order"] or ""):
                rows.sort(key=lambda row: (row["SystemModstamp"], row["Id"]))
        rows = rows[: int(parts["limit"] or 2000)]
        return Answered(200, {"totalSize": len(rows), "done": True, "records": rows})

    def _particles(self) -> list[dict[str, Any]]:
        return [
            {
                "QualifiedApiName": field.name, "Label": field.label, "Length": field.limit,
                "DataType": _TYPES.get(field.kind, "string"), "IsCreatable": True, "IsUpdatable": True,
                "IsNillable": not field.is_required, "IsDefaultedOnCreate": False,
            }
            for field in self.crm.fields.values()
        ]  # fmt: skip

    def _choices(self) -> list[dict[str, Any]]:
        return [
            {"EntityParticle": {"QualifiedApiName": field.name}, "Value": value, "Label": label}
            for field in self.crm.fields.values()
            for value, label in field.choices
        ]


def _fits(row: dict[str, Any], where: str) -> bool:
    """Return whether a row passes: tests with AND between them, and in brackets with OR."""
    parts = [part for part in where.split(" AND ") if part]
    options = [part.strip("()").split(" OR ") if part.startswith("(") else [part] for part in parts]
    return all(any(_passes(row, test) for test in tests) for tests in options)


def _passes(row: dict[str, Any], test: str) -> bool:
    match = _TEST.match(test)
    if match is None:
        raise WrongValue("field", test)
    if match["name"] not in row:
        raise WrongValue("field", match["name"])
    has, value = row[match["name"]], match["value"]
    if match["sign"] == "NOT IN":
        return f"'{has}'" not in value
    if match["sign"] == ">":
        return bool(has > value.strip("'"))
    if match["sign"] == ">=":
        return datetime.fromisoformat(has) >= datetime.fromisoformat(value)
    plain = None if value == "null" else re.sub(r"\\(.)", r"\1", value.strip("'"))
    is_same = has == plain or str(has or "").casefold() == (plain or "").casefold()
    return is_same is (match["sign"] == "=")


def _errors(status: int, code: str, message: str, after_s: int | None = None, **more: Any) -> Answered:
    headers = {} if after_s is None else {"retry-after": str(after_s)}
    return Answered(status, [{"errorCode": code, "message": message, **more}], headers)


def _wrong(wrong: WrongValue) -> Answered:
    if wrong.kind == "exists":
        match = {"matchRecords": [{"record": {"Id": wrong.subject}}]}
        result = {"matchResults": [match], "allowSave": False}
        return _errors(400, "DUPLICATES_DETECTED", "Use one of these records?", duplicateResult=result)
    if wrong.kind == "field":
        return _errors(400, "INVALID_FIELD", f"No such column '{wrong.subject}' on sobject of type Lead")
    code = "REQUIRED_FIELD_MISSING" if wrong.kind == "required" else "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
    return _errors(400, code, "bad value for restricted picklist field", fields=[wrong.subject])
