"""Zoho CRM: leads, by the API v6.

A custom field of leads, ``Contatto_Lead_Id`` (single line, unique), holds our id, and leads are made by the
upsert over it. The note goes into ``Description``.

Source: zoho.com/crm/developer/docs/api/v6 (Upsert Records, Get Records, COQL, Fields Metadata, Status Codes
and Errors).
"""

from functools import partial
from typing import Any, ClassVar, Final

from contatto.crm import model as crm
from contatto.crm.connectors import json_api as api
from contatto.crm.connectors.json_api import UNCLEAR, as_dict, as_dicts, as_text, records_reply, rows_of
from contatto.integrations.model import Denied
from contatto.kit.i18n import N_
from contatto.kit.outbound.model import HttpAnswer, HttpRequest, NotNow, retry_after_s

OUR_ID: Final = "Contatto_Lead_Id"
NOTE: Final = "Description"
_LEADS: Final = "/crm/v6/Leads"
_PAGE: Final = 200
_MATCH: Final = {
    crm.FindBy.EXTERNAL_ID: f"{OUR_ID} = '{{0}}'",
    crm.FindBy.EMAIL: "Email = '{0}'",
    crm.FindBy.PHONE: "(Phone = '{0}' or Mobile = '{0}')",
}
_BUSY: Final = frozenset({"TOO_MANY_REQUESTS", "INTERNAL_ERROR", "LOCKED", "RECORD_LOCKED"})
_SERVERS: Final = tuple(
    f"https://accounts.{domain}"
    for domain in (
        "zoho.com", "zoho.eu", "zoho.in", "zoho.com.au", "zoho.jp", "zohocloud.ca", "zoho.sa", "zoho.com.cn",
        "zoho.uk",
    )
)  # fmt: skip
"""Each data centre gives the tokens of its own customers. Source: Zoho CRM API, "Multi DC"."""
_DENIED: Final = frozenset(
    {"NO_PERMISSION", "OAUTH_SCOPE_MISMATCH", "AUTHORIZATION_FAILED", "LICENSE_EXPIRED"}
)


def _send(link: crm.CrmLink, method: str, path: str, body: Any = None) -> HttpRequest:
    """Build a request with Zoho's own authorization scheme."""
    headers = {"Authorization": f"Zoho-oauthtoken {link.secrets.get(api.ACCESS, '')}"}
    return api.json_request(method, link.address + path, headers, body)


def _encode(link: crm.CrmLink, operation: crm.Operation) -> HttpRequest:
    method, path, body = "GET", _LEADS, None
    match operation:
        case crm.DescribeFields():
            path = "/crm/v6/settings/fields?module=Leads"
        case crm.FindRecord(by, value):
            # COQL reads the records: a search by criteria reads a delayed index.
            where = _MATCH[by].format(value.replace("\\", "\\\\").replace("'", "\\'"))
            return _select(link, f"id, {OUR_ID}, Modified_Time", where, "Created_Time asc", 5)
        case crm.ReadRecord(record_id):
            path = f"{_LEADS}/{api.path_id(record_id)}"
        case crm.WriteRecord(record_id):
            values: dict[str, str | None] = {name: value or None for name, value in operation.values.items()}
            values[OUR_ID] = operation.external_id
            values |= {NOTE: operation.note} if operation.note else {}
            if record_id:
                return _send(link, "PUT", f"{_LEADS}/{api.path_id(record_id)}", {"data": [values]})
            method, path = "POST", f"{_LEADS}/upsert"
            body = {"data": [values], "duplicate_check_fields": [OUR_ID]}
        case crm.EraseRecord(record_id):
            method, path = "DELETE", f"{_LEADS}?ids={api.path_id(record_id)}"
        case crm.ListChanges(after):
            # Our leads that changed since the cursor, without those read at its very time.
            columns = f"id, {OUR_ID}, Lead_Status, Owner.email, Modified_By.full_name, Modified_Time"
            where = f"{OUR_ID} is not null"
            if after.at:
                where = f"({where} and Modified_Time >= '{after.at}')"
            if after.id:
                read_ids = [lead_id for lead_id in after.id.split(",")[:_PAGE] if lead_id.isdigit()]
                texts = ", ".join(f"'{lead_id}'" for lead_id in read_ids)
                where = f"({where} and id not in ({texts}))" if texts else where
            return _select(link, columns, where, "Modified_Time asc, id asc", _PAGE)
    return _send(link, method, path, body)


def _select(link: crm.CrmLink, columns: str, where: str, order: str, most: int) -> HttpRequest:
    """Query in COQL; callers escape the quotes of values."""
    coql = f"select {columns} from Leads where {where} order by {order} limit {most}"  # noqa: S608 - values are quoted
    return _send(link, "POST", "/crm/v6/coql", {"select_query": coql})


def _rows(body: Any) -> list[dict[str, Any]]:
    """Return the rows of an answer; an empty list for an empty body, as Zoho answers 204 without a match."""
    return [] if body == {} else rows_of(body, "data")


