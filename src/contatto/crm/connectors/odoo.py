"""Odoo: leads and opportunities (``crm.lead``), by its external API over JSON-RPC.

Our id is the record's external id, ``contatto.lead_…``: Odoo's import over external ids, ``load``, makes a
lead or changes it, so that a repeat makes no second. The note goes into ``description``.

Source: odoo.com/documentation, 17.0, "External API", "ORM API" (load, fields_get, search_read, unlink).
"""

import html
import re
from typing import Any, ClassVar, Final

from contatto.crm.connectors.contract import json_request, plain_reply, read_json
from contatto.crm.connectors.json_api import (
    UNCLEAR,
    Abilities,
    JsonApi,
    as_dict,
    as_dicts,
    as_pairs,
    as_text,
    keep,
    past,
    recall,
)
from contatto.crm.connectors.odoo_errors import trouble_of
from contatto.crm.model.operations import (
    Changed,
    Changes,
    CrmField,
    CrmRecord,
    Cursor,
    Denied,
    Describe,
    Described,
    Enumerate,
    Enumerated,
    Erase,
    Erased,
    Expired,
    FieldKind,
    Find,
    FindBy,
    Found,
    Link,
    Nothing,
    Onward,
    Operation,
    Read,
    RecordChange,
    Refused,
    Renew,
    Renewed,
    Reply,
    ValueGone,
    Write,
    Written,
)
from contatto.crm.model.traits import Setting, Traits
from contatto.kit.i18n import N_
from contatto.kit.outbound.model import HttpAnswer, HttpRequest

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


def _call(link: Link, service: str, method: str, args: list[Any]) -> HttpRequest:
    params = {"service": service, "method": method, "args": args}
    return json_request(
        "POST", f"{link.address}/jsonrpc", {}, {"jsonrpc": "2.0", "method": "call", "id": 1, "params": params}
    )


def _ask(link: Link, model: str, method: str, args: list[Any], **more: Any) -> HttpRequest:
    uid = int(link.secrets.get("session", "0") or 0)
    who = [link.settings.get("database", ""), uid, link.secrets.get("password", "")]
    return _call(link, "object", "execute_kw", [*who, model, method, args, more])


def _name_of(external_id: str) -> str:
    """Our id as the name of an external id, which takes no hyphens."""
    return "lead_" + external_id.replace("-", "_")


def _our_id(name: str) -> str:
    return name.removeprefix("lead_").replace("_", "-")


def _links(link: Link, *domain: list[Any], **more: str) -> HttpRequest:
    """The external ids of ours that fit."""
    ours = [["module", "=", _MODULE], ["model", "=", _LEAD], *domain]
    return _ask(link, "ir.model.data", "search_read", [ours], fields=["name", "res_id"], limit=_PAGE, **more)


def _enumerate(link: Link, enumerate_: Enumerate) -> HttpRequest:
    """External ids of leads that were deleted go with them."""
    return _links(link, ["res_id", ">", int(enumerate_.after or 0)], order="res_id asc")


def _describe(link: Link, _: Describe) -> HttpRequest:
    attributes = ["string", "type", "required", "readonly", "selection", "size"]
    return _ask(link, _LEAD, "fields_get", [], attributes=attributes)


def _find(link: Link, find: Find) -> HttpRequest:
    if find.by is FindBy.EXTERNAL_ID:
        return _links(link, ["name", "=", _name_of(find.value)])
    of_email: list[Any] = [["email_normalized", "=", find.value.lower()]]
    of_phone: list[Any] = ["|", ["phone", "=", find.value], ["phone_sanitized", "=", find.value]]
    domain = of_email if find.by is FindBy.EMAIL else of_phone
    return _ask(link, _LEAD, "search_read", [domain], fields=["write_date"], limit=5, order="id asc")


def _number(record_id: str) -> int:
    """Return the id of a record as a number; 0, which no record has, for any other text."""
    return int(record_id) if record_id.isascii() and record_id.isdigit() and len(record_id) < 16 else 0


def _read(link: Link, read: Read) -> HttpRequest:
    names = sorted({"write_date", *read.fields})
    domain = [["id", "=", _number(read.record_id)]]
    return _ask(link, _LEAD, "search_read", [domain], fields=names, context=_ALL)


def _write(link: Link, write: Write) -> HttpRequest:
    if write.record_id is None:
        return _load(link, write)
    return _links(link, ["name", "=", _name_of(write.external_id)])


def _load(link: Link, write: Write) -> HttpRequest:
    values = dict(write.values)
    if write.note:
        values[NOTE] = html.escape(write.note).replace("\n", "<br/>")
    names = ["id", *values]
    return _ask(
        link, _LEAD, "load", [names, [[f"{_MODULE}.{_name_of(write.external_id)}", *values.values()]]]
    )


def _erase(link: Link, erase: Erase) -> HttpRequest:
    return _ask(link, _LEAD, "unlink", [[_number(erase.record_id)]])


def _changes(link: Link, changes: Changes) -> HttpRequest:
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


def _read_description(_link: Link, _: Describe, body: Any, _memory: str) -> Reply:
    fields = as_dict(_result(body))
    if not fields:
        return UNCLEAR
    return Described(tuple(_field(name, as_dict(one)) for name, one in fields.items() if _takes(one)))


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


