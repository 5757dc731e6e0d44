"""Pipedrive's persons, deals and notes, as its API speaks of them."""

from typing import Any, Final

from contatto.crm.model import CrmField, FieldKind
from contatto.simulator.crms.memory import MemoryCrm, StoredRecord, WrongValue
from contatto.simulator.crms.server import Answered, Asked, stamp

TOKEN = "pipedrive-token"  # noqa: S105 - of a CRM in memory
OUR_FIELD: Final = "4f1c0b6a5d2e"
_PERSONS: Final = "/api/v2/persons"
_LISTS: Final = {"emails": "email", "phones": "phone"}
_FIELDS: Final = {"email": "email", "phone": "phone", "custom_fields": OUR_FIELD}


def make_crm() -> MemoryCrm:
    """Persons as a company has them once it has made our field; e-mail addresses may stand there twice."""
    levels = (("1", "Hot"), ("2", "Cold"))
    listed = [
        CrmField("name", "Name", is_required=True),
        CrmField("email", "Email", FieldKind.EMAIL),
        CrmField("phone", "Phone", FieldKind.PHONE),
        CrmField("b7d1", "Level", FieldKind.CHOICE, choices=levels),
        CrmField(OUR_FIELD, "Contatto lead ID"),
    ]
    return MemoryCrm({each.name: each for each in listed}, OUR_FIELD)


class PipedriveFake:
    """Answers as Pipedrive does: it takes a second person with the same e-mail address."""

    def __init__(self) -> None:
        self.crm = make_crm()
        self.notes: dict[str, dict[str, Any]] = {}
        self.deals: list[dict[str, Any]] = []

    def expired(self) -> Answered:
        return _error(401, "unauthorized access")

    def throttled(self, after_s: int) -> Answered:
        return Answered(429, _error(429, "rate limit exceeded").body, {"retry-after": str(after_s)})

    def answer(self, asked: Asked) -> Answered:
        if asked.headers.get("x-api-token") != TOKEN:
            return self.expired()
        try:
            if asked.path == "/api/v2/deals":
                return self._deals(asked.query)
            if asked.path == "/v1/personFields":
                return Answered(
                    200, {"success": True, "data": [_field(field) for field in self.crm.fields.values()]}
                )
            return self._notes(asked) if asked.path.startswith("/v1/notes") else self._persons(asked)
        except WrongValue as wrong:
            text = "does not exist" if wrong.kind == "field" else "validation failed"
            return _error(400, f"{wrong.subject}: {text}")
        except KeyError:
            return _error(404, "not found")

    def _persons(self, asked: Asked) -> Answered:
        if asked.path == f"{_PERSONS}/search":
            found = self.crm.find(_FIELDS[asked.query["fields"]], asked.query["term"])
            items = [{"result_score": 1, "item": {"id": int(each.id), "type": "person"}} for each in found]
            return _good({"items": items})
        if asked.method == "POST":
            return _good(self._row(self.crm.make(self._values(asked.json()))), 201)
        if asked.path == _PERSONS:
            return self._list(asked.query)
        name = asked.path.removeprefix(f"{_PERSONS}/").removeprefix("/v1/persons/")
        record = self.crm.records[name.removesuffix("/merge")]
        if record.is_deleted:
            raise KeyError(name)
        if name.endswith("/merge"):
            self.crm.merge(record.id, str(asked.json()["merge_with_id"]))
        elif asked.method == "PATCH":
            self.crm.change(record, self._values(asked.json()))
        elif asked.method == "DELETE":
            self.crm.delete(record.id)
        return _good(self._row(record))

    def _list(self, query: Any) -> Answered:
        rows = [self._row(each) for each in self.crm.live()]
        first, most = int(query.get("cursor") or 0), int(query["limit"])
        following = str(first + most) if len(rows) > first + most else None
        page = {"data": rows[first : first + most], "additional_data": {"next_cursor": following}}
        return Answered(200, {"success": True, **page})

    def _values(self, body: dict[str, Any]) -> dict[str, Any]:
        values = {name: value for name, value in body.items() if not isinstance(value, list | dict)}
        for listed, name in _LISTS.items():
            if listed in body:
                values[name] = body[listed][0]["value"] if body[listed] else ""
        return {**values, **body.get("custom_fields", {})}

    def _row(self, record: StoredRecord) -> dict[str, Any]:
        values = record.values
        return {
            "id": int(record.id), "name": values.get("name", ""), "is_deleted": record.is_deleted,
            "emails": [{"value": values.get("email", ""), "primary": True, "label": "work"}],
            "phones": [{"value": values.get("phone", ""), "primary": True, "label": "work"}],
            "custom_fields": {name: values.get(name) for name in (OUR_FIELD, "b7d1")},
            "update_time": stamp(record.changed_at, "%Y-%m-%dT%H:%M:%SZ"),
        }  # fmt: skip

    def _notes(self, asked: Asked) -> Answered:
        if asked.method == "GET":
            person = int(asked.query["person_id"])
            mine = [note for note in self.notes.values() if note["person_id"] == person]
            return Answered(200, {"success": True, "data": mine or None})
        if asked.method == "POST":
            number = str(len(self.notes) + 1)
            self.notes[number] = {"id": int(number), **asked.json()}
        else:
            number = asked.path.removeprefix("/v1/notes/")
            self.notes[number] |= asked.json()
        return _good(self.notes[number])

    def _deals(self, query: Any) -> Answered:
        since = query.get("updated_since", "")
        found = sorted(
            (each for each in self.deals if each["update_time"] >= since),
            key=lambda deal: deal["update_time"],
        )
        return Answered(200, {"success": True, "data": found, "additional_data": {"next_cursor": None}})


def _field(one: CrmField) -> dict[str, Any]:
    kind = {FieldKind.CHOICE: "enum", FieldKind.PHONE: "phone"}.get(one.kind, "varchar")
    options = [{"id": int(value), "label": label} for value, label in one.choices]
    return {
        "key": one.name, "name": one.label, "field_type": kind, "mandatory_flag": one.is_required,
        "bulk_edit_allowed": True, "options": options,
    }  # fmt: skip


def _good(data: Any, status: int = 200) -> Answered:
    return Answered(status, {"success": True, "data": data})


def _error(status: int, text: str) -> Answered:
    return Answered(status, {"success": False, "error": text, "error_info": "", "data": None})
