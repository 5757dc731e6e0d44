"""Odoo's leads, as its external API over JSON-RPC speaks of them."""

from typing import Any, Final

from contatto.crm.model import CrmField, FieldKind
from contatto.simulator.crms.memory import MemoryCrm, StoredRecord, WrongValue
from contatto.simulator.crms.server import Answered, Asked, stamp

DATABASE, USER, KEY = "crm", "sync@example.com", "odoo-key"
UID: Final = 2
STAGE, REVENUE = "stage_id.name", "expected_revenue"
"""Values that only people in the CRM write."""
_OUR_ID: Final = "external id"
_TYPES: Final = {FieldKind.CHOICE: "selection", FieldKind.NUMBER: "float"}


def make_crm() -> MemoryCrm:
    """Leads as a new database has them; external ids stand in a table of their own."""
    levels = (("0", "Low"), ("1", "Medium"), ("2", "High"))
    listed = [
        CrmField("name", "Opportunity", is_required=True),
        CrmField("contact_name", "Contact Name"),
        CrmField("email_from", "Email", FieldKind.EMAIL),
        CrmField("phone", "Phone", FieldKind.PHONE),
        CrmField("description", "Notes"),
        CrmField("priority", "Priority", FieldKind.CHOICE, choices=levels),
        CrmField(_OUR_ID, "External ID"),
    ]
    return MemoryCrm({each.name: each for each in listed}, _OUR_ID)


