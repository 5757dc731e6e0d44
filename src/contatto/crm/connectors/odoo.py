"""Odoo leads and opportunities (``crm.lead``), by its external API over JSON-RPC.

Our id is the record's external id, ``contatto.lead_…``. Odoo's import over external ids, ``load``, makes a
lead or changes it, so that a repeat makes no second. The note goes into ``description``.

Source: odoo.com/documentation, 17.0, "External API", "ORM API" (load, fields_get, search_read, unlink,
odoo.exceptions); ``odoo/http.py`` (the names in answers).
"""

import html
import re
from typing import Any, ClassVar, Final

from contatto.crm.connectors.json_api import (
    UNCLEAR,
    Abilities,
    JsonApi,
    as_dict,
    as_dicts,
    as_pairs,
    as_text,
    json_request,
    keep,
    past,
    plain_reply,
    read_json,
    recall,
)
from contatto.crm.model import (
    ChangesListed,
    ConnectorSetting,
    ConnectorTraits,
    CrmField,
    CrmLink,
    CrmRecord,
    Cursor,
    Denied,
    DescribeFields,
    Erased,
    EraseRecord,
    Expired,
    FieldGone,
    FieldKind,
    FieldsDescribed,
    FindBy,
    FindRecord,
    FollowUp,
    FoundRecords,
    ListChanges,
    ListRecords,
    NoRecord,
    Operation,
    ReadRecord,
    RecordChange,
    RecordsListed,
    Rejected,
    RenewSecrets,
    Reply,
    RetryLater,
    SecretsRenewed,
    ValueGone,
    WriteRecord,
    Written,
)
from contatto.kit.i18n import N_
from contatto.kit.outbound.model import HttpAnswer, HttpRequest

_NO_FIELD: Final = re.compile(r"[Ii]nvalid field '?\"?(\w+)")


def trouble_of(error: dict[str, Any]) -> Reply:
    """What an exception of Odoo means, by its name."""
    data = as_dict(error.get("data"))
    name = as_text(data.get("name")).rpartition(".")[2]
    missing = _NO_FIELD.search(as_text(data.get("message")))
    if missing is not None:
        return FieldGone(missing[1])
    if name in ("OperationalError", "SerializationFailure", "LockNotAvailable"):
        return RetryLater(name.lower())
    replies: dict[str, Reply] = {
        "MissingError": NoRecord(),
        "AccessDenied": Denied("access_denied"),
        "AccessError": Denied("access_error"),
        "SessionExpiredException": Expired(),
        "ValidationError": Rejected("validation_error"),
        "UserError": Rejected("user_error"),
    }
    return replies.get(name, Rejected("server_error"))


NOTE: Final = "description"
_LEAD: Final = "crm.lead"
_MODULE: Final = "contatto"
_PAGE: Final = 200
_ALL: Final = {"active_test": False}
"""Leads that were lost are archived, and there all the same."""
_WATCHED: Final = [
    "write_date",
    "stage_id",
    "active",
    "user_id",
    "expected_revenue",
    "company_currency",
    "write_uid",
]
_KINDS: Final = {
    **dict.fromkeys(("char", "text", "html"), FieldKind.TEXT),
    "selection": FieldKind.CHOICE,
    "boolean": FieldKind.BOOL,
    **dict.fromkeys(("integer", "float", "monetary"), FieldKind.NUMBER),
    **dict.fromkeys(("date", "datetime"), FieldKind.TIME),
}
_KNOWN: Final = {"email_from": FieldKind.EMAIL, "phone": FieldKind.PHONE, "mobile": FieldKind.PHONE}
_UNNAMED: Final = re.compile(r"<[^>]*>")


def _call(link: CrmLink, service: str, method: str, args: list[Any]) -> HttpRequest:
    params = {"service": service, "method": method, "args": args}
    return json_request(
        "POST", f"{link.address}/jsonrpc", {}, {"jsonrpc": "2.0", "method": "call", "id": 1, "params": params}
    )


def _ask(link: CrmLink, model: str, method: str, args: list[Any], **more: Any) -> HttpRequest:
    uid = int(link.secrets.get("session", "0") or 0)
    who = [link.settings.get("database", ""), uid, link.secrets.get("password", "")]
    return _call(link, "object", "execute_kw", [*who, model, method, args, more])


