"""Tryton parties, found by an identifier that holds our id; contact details are mechanisms.

Values without a field go into a note of the party. A replaced party leads to its successor.

Source: trytond 8.2, ``trytond/protocols`` (JSON-RPC, ``Authorization: Session``), ``trytond/model``
(``search_read``, ``create``, ``write``), modules ``party`` (``party.replace``) and ``ir`` (``ir.note``).
"""

import base64
from collections.abc import Iterator
from typing import Any, ClassVar, Final

from contatto.crm import model as crm
from contatto.crm.connectors import json_api as api
from contatto.crm.connectors.json_api import UNCLEAR, as_dict, as_dicts, records_reply, rows_of
from contatto.integrations.model import Denied
from contatto.kit.i18n import N_
from contatto.kit.outbound.model import Failed, HttpAnswer, HttpRequest, NotNow

PARTY: Final = "model.party.party"
NOTE: Final = "model.ir.note"
REPLACE: Final = "wizard.party.replace"
MARK: Final = "contatto:"
"""Prefix of the identifier that holds our id."""
_FIELDS: Final = (
    "name", "replaced_by", "write_date", "contact_mechanisms.type", "contact_mechanisms.value",
    "identifiers.code",
)  # fmt: skip
_WITH_INACTIVE: Final = {"active_test": False}
_PAGE: Final = 200
_MECHANISM_KINDS: Final = {crm.FindBy.EMAIL: ("email",), crm.FindBy.PHONE: ("phone", "mobile")}
_PHONES: Final = ("phone", "mobile", "fax")
SESSION: Final = "session"
MOST_WARNINGS: Final = 3
CODE: Final = "DM-"
"""Prefix of the number of a party that we create. Two parties created at once would get the same number of
Tryton's sequence, and Tryton would refuse the second. Our number also prevents a second party on a retry."""


def _comparable(field: str, text: str) -> str:
    if field in _PHONES:
        return "".join(sign for sign in text if sign.isdigit() or sign == "+")
    return text.strip().casefold()


def _request(link: crm.CrmLink, method: str, params: list[Any], *, is_login: bool = False) -> HttpRequest:
    headers = {} if is_login else {"Authorization": f"Session {link.secrets.get(SESSION, '')}"}
    database = link.settings.get("database", "")
    body = {"id": 1, "method": method, "params": params}
    return api.json_request("POST", f"{link.address}/{database}/rpc/", headers, body)


def _search_request(link: crm.CrmLink, domain: list[Any], limit: int = 20) -> HttpRequest:
    oldest = [["id", "ASC"]]
    return _request(link, f"{PARTY}.search_read", [domain, 0, limit, oldest, list(_FIELDS), _WITH_INACTIVE])


def _notes_request(link: crm.CrmLink, record_id: str) -> HttpRequest:
    domain = [["resource", "=", f"party.party,{api.record_number(record_id)}"]]
    return _request(link, f"{NOTE}.search_read", [domain, 0, 100, None, ["message"], {}])


def _mechanisms(operation: crm.WriteRecord) -> Iterator[tuple[str, str]]:
    for kind, text in operation.values.items():
        if kind != "name":
            yield from ((kind, part) for part in text.split(", ") if part)


