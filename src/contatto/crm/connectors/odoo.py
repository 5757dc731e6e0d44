"""Odoo leads and opportunities (``crm.lead``), by its external API over JSON-RPC.

Our id is the record's external id, ``contatto.lead_…``. Odoo's import over external ids, ``load``, makes a
lead or changes it, so that a repeat makes no second. The note goes into ``description``.

Source: odoo.com/documentation, 17.0, "External API", "ORM API" (load, fields_get, search_read, unlink,
odoo.exceptions); ``odoo/http.py`` (the names in answers).
"""

import html
import re
from dataclasses import replace
from typing import Any, ClassVar, Final

from contatto.crm import model as crm
from contatto.crm.connectors import json_api as api
from contatto.crm.connectors.json_api import UNCLEAR, as_dict, as_dicts, as_text, records_reply, rows_of
from contatto.integrations.model import Denied
from contatto.kit.i18n import N_
from contatto.kit.outbound.model import Failed, HttpAnswer, HttpRequest, NotNow

_NO_FIELD: Final = re.compile(r"[Ii]nvalid field '?\"?(\w+)")


_EXCEPTIONS: Final[dict[str, crm.Reply]] = {
    "MissingError": crm.NoRecord(),
    "AccessDenied": Denied("access_denied"),
    "AccessError": Denied("access_error"),
    "SessionExpiredException": crm.Expired(),
    "ValidationError": Failed("validation_error"),
    "UserError": Failed("user_error"),
    "OperationalError": NotNow("operationalerror"),
    "SerializationFailure": NotNow("serializationfailure"),
    "LockNotAvailable": NotNow("locknotavailable"),
}
"""Replies by the names of Odoo's exceptions; another one is a fault of the server."""
NOTE: Final = "description"
_LEAD: Final = "crm.lead"
_MODULE: Final = "contatto"
_PAGE: Final = 200
_ALL: Final = {"active_test": False}
"""Odoo archives lost leads; they count."""
_WATCHED: Final = [
    *("write_date", "stage_id", "active", "user_id", "expected_revenue", "company_currency", "write_uid")
]
_WRITABLE: Final = frozenset({
    "char", "text", "html", "selection", "boolean", "integer", "float", "monetary", "date", "datetime",
})  # fmt: skip
"""Types of fields that take a text or number."""
_ATTRIBUTES: Final = ["string", "type", "required", "readonly", "selection", "size"]
_UNNAMED: Final = re.compile(r"<[^>]*>")


def _call(link: crm.CrmLink, service: str, method: str, args: list[Any]) -> HttpRequest:
    params = {"service": service, "method": method, "args": args}
    return api.json_request(
        "POST", f"{link.address}/jsonrpc", {}, {"jsonrpc": "2.0", "method": "call", "id": 1, "params": params}
    )


def _ask(link: crm.CrmLink, model: str, method: str, args: list[Any], **more: Any) -> HttpRequest:
    uid = api.record_number(link.secrets.get("session", ""))
    who = [link.settings.get("database", ""), uid, link.secrets.get("password", "")]
    return _call(link, "object", "execute_kw", [*who, model, method, args, more])


def _name_of(external_id: str) -> str:
    """Return our id as the name of an external id, which takes no hyphens."""
    return "lead_" + external_id.replace("-", "_")


def _links(link: crm.CrmLink, *domain: list[Any], **more: str) -> HttpRequest:
    full_domain = [["module", "=", _MODULE], ["model", "=", _LEAD], *domain]
    return _ask(
        link, "ir.model.data", "search_read", [full_domain], fields=["name", "res_id"], limit=_PAGE, **more
    )


