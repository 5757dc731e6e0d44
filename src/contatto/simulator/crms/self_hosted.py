"""Fake self-hosted CRMs with the APIs of their products, and a fake webhook receiver."""

import base64
import operator
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from contatto.crm.connectors.tryton import MARK
from contatto.crm.connectors.webhook import ERASED, sign_event
from contatto.crm.model import CrmField
from contatto.simulator.crms.server import (
    StoredRecord,
    Vendor,
    VendorRequest,
    VendorResponse,
    WrongValue,
    stamp,
)

ODOO_DATABASE, ODOO_USER, ODOO_KEY = "crm", "sync@example.com", "odoo-key"
ODOO_UID: Final = 2
ODOO_STAGE, ODOO_REVENUE = "stage_id.name", "expected_revenue"
"""Fields that only people in the CRM write."""
_ODOO_ID: Final = "external id"
_SIGNS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    ">=": operator.ge,
    "not in": lambda value, values: value not in values,
}


def _odoo_fault(name: str, message: str) -> VendorResponse:
    data = {"name": name, "message": message, "arguments": [message], "debug": ""}
    error = {"code": 200, "message": "Odoo Server Error", "data": data}
    return VendorResponse(200, {"jsonrpc": "2.0", "id": 1, "error": error})


class OdooFake(Vendor):
    """Odoo in memory: the status is always 200, and the body has the exception."""

    expired = _odoo_fault("odoo.http.SessionExpiredException", "Session expired")
    throttled = VendorResponse(429, "too many requests")
    missing = _odoo_fault("odoo.exceptions.MissingError", "Record does not exist or has been deleted.")
    our_id = _ODOO_ID
    fields = (
        CrmField("name", "Opportunity", is_required=True),
        CrmField("contact_name", "Contact Name"),
        CrmField("email_from", "Email"),
        CrmField("phone", "Phone"),
        CrmField("description", "Notes"),
        CrmField("priority", "Priority", choices=(("0", "Low"), ("1", "Medium"), ("2", "High"))),
        CrmField(_ODOO_ID, "External ID"),
    )
    """Fields of leads in a new database. Odoo stores external ids in another table (ir.model.data)."""

    def refuse(self, request: VendorRequest, wrong: WrongValue) -> VendorResponse:
        text = f"Invalid field '{wrong.subject}' on model 'crm.lead'"
        return _odoo_fault("builtins.ValueError", text)

    def route(self, request: VendorRequest) -> VendorResponse:
        params = request.json()["params"]
        args = params["args"]
        if params["service"] == "common":
            is_right = args[:3] == [ODOO_DATABASE, ODOO_USER, ODOO_KEY]
            result = ODOO_UID if is_right else False
        elif args[:3] != [ODOO_DATABASE, ODOO_UID, ODOO_KEY]:
            return _odoo_fault("odoo.exceptions.AccessDenied", "Access Denied")
        else:
            model, method, values, *more = args[3:]
            result = self._act(model, method, values, more[0] if more else {})
        return VendorResponse(200, {"jsonrpc": "2.0", "id": 1, "result": result})

    def _act(self, model: str, method: str, args: list[Any], options: dict[str, Any]) -> Any:
        if model == "ir.model.data":
            return self._external_ids(method, args, options)
        if method == "load":
            return self._load(*args)
        if method in ("unlink", "write"):
            for number in args[0]:
                record = self.crm.live_record(str(number))
                if method == "write":
                    self.crm.change(record, args[1])
                else:
                    self.crm.delete(record.id)
            return True
        if method == "fields_get":
            fields: dict[str, dict[str, Any]] = {}
            for field in self.crm.fields.values():
                if field.name != _ODOO_ID:
                    kind = "selection" if field.choices else "char"
                    shown = {"string": field.label, "type": kind, "required": field.is_required}
                    fields[field.name] = {**shown, "readonly": False}
                    if field.choices:
                        fields[field.name]["selection"] = [list(choice) for choice in field.choices]
            return fields
        return self._search(args[0], options)

    def _load(self, names: list[str], rows: list[list[Any]]) -> dict[str, Any]:
        values = dict(zip(names, rows[0], strict=True))
        external = values.pop("id")
        try:
            if not values.get("name") and not self.crm.find(_ODOO_ID, external, at_once=True):
                raise WrongValue("choice", "name")  # each new lead needs one
            record, _ = self.crm.upsert(_ODOO_ID, external, {**values, _ODOO_ID: external})
        except WrongValue as wrong:
            if wrong.kind == "field":
                raise
            message = {"type": "error", "message": "No matching record found", "field": wrong.subject}
            return {"ids": False, "messages": [{**message, "record": 0}], "nextrow": 0}
        return {"ids": [int(record.id)], "messages": [], "nextrow": 0}

    def _external_ids(self, method: str, args: list[Any], options: dict[str, Any]) -> Any:
        if method == "create":
            row = args[0]
            self.crm.live_record(str(row["res_id"])).values[_ODOO_ID] = f"{row['module']}.{row['name']}"
            return 1
        if method == "write":
            (ids, values) = args
            old = next(record for record in self.crm.live() if record.number == ids[0])
            self.crm.live_record(str(values["res_id"])).values[_ODOO_ID] = old.values.pop(_ODOO_ID)
            return True
        conditions = {name: value for name, _, value in args[0]}
        rows = [
            {"id": record.number, "name": record.values[_ODOO_ID].partition(".")[2], "res_id": int(record.id)}
            for record in self.crm.live()
            if record.values.get(_ODOO_ID)
        ]
        if "name" in conditions:
            return [row for row in rows if row["name"] == conditions["name"]]
        if isinstance(conditions["res_id"], int):
            later = [row for row in rows if int(str(row["res_id"])) > conditions["res_id"]]
            return later[: options["limit"]]
        return [row for row in rows if row["res_id"] in conditions["res_id"]]

    def _search(self, domain: list[Any], options: dict[str, Any]) -> list[dict[str, Any]]:
        rows = [self._row(record) for record in self.crm.live()]
        tests = [test for test in domain if isinstance(test, list)]
        fits = any if "|" in domain else all
        matches = [row for row in rows if fits(_SIGNS[sign](row[name], value) for name, sign, value in tests)]
        if options.get("order", "").startswith("write_date"):
            matches.sort(key=lambda row: (row["write_date"], row["id"]))
        names = {"id", *options.get("fields", ())}
        page = matches[: options.get("limit", 1_000)]
        return [{name: value for name, value in row.items() if name in names} for row in page]

    def _row(self, record: StoredRecord) -> dict[str, Any]:
        values = {name: record.values.get(name) or False for name in self.crm.fields}
        return {
            **values, "id": int(record.id), "write_date": stamp(record.changed_at, "%Y-%m-%d %H:%M:%S"),
            "email_normalized": str(values["email_from"]).lower(), "phone_sanitized": values["phone"],
            "stage_id": [1, record.values.get(ODOO_STAGE, "New")], "user_id": [ODOO_UID, "Sam"],
            "expected_revenue": float(record.values.get(ODOO_REVENUE, "0")),
            "company_currency": [1, "EUR"], "active": True, "write_uid": [ODOO_UID, "Sam"],
        }  # fmt: skip