def _name_of(external_id: str) -> str:
    """Our id as the name of an external id, which takes no hyphens."""
    return "lead_" + external_id.replace("-", "_")


def _our_id(name: str) -> str:
    return name.removeprefix("lead_").replace("_", "-")


def _links(link: CrmLink, *domain: list[Any], **more: str) -> HttpRequest:
    """The external ids of ours that fit."""
    ours = [["module", "=", _MODULE], ["model", "=", _LEAD], *domain]
    return _ask(link, "ir.model.data", "search_read", [ours], fields=["name", "res_id"], limit=_PAGE, **more)


def _enumerate(link: CrmLink, enumerate_: ListRecords) -> HttpRequest:
    """External ids of leads that were deleted go with them."""
    return _links(link, ["res_id", ">", int(enumerate_.after or 0)], order="res_id asc")


def _describe(link: CrmLink, _: DescribeFields) -> HttpRequest:
    attributes = ["string", "type", "required", "readonly", "selection", "size"]
    return _ask(link, _LEAD, "fields_get", [], attributes=attributes)


def _find(link: CrmLink, find: FindRecord) -> HttpRequest:
    if find.by is FindBy.EXTERNAL_ID:
        return _links(link, ["name", "=", _name_of(find.value)])
    of_email: list[Any] = [["email_normalized", "=", find.value.lower()]]
    of_phone: list[Any] = ["|", ["phone", "=", find.value], ["phone_sanitized", "=", find.value]]
    domain = of_email if find.by is FindBy.EMAIL else of_phone
    return _ask(link, _LEAD, "search_read", [domain], fields=["write_date"], limit=5, order="id asc")


def _number(record_id: str) -> int:
    """Return the id of a record as a number; 0, which no record has, for any other text."""
    return int(record_id) if record_id.isascii() and record_id.isdigit() and len(record_id) < 16 else 0


def _read(link: CrmLink, read: ReadRecord) -> HttpRequest:
    names = sorted({"write_date", *read.fields})
    domain = [["id", "=", _number(read.record_id)]]
    return _ask(link, _LEAD, "search_read", [domain], fields=names, context=_ALL)


def _write(link: CrmLink, write: WriteRecord) -> HttpRequest:
    if write.record_id is None:
        return _load(link, write)
    return _links(link, ["name", "=", _name_of(write.external_id)])


def _load(link: CrmLink, write: WriteRecord) -> HttpRequest:
    values = dict(write.values)
    if write.note:
        values[NOTE] = html.escape(write.note).replace("\n", "<br/>")
    names = ["id", *values]
    return _ask(
        link, _LEAD, "load", [names, [[f"{_MODULE}.{_name_of(write.external_id)}", *values.values()]]]
    )


def _erase(link: CrmLink, erase: EraseRecord) -> HttpRequest:
    return _ask(link, _LEAD, "unlink", [[_number(erase.record_id)]])


def _changes(link: CrmLink, changes: ListChanges) -> HttpRequest:
    """Leads that changed since, to the second, but for those that were read in that second."""
    after = changes.after
    domain: list[Any] = [["write_date", ">=", after.at]] if after.at else []
    if after.id:
        domain.append(["id", "not in", [int(each) for each in after.id.split(",") if each.isdigit()]])
    more = {"fields": _WATCHED, "limit": _PAGE, "order": "write_date asc, id asc", "context": _ALL}
    return _ask(link, _LEAD, "search_read", [domain], **more)


def _result(body: Any) -> Any:
    return as_dict(body).get("result")


def _rows(body: Any) -> list[dict[str, Any]] | None:
    rows = _result(body)
    return as_dicts(rows) if isinstance(rows, list) else None


def _read_description(_link: CrmLink, _: DescribeFields, body: Any, _memory: str) -> Reply:
    fields = as_dict(_result(body))
    if not fields:
        return UNCLEAR
    return FieldsDescribed(tuple(_field(name, as_dict(one)) for name, one in fields.items() if _takes(one)))


