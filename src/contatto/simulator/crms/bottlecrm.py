"""BottleCRM's leads, as its API speaks of them.

A real one answers the connector in ``tests/crm/test_bottlecrm.py``.
"""

from typing import Any

from contatto.crm.model import CrmField, FieldKind
from contatto.simulator.crms.memory import MemoryCrm, StoredRecord, WrongValue
from contatto.simulator.crms.server import Answered, Asked, stamp

TOKEN = "bottlecrm-token"  # noqa: S105 - of a CRM in memory
_LEADS = "/api/leads/"
_OUR_ID = "source_ref"
_TAKEN = "Another lead in this organisation already uses that email address."


def make_crm() -> MemoryCrm:
    """Leads as a new organisation has them: one for each e-mail address."""
    statuses = (("assigned", "Assigned"), ("in process", "In process"), ("converted", "Converted"))
    names = ("title", "first_name", "last_name", "company_name", "description", _OUR_ID)
    listed = [
        *(CrmField(name, name) for name in names),
        CrmField("email", "E-mail", FieldKind.EMAIL),
        CrmField("phone", "Phone", FieldKind.PHONE),
        CrmField("status", "Status", FieldKind.CHOICE, choices=statuses),
    ]
    return MemoryCrm({each.name: each for each in listed}, _OUR_ID, {"email"})


class BottleFake:
    """Answers as BottleCRM does; it passes over fields that it does not have."""

    def __init__(self) -> None:
        self.crm = make_crm()

    def expired(self) -> Answered:
        return Answered(401, {"detail": "Invalid token."})

    def throttled(self, after_s: int) -> Answered:
        return Answered(429, {"detail": "Request was throttled."}, {"retry-after": str(after_s)})

    def answer(self, asked: Asked) -> Answered:
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return self.expired()
        try:
            path = asked.path.removeprefix(_LEADS).strip("/")
            return self._one(asked, path) if path not in ("", "duplicates") else self._all(asked, path)
        except WrongValue as wrong:
            text = _TAKEN if wrong.kind == "exists" else f"{wrong.subject} is not a valid choice."
            name = "email" if wrong.kind == "exists" else wrong.subject
            return Answered(400, {"error": True, "errors": {name: [text]}})
        except KeyError:
            return Answered(404, {"detail": "No Lead matches the given query."})

    def _all(self, asked: Asked, path: str) -> Answered:
        if path:
            near = self.crm.find("phone", asked.json()["phone"], at_once=True)
            return Answered(200, {"duplicates": [{**_shown(one), "matched_on": ["phone"]} for one in near]})
        if asked.method == "POST":
            made = self.crm.make(self._known(asked.json()))
            return Answered(201, {"error": False, "message": "Lead Created Successfully", "id": made.id})
        wanted = asked.query.get("email", "").casefold()
        rows = [_shown(one) for one in self.crm.live() if wanted in one.values.get("email", "").casefold()]
        page = {"open_leads": rows[: int(asked.query["limit"])]}
        lists = {"status": list(self.crm.fields["status"].choices), "source": [], "industries": []}
        return Answered(
            200, {"open_leads": page, "close_leads": {"close_leads": []}, "countries": [], **lists}
        )

    def _one(self, asked: Asked, path: str) -> Answered:
        record_id, _, act = path.partition("/")
        record = self._named(record_id)
        if act == "merge":
            self.crm.merge(self._named(asked.json()["merge_id"]).id, record.id)
        elif asked.method == "PATCH":
            self.crm.change(record, self._known(asked.json()))
        elif asked.method == "DELETE":
            record.values, record.is_deleted = {}, True
        else:
            return Answered(200, {"lead_obj": _shown(record)})
        return Answered(200, {"error": False, "message": "Done"})

    def _named(self, record_id: str) -> StoredRecord:
        record = self.crm.records[record_id]
        if record.is_deleted:
            raise KeyError(record_id)
        return record

    def _known(self, values: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if name in self.crm.fields}


def _shown(record: StoredRecord) -> dict[str, Any]:
    return {"id": record.id, **record.values, "updated_at": stamp(record.changed_at)}