TRYTON_DATABASE, TRYTON_USER, TRYTON_PASSWORD = "crm", "sync", "tryton-password"
_TRYTON_UID, _TRYTON_TOKEN = 7, "0" * 32
TRYTON_SESSION: Final = base64.b64encode(f"{TRYTON_USER}:{_TRYTON_UID}:{_TRYTON_TOKEN}".encode()).decode()
_MECHANISMS: Final = ("phone", "mobile", "email")
_TRYTON_ID: Final = "identifier"


class TrytonFake(Vendor):
    """Tryton in memory: exceptions have status 200, and are in the body."""

    credential = f"Session {TRYTON_SESSION}"
    expired = VendorResponse(401, {"error": "Unauthorized"})
    our_id, unique = _TRYTON_ID, ("code",)
    fields = tuple(CrmField(name, name) for name in (*_MECHANISMS, "name", _TRYTON_ID, "code"))
    """Fields of parties. Contact mechanisms are by kind; several of one kind are joined by ", "."""

    def answer(self, request: VendorRequest) -> VendorResponse:
        call = request.json()
        if call["method"] == "common.db.login":
            user, parameters = call["params"][:2]
            is_right = user == TRYTON_USER and parameters.get("password") == TRYTON_PASSWORD
            session = [_TRYTON_UID, _TRYTON_TOKEN, 3_600] if is_right else None
            return VendorResponse(200, {"id": 1, "result": session})
        return super().answer(request)

    def refuse(self, request: VendorRequest, wrong: WrongValue) -> VendorResponse:
        error = ["UserError", [f'The value "{wrong.subject}" is not valid.', ""], None]
        if wrong.kind == "warning":
            error = ["UserWarning", [wrong.subject, "The names differ.", ""]]
        return VendorResponse(200, {"id": 1, "error": error})

    def route(self, request: VendorRequest) -> VendorResponse:
        call = request.json()
        method, (first, *more) = call["method"], call["params"]
        result: Any = None
        if method.startswith("model.party.party."):
            result = self._do_parties(method.rpartition(".")[2], first, more)
        elif method == "model.party.contact_mechanism.fields_get":
            result = {"type": {"selection": [[kind, kind.title()] for kind in _MECHANISMS]}}
        elif method == "model.ir.note.search_read":
            result = [note for note in self.notes.values() if note["resource"] == first[0][2]]
        elif method == "model.ir.note.create":
            number = len(self.notes) + 1
            self.notes[number] = {"id": number, **first[0]}
            result = [number]
        elif method == "model.ir.note.delete":
            for note_id in first:
                self.notes.pop(note_id, None)
        elif method == "model.res.user.warning.create":
            self.seen.add(first[0]["name"])
            result = [1]
        elif method == "wizard.party.replace.create":
            result = [1, "start", "end"]
        elif method == "wizard.party.replace.execute":
            result = self._replace(more[0])
        return VendorResponse(200, {"id": 1, "result": result})

    def _do_parties(self, act: str, first: Any, more: list[Any]) -> Any:
        """Create, change, delete or search parties; the first parameter says which."""
        if act == "create":
            return [int(self.crm.make(self._values(row, {})).id) for row in first]
        if act == "search_read":
            limit = more[1]
            records = [
                record
                for record in self.crm.records.values()
                if (record.became or not record.is_deleted)
                and all(self._holds(record, *clause) for clause in first)
            ]
            return [self._row(record) for record in sorted(records, key=lambda one: int(one.id))[:limit]]
        for record_id in first if isinstance(first, list) else [first]:
            record = self.crm.records[str(record_id)]
            if act == "delete":
                self.crm.erase(record)
            else:
                self.crm.change(record, self._values(more[0], record.values))
        return None

    def _holds(self, record: StoredRecord, name: str, sign: str, value: Any) -> bool:
        if name == "active":
            return bool(record.is_deleted is not value)
        if name == "id":
            return bool(int(record.id) > value if sign == ">" else int(record.id) == value)
        if name == "replaced_by":
            return record.became == str(value)
        if name == "identifiers.code":
            code = MARK + record.values.get(_TRYTON_ID, "")
            return code != MARK and (sign == "like" or bool(code == value))
        (_, _, text), (_, _, kinds) = value
        values = [value for kind in kinds for value in record.values.get(kind, "").split(", ")]
        return text in values

    def _row(self, record: StoredRecord) -> dict[str, Any]:
        mechanisms = [
            (kind, text) for kind in _MECHANISMS for text in record.values.get(kind, "").split(", ") if text
        ]
        our_id = record.values.get(_TRYTON_ID)
        return {
            "id": int(record.id),
            "name": record.values.get("name") or None,
            "replaced_by": int(record.became) if record.became else None,
            "contact_mechanisms.": [
                {"id": number, "type": kind, "value": text}
                for number, (kind, text) in enumerate(mechanisms, 1)
            ],
            "identifiers.": [{"id": int(record.id), "code": MARK + our_id}] if our_id else [],
        }

    def _values(self, party: dict[str, Any], current: dict[str, str]) -> dict[str, str]:
        """Return the values to store; new contact mechanisms are added to the current ones."""
        values: dict[str, str] = {name: party[name] for name in ("name", "code") if name in party}
        mechanisms = [
            (kind, text) for kind in _MECHANISMS for text in current.get(kind, "").split(", ") if text
        ]
        for act, rows in party.get("contact_mechanisms", ()):
            if act == "delete":
                remaining = [pair for number, pair in enumerate(mechanisms, 1) if number not in rows]
                values |= {
                    kind: ", ".join(text for name, text in remaining if name == kind) for kind in _MECHANISMS
                }
            for row in rows if act == "create" else ():
                kind = row["type"]
                if kind not in _MECHANISMS:
                    raise WrongValue("field", kind)
                before = values.get(kind, current.get(kind, ""))
                values[kind] = f"{before}, {row['value']}" if before else row["value"]
        for act, rows in party.get("identifiers", ()):
            if act == "create":
                values[_TRYTON_ID] = rows[0]["code"].removeprefix(MARK)
        return values

    def _replace(self, values: dict[str, Any]) -> dict[str, Any]:
        source, target = (self.crm.records[str(values["ask"][name])] for name in ("source", "destination"))
        key = f"replace.{source.id}"
        if source.values.get("name") != target.values.get("name") and key not in self.seen:
            raise WrongValue("warning", key)
        if not source.became:
            self.crm.merge(source.id, target.id)
        return {}