def _encode(link: crm.CrmLink, operation: crm.Operation) -> HttpRequest:
    method, args, more = "search_read", list[Any](), dict[str, Any]()
    match operation:
        case crm.RenewSecrets():
            names = [link.settings.get(name, "") for name in ("database", "user")]
            return _call(link, "common", "authenticate", [*names, link.secrets.get("password", ""), {}])
        case crm.DescribeFields():
            method, more = "fields_get", {"attributes": _ATTRIBUTES}
        case crm.FindRecord(crm.FindBy.EXTERNAL_ID, value):
            return _links(link, ["name", "=", _name_of(value)])
        case crm.FindRecord(by, value):
            of_email: list[Any] = [["email_normalized", "=", value.lower()]]
            of_phone: list[Any] = ["|", ["phone", "=", value], ["phone_sanitized", "=", value]]
            args = [of_email if by is crm.FindBy.EMAIL else of_phone]
            more = {"fields": ["write_date"], "limit": 5, "order": "id asc"}
        case crm.ReadRecord(record_id, fields):
            args = [[["id", "=", api.record_number(record_id)]]]
            more = {"fields": sorted({"write_date", *fields}), "context": _ALL}
        case crm.WriteRecord(None):
            return _load(link, operation)
        case crm.WriteRecord(_, external_id):
            return _links(link, ["name", "=", _name_of(external_id)])
        case crm.EraseRecord(record_id):
            method, args = "unlink", [[api.record_number(record_id)]]
        case crm.ListChanges(after):
            # Of the cursor's second on, without those read in that second.
            read_ids = [int(lead_id) for lead_id in after.id.split(",") if lead_id.isdigit()]
            since = [["write_date", ">=", after.at]] if after.at else []
            args = [[*since, *([["id", "not in", read_ids]] if after.id else [])]]
            more = {"fields": _WATCHED, "limit": _PAGE, "order": "write_date asc, id asc", "context": _ALL}
        case crm.ListRecords(after):  # Odoo deletes our external ids with their leads
            return _links(link, ["res_id", ">", int(after or 0)], order="res_id asc")
    return _ask(link, _LEAD, method, args, **more)


def _load(link: crm.CrmLink, write: crm.WriteRecord) -> HttpRequest:
    values = dict(write.values)
    if write.note:
        values[NOTE] = html.escape(write.note).replace("\n", "<br/>")
    names = ["id", *values]
    return _ask(
        link, _LEAD, "load", [names, [[f"{_MODULE}.{_name_of(write.external_id)}", *values.values()]]]
    )


def _read_description(_link: crm.CrmLink, _: crm.DescribeFields, body: Any, _memory: Any) -> crm.Reply:
    fields = as_dict(as_dict(body).get("result"))
    if not fields:
        return UNCLEAR
    described = []
    for name, value in fields.items():
        one = as_dict(value)
        if one.get("readonly") is True or as_text(one.get("type")) not in _WRITABLE:
            continue
        field = api.read_field(
            {"name": name, **one},
            "name",
            "string",
            is_required=one.get("required") is True,
            choices=api.as_pairs(one.get("selection")),
            limit=one.get("size"),
        )
        described.append(field)
    return crm.FieldsDescribed(tuple(described))


def _linked_records(body: Any) -> list[crm.CrmRecord]:
    """Read our external ids, each with the id of its lead."""
    return [
        crm.CrmRecord(
            as_text(row.get("res_id")), as_text(row.get("name")).removeprefix("lead_").replace("_", "-")
        )
        for row in rows_of(body, "result")
    ]


def _read_found(_link: crm.CrmLink, find: crm.FindRecord, body: Any, _memory: Any) -> crm.Reply:
    is_by_id = find.by is crm.FindBy.EXTERNAL_ID
    return records_reply(_linked_records(body) if is_by_id else map(_record, rows_of(body, "result")))


def _record(one: dict[str, Any]) -> crm.CrmRecord:
    """Read a record: Odoo writes False for an empty value, and returns a note with its tags."""
    values = {name: _UNNAMED.sub("", as_text(value)) for name, value in one.items() if value is not False}
    return crm.CrmRecord(values.get("id", ""), "", values)


def _read_written(link: crm.CrmLink, write: crm.WriteRecord, body: Any, memory: Any) -> crm.Reply:
    """Point our external id to an existing record first; then read the outcome of ``load``."""
    if write.record_id is None or memory == "load":
        result = as_dict(as_dict(body).get("result"))
        ids, messages = result.get("ids"), as_dicts(result.get("messages"))
        if isinstance(ids, list) and ids:
            return crm.Written(as_text(ids[0]))
        field = next(filter(None, (as_text(message.get("field")) for message in messages)), "")
        if field:
            return crm.ValueGone(field)
        return Failed("not_taken") if messages else UNCLEAR
    if memory == "tie":
        return crm.FollowUp(_load(link, write), "load") if as_dict(body).get("result") else UNCLEAR
    rows, record_id = rows_of(body, "result"), api.record_number(write.record_id)
    if rows and rows[0].get("res_id") == record_id:
        return crm.FollowUp(_load(link, write), "load")
    name = _name_of(write.external_id)
    row = {"module": _MODULE, "name": name, "model": _LEAD, "res_id": record_id}
    create = _ask(link, "ir.model.data", "create", [row])
    update = [[rows[0].get("id")], {"res_id": record_id}] if rows else []
    return crm.FollowUp(_ask(link, "ir.model.data", "write", update) if rows else create, "tie")