def _encode(link: crm.CrmLink, operation: crm.Operation) -> HttpRequest:
    domain, limit = list[Any](), 20
    match operation:
        case crm.RenewSecrets():
            login = [link.settings.get("user", ""), {"password": link.secrets.get("password", "")}]
            return _request(link, "common.db.login", login, is_login=True)
        case crm.DescribeFields():
            return _request(link, "model.party.contact_mechanism.fields_get", [["type"], {}])
        case crm.FindRecord(crm.FindBy.EXTERNAL_ID, value):
            domain = [["identifiers.code", "=", f"{MARK}{value}"], ["active", "=", True]]
        case crm.FindRecord(by, value):
            same = ["value", "=", value]
            if by is crm.FindBy.PHONE:
                same = ["value_compact", "=", _comparable("phone", value)]
            mechanism = [same, ["type", "in", list(_MECHANISM_KINDS[by])]]
            domain = [["contact_mechanisms", "where", mechanism], ["active", "=", True]]
        case crm.WriteRecord(None):
            row: dict[str, Any] = {
                "code": CODE + operation.external_id.replace("-", "")[-16:],
                "identifiers": [["create", [{"code": MARK + operation.external_id}]]],
            }
            mechanisms = [{"type": kind, "value": text} for kind, text in _mechanisms(operation)]
            if mechanisms:
                row["contact_mechanisms"] = [["create", mechanisms]]
            row |= {name: text for name, text in operation.values.items() if name == "name"}
            return _request(link, f"{PARTY}.create", [[row], {}])
        case crm.ReadRecord(record_id) | crm.WriteRecord(record_id):  # an existing party is read first
            domain = [["id", "=", api.record_number(record_id or "")]]
        case crm.MergeRecords():
            return _request(link, f"{REPLACE}.create", [{}])
        case crm.EraseRecord(record_id):
            return _notes_request(link, record_id)
        case crm.ListRecords(after):
            has_our_id, limit = ["identifiers.code", "like", f"{MARK}%"], _PAGE
            domain = [has_our_id, ["active", "=", True], ["id", ">", api.record_number(after)]]
    return _search_request(link, domain, limit)


def _rows(body: Any) -> list[dict[str, Any]]:
    return [row for row in rows_of(body, "result") if isinstance(row.get("id"), int)]


def _created_id(body: Any) -> str:
    result = as_dict(body).get("result")
    if not isinstance(result, list) or not result or not isinstance(result[0], int):
        raise api.UnreadableReply
    return str(result[0])


def _record(row: dict[str, Any]) -> crm.CrmRecord:
    values: dict[str, str] = {"name": str(row.get("name") or "")}
    for mechanism in as_dicts(row.get("contact_mechanisms.")):
        kind, text = str(mechanism.get("type")), str(mechanism.get("value"))
        values[kind] = f"{values[kind]}, {text}" if kind in values else text
    codes = [str(identifier.get("code")) for identifier in as_dicts(row.get("identifiers."))]
    our_id = next((code.removeprefix(MARK) for code in codes if code.startswith(MARK)), "")
    return crm.CrmRecord(str(row["id"]), our_id, values)


def _read_login(link: crm.CrmLink, _: crm.RenewSecrets, body: Any, _memory: Any) -> crm.Reply:
    """Read the user's number and a session; a third value is its lifetime."""
    result = as_dict(body).get("result")
    if not isinstance(result, list) or len(result) < 2 or not isinstance(result[1], str):
        return Denied("login")
    text = f"{link.settings.get('user', '')}:{result[0]}:{result[1]}"
    return crm.SecretsRenewed({SESSION: base64.b64encode(text.encode("utf-8", "replace")).decode()})


def _read_description(_link: crm.CrmLink, _: crm.DescribeFields, body: Any, _memory: Any) -> crm.Reply:
    choices = as_dict(as_dict(as_dict(body).get("result")).get("type")).get("selection")
    fields = tuple(crm.CrmField(name, label) for name, label in api.as_pairs(choices))
    described = crm.FieldsDescribed((crm.CrmField("name", "Name"), *fields))
    return described if isinstance(choices, list) else UNCLEAR


def _read_record(_link: crm.CrmLink, _: crm.ReadRecord, body: Any, _memory: Any) -> crm.Reply:
    rows = _rows(body)
    successor = rows[0].get("replaced_by") if rows else None
    return crm.Moved(str(successor)) if isinstance(successor, int) else records_reply(map(_record, rows))


def _read_written(link: crm.CrmLink, write: crm.WriteRecord, body: Any, memory: Any) -> crm.Reply:
    """Continue a write by its last step: change the party that was read, then add a missing note.

    ``memory`` is that step and the record's id; it is empty after the first request.
    """
    step, _, record_id = memory.partition(":")
    if step == "changed":
        return _check_note(link, write, record_id)
    if not step and write.record_id is not None:
        return _change(link, write, _rows(body))
    if not step:
        record_id = _created_id(body)  # it has no note yet
    has_note = step == "notes" and any(row.get("message") == write.note for row in _rows(body))
    if has_note or step == "noted" or not write.note:
        return crm.Written(record_id)
    note = {"resource": f"party.party,{api.record_number(record_id)}", "message": write.note}
    return crm.FollowUp(_request(link, f"{NOTE}.create", [[note], {}]), f"noted:{record_id}")