BOTTLECRM_TOKEN = "bottlecrm-token"  # noqa: S105 - of a CRM in memory
_BOTTLECRM_LEADS = "/api/leads/"
_BOTTLECRM_ID = "source_ref"


class BottleFake(Vendor):
    """BottleCRM in memory; it ignores fields that it does not have."""

    credential = f"Bearer {BOTTLECRM_TOKEN}"
    expired = VendorResponse(401, {"detail": "Invalid token."})
    throttled = VendorResponse(429, {"detail": "Request was throttled."})
    missing = VendorResponse(404, {"detail": "No Lead matches the given query."})
    our_id, unique = _BOTTLECRM_ID, ("email",)
    fields = (
        CrmField("title", "Title"),
        CrmField("first_name", "First name"),
        CrmField("last_name", "Last name"),
        CrmField("company_name", "Company"),
        CrmField("description", "Description"),
        CrmField(_BOTTLECRM_ID, "Source reference"),
        CrmField("email", "E-mail"),
        CrmField("phone", "Phone"),
        CrmField("status", "Status", choices=(("assigned", "Assigned"), ("converted", "Converted"))),
    )
    """Fields of leads in a new organisation, which has one lead per e-mail address."""

    def refuse(self, request: VendorRequest, wrong: WrongValue) -> VendorResponse:
        name, text = wrong.subject, f"{wrong.subject} is not a valid choice."
        if wrong.kind == "exists":
            name, text = "email", "Another lead in this organisation already uses that email address."
        return VendorResponse(400, {"error": True, "errors": {name: [text]}})

    def route(self, request: VendorRequest) -> VendorResponse:
        record_id, _, act = request.path.removeprefix(_BOTTLECRM_LEADS).strip("/").partition("/")
        if record_id == "duplicates":
            near = self.crm.find("phone", request.json()["phone"], at_once=True)
            duplicates = [{**_bottlecrm_lead(record), "matched_on": ["phone"]} for record in near]
            return VendorResponse(200, {"duplicates": duplicates})
        if record_id:
            record = self.crm.live_record(record_id)
            if act == "merge":
                self.crm.merge(self.crm.live_record(request.json()["merge_id"]).id, record.id)
            elif request.method == "PATCH":
                self.crm.change(record, self.crm.known_values(request.json()))
            elif request.method == "DELETE":
                self.crm.erase(record)
            else:
                return VendorResponse(200, {"lead_obj": _bottlecrm_lead(record)})
            return VendorResponse(200, {"error": False, "message": "Done"})
        if request.method == "POST":
            record = self.crm.make(self.crm.known_values(request.json()))
            return VendorResponse(
                201, {"error": False, "message": "Lead Created Successfully", "id": record.id}
            )
        email = request.query.get("email", "").casefold()
        leads = [_bottlecrm_lead(record) for record in self.crm.live()]
        rows = [lead for lead in leads if email in lead.get("email", "").casefold()]
        page = {"open_leads": rows[: int(request.query["limit"])]}
        lists = {"status": list(self.crm.fields["status"].choices), "source": [], "industries": []}
        return VendorResponse(
            200, {"open_leads": page, "close_leads": {"close_leads": []}, "countries": [], **lists}
        )