class OdooError(Exception):
    """An exception of Odoo's, by its name."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(name, message)
        self.name, self.message = name, message


class OdooFake:
    """Answers as Odoo does: always with a status of 200, and an exception in the body."""

    def __init__(self) -> None:
        self.crm = make_crm()

    def expired(self) -> Answered:
        return _fault(1, "odoo.http.SessionExpiredException", "Session expired")

    def throttled(self, after_s: int) -> Answered:
        return Answered(429, "too many requests", {"retry-after": str(after_s)})

    def answer(self, asked: Asked) -> Answered:
        call = asked.json()
        params = call["params"]
        try:
            if params["service"] == "common":
                is_right = params["args"][:3] == [DATABASE, USER, KEY]
                return _result(call["id"], UID if is_right else False)
            database, uid, key, model, method, args, *more = params["args"]
            if (database, uid, key) != (DATABASE, UID, KEY):
                return _fault(call["id"], "odoo.exceptions.AccessDenied", "Access Denied")
            words = more[0] if more else {}
            return _result(call["id"], self._act(model, method, args, words))
        except OdooError as error:
            return _fault(call["id"], error.name, error.message)

    def _act(self, model: str, method: str, args: list[Any], words: dict[str, Any]) -> Any:
        if model == "ir.model.data":
            return self._external_ids(method, args, words)
        if method == "load":
            return self._load(*args)
        if method == "unlink":
            return self._unlink(*args)
        if method == "write":
            return self._write(*args)
        if method == "fields_get":
            return {field.name: _field(field) for field in self.crm.fields.values() if field.name != _OUR_ID}
        return self._search(args[0], words)

    def _load(self, names: list[str], rows: list[list[Any]]) -> dict[str, Any]:
        values = dict(zip(names, rows[0], strict=True))
        external = values.pop("id")
        known = self.crm.find(_OUR_ID, external, at_once=True)
        try:
            if known:
                self.crm.change(known[0], values)
            record = known[0] if known else self._made({**values, _OUR_ID: external})
        except WrongValue as wrong:
            if wrong.kind == "field":
                raise OdooError(
                    "builtins.ValueError", f"Invalid field '{wrong.subject}' on model 'crm.lead'"
                ) from None
            message = {
                "type": "error",
                "message": "No matching record found",
                "field": wrong.subject,
                "record": 0,
            }
            return {"ids": False, "messages": [message], "nextrow": 0}
        return {"ids": [int(record.id)], "messages": [], "nextrow": 0}

    def _made(self, values: dict[str, Any]) -> StoredRecord:
        if not values.get("name"):
            raise WrongValue("choice", "name")
        return self.crm.make(values)

    def _write(self, ids: list[int], values: dict[str, Any]) -> bool:
        for each in ids:
            self.crm.change(self._there(each), values)
        return True

    def _unlink(self, ids: list[int]) -> bool:
        for each in ids:
            self._there(each)
            self.crm.delete(str(each))
        return True

    def _there(self, number: int) -> StoredRecord:
        record = self.crm.records.get(str(number))
        if record is None or record.is_deleted:
            raise OdooError("odoo.exceptions.MissingError", "Record does not exist or has been deleted.")
        return record

    def _external_ids(self, method: str, args: list[Any], words: dict[str, Any]) -> Any:
        if method == "create":
            made = args[0]
            self._there(made["res_id"]).values[_OUR_ID] = f"{made['module']}.{made['name']}"
            return 1
        if method == "write":
            (ids, values) = args
            old = next(each for each in self.crm.live() if each.number == ids[0])
            self._there(values["res_id"]).values[_OUR_ID] = old.values.pop(_OUR_ID)
            return True
        wanted = {name: value for name, _, value in args[0]}
        rows = [
            {"id": each.number, "name": each.values[_OUR_ID].partition(".")[2], "res_id": int(each.id)}
            for each in self.crm.live()
            if each.values.get(_OUR_ID)
        ]
        if "name" in wanted:
            return [row for row in rows if row["name"] == wanted["name"]]
        if isinstance(wanted["res_id"], int):
            later = [each for each in rows if int(str(each["res_id"])) > wanted["res_id"]]
            return later[: words["limit"]]
        return [row for row in rows if row["res_id"] in wanted["res_id"]]

    def _search(self, domain: list[Any], words: dict[str, Any]) -> list[dict[str, Any]]:
        rows = [self._row(each) for each in self.crm.live()]
        tests = [each for each in domain if isinstance(each, list)]
        fits = any if "|" in domain else all
        found = [row for row in rows if fits(_passes(row, *test) for test in tests)]
        if words.get("order", "").startswith("write_date"):
            found.sort(key=lambda row: (row["write_date"], row["id"]))
        names = {"id", *words.get("fields", ())}
        page = found[: words.get("limit", 1_000)]
        return [{name: value for name, value in row.items() if name in names} for row in page]

    def _row(self, record: StoredRecord) -> dict[str, Any]:
        values = {name: record.values.get(name) or False for name in self.crm.fields}
        return {
            **values, "id": int(record.id), "write_date": stamp(record.changed_at, "%Y-%m-%d %H:%M:%S"),
            "email_normalized": str(values["email_from"]).lower(), "phone_sanitized": values["phone"],
            "stage_id": [1, record.values.get(STAGE, "New")], "user_id": [UID, "Sam"],
            "expected_revenue": float(record.values.get(REVENUE, "0")),
            "company_currency": [1, "EUR"], "active": True, "write_uid": [UID, "Sam"],
        }  # fmt: skip


def _passes(row: dict[str, Any], name: str, sign: str, value: Any) -> bool:
    has = row[name]
    if sign == "not in":
        return has not in value
    return bool(has >= value) if sign == ">=" else bool(has == value)


def _field(one: CrmField) -> dict[str, Any]:
    kind = _TYPES.get(one.kind, "char")
    shown = {"string": one.label, "type": kind, "required": one.is_required, "readonly": False}
    return {**shown, "selection": [list(choice) for choice in one.choices]} if one.choices else shown


def _result(number: Any, result: Any) -> Answered:
    return Answered(200, {"jsonrpc": "2.0", "id": number, "result": result})


def _fault(number: Any, name: str, message: str) -> Answered:
    data = {"name": name, "message": message, "arguments": [message], "debug": ""}
    error = {"code": 200, "message": "Odoo Server Error", "data": data}
    return Answered(200, {"jsonrpc": "2.0", "id": number, "error": error})