def _takes(one: Any) -> bool:
    return as_dict(one).get("readonly") is not True and as_text(as_dict(one).get("type")) in _KINDS


def _field(name: str, one: dict[str, Any]) -> CrmField:
    size = one.get("size")
    return CrmField(
        name,
        as_text(one.get("string")) or name,
        _KNOWN.get(name, _KINDS[as_text(one.get("type"))]),
        is_required=one.get("required") is True,
        choices=as_pairs(one.get("selection")),
        limit=size if isinstance(size, int) else 0,
    )


def _read_found(_link: CrmLink, find: FindRecord, body: Any, _memory: str) -> Reply:
    rows = _rows(body)
    if rows is None:
        return UNCLEAR
    if find.by is FindBy.EXTERNAL_ID:
        records = [CrmRecord(as_text(row.get("res_id")), find.value) for row in rows]
    else:
        records = [_record(each) for each in rows]
    found = tuple(record for record in records if record.id)
    return FoundRecords(found) if found else NoRecord()


def _record(one: dict[str, Any]) -> CrmRecord:
    """Odoo writes False for what is empty; a note comes back with its tags."""
    values = {name: _UNNAMED.sub("", as_text(value)) for name, value in one.items() if value is not False}
    return CrmRecord(values.get("id", ""), "", values, values.get("write_date", ""))


def _read_record(_link: CrmLink, _: ReadRecord, body: Any, _memory: str) -> Reply:
    rows = _rows(body)
    if rows is None:
        return UNCLEAR
    records = tuple(record for record in map(_record, rows) if record.id)
    return FoundRecords(records) if records else NoRecord()


def _read_written(link: CrmLink, write: WriteRecord, body: Any, memory: str) -> Reply:
    result = _result(body)
    if write.record_id is not None and memory != "load":
        return _tie(link, write, body, memory)
    ids = as_dict(result).get("ids")
    if isinstance(ids, list) and ids:
        return Written(as_text(ids[0]))
    return _trouble_of_load(as_dicts(as_dict(result).get("messages")))


def _tie(link: CrmLink, write: WriteRecord, body: Any, memory: str) -> Reply:
    """See to it that our external id is that of the record, and then load the values over it."""
    if memory == "tie":
        return FollowUp(_load(link, write), "load") if _result(body) else UNCLEAR
    rows, record = _rows(body), _number(write.record_id or "")
    if rows is None:
        return UNCLEAR
    if not rows:
        made = {"module": _MODULE, "name": _name_of(write.external_id), "model": _LEAD, "res_id": record}
        return FollowUp(_ask(link, "ir.model.data", "create", [made]), "tie")
    if rows[0].get("res_id") == record:
        return FollowUp(_load(link, write), "load")
    return FollowUp(_ask(link, "ir.model.data", "write", [[rows[0].get("id")], {"res_id": record}]), "tie")


def _trouble_of_load(messages: list[dict[str, Any]]) -> Reply:
    for message in messages:
        field = as_text(message.get("field"))
        if field:
            return ValueGone(field)
    return Rejected("not_taken") if messages else UNCLEAR


def _read_erased(_link: CrmLink, _: EraseRecord, body: Any, _memory: str) -> Reply:
    return Erased() if _result(body) is True else UNCLEAR


def _read_enumerated(_link: CrmLink, _: ListRecords, body: Any, _memory: str) -> Reply:
    rows = _rows(body)
    if rows is None:
        return UNCLEAR
    records = tuple((as_text(row.get("res_id")), _our_id(as_text(row.get("name")))) for row in rows)
    return RecordsListed(records, records[-1][0] if len(records) == _PAGE else "")


def _read_changes(link: CrmLink, changes: ListChanges, body: Any, memory: str) -> Reply:
    rows = _rows(body)
    if rows is None:
        return UNCLEAR
    if not memory:
        if not rows:
            return ChangesListed((), changes.after)
        ids = [each.get("id") for each in rows]
        return FollowUp(_links(link, ["res_id", "in", ids]), keep(rows))
    ours = {as_text(row.get("res_id")): _our_id(as_text(row.get("name"))) for row in rows}
    page, cursor, told = as_dicts(recall(memory)), changes.after, []
    for each in page:
        at, record_id = as_text(each.get("write_date")), as_text(each.get("id"))
        cursor = past(cursor, at, record_id)
        if record_id in ours:
            told.append(_change(each, record_id, ours[record_id], cursor))
    return ChangesListed(tuple(told), cursor, is_more=len(page) == _PAGE)