def _read_changes(link: crm.CrmLink, changes: crm.ListChanges, body: Any, memory: Any) -> crm.Reply:
    if not memory:
        rows = rows_of(body, "result")
        if not rows:
            return crm.ChangesListed((), changes.after)
        ids = [row.get("id") for row in rows]
        return crm.FollowUp(_links(link, ["res_id", "in", ids]), rows)
    lead_ids = {record.id: record.external_id for record in _linked_records(body)}
    record_changes, page = [], as_dicts(memory)
    for row in page:
        record_id = as_text(row.get("id"))
        amount, currency = as_text(row.get("expected_revenue")), _label(row.get("company_currency"))
        is_lost = row.get("active") is False
        change = crm.RecordChange(
            record_id,
            crm.Cursor(as_text(row.get("write_date"))),
            lead_ids.get(record_id, ""),
            status="Lost" if is_lost else _label(row.get("stage_id")) or None,
            owner=_label(row.get("user_id")) or None,
            value=f"{amount} {currency}" if currency and amount not in ("", "0", "0.0") else None,
            by=_label(row.get("write_uid")),
        )
        record_changes.append(change)
    reply = api.changes_reply(changes.after, record_changes, is_more=len(page) == _PAGE)
    return replace(reply, changes=tuple(change for change in reply.changes if change.record_id in lead_ids))


def _label(pair: Any) -> str:
    """Return the name in Odoo's pair of an id and a name."""
    return as_text(pair[1]) if isinstance(pair, list) and len(pair) == 2 else ""


def _read_login(_link: crm.CrmLink, _: crm.RenewSecrets, body: Any, _memory: Any) -> crm.Reply:
    """Read the user's number; Odoo answers False for a wrong user, key or database."""
    uid = as_dict(body).get("result")
    if uid is False:
        return Denied("access_denied")
    is_number = isinstance(uid, int) and not isinstance(uid, bool)
    return crm.SecretsRenewed({"session": str(uid)}) if is_number else UNCLEAR


class Odoo(api.JsonApi):
    """Connector of Odoo, with a user's API key as the password."""

    traits = crm.ConnectorTraits(
        name="odoo",
        label="Odoo",
        settings=(
            crm.ConnectorSetting(
                "database",
                N_("Database"),
                example="crm",
                help=N_(
                    "As shown on Odoo's log-in page. On odoo.com, it is the first part of the web address."
                ),
            ),
            crm.ConnectorSetting(
                "user",
                N_("User"),
                example="sync@example.com",
                help=N_("Log-in name of the user who creates the leads."),
            ),
            crm.ConnectorSetting(
                "password",
                N_("API key"),
                is_secret=True,
                help=N_("In Odoo: your avatar, My profile, Account security, New API key."),
            ),
        ),
        defaults=(("name", "name"), ("name", "contact_name"), ("email", "email_from"), ("phone", "phone")),
        upserts=True,
        tells_changes=True,
        enumerates=True,
        record_page=f"{{address}}/web#id={{record_id}}&model={_LEAD}&view_type=form",
    )
    access = ("session",)
    encode = staticmethod(_encode)
    readers: ClassVar[api.Readers] = {
        crm.RenewSecrets: _read_login,
        crm.DescribeFields: _read_description,
        crm.FindRecord: _read_found,
        crm.ReadRecord: lambda _link, _, body, _memory: records_reply(map(_record, rows_of(body, "result"))),
        crm.WriteRecord: _read_written,
        crm.EraseRecord: lambda _link, _, body, _memory: (
            crm.Erased() if as_dict(body).get("result") is True else UNCLEAR
        ),
        crm.ListChanges: _read_changes,
        crm.ListRecords: lambda _link, _, body, _memory: api.list_reply(_linked_records(body), _PAGE),
    }

    def read_error(
        self, link: crm.CrmLink, operation: crm.Operation, answer: HttpAnswer, body: Any, memory: Any
    ) -> crm.Reply | None:
        if isinstance(operation, crm.RenewSecrets) and answer.status == 401:
            return Denied("401")
        error = as_dict(as_dict(body).get("error"))
        if not error or answer.status != 200:
            return None
        data = as_dict(error.get("data"))
        missing = _NO_FIELD.search(as_text(data.get("message")))
        if missing is not None:
            return crm.FieldGone(missing[1])
        name = as_text(data.get("name")).rpartition(".")[2]
        return _EXCEPTIONS.get(name, Failed("server_error"))
