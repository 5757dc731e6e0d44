"""HubSpot's contacts, as its API v3 speaks of them.

Of two that are merged it makes a third contact, with an id of its own: both former ids lead to that one.
Source: developers.hubspot.com, changelog, "Updated merge functionality for contacts and companies".
"""

from datetime import datetime
from typing import Any

from contatto.crm.connectors.hubspot import OUR_ID
from contatto.crm.model import CrmField, FieldKind
from contatto.simulator.crms.memory import MemoryCrm, StoredRecord, WrongValue
from contatto.simulator.crms.server import Answered, Asked, stamp

TOKEN = "hubspot-token"  # noqa: S105 - of a CRM in memory
_CONTACTS = "/crm/v3/objects/contacts"


def make_crm() -> MemoryCrm:
    """Contacts as a new account has them: our property is not there yet."""
    statuses = (("NEW", "New"), ("OPEN", "Open"), ("CONNECTED", "Connected"), ("UNQUALIFIED", "Unqualified"))
    listed = [
        CrmField("email", "Email", FieldKind.EMAIL),
        CrmField("phone", "Phone number", FieldKind.PHONE),
        CrmField("mobilephone", "Mobile phone", FieldKind.PHONE),
        CrmField("hs_whatsapp_phone_number", "WhatsApp", FieldKind.PHONE),
        CrmField("firstname", "First name"),
        CrmField("lastname", "Last name"),
        CrmField("message", "Message"),
        CrmField("hubspot_owner_id", "Owner"),
        CrmField("hs_lead_status", "Lead status", FieldKind.CHOICE, choices=statuses),
    ]
    fields = {each.name: each for each in listed}
    return MemoryCrm(fields, OUR_ID, {"email", OUR_ID}, merges_anew=True)


class HubSpotFake:
    """Answers as HubSpot does; requests without the token are turned away."""

    def __init__(self) -> None:
        self.crm = make_crm()

    def expired(self) -> Answered:
        return _error(401, "EXPIRED_AUTHENTICATION", "The OAuth token used to make this call expired")

    def throttled(self, after_s: int) -> Answered:
        body = {
            "status": "error",
            "message": "You have reached your secondly limit.",
            "category": "RATE_LIMITS",
        }
        return Answered(429, body, {"retry-after": str(after_s)})

    def answer(self, asked: Asked) -> Answered:
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return _error(401, "INVALID_AUTHENTICATION", "Authentication credentials not found.")
        try:
            return self._route(asked)
        except WrongValue as wrong:
            return _wrong(wrong)
        except KeyError:
            return _error(404, "OBJECT_NOT_FOUND", "Object not found.")

    def _route(self, asked: Asked) -> Answered:
        path, body = asked.path.rstrip("/"), asked.json()
        if path == "/crm/v3/properties/contacts":
            return self._properties(asked.method, body)
        if path == "/crm/v3/owners":
            return Answered(200, {"results": [{"id": "7", "email": "sam@example.com"}]})
        posts = {
            f"{_CONTACTS}/search": self._search,
            f"{_CONTACTS}/batch/upsert": self._upsert,
            f"{_CONTACTS}/merge": self._merge,
            f"{_CONTACTS}/gdpr-delete": self._erase,
            _CONTACTS: self._create,
        }
        if asked.method == "POST" and path in posts:
            return posts[path](body)
        record = self._named(path.removeprefix(f"{_CONTACTS}/"), asked.query.get("idProperty", ""))
        if asked.method == "PATCH":
            self.crm.change(record, body["properties"])
        names = asked.query.get("properties", "").split(",")
        return Answered(200, self._shown(record, names if asked.method == "GET" else None))

    def _named(self, name: str, id_property: str) -> StoredRecord:
        if id_property:
            found = self.crm.find(id_property, name, at_once=True)
            if not found:
                raise KeyError(name)
            return found[0]
        record = self.crm.records[name]
        while record.became:
            record = self.crm.records[record.became]
        if record.is_deleted:
            raise KeyError(name)
        return record

    def _shown(self, record: StoredRecord, names: list[str] | None = None) -> dict[str, Any]:
        former = ";".join(each.id for each in self.crm.records.values() if each.became == record.id)
        values = {**record.values, "lastmodifieddate": stamp(record.changed_at), "hs_object_id": record.id,
                  "hs_merged_object_ids": former}  # fmt: skip
        if names is not None:
            values = {name: values.get(name, "") for name in (*names, "hs_object_id") if name}
        times = {"createdAt": stamp(record.made_at), "updatedAt": stamp(record.changed_at)}
        return {"id": record.id, "properties": values, "archived": False, **times}

    def _properties(self, method: str, body: dict[str, Any]) -> Answered:
        if method == "POST":
            if body["name"] in self.crm.fields:
                return _error(409, "CONFLICT", f"Property named {body['name']} already exists")
            self.crm.fields[body["name"]] = CrmField(body["name"], body["label"])
            return Answered(201, _property(self.crm.fields[body["name"]]))
        return Answered(200, {"results": [_property(field) for field in self.crm.fields.values()]})

    def _create(self, body: dict[str, Any]) -> Answered:
        return Answered(201, self._shown(self.crm.make(body["properties"])))

    def _upsert(self, body: dict[str, Any]) -> Answered:
        results = []
        for given in body["inputs"]:
            if given["idProperty"] not in self.crm.fields:
                raise WrongValue("field", given["idProperty"])
            known = self.crm.find(given["idProperty"], given["id"], at_once=True)
            if known:
                self.crm.change(known[0], given["properties"])
            record = known[0] if known else self.crm.make(given["properties"])
            results.append({**self._shown(record), "new": not known})
        done = {
            "startedAt": stamp(self.crm.now()),
            "completedAt": stamp(self.crm.now()),
            "status": "COMPLETE",
        }
        return Answered(200, {"results": results, **done})

    def _merge(self, body: dict[str, Any]) -> Answered:
        gone, left = (self._named(body[name], "") for name in ("objectIdToMerge", "primaryObjectId"))
        if gone is left:
            return _error(400, "VALIDATION_ERROR", "These records have been merged already.")
        return Answered(200, self._shown(self.crm.merge(gone.id, left.id)))

    def _erase(self, body: dict[str, Any]) -> Answered:
        record = self._named(body["objectId"], body.get("idProperty", ""))
        record.values, record.is_deleted = {}, True
        return Answered(204)

    def _search(self, body: dict[str, Any]) -> Answered:
        newest = len(self.crm.records) - self.crm.lag
        known = [record for record in self.crm.live() if record.number <= newest]
        found = [
            record for record in known if any(self._fits(record, group) for group in body["filterGroups"])
        ]
        name = body["sorts"][0]["propertyName"] if body.get("sorts") else "createdate"
        found.sort(
            key=lambda each: (each.changed_at if name == "lastmodifieddate" else each.made_at, each.number)
        )
        page = [self._shown(record, body.get("properties")) for record in found[: body.get("limit", 10)]]
        return Answered(200, {"total": len(found), "results": page})

    def _fits(self, record: StoredRecord, group: dict[str, Any]) -> bool:
        return all(_holds(self._shown(record)["properties"], each) for each in group["filters"])