def _read_description(_link: crm.CrmLink, _: crm.DescribeFields, body: Any, _memory: Any) -> crm.Reply:
    fields = []
    for row in rows_of(body, "fields"):
        is_fixed = row.get("read_only") is True or row.get("field_read_only") is True
        if is_fixed or as_text(row.get("api_name")) in ("", OUR_ID):
            continue
        field = api.read_field(
            row,
            "api_name",
            "field_label",
            is_required=row.get("system_mandatory") is True,
            choices=api.read_choices(row.get("pick_list_values"), "actual_value", "display_value"),
            limit=row.get("length"),
        )
        fields.append(field)
    return crm.FieldsDescribed(tuple(fields))


_record: Final = partial(api.read_record, record_id="id", our_id=OUR_ID)


def _read_record(_link: crm.CrmLink, _: crm.ReadRecord, body: Any, _memory: Any) -> crm.Reply:
    rows = _rows(body)
    if not rows:
        return crm.NoRecord()
    contact_id = as_text(as_dict(as_dict(rows[0].get("$converted_detail")).get("contact")).get("id"))
    if contact_id or rows[0].get("$converted") is True:
        return crm.Moved(contact_id) if contact_id else crm.NoRecord()
    return api.record_reply(_record(rows[0]))


def _read_written(_link: crm.CrmLink, _: crm.WriteRecord, body: Any, _memory: Any) -> crm.Reply:
    rows = _rows(body)
    record_id = as_text(as_dict(rows[0].get("details")).get("id")) if rows else ""
    return crm.Written(record_id) if record_id else UNCLEAR


def _read_changes(_link: crm.CrmLink, changes: crm.ListChanges, body: Any, _memory: Any) -> crm.Reply:
    record_changes, rows = [], _rows(body)
    for row in rows:
        change = crm.RecordChange(
            as_text(row.get("id")),
            crm.Cursor(as_text(row.get("Modified_Time"))),
            as_text(row.get(OUR_ID)),
            status=as_text(row.get("Lead_Status")) or None,
            owner=as_text(row.get("Owner.email")) or None,
            by=as_text(row.get("Modified_By.full_name")),
        )
        record_changes.append(change)
    return api.changes_reply(changes.after, record_changes, is_more=len(rows) == _PAGE)


class Zoho(api.JsonApi):
    """Connector of Zoho CRM, by OAuth; its tokens come with the address of the data centre."""

    traits = crm.ConnectorTraits(
        name="zoho",
        label="Zoho CRM",
        address="https://www.zohoapis.com",
        settings=api.app_settings(
            N_("In the Zoho API console: a server-based application."), N_("Next to the client ID.")
        ),
        defaults=(
            ("last_name", "Last_Name"),
            ("first_name", "First_Name"),
            ("email", "Email"),
            ("phone", "Phone"),
            ("whatsapp", "Mobile"),
            ("lead_source", "Lead_Source"),
        ),
        upserts=True,
        tells_changes=True,
        oauth=crm.OAuth(
            "https://accounts.zoho.com/oauth/v2/auth",
            "https://accounts.zoho.com/oauth/v2/token",
            ("ZohoCRM.modules.leads.ALL", "ZohoCRM.settings.fields.READ", "ZohoCRM.coql.READ"),
            (("access_type", "offline"), ("prompt", "consent")),
            is_pkce=False,
            servers=_SERVERS,
        ),
    )
    address_field = "api_domain"
    encode = staticmethod(_encode)
    readers: ClassVar[api.Readers] = {
        crm.DescribeFields: _read_description,
        crm.FindRecord: lambda _link, _, body, _memory: records_reply(map(_record, _rows(body))),
        crm.ReadRecord: _read_record,
        crm.WriteRecord: _read_written,
        # The recycle bin keeps a lead for sixty days.
        crm.EraseRecord: lambda _link, _, body, _memory: (
            crm.Erased(is_partial=True) if _rows(body) else UNCLEAR
        ),
        crm.ListChanges: _read_changes,
    }

    def read_error(
        self, link: crm.CrmLink, operation: crm.Operation, answer: HttpAnswer, body: Any, memory: Any
    ) -> crm.Reply | None:
        """Read the error of the body or of a record, which may come with a status of 200 or 202."""
        for error in (as_dict(body), *as_dicts(as_dict(body).get("data"))):
            code, details = as_text(error.get("code")), as_dict(error.get("details"))
            field = as_text(details.get("api_name"))
            if code in _BUSY:
                return NotNow(code.lower(), retry_after_s(answer))
            if code in _DENIED:
                return Denied(code.lower())
            existing_id = as_text(details.get("id") or as_dict(details.get("duplicate_record")).get("id"))
            # Without a field, invalid data means that no record has this id.
            invalid = crm.ValueGone(field) if field and field != "id" else crm.NoRecord()
            replies: dict[str, crm.Reply] = {
                "INVALID_DATA": invalid,
                "INVALID_TOKEN": crm.Expired(),
                "DUPLICATE_DATA": crm.Exists(existing_id),
                "RECORD_NOT_FOUND": crm.NoRecord(),
                "INVALID_QUERY": crm.FieldGone(as_text(details.get("column_name"))),
                "MANDATORY_NOT_FOUND": crm.ValueGone(field),
            }
            if code in replies:
                return replies[code]
        return crm.NoRecord() if answer.status == 404 else None

    def record_url(self, link: crm.CrmLink, record_id: str) -> str:
        return f"{link.address.replace('www.zohoapis', 'crm.zoho')}/crm/tab/Leads/{record_id}"
