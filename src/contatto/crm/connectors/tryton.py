"""Tryton: a lead is a party, found by an identifier that holds our id; its contact details are mechanisms.

What has no field is a note of the party. A party that was replaced by another leads to that one.

Source: trytond 8.2, ``trytond/protocols`` (JSON-RPC, ``Authorization: Session``), ``trytond/model``
(``search_read``, ``create``, ``write``), modules ``party`` (``party.replace``) and ``ir`` (``ir.note``).
"""

import base64
from collections.abc import Iterator
from typing import Any, Final

from contatto.crm.connectors.json_api import (
    UNREADABLE_ANSWER,
    as_dict,
    as_dicts,
    json_request,
    plain_reply,
    read_json,
    same_text,
)
from contatto.crm.model import (
    ConnectorSetting,
    ConnectorTraits,
    CrmField,
    CrmLink,
    CrmRecord,
    Denied,
    DescribeFields,
    Erased,
    EraseRecord,
    Expired,
    FieldGone,
    FieldsDescribed,
    FindBy,
    FindRecord,
    FollowUp,
    FoundRecords,
    ListRecords,
    MergeRecords,
    Moved,
    NoRecord,
    Operation,
    ReadRecord,
    RecordsListed,
    Rejected,
    RenewSecrets,
    Reply,
    RetryLater,
    SecretsRenewed,
    Unsupported,
    WriteRecord,
    Written,
)
from contatto.kit.i18n import N_
from contatto.kit.outbound.model import HttpAnswer, HttpRequest

PARTY: Final = "model.party.party"
NOTE: Final = "model.ir.note"
REPLACE: Final = "wizard.party.replace"
MARK: Final = "contatto:"
"""Begins the identifier that holds our id."""
_NAMES: Final = (
    "name", "replaced_by", "write_date", "contact_mechanisms.type", "contact_mechanisms.value",
    "identifiers.code",
)  # fmt: skip
_ALL: Final = {"active_test": False}
_PAGE: Final = 200
_KINDS: Final = {FindBy.EMAIL: ("email",), FindBy.PHONE: ("phone", "mobile")}
_PHONES: Final = ("phone", "mobile", "fax")
SESSION: Final = "session"
MOST_WARNINGS: Final = 3
CODE: Final = "DM-"
"""Begins the number of a party that we make. Two that are made at once would get the same one of Tryton's own
sequence, and the second be refused; this one also keeps a repeat from making a second party."""


class Tryton:
    """The connector; it keeps no state."""

    traits = ConnectorTraits(
        name="tryton",
        label="Tryton",
        settings=(
            ConnectorSetting(
                "database", N_("Database"), example="company", help=N_("As shown on Tryton's log-in page.")
            ),
            ConnectorSetting(
                "user",
                N_("User"),
                example="contatto",
                help=N_("Log-in name of a user with write access to parties."),
            ),
            ConnectorSetting("password", N_("Password"), is_secret=True, is_password=True),
        ),
        defaults=(("name", "name"), ("email", "email"), ("phone", "phone"), ("whatsapp", "mobile")),
        merges=True,
        enumerates=True,
    )

    def ask(self, link: CrmLink, operation: Operation) -> HttpRequest | Reply:
        if isinstance(operation, RenewSecrets):
            given = {"password": link.secrets.get("password", "")}
            return _call(link, "common.db.login", [link.settings.get("user", ""), given], is_login=True)
        if not link.secrets.get(SESSION):
            return Expired()
        if isinstance(operation, DescribeFields):
            return _call(link, "model.party.contact_mechanism.fields_get", [["type"], {}])
        if isinstance(operation, FindRecord):
            return _search(link, _domain(operation))
        if isinstance(operation, ListRecords):
            return _search(link, _ours(operation.after), _PAGE)
        return _asked(link, operation)

    def read(self, link: CrmLink, operation: Operation, answer: HttpAnswer, memory: str) -> Reply:
        wrong = plain_reply(answer)
        if wrong is not None:
            is_login = isinstance(operation, RenewSecrets) and isinstance(wrong, Expired)
            return Denied("login") if is_login else wrong
        body = read_json(answer)
        if not isinstance(body, dict) or not body.keys() & {"result", "error"}:
            return RetryLater(UNREADABLE_ANSWER)
        if body.get("error") is not None:
            return _failed(link, operation, body["error"], memory)
        return _done(link, operation, body.get("result"), memory)

    def record_url(self, link: CrmLink, record_id: str) -> str:
        database = link.settings.get("database", "")
        return f"{link.address}/#{database}/model/party.party/{record_id}"

    def agrees(self, field: str, written: str, found: str) -> bool:
        """Each value that was written is among those of its kind; numbers by their digits."""
        if field == "name":
            return same_text(written, found)
        there = {_plain(field, each) for each in found.split(", ")}
        return all(_plain(field, each) in there for each in written.split(", "))