def _change(link: crm.CrmLink, operation: crm.WriteRecord, rows: list[dict[str, Any]]) -> crm.Reply:
    """Write new values, delete wrong ones, and set our id; values that the party has stay."""
    if not rows:
        return crm.NoRecord()
    row = rows[0]
    if isinstance(row.get("replaced_by"), int):
        return crm.Moved(str(row["replaced_by"]))
    mechanisms = [
        (str(mechanism.get("type")), str(mechanism.get("value")), mechanism.get("id"))
        for mechanism in as_dicts(row.get("contact_mechanisms."))
    ]
    current = {(kind, _comparable(kind, text)) for kind, text, _ in mechanisms}
    missing = [
        {"type": kind, "value": text}
        for kind, text in _mechanisms(operation)
        if (kind, _comparable(kind, text)) not in current
    ]
    wrong = {(kind, _comparable(kind, text)) for kind, texts in operation.wrong.items() for text in texts}
    wrong_ids = [
        number
        for kind, text, number in mechanisms
        if (kind, _comparable(kind, text)) in wrong and isinstance(number, int)
    ]
    changes: dict[str, Any] = {"name": operation.values["name"]} if "name" in operation.values else {}
    deletions = [["delete", wrong_ids]] if wrong_ids else []
    creations = [["create", missing]] if missing else []
    if deletions or creations:
        changes["contact_mechanisms"] = [*deletions, *creations]
    if _record(row).external_id != operation.external_id:
        identifiers = as_dicts(row.get("identifiers."))
        our_ids = [
            identifier["id"] for identifier in identifiers if str(identifier.get("code")).startswith(MARK)
        ]
        replaced = [["delete", our_ids]] if our_ids else []
        changes["identifiers"] = [*replaced, ["create", [{"code": MARK + operation.external_id}]]]
    record_id = str(row["id"])
    if not changes:
        return _check_note(link, operation, record_id)
    request = _request(link, f"{PARTY}.write", [[api.record_number(record_id)], changes, {}])
    return crm.FollowUp(request, f"changed:{record_id}")


def _check_note(link: crm.CrmLink, operation: crm.WriteRecord, record_id: str) -> crm.Reply:
    request = crm.FollowUp(_notes_request(link, record_id), f"notes:{record_id}")
    return request if operation.note else crm.Written(record_id)


def _read_merged(link: crm.CrmLink, merge: crm.MergeRecords, body: Any, memory: Any) -> crm.Reply:
    """Run the wizard step by step: create it, execute the replacement, delete it."""
    step, _, rest = memory.partition(":")
    session, _, tries = rest.partition(":")
    if step == "replaced":
        return crm.FollowUp(_request(link, f"{REPLACE}.delete", [api.record_number(session), {}]), "ended:")
    if step == "ended":
        return crm.Written(merge.into_id)
    warnings = 0
    if step == "warned":
        warnings = api.record_number(tries) + 1
    else:
        session = _created_id(body)
    parties = {
        "source": api.record_number(merge.record_id),
        "destination": api.record_number(merge.into_id),
    }
    state = [api.record_number(session), {"ask": parties}, "replace", {}]
    return crm.FollowUp(_request(link, f"{REPLACE}.execute", state), f"replaced:{session}:{warnings}")


def _read_erased(link: crm.CrmLink, erase: crm.EraseRecord, body: Any, memory: Any) -> crm.Reply:
    """Delete the notes, which would remain, and then the party with the parties that it replaced."""
    record_id = api.record_number(erase.record_id)
    if memory == "party":
        return crm.Erased()
    if memory == "notes":
        return crm.FollowUp(_search_request(link, [["replaced_by", "=", record_id]]), "replaced")
    ids = [row["id"] for row in _rows(body)]
    if memory == "replaced":
        return crm.FollowUp(_request(link, f"{PARTY}.delete", [[record_id, *ids], {}]), "party")
    if ids:
        return crm.FollowUp(_request(link, f"{NOTE}.delete", [ids, {}]), "notes")
    return crm.FollowUp(_search_request(link, [["replaced_by", "=", record_id]]), "replaced")