def _read_found(_link: Link, find: Find, body: Any, _memory: str) -> Reply:
    rows = _rows(body)
    if rows is None:
        return UNCLEAR
    if find.by is FindBy.EXTERNAL_ID:
        records = [CrmRecord(as_text(row.get("res_id")), find.value) for row in rows]
    else:
        records = [_record(each) for each in rows]
    found = tuple(record for record in records if record.id)
    return Found(found) if found else Nothing()


def _record(one: dict[str, Any]) -> CrmRecord:
    """Odoo writes False for what is empty; a note comes back with its tags."""
    values = {name: _UNNAMED.sub("", as_text(value)) for name, value in one.items() if value is not False}
    return CrmRecord(values.get("id", ""), "", values, values.get("write_date", ""))


def _read_record(_link: Link, _: Read, body: Any, _memory: str) -> Reply:
    rows = _rows(body)
    if rows is None:
        return UNCLEAR
    records = tuple(record for record in map(_record, rows) if record.id)
    return Found(records) if records else Nothing()


def _read_written(link: Link, write: Write, body: Any, memory: str) -> Reply:
    result = _result(body)
    if write.record_id is not None and memory != "load":
        return _tie(link, write, body, memory)
    ids = as_dict(result).get("ids")
    if isinstance(ids, list) and ids:
        return Written(as_text(ids[0]))
    return _trouble_of_load(as_dicts(as_dict(result).get("messages")))


def _tie(link: Link, write: Write, body: Any, memory: str) -> Reply:
    """See to it that our external id is that of the record, and then load the values over it."""
    if memory == "tie":
        return Onward(_load(link, write), "load") if _result(body) else UNCLEAR
    rows, record = _rows(body), _number(write.record_id or "")
    if rows is None:
        return UNCLEAR
    if not rows:
        made = {"module": _MODULE, "name": _name_of(write.external_id), "model": _LEAD, "res_id": record}
        return Onward(_ask(link, "ir.model.data", "create", [made]), "tie")
    if rows[0].get("res_id") == record:
        return Onward(_load(link, write), "load")
    return Onward(_ask(link, "ir.model.data", "write", [[rows[0].get("id")], {"res_id": record}]), "tie")


def _trouble_of_load(messages: list[dict[str, Any]]) -> Reply:
    for message in messages:
        field = as_text(message.get("field"))
        if field:
            return ValueGone(field)
    return Refused("not_taken") if messages else UNCLEAR


def _read_erased(_link: Link, _: Erase, body: Any, _memory: str) -> Reply:
    return Erased() if _result(body) is True else UNCLEAR


def _read_enumerated(_link: Link, _: Enumerate, body: Any, _memory: str) -> Reply:
    rows = _rows(body)
    if rows is None:
        return UNCLEAR
    records = tuple((as_text(row.get("res_id")), _our_id(as_text(row.get("name")))) for row in rows)
    return Enumerated(records, records[-1][0] if len(records) == _PAGE else "")


def _read_changes(link: Link, changes: Changes, body: Any, memory: str) -> Reply:
    rows = _rows(body)
    if rows is None:
        return UNCLEAR
    if not memory:
        if not rows:
            return Changed((), changes.after)
        ids = [each.get("id") for each in rows]
        return Onward(_links(link, ["res_id", "in", ids]), keep(rows))
    ours = {as_text(row.get("res_id")): _our_id(as_text(row.get("name"))) for row in rows}
    page, cursor, told = as_dicts(recall(memory)), changes.after, []
    for each in page:
        at, record_id = as_text(each.get("write_date")), as_text(each.get("id"))
        cursor = past(cursor, at, record_id)
        if record_id in ours:
            told.append(_change(each, record_id, ours[record_id], cursor))
    return Changed(tuple(told), cursor, is_more=len(page) == _PAGE)


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

    traits = Traits(
        name="odoo",
        label="Odoo",
        settings=(
            Setting(
                "database",
                N_("Database"),
                example="crm",
                help=N_(
                    "As shown on Odoo's log-in page. On odoo.com, it is the first part of the web address."
                ),
            ),
            Setting(
                "user",
                N_("User"),
                example="sync@example.com",
                help=N_("Log-in name of the user who creates the leads."),
            ),
            Setting(
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
        Describe: (_describe, _read_description),
        Find: (_find, _read_found),
        Read: (_read, _read_record),
        Write: (_write, _read_written),
        Erase: (_erase, _read_erased),
        Changes: (_changes, _read_changes),
        Enumerate: (_enumerate, _read_enumerated),
    }

    def ask(self, link: Link, operation: Operation) -> HttpRequest | Reply:
        if isinstance(operation, Renew):
            given = [link.settings.get(name, "") for name in ("database", "user")]
            return _call(link, "common", "authenticate", [*given, link.secrets.get("password", ""), {}])
        return super().ask(link, operation)

    def read(self, link: Link, operation: Operation, answer: HttpAnswer, memory: str) -> Reply:
        if not isinstance(operation, Renew):
            return super().read(link, operation, answer, memory)
        return _read_session(answer)

    def is_open(self, link: Link) -> bool:
        return link.secrets.get("session", "").isdigit()

    def trouble(
        self, link: Link, operation: Operation, answer: HttpAnswer, body: Any, memory: str
    ) -> Reply | None:
        error = as_dict(as_dict(body).get("error"))
        return trouble_of(error) if error and answer.status == 200 else None

    def record_url(self, link: Link, record_id: str) -> str:
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
    return Renewed({"session": str(uid)}) if isinstance(uid, int) and not isinstance(uid, bool) else UNCLEAR