def _asked(link: CrmLink, operation: Operation) -> HttpRequest | Reply:
    """The first request of what concerns one party; a change begins with a look at it."""
    if isinstance(operation, WriteRecord) and operation.record_id is None:
        return _call(link, f"{PARTY}.create", [[_made(operation)], {}])
    if isinstance(operation, ReadRecord | WriteRecord):
        return _search(link, [["id", "=", _number(operation.record_id or "")]])
    if isinstance(operation, MergeRecords):
        return _call(link, f"{REPLACE}.create", [{}])
    return _notes(link, operation.record_id) if isinstance(operation, EraseRecord) else Unsupported()


def _done(link: CrmLink, operation: Operation, result: Any, memory: str) -> Reply:
    if isinstance(operation, WriteRecord):
        return _after_write(link, operation, result, memory)
    if isinstance(operation, MergeRecords):
        return _after_merge(link, operation, result, memory)
    if isinstance(operation, EraseRecord):
        return _after_erase(link, operation, result, memory)
    return _answered(link, operation, result)


def _plain(field: str, text: str) -> str:
    if field in _PHONES:
        return "".join(each for each in text if each.isdigit() or each == "+")
    return text.strip().casefold()


def _call(link: CrmLink, method: str, params: list[Any], *, is_login: bool = False) -> HttpRequest:
    headers = {} if is_login else {"Authorization": f"Session {link.secrets.get(SESSION, '')}"}
    database = link.settings.get("database", "")
    body = {"id": 1, "method": method, "params": params}
    return json_request("POST", f"{link.address}/{database}/rpc/", headers, body)


def _search(link: CrmLink, domain: list[Any], limit: int = 20) -> HttpRequest:
    oldest = [["id", "ASC"]]
    return _call(link, f"{PARTY}.search_read", [domain, 0, limit, oldest, list(_NAMES), _ALL])


def _ours(after: str) -> list[Any]:
    return [["identifiers.code", "like", f"{MARK}%"], ["active", "=", True], ["id", ">", _number(after)]]


def _notes(link: CrmLink, record_id: str) -> HttpRequest:
    domain = [["resource", "=", f"party.party,{_number(record_id)}"]]
    return _call(link, f"{NOTE}.search_read", [domain, 0, 100, None, ["message"], {}])


def _domain(find: FindRecord) -> list[Any]:
    if find.by is FindBy.EXTERNAL_ID:
        return [["identifiers.code", "=", f"{MARK}{find.value}"], ["active", "=", True]]
    kinds = list(_KINDS[find.by])
    same = [["value", "=", find.value], ["type", "in", kinds]]
    if find.by is FindBy.PHONE:
        same = [["value_compact", "=", _plain("phone", find.value)], ["type", "in", kinds]]
    return [["contact_mechanisms", "where", same], ["active", "=", True]]


def _number(record_id: str) -> int:
    return int(record_id) if record_id.isascii() and record_id.isdigit() and len(record_id) < 16 else 0


def _made(operation: WriteRecord) -> dict[str, Any]:
    row: dict[str, Any] = {
        "code": CODE + operation.external_id.replace("-", "")[-16:],
        "identifiers": [["create", [{"code": MARK + operation.external_id}]]],
    }
    wanted = [{"type": kind, "value": text} for kind, text in _mechanisms(operation)]
    if wanted:
        row["contact_mechanisms"] = [["create", wanted]]
    return row | {name: text for name, text in operation.values.items() if name == "name"}


def _mechanisms(operation: WriteRecord) -> Iterator[tuple[str, str]]:
    for kind, text in operation.values.items():
        if kind != "name":
            yield from ((kind, each) for each in text.split(", ") if each)


def _records(result: Any) -> list[dict[str, Any]]:
    return [row for row in as_dicts(result) if isinstance(row.get("id"), int)]


def _record(row: dict[str, Any]) -> CrmRecord:
    values: dict[str, str] = {"name": str(row.get("name") or "")}
    for each in as_dicts(row.get("contact_mechanisms.")):
        kind, text = str(each.get("type")), str(each.get("value"))
        values[kind] = f"{values[kind]}, {text}" if kind in values else text
    codes = [str(each.get("code")) for each in as_dicts(row.get("identifiers."))]
    ours = next((code.removeprefix(MARK) for code in codes if code.startswith(MARK)), "")
    return CrmRecord(str(row["id"]), ours, values)