def _bottlecrm_lead(record: StoredRecord) -> dict[str, Any]:
    return {"id": record.id, **record.values, "updated_at": stamp(record.changed_at)}


WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - of a receiver in memory
_WEBHOOK_ID = "id"


class WebhookReceiver(Vendor):
    """A webhook receiver with one record for each lead; it accepts any field."""

    expired = VendorResponse(503)
    our_id = _WEBHOOK_ID
    fields = tuple(CrmField(name, name) for name in (_WEBHOOK_ID, "email", "phone", "name", "note"))

    def route(self, request: VendorRequest) -> VendorResponse:
        message_id, at = request.headers.get("webhook-id", ""), request.headers.get("webhook-timestamp", "0")
        signature = sign_event(WEBHOOK_SECRET, message_id, int(at), request.body)
        if signature not in request.headers.get("webhook-signature", "").split():
            return VendorResponse(401)
        if abs(datetime.now(UTC).timestamp() - int(at)) > 300:
            return VendorResponse(400)
        if message_id not in self.seen:
            self.seen.add(message_id)
            event = request.json()
            data = event["data"]
            if event["type"] == ERASED:
                for record in self.crm.find(_WEBHOOK_ID, data["id"], at_once=True):
                    self.crm.delete(record.id)
            else:
                values = {_WEBHOOK_ID: data["id"], "note": data["note"], **data["fields"]}
                self.crm.upsert(_WEBHOOK_ID, data["id"], self.crm.known_values(values))
        return VendorResponse(204)