def _change(one: dict[str, Any], record_id: str, external_id: str, cursor: Cursor) -> RecordChange:
    worth, currency = as_text(one.get("expected_revenue")), _label(one.get("company_currency"))
    lost = one.get("active") is False
    return RecordChange(
        record_id,
        cursor,
        external_id,
        status="Lost" if lost else _label(one.get("stage_id")) or None,
        owner=_label(one.get("user_id")) or None,
        value=f"{worth} {currency}" if currency and worth not in ("", "0", "0.0") else None,
        by=_label(one.get("write_uid")),
    )


def _label(pair: Any) -> str:
    """The name in Odoo's pair of an id and a name."""
    return as_text(pair[1]) if isinstance(pair, list) and len(pair) == 2 else ""


class Odoo(JsonApi):
    """The connector of Odoo, with the API key of a user in place of their password."""

    traits = ConnectorTraits(
        name="odoo",
        label="Odoo",
        settings=(
            ConnectorSetting(
                "database",
                N_("Database"),
                example="crm",
                help=N_(
                    "As shown on Odoo's log-in page. On odoo.com, it is the first part of the web address."
                ),
            ),
            ConnectorSetting(
                "user",
                N_("User"),
                example="sync@example.com",
                help=N_("Log-in name of the user who creates the leads."),
            ),
            ConnectorSetting(
                "password",
                N_("API key"),
                is_secret=True,
                help=N_("In Odoo: your avatar, My profile, Account security, New API key."),
            ),
        ),
        defaults=(
            ("name", "name"),
            ("name", "contact_name"),
            ("email", "email_from"),
            ("phone", "phone"),
        ),
        upserts=True,
        tells_changes=True,
        enumerates=True,
    )
    abilities: ClassVar[Abilities] = {
        DescribeFields: (_describe, _read_description),
        FindRecord: (_find, _read_found),
        ReadRecord: (_read, _read_record),
        WriteRecord: (_write, _read_written),
        EraseRecord: (_erase, _read_erased),
        ListChanges: (_changes, _read_changes),
        ListRecords: (_enumerate, _read_enumerated),
    }

    def ask(self, link: CrmLink, operation: Operation) -> HttpRequest | Reply:
        if isinstance(operation, RenewSecrets):
            given = [link.settings.get(name, "") for name in ("database", "user")]
            return _call(link, "common", "authenticate", [*given, link.secrets.get("password", ""), {}])
        return super().ask(link, operation)

    def read(self, link: CrmLink, operation: Operation, answer: HttpAnswer, memory: str) -> Reply:
        if not isinstance(operation, RenewSecrets):
            return super().read(link, operation, answer, memory)
        return _read_session(answer)

    def is_open(self, link: CrmLink) -> bool:
        return link.secrets.get("session", "").isdigit()

    def trouble(
        self, link: CrmLink, operation: Operation, answer: HttpAnswer, body: Any, memory: str
    ) -> Reply | None:
        error = as_dict(as_dict(body).get("error"))
        return trouble_of(error) if error and answer.status == 200 else None

    def record_url(self, link: CrmLink, record_id: str) -> str:
        return f"{link.address}/web#id={record_id}&model={_LEAD}&view_type=form"


def _read_session(answer: HttpAnswer) -> Reply:
    """The number of the user; Odoo answers False where user, key or database are wrong."""
    wrong = plain_reply(answer)
    if wrong is not None:
        return Denied("401") if isinstance(wrong, Expired) else wrong
    body = read_json(answer)
    error = as_dict(as_dict(body).get("error"))
    if error:
        return trouble_of(error)
    uid = _result(body)
    if uid is False:
        return Denied("access_denied")
    return (
        SecretsRenewed({"session": str(uid)})
        if isinstance(uid, int) and not isinstance(uid, bool)
        else UNCLEAR
    )