def _answered(link: CrmLink, operation: Operation, result: Any) -> Reply:
    if isinstance(operation, RenewSecrets):
        return _logged_in(link, result)
    if isinstance(operation, DescribeFields):
        return _described(result)
    if not isinstance(result, list):
        return RetryLater(UNREADABLE_ANSWER)
    rows = _records(result)
    if isinstance(operation, ListRecords):
        held = tuple((each.id, each.external_id) for each in map(_record, rows))
        return RecordsListed(held, held[-1][0] if len(held) == _PAGE else "")
    if isinstance(operation, ReadRecord) and rows and isinstance(rows[0].get("replaced_by"), int):
        return Moved(str(rows[0]["replaced_by"]))
    return FoundRecords(tuple(_record(row) for row in rows)) if rows else NoRecord()


def _logged_in(link: CrmLink, result: Any) -> Reply:
    """The user's number and a session; a third value says how long it lasts."""
    if not isinstance(result, list) or len(result) < 2 or not isinstance(result[1], str):
        return Denied("login")
    text = f"{link.settings.get('user', '')}:{result[0]}:{result[1]}"
    return SecretsRenewed({SESSION: base64.b64encode(text.encode("utf-8", "replace")).decode()})


def _described(result: Any) -> Reply:
    choices = as_dict(as_dict(result).get("type")).get("selection")
    if not isinstance(choices, list):
        return RetryLater(UNREADABLE_ANSWER)
    pairs = [choice for choice in choices if isinstance(choice, list) and len(choice) == 2]
    of_kinds = tuple(CrmField(str(name), str(label)) for name, label in pairs)
    return FieldsDescribed((CrmField("name", "Name"), *of_kinds))


def _failed(link: CrmLink, operation: Operation, error: Any, memory: str) -> Reply:
    """An error in an answer 200: its first text is the name of an exception of theirs, or a missing key."""
    kind = error[0] if isinstance(error, list) and error and isinstance(error[0], str) else ""
    if isinstance(operation, RenewSecrets):
        return Denied("login") if kind.startswith(("Login", "RateLimit")) else RetryLater("login")
    if kind not in ("UserError", "UserWarning"):
        return RetryLater("fault")
    says = str(error[1:2])
    if kind == "UserWarning" and isinstance(operation, MergeRecords):
        return _confirm(link, error[1], memory) if len(error) > 1 else Rejected("user_warning")
    if isinstance(operation, WriteRecord):
        unknown = next((kind for kind, _ in _mechanisms(operation) if f'"{kind}"' in says), "")
        if unknown:
            return FieldGone(unknown)
    return Rejected("user_error")


def _after_write(link: CrmLink, operation: WriteRecord, result: Any, memory: str) -> Reply:
    """Create, or look and change; then look for the note, and write it if it is not there."""
    step, _, record_id = memory.partition(":")
    if step == "changed":
        return _with_note(link, operation, record_id)
    if step == "notes":
        return _note(link, operation, result, record_id)
    if step == "noted":
        return Written(record_id)
    if operation.record_id is not None:
        return _change(link, operation, result)
    if not isinstance(result, list) or not result or not isinstance(result[0], int):
        return RetryLater(UNREADABLE_ANSWER)
    made = str(result[0])  # it has no note yet
    return _add_note(link, operation, made) if operation.note else Written(made)


def _note(link: CrmLink, operation: WriteRecord, result: Any, record_id: str) -> Reply:
    """Write the note, unless it stands there."""
    if not isinstance(result, list):
        return RetryLater(UNREADABLE_ANSWER)
    stands = any(row.get("message") == operation.note for row in _records(result))
    return Written(record_id) if stands else _add_note(link, operation, record_id)


def _add_note(link: CrmLink, operation: WriteRecord, record_id: str) -> FollowUp:
    new = {"resource": f"party.party,{_number(record_id)}", "message": operation.note}
    return FollowUp(_call(link, f"{NOTE}.create", [[new], {}]), f"noted:{record_id}")