def _holds(values: dict[str, Any], wanted: dict[str, Any]) -> bool:
    has = str(values.get(wanted["propertyName"]) or "")
    if wanted["operator"] == "GTE":
        return _moment(has) >= _moment(wanted["value"])
    if wanted["operator"] == "GT":
        return int(has) > int(wanted["value"])
    if wanted["operator"] == "NOT_IN":
        return has not in wanted["values"]
    return bool(has) and has.casefold() == wanted.get("value", has).casefold()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _property(one: CrmField) -> dict[str, Any]:
    kinds = {FieldKind.CHOICE: ("enumeration", "select"), FieldKind.PHONE: ("string", "phonenumber")}
    kind, form = kinds.get(one.kind, ("string", "text"))
    options = [{"value": value, "label": label, "hidden": False} for value, label in one.choices]
    return {
        "name": one.name, "label": one.label, "type": kind, "fieldType": form, "options": options,
        "description": "", "groupName": "contactinformation", "hidden": False,
        "modificationMetadata": {"readOnlyValue": False, "readOnlyDefinition": False, "archivable": True},
    }  # fmt: skip


def _error(status: int, category: str, message: str, **more: Any) -> Answered:
    body = {"status": "error", "message": message, "category": category, "correlationId": "0195e2a7", **more}
    return Answered(status, body)


def _wrong(wrong: WrongValue) -> Answered:
    if wrong.kind == "exists":
        return _error(409, "CONFLICT", f"Contact already exists. Existing ID: {wrong.subject}")
    code = "PROPERTY_DOESNT_EXIST" if wrong.kind == "field" else "INVALID_OPTION"
    text = (
        f'Property "{wrong.subject}" does not exist'
        if wrong.kind == "field"
        else "is not one of the allowed options"
    )
    inner = {"message": text, "code": code, "context": {"propertyName": [wrong.subject]}}
    return _error(400, "VALIDATION_ERROR", "Property values were not valid", errors=[inner])