def _confirm(link: crm.CrmLink, warning: Any, memory: Any) -> crm.Reply:
    """Confirm a warning about different names, as a person would in Tryton's own client."""
    step, _, rest = memory.partition(":")
    session, _, tries = rest.partition(":")
    key = warning[0] if isinstance(warning, list) and warning else ""
    if step != "replaced" or api.record_number(tries) >= MOST_WARNINGS or not isinstance(key, str):
        return Failed("user_warning")
    try:
        parts = base64.b64decode(link.secrets.get(SESSION, "")).decode("utf-8", "replace").split(":")
    except ValueError:
        parts = []
    user_number = api.record_number(parts[-2]) if len(parts) > 2 else 0
    row = {"user": user_number, "name": key, "always": False}
    request = _request(link, "model.res.user.warning.create", [[row], {}])
    return crm.FollowUp(request, f"warned:{session}:{tries}")


class Tryton(api.JsonApi):
    """Connector of Tryton."""

    traits = crm.ConnectorTraits(
        name="tryton",
        label="Tryton",
        settings=(
            crm.ConnectorSetting(
                "database", N_("Database"), example="company", help=N_("As shown on Tryton's log-in page.")
            ),
            crm.ConnectorSetting(
                "user",
                N_("User"),
                example="contatto",
                help=N_("Log-in name of a user with write access to parties."),
            ),
            crm.ConnectorSetting("password", N_("Password"), is_secret=True, is_password=True),
        ),
        defaults=(("name", "name"), ("email", "email"), ("phone", "phone"), ("whatsapp", "mobile")),
        merges=True,
        enumerates=True,
        record_page="{address}/#{database}/model/party.party/{record_id}",
    )

    access = (SESSION,)
    encode = staticmethod(_encode)
    readers: ClassVar[api.Readers] = {
        crm.RenewSecrets: _read_login,
        crm.DescribeFields: _read_description,
        crm.FindRecord: lambda _link, _, body, _memory: records_reply(map(_record, _rows(body))),
        crm.ReadRecord: _read_record,
        crm.WriteRecord: _read_written,
        crm.MergeRecords: _read_merged,
        crm.EraseRecord: _read_erased,
        crm.ListRecords: lambda _link, _, body, _memory: api.list_reply(map(_record, _rows(body)), _PAGE),
    }

    def read_error(
        self, link: crm.CrmLink, operation: crm.Operation, answer: HttpAnswer, body: Any, memory: Any
    ) -> crm.Reply | None:
        status_reply = crm.plain_reply(answer)
        if status_reply is not None:
            is_login = isinstance(operation, crm.RenewSecrets) and answer.status == 401
            return Denied("login") if is_login else status_reply
        if not isinstance(body, dict) or not body.keys() & {"result", "error"}:
            return UNCLEAR
        error = body.get("error")
        return None if error is None else _read_exception(link, operation, error, memory)

    def is_same_value(self, field: str, written: str, current: str) -> bool:
        """Find each written value among those of its kind; compare phone numbers by their digits."""
        if field == "name":
            return _comparable(field, written) == _comparable(field, current)
        values = {_comparable(field, text) for text in current.split(", ")}
        return all(_comparable(field, text) in values for text in written.split(", "))


def _read_exception(link: crm.CrmLink, operation: crm.Operation, error: Any, memory: Any) -> crm.Reply:
    """Read the error in an answer with status 200; its first text is an exception or a missing key."""
    kind = error[0] if isinstance(error, list) and error and isinstance(error[0], str) else ""
    if isinstance(operation, crm.RenewSecrets):
        return Denied("login") if kind.startswith(("Login", "RateLimit")) else NotNow("login")
    if kind not in ("UserError", "UserWarning"):
        return NotNow("fault")
    details = str(error[1:2])
    if kind == "UserWarning" and isinstance(operation, crm.MergeRecords):
        return _confirm(link, error[1], memory) if len(error) > 1 else Failed("user_warning")
    if isinstance(operation, crm.WriteRecord):
        unknown = next((kind for kind, _ in _mechanisms(operation) if f'"{kind}"' in details), "")
        if unknown:
            return crm.FieldGone(unknown)
    return Failed("user_error")