def _change(link: CrmLink, operation: WriteRecord, result: Any) -> Reply:
    if not isinstance(result, list):
        return RetryLater(UNREADABLE_ANSWER)
    rows = _records(result)
    if not rows:
        return NoRecord()
    row = rows[0]
    if isinstance(row.get("replaced_by"), int):
        return Moved(str(row["replaced_by"]))
    known = {(str(each.get("type")), _plain(str(each.get("type")), str(each.get("value"))))
             for each in as_dicts(row.get("contact_mechanisms."))}  # fmt: skip
    missing = [
        {"type": kind, "value": text}
        for kind, text in _mechanisms(operation)
        if (kind, _plain(kind, text)) not in known
    ]
    wrong = {(kind, _plain(kind, text)) for kind, texts in operation.wrong.items() for text in texts}
    gone_ids = [
        mechanism["id"]
        for mechanism in as_dicts(row.get("contact_mechanisms."))
        if (kind := str(mechanism.get("type")), _plain(kind, str(mechanism.get("value")))) in wrong
        and isinstance(mechanism.get("id"), int)
    ]
    changes: dict[str, Any] = {"name": operation.values["name"]} if "name" in operation.values else {}
    deletions = [["delete", gone_ids]] if gone_ids else []
    creations = [["create", missing]] if missing else []
    if deletions or creations:
        changes["contact_mechanisms"] = [*deletions, *creations]
    if _record(row).external_id != operation.external_id:
        ours = [
            each["id"] for each in as_dicts(row.get("identifiers.")) if str(each.get("code")).startswith(MARK)
        ]
        gone = [["delete", ours]] if ours else []
        changes["identifiers"] = [*gone, ["create", [{"code": MARK + operation.external_id}]]]
    record_id = str(row["id"])
    if not changes:
        return _with_note(link, operation, record_id)
    request = _call(link, f"{PARTY}.write", [[_number(record_id)], changes, {}])
    return FollowUp(request, f"changed:{record_id}")


def _with_note(link: CrmLink, operation: WriteRecord, record_id: str) -> Reply:
    looked = FollowUp(_notes(link, record_id), f"notes:{record_id}")
    return looked if operation.note else Written(record_id)


def _after_merge(link: CrmLink, operation: MergeRecords, result: Any, memory: str) -> Reply:
    """The wizard is begun, told what replaces what, and ended."""
    step, _, rest = memory.partition(":")
    session, _, tries = rest.partition(":")
    if not step:
        if not isinstance(result, list) or not result or not isinstance(result[0], int):
            return RetryLater(UNREADABLE_ANSWER)
        return _replace(link, operation, str(result[0]), 0)
    if step == "warned":
        return _replace(link, operation, session, _number(tries) + 1)
    if step == "replaced":
        return FollowUp(_call(link, f"{REPLACE}.delete", [_number(session), {}]), "ended:")
    return Written(operation.into_id)


def _replace(link: CrmLink, operation: MergeRecords, session: str, tries: int) -> FollowUp:
    ask = {"ask": {"source": _number(operation.record_id), "destination": _number(operation.into_id)}}
    request = _call(link, f"{REPLACE}.execute", [_number(session), ask, "replace", {}])
    return FollowUp(request, f"replaced:{session}:{tries}")


def _confirm(link: CrmLink, warning: Any, memory: str) -> Reply:
    """Tryton warns when names differ: a person would say yes, and so do we, as its own client does."""
    step, _, rest = memory.partition(":")
    session, _, tries = rest.partition(":")
    key = warning[0] if isinstance(warning, list) and warning else ""
    if step != "replaced" or _number(tries) >= MOST_WARNINGS or not isinstance(key, str):
        return Rejected("user_warning")
    row = {"user": _user_number(link), "name": key, "always": False}
    return FollowUp(_call(link, "model.res.user.warning.create", [[row], {}]), f"warned:{session}:{tries}")


def _user_number(link: CrmLink) -> int:
    """Our user's number, which the session holds between its colons."""
    try:
        parts = base64.b64decode(link.secrets.get(SESSION, "")).decode("utf-8", "replace").split(":")
    except ValueError:
        return 0
    return _number(parts[-2]) if len(parts) > 2 else 0


def _after_erase(link: CrmLink, operation: EraseRecord, result: Any, memory: str) -> Reply:
    """Notes first, which would stay behind; then the party, with those that it has replaced."""
    record_id = _number(operation.record_id)
    if not memory or memory == "replaced":
        if not isinstance(result, list):
            return RetryLater(UNREADABLE_ANSWER)
        ids = [row["id"] for row in _records(result)]
        if memory == "replaced":
            return FollowUp(_call(link, f"{PARTY}.delete", [[record_id, *ids], {}]), "party")
        if ids:
            return FollowUp(_call(link, f"{NOTE}.delete", [ids, {}]), "notes")
    if memory == "party":
        return Erased()
    return FollowUp(_search(link, [["replaced_by", "=", record_id]]), "replaced")
