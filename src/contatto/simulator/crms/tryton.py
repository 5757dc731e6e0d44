"""Tryton's parties and notes, as its JSON-RPC speaks of them.

A real one answers the connector in ``tests/crm/test_tryton.py``.
"""

import base64
from typing import Any, Final

from contatto.crm.connectors.tryton import MARK
from contatto.crm.model import CrmField, FieldKind
from contatto.simulator.crms.memory import MemoryCrm, StoredRecord, WrongValue
from contatto.simulator.crms.server import Answered, Asked

DATABASE, USER, PASSWORD = "crm", "sync", "tryton-password"
_NUMBER, _TOKEN = 7, "0" * 32
SESSION: Final = base64.b64encode(f"{USER}:{_NUMBER}:{_TOKEN}".encode()).decode()
_KINDS: Final = {"phone": FieldKind.PHONE, "mobile": FieldKind.PHONE, "email": FieldKind.EMAIL}
_OUR_ID: Final = "identifier"


def make_crm() -> MemoryCrm:
    """Parties with a name, their contact mechanisms by kind, and an identifier."""
    listed = [CrmField(name, name, kind) for name, kind in _KINDS.items()]
    listed += [CrmField("name", "Name"), CrmField(_OUR_ID, "Identifier"), CrmField("code", "Code")]
    return MemoryCrm({each.name: each for each in listed}, _OUR_ID, {"code"})


class TrytonError(Exception):
    """An exception of Tryton's, by its name and what it says."""

    def __init__(self, name: str, *says: Any) -> None:
        super().__init__(name, *says)
        self.body = [name, *says]


