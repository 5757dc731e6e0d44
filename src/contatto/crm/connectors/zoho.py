"""Zoho CRM: leads, by the API v6.

A custom field of leads, ``Contatto_Lead_Id`` (single line, unique), holds our id, and leads are made by the
upsert over it. The note goes into ``Description``.

Source: zoho.com/crm/developer/docs/api/v6 (Upsert Records, Get Records, COQL, Fields Metadata, Status Codes
and Errors).
"""

from typing import Any, ClassVar, Final

from contatto.crm.connectors.json_api import (
    ACCESS,
    UNCLEAR,
    Abilities,
    JsonApi,
    as_dict,
    as_dicts,
    as_text,
    as_values,
    json_request,
    past,
    path_id,
)
from contatto.crm.model import (
    ChangesListed,
    ConnectorSetting,
    ConnectorTraits,
    CrmField,
    CrmLink,
    CrmRecord,
    Denied,
    DescribeFields,
    Erased,
    EraseRecord,
    ErasureLevel,
    Exists,
    Expired,
    FieldGone,
    FieldKind,
    FieldsDescribed,
    FindBy,
    FindRecord,
    FoundRecords,
    ListChanges,
    Moved,
    NoRecord,
    OAuth,
    Operation,
    ReadRecord,
    RecordChange,
    Reply,
    RetryLater,
    ValueGone,
    WriteRecord,
    Written,
)
from contatto.kit.i18n import N_
from contatto.kit.outbound.model import HttpAnswer, HttpRequest, retry_after_s