class TrytonFake:
    """Answers as Tryton does: an exception stands in the body of an answer 200."""

    def __init__(self) -> None:
        self.crm = make_crm()
        self.notes: dict[int, dict[str, Any]] = {}
        self.confirmed: set[str] = set()

    def expired(self) -> Answered:
        return Answered(401, {"error": "Unauthorized"})

    def throttled(self, after_s: int) -> Answered:
        return Answered(429, None, {"retry-after": str(after_s)})

    def answer(self, asked: Asked) -> Answered:
        call = asked.json()
        method, params = call["method"], call["params"]
        if method == "common.db.login":
            is_right = params[0] == USER and params[1].get("password") == PASSWORD
            return _result([_NUMBER, _TOKEN, 3_600] if is_right else None)
        if asked.headers.get("authorization") != f"Session {SESSION}":
            return self.expired()
        try:
            return _result(self._act(method, params))
        except WrongValue as wrong:
            error = [f'The value "{wrong.subject}" is not valid.', ""]
            return Answered(200, {"id": 1, "error": ["UserError", error, None]})
        except TrytonError as error:
            return Answered(200, {"id": 1, "error": error.body})

    def _act(self, method: str, params: list[Any]) -> Any:
        acts: dict[str, Any] = {
            "model.party.contact_mechanism.fields_get": self._kinds,
            "model.party.party.search_read": self._search,
            "model.party.party.create": self._create,
            "model.party.party.write": self._write,
            "model.party.party.delete": self._delete,
            "model.ir.note.search_read": self._notes_of,
            "model.ir.note.create": self._add_note,
            "model.ir.note.delete": self._delete_notes,
            "model.res.user.warning.create": self._confirm,
            "wizard.party.replace.create": lambda _: [1, "start", "end"],
            "wizard.party.replace.execute": self._replace,
            "wizard.party.replace.delete": lambda *_: None,
        }
        return acts[method](*params)

    @staticmethod
    def _kinds(_names: list[str], _context: Any) -> dict[str, Any]:
        return {"type": {"selection": [[kind, kind.title()] for kind in _KINDS]}}

    def _search(self, domain: list[Any], _first: int, limit: int, *_more: Any) -> list[dict[str, Any]]:
        rows = [record for record in self.crm.records.values() if self._fits(record, domain)]
        return [self._row(row) for row in sorted(rows, key=lambda each: int(each.id))[:limit]]

    def _fits(self, record: StoredRecord, domain: list[Any]) -> bool:
        if record.is_deleted and not record.became:
            return False
        return all(self._holds(record, *clause) for clause in domain)

    def _holds(self, record: StoredRecord, name: str, operator: str, value: Any) -> bool:
        if name == "active":
            return bool(record.is_deleted is not value)
        if name == "id":
            return bool(int(record.id) > value if operator == ">" else int(record.id) == value)
        if name == "replaced_by":
            return record.became == str(value)
        if name == "identifiers.code":
            code = MARK + record.values.get(_OUR_ID, "")
            return code != MARK and (operator == "like" or bool(code == value))
        (_, _, text), (_, _, kinds) = value
        there = [each for kind in kinds for each in record.values.get(kind, "").split(", ")]
        return text in there

    def _row(self, record: StoredRecord) -> dict[str, Any]:
        kept = [(kind, one) for kind in _KINDS for one in record.values.get(kind, "").split(", ") if one]
        ours = record.values.get(_OUR_ID)
        return {
            "id": int(record.id),
            "name": record.values.get("name") or None,
            "replaced_by": int(record.became) if record.became else None,
            "contact_mechanisms.": [
                {"id": number, "type": kind, "value": one} for number, (kind, one) in enumerate(kept, 1)
            ],
            "identifiers.": [{"id": int(record.id), "code": MARK + ours}] if ours else [],
        }

    def _values(self, given: dict[str, Any], known: dict[str, str]) -> dict[str, str]:
        """Plain values; mechanisms are added to those that are there."""
        values: dict[str, str] = {name: given[name] for name in ("name", "code") if name in given}
        there = [(kind, one) for kind in _KINDS for one in known.get(kind, "").split(", ") if one]
        for act, rows in given.get("contact_mechanisms", ()):
            if act == "delete":
                left = [pair for number, pair in enumerate(there, 1) if number not in rows]
                values |= {kind: ", ".join(one for name, one in left if name == kind) for kind in _KINDS}
            for row in rows if act == "create" else ():
                kind = row["type"]
                if kind not in _KINDS:
                    raise WrongValue("field", kind)
                before = values.get(kind, known.get(kind, ""))
                values[kind] = f"{before}, {row['value']}" if before else row["value"]
        for act, rows in given.get("identifiers", ()):
            if act == "create":
                values[_OUR_ID] = rows[0]["code"].removeprefix(MARK)
        return values

    def _create(self, rows: list[dict[str, Any]], _context: Any) -> list[int]:
        return [int(self.crm.make(self._values(row, {})).id) for row in rows]

    def _write(self, ids: Any, given: dict[str, Any], _context: Any) -> None:
        for each in ids if isinstance(ids, list) else [ids]:
            record = self.crm.records[str(each)]
            self.crm.change(record, self._values(given, record.values))

    def _delete(self, ids: list[int], _context: Any) -> None:
        for each in ids:
            record = self.crm.records[str(each)]
            record.values, record.is_deleted, record.became = {}, True, ""

    def _notes_of(self, domain: list[Any], *_more: Any) -> list[dict[str, Any]]:
        return [note for note in self.notes.values() if note["resource"] == domain[0][2]]

    def _add_note(self, rows: list[dict[str, Any]], _context: Any) -> list[int]:
        number = len(self.notes) + 1
        self.notes[number] = {"id": number, **rows[0]}
        return [number]

    def _delete_notes(self, ids: list[int], _context: Any) -> None:
        for each in ids:
            self.notes.pop(each, None)

    def _confirm(self, rows: list[dict[str, Any]], _context: Any) -> list[int]:
        self.confirmed.add(rows[0]["name"])
        return [1]

    def _replace(self, _session: int, given: dict[str, Any], _state: str, _context: Any) -> dict[str, Any]:
        gone, left = (self.crm.records[str(given["ask"][name])] for name in ("source", "destination"))
        key = f"replace.{gone.id}"
        if gone.values.get("name") != left.values.get("name") and key not in self.confirmed:
            raise TrytonError("UserWarning", [key, "The names differ.", ""])
        if not gone.became:
            self.crm.merge(gone.id, left.id)
        return {}


def _result(value: Any) -> Answered:
    return Answered(200, {"id": 1, "result": value})