OUR_ID: Final = "Contatto_Lead_Id"
NOTE: Final = "Description"
_LEADS: Final = "/crm/v6/Leads"
_PAGE: Final = 200
_KINDS: Final = {
    "email": FieldKind.EMAIL,
    "phone": FieldKind.PHONE,
    "picklist": FieldKind.CHOICE,
    "multiselectpicklist": FieldKind.CHOICE,
    "boolean": FieldKind.BOOL,
    **dict.fromkeys(("integer", "bigint", "double", "currency"), FieldKind.NUMBER),
    **dict.fromkeys(("date", "datetime"), FieldKind.TIME),
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
_SHUT: Final = frozenset({"NO_PERMISSION", "OAUTH_SCOPE_MISMATCH", "AUTHORIZATION_FAILED", "LICENSE_EXPIRED"})


def _send(link: CrmLink, method: str, path: str, body: Any = None) -> HttpRequest:
    """Zoho's name for the kind of its token is its own."""
    headers = {"Authorization": f"Zoho-oauthtoken {link.secrets.get(ACCESS, '')}"}
    return json_request(method, link.address + path, headers, body)


def _describe(link: CrmLink, _: DescribeFields) -> HttpRequest:
    return _send(link, "GET", "/crm/v6/settings/fields?module=Leads")


def _find(link: CrmLink, find: FindRecord) -> HttpRequest:
    """A search by criteria reads an index that lags; COQL reads the records themselves."""
    value = find.value.replace("\\", "\\\\").replace("'", "\\'")
    where = {
        FindBy.EXTERNAL_ID: f"{OUR_ID} = '{value}'",
        FindBy.EMAIL: f"Email = '{value}'",
        FindBy.PHONE: f"(Phone = '{value}' or Mobile = '{value}')",
    }[find.by]
    return _select(link, f"id, {OUR_ID}, Modified_Time", where, "Created_Time asc", 5)


def _select(link: CrmLink, columns: str, where: str, order: str, most: int) -> HttpRequest:
    """A query in COQL; whatever somebody typed had its quotes escaped."""
    coql = f"select {columns} from Leads where {where} order by {order} limit {most}"  # noqa: S608 - values are quoted
    return _send(link, "POST", "/crm/v6/coql", {"select_query": coql})


def _read(link: CrmLink, read: ReadRecord) -> HttpRequest:
    return _send(link, "GET", f"{_LEADS}/{path_id(read.record_id)}")


def _write(link: CrmLink, write: WriteRecord) -> HttpRequest:
    values: dict[str, str | None] = {name: value or None for name, value in write.values.items()}
    values[OUR_ID] = write.external_id
    if write.note:
        values[NOTE] = write.note
    if write.record_id:
        return _send(link, "PUT", f"{_LEADS}/{path_id(write.record_id)}", {"data": [values]})
    return _send(link, "POST", f"{_LEADS}/upsert", {"data": [values], "duplicate_check_fields": [OUR_ID]})


def _erase(link: CrmLink, erase: EraseRecord) -> HttpRequest:
    return _send(link, "DELETE", f"{_LEADS}?ids={path_id(erase.record_id)}")


def _changes(link: CrmLink, changes: ListChanges) -> HttpRequest:
    """Leads of ours that changed since; those that were read at that very time are left out."""
    after = changes.after
    columns = f"id, {OUR_ID}, Lead_Status, Owner.email, Modified_By.full_name, Modified_Time"
    where = f"{OUR_ID} is not null"
    if after.at:
        where = f"({where} and Modified_Time >= '{after.at}')"
    if after.id:
        seen = ", ".join(f"'{each}'" for each in after.id.split(",")[:_PAGE] if each.isdigit())
        where = f"({where} and id not in ({seen}))" if seen else where
    return _select(link, columns, where, "Modified_Time asc, id asc", _PAGE)


def _rows(body: Any) -> list[dict[str, Any]] | None:
    """The rows of an answer; none for an empty one, as Zoho answers 204 where nothing fits."""
    if body == {}:
        return []
    rows = as_dict(body).get("data")
    return as_dicts(rows) if isinstance(rows, list) else None


def _read_description(_link: CrmLink, _: DescribeFields, body: Any, _memory: str) -> Reply:
    fields = as_dict(body).get("fields")
    if not isinstance(fields, list):
        return UNCLEAR
    return FieldsDescribed(tuple(_field(each) for each in as_dicts(fields) if _is_writable(each)))


def _is_writable(one: dict[str, Any]) -> bool:
    is_fixed = one.get("read_only") is True or one.get("field_read_only") is True
    return not is_fixed and as_text(one.get("api_name")) not in ("", OUR_ID)


def _field(one: dict[str, Any]) -> CrmField:
    name, length = as_text(one.get("api_name")), one.get("length")
    listed = as_dicts(one.get("pick_list_values"))
    return CrmField(
        name,
        as_text(one.get("field_label")) or name,
        _KINDS.get(as_text(one.get("data_type")), FieldKind.TEXT),
        is_required=one.get("system_mandatory") is True,
        choices=tuple(
            (as_text(each.get("actual_value")), as_text(each.get("display_value"))) for each in listed
        ),
        limit=length if isinstance(length, int) else 0,
    )


def _read_found(_link: CrmLink, _: FindRecord, body: Any, _memory: str) -> Reply:
    rows = _rows(body)
    if rows is None:
        return UNCLEAR
    records = tuple(record for record in map(_record, rows) if record.id)
    return FoundRecords(records) if records else NoRecord()


def _record(one: dict[str, Any]) -> CrmRecord:
    values = as_values(one)
    return CrmRecord(values.get("id", ""), values.get(OUR_ID, ""), values, values.get("Modified_Time", ""))


def _read_record(_link: CrmLink, _: ReadRecord, body: Any, _memory: str) -> Reply:
    rows = _rows(body)
    if rows is None:
        return UNCLEAR
    if not rows:
        return NoRecord()
    became = as_text(as_dict(as_dict(rows[0].get("$converted_detail")).get("contact")).get("id"))
    if became or rows[0].get("$converted") is True:
        return Moved(became) if became else NoRecord()
    record = _record(rows[0])
    return FoundRecords((record,)) if record.id else UNCLEAR


def _read_written(_link: CrmLink, _: WriteRecord, body: Any, _memory: str) -> Reply:
    rows = _rows(body)
    record_id = as_text(as_dict(rows[0].get("details")).get("id")) if rows else ""
    return Written(record_id) if record_id else UNCLEAR


def _read_erased(_link: CrmLink, _: EraseRecord, body: Any, _memory: str) -> Reply:
    """It lies in the recycle bin for sixty days."""
    return Erased(is_partial=True) if _rows(body) else UNCLEAR


def _read_changes(_link: CrmLink, changes: ListChanges, body: Any, _memory: str) -> Reply:
    rows = _rows(body)
    if rows is None:
        return UNCLEAR
    told, cursor = [], changes.after
    for row in rows:
        at, record_id = as_text(row.get("Modified_Time")), as_text(row.get("id"))
        cursor = past(cursor, at, record_id)
        change = RecordChange(
            record_id,
            cursor,
            as_text(row.get(OUR_ID)),
            status=as_text(row.get("Lead_Status")) or None,
            owner=as_text(row.get("Owner.email")) or None,
            by=as_text(row.get("Modified_By.full_name")),
        )
        told.append(change)
    return ChangesListed(tuple(told), cursor, is_more=len(rows) == _PAGE)


class Zoho(JsonApi):
    """The connector of Zoho CRM, by OAuth; its tokens come with the address of the data centre."""

    traits = ConnectorTraits(
        name="zoho",
        label="Zoho CRM",
        address="https://www.zohoapis.com",
        settings=(
            ConnectorSetting(
                "client_id", N_("Client ID"), help=N_("In the Zoho API console: a server-based application.")
            ),
            ConnectorSetting(
                "client_secret", N_("Client secret"), is_secret=True, help=N_("Next to the client ID.")
            ),
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
        erases=ErasureLevel.PARTIAL,
        tells_changes=True,
        oauth=OAuth(
            "https://accounts.zoho.com/oauth/v2/auth",
            "https://accounts.zoho.com/oauth/v2/token",
            ("ZohoCRM.modules.leads.ALL", "ZohoCRM.settings.fields.READ", "ZohoCRM.coql.READ"),
            (("access_type", "offline"), ("prompt", "consent")),
            is_pkce=False,
            servers=_SERVERS,
        ),
    )
    address_field = "api_domain"
    abilities: ClassVar[Abilities] = {
        DescribeFields: (_describe, _read_description),
        FindRecord: (_find, _read_found),
        ReadRecord: (_read, _read_record),
        WriteRecord: (_write, _read_written),
        EraseRecord: (_erase, _read_erased),
        ListChanges: (_changes, _read_changes),
    }

    def trouble(
        self, link: CrmLink, operation: Operation, answer: HttpAnswer, body: Any, memory: str
    ) -> Reply | None:
        """Zoho says what is wrong at the top, or of each record: also with a status of 200 or 202."""
        rows = _rows(body) or []
        for error in (as_dict(body), *rows):
            reply = _trouble(error, answer)
            if reply is not None:
                return reply
        return NoRecord() if answer.status == 404 else None

    def record_url(self, link: CrmLink, record_id: str) -> str:
        return f"{link.address.replace('www.zohoapis', 'crm.zoho')}/crm/tab/Leads/{record_id}"


def _trouble(error: dict[str, Any], answer: HttpAnswer) -> Reply | None:
    code, details = as_text(error.get("code")), as_dict(error.get("details"))
    field = as_text(details.get("api_name"))
    if code in _BUSY:
        return RetryLater(code.lower(), retry_after_s(answer))
    if code in _SHUT:
        return Denied(code.lower())
    if code == "INVALID_DATA":
        # of a whole record it means that there is none of this id; of a field, that the value does not fit
        return ValueGone(field) if field and field != "id" else NoRecord()
    taken = as_text(details.get("id") or as_dict(details.get("duplicate_record")).get("id"))
    replies: dict[str, Reply] = {
        "INVALID_TOKEN": Expired(),
        "DUPLICATE_DATA": Exists(taken),
        "RECORD_NOT_FOUND": NoRecord(),
        "INVALID_QUERY": FieldGone(as_text(details.get("column_name"))),
        "MANDATORY_NOT_FOUND": ValueGone(field),
    }
    return replies.get(code)
