"""Salesforce leads, by the REST API; a converted lead is written to as the contact that it became.

A custom field of leads, ``Contatto_Lead_Id__c`` (text, external id, unique), holds our id, and leads are made
by the upsert over it. The note goes into ``Description``.

Source: developer.salesforce.com, "REST API Developer Guide" (Upsert by External ID, Query, QueryAll, Status
Codes and Error Responses), "Object Reference" (Lead, EntityParticle, PicklistValueInfo), v62.0.
"""

import re
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Final
from urllib.parse import quote

from contatto.crm import model as crm
from contatto.crm.connectors import json_api as api
from contatto.crm.connectors.json_api import UNCLEAR, as_dict, as_dicts, as_text, records_reply, rows_of
from contatto.kit.i18n import N_
from contatto.kit.outbound.model import Failed, HttpAnswer, HttpRequest, NotNow, retry_after_s

_EXISTING: Final = re.compile(r"record with id: ?([A-Za-z0-9]{15,18})")
_NO_COLUMN: Final = re.compile(r"No such column '([^']+)'")
_FIELD_GONE: Final = frozenset({"INVALID_FIELD", "INVALID_FIELD_FOR_INSERT_UPDATE"})
_VALUE_GONE: Final = frozenset({
    "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "STRING_TOO_LONG", "INVALID_EMAIL_ADDRESS",
    "NUMBER_OUTSIDE_VALID_RANGE", "INVALID_TYPE_ON_FIELD_IN_RECORD",
})  # fmt: skip
_BUSY: Final = frozenset({"REQUEST_LIMIT_EXCEEDED", "UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE"})
_NOT_THERE: Final = frozenset(
    {"ENTITY_IS_DELETED", "NOT_FOUND", "INVALID_CROSS_REFERENCE_KEY", "CANNOT_UPDATE_CONVERTED_LEAD"}
)


OUR_ID: Final = "Contatto_Lead_Id__c"
NOTE: Final = "Description"
_DATA: Final = "/services/data/v62.0"
_DESCRIBED: Final = (
    "QualifiedApiName, Label, DataType, Length, IsCreatable, IsUpdatable, IsNillable, IsDefaultedOnCreate"
)
_PAGE: Final = 200
_CONTACT: Final = "003"  # the prefix of a contact's id
_NOT_HELD: Final = "\0"  # the value of a lead's field that a contact does not have
_OF_LEADS: Final = frozenset({"Company", "Status", "LeadSource", "Rating", "Industry", "Website", OUR_ID})
_MATCH: Final = {
    crm.FindBy.EXTERNAL_ID: f"{OUR_ID} = '{{0}}'",
    crm.FindBy.EMAIL: "Email = '{0}'",
    crm.FindBy.PHONE: "(Phone = '{0}' OR MobilePhone = '{0}')",
}
_WHERE: Final = "where"  # memory of the query for the successor of a lead


def _select(
    link: crm.CrmLink, columns: str, source: str, *where: str, end: str, deleted: bool = False
) -> HttpRequest:
    """Query in SOQL; values come through ``_quoted``."""
    soql = f"SELECT {columns} FROM {source} WHERE {' AND '.join(where)} {end}"  # noqa: S608 - values are quoted
    return api.send(link, "GET", f"{_DATA}/{'queryAll' if deleted else 'query'}?q={quote(soql)}")


def _quoted(value: str) -> str:
    """Escape a text for single quotes. Source: "SOQL and SOSL Reference", Quoted String Escape Sequences."""
    return value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", " ")


def _object(record_id: str) -> str:
    return "Contact" if record_id.startswith(_CONTACT) else "Lead"


def _encode(link: crm.CrmLink, operation: crm.Operation) -> HttpRequest:
    method, path, body = "GET", "", None
    match operation:
        case crm.DescribeFields():
            of_leads = "EntityDefinition.QualifiedApiName = 'Lead'"
            return _select(link, _DESCRIBED, "EntityParticle", of_leads, end="LIMIT 800")
        case crm.FindRecord(by, value):
            columns = f"Id, {OUR_ID}, IsConverted, ConvertedContactId, SystemModstamp"
            match_value = _MATCH[by].format(_quoted(value))
            return _select(link, columns, "Lead", match_value, end="ORDER BY CreatedDate, Id LIMIT 5")
        case crm.ReadRecord(record_id):
            path = f"{_object(record_id)}/{api.path_id(record_id)}"
        case crm.WriteRecord(record_id, external_id):
            body = {name: value or None for name, value in operation.values.items()}
            body |= {NOTE: operation.note} if operation.note else {}
            method, path = "PATCH", f"Lead/{OUR_ID}/{api.path_id(external_id)}"
            if record_id is not None:
                path, body[OUR_ID] = f"{_object(record_id)}/{api.path_id(record_id)}", external_id
            if path.startswith("Contact"):
                body = {name: value for name, value in body.items() if name not in _OF_LEADS}
        case crm.EraseRecord(record_id):
            method, path = "DELETE", f"{_object(record_id)}/{api.path_id(record_id)}"
        case crm.ListChanges(after):
            # Deleted leads too; without those that were read at the cursor's very time.
            columns = (
                f"Id, {OUR_ID}, Status, Owner.Email, Owner.Name, LastModifiedBy.Name, SystemModstamp, "
                "IsDeleted, MasterRecordId, IsConverted, ConvertedContactId, ConvertedOpportunity.Amount"
            )
            where = [f"{OUR_ID} != null"]
            if after.at:
                where.append(f"SystemModstamp >= {after.at}")
            if after.id:
                read_ids = ", ".join(f"'{_quoted(lead_id)}'" for lead_id in after.id.split(",")[:_PAGE])
                where.append(f"Id NOT IN ({read_ids})")
            order = f"ORDER BY SystemModstamp, Id LIMIT {_PAGE}"
            return _select(link, columns, "Lead", *where, end=order, deleted=True)
        case crm.ListRecords(after):  # converted leads too
            where = [f"{OUR_ID} != null", *([f"Id > '{_quoted(after)}'"] if after else [])]
            return _select(link, f"Id, {OUR_ID}", "Lead", *where, end=f"ORDER BY Id LIMIT {_PAGE}")
    return api.send(link, method, f"{_DATA}/sobjects/{path}", body)


def _read_description(link: crm.CrmLink, _: crm.DescribeFields, body: Any, memory: Any) -> crm.Reply:
    rows = rows_of(body, "records")
    if not memory:
        writable = [row for row in rows if row.get("IsCreatable") is True and row.get("IsUpdatable") is True]
        fields = [row for row in writable if as_text(row.get("QualifiedApiName")) not in ("", OUR_ID)]
        of_leads = "EntityParticle.EntityDefinition.QualifiedApiName = 'Lead'", "IsActive = true"
        columns = "EntityParticle.QualifiedApiName, Value, Label"
        choices_query = _select(link, columns, "PicklistValueInfo", *of_leads, end="LIMIT 1000")
        return crm.FollowUp(choices_query, fields)
    choices: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        name = as_text(as_dict(row.get("EntityParticle")).get("QualifiedApiName"))
        choices.setdefault(name, []).append((as_text(row.get("Value")), as_text(row.get("Label"))))
    described = []
    for row in as_dicts(memory):
        needed = row.get("IsNillable") is False and row.get("IsDefaultedOnCreate") is not True
        field = api.read_field(
            row,
            "QualifiedApiName",
            "Label",
            is_required=needed and row.get("DataType") != "boolean",
            choices=tuple(choices.get(as_text(row.get("QualifiedApiName")), ())),
            limit=row.get("Length"),
        )
        described.append(field)
    return crm.FieldsDescribed(tuple(described))


def _read_found(_link: crm.CrmLink, _: crm.FindRecord, body: Any, _memory: Any) -> crm.Reply:
    rows = rows_of(body, "records")
    contact_id = _converted_to(rows[0]) if rows else ""
    return crm.Moved(contact_id) if contact_id else records_reply(map(_record, rows))


def _converted_to(lead: dict[str, Any]) -> str:
    """Return the contact that a lead was converted to; empty for a lead that was not."""
    return as_text(lead.get("ConvertedContactId")) if lead.get("IsConverted") is True else ""


_record: Final = partial(api.read_record, record_id="Id", our_id=OUR_ID)


def _read_record(_link: crm.CrmLink, read: crm.ReadRecord, body: Any, memory: Any) -> crm.Reply:
    if memory == _WHERE:
        return _read_where(body)
    contact_id = _converted_to(as_dict(body))
    if contact_id:
        return crm.Moved(contact_id)
    record = _record(as_dict(body))
    if _object(record.id) == "Contact":
        record = replace(record, values={**dict.fromkeys(_OF_LEADS, _NOT_HELD), **record.values})
    return api.record_reply(record)


def _read_where(body: Any) -> crm.Reply:
    for row in rows_of(body, "records"):
        for name in ("MasterRecordId", "ConvertedContactId"):
            if as_text(row.get(name)):
                return crm.Moved(as_text(row[name]))
    return crm.NoRecord()


def _read_written(_link: crm.CrmLink, write: crm.WriteRecord, body: Any, memory: Any) -> crm.Reply:
    if memory == _WHERE:
        return _read_where(body)
    if write.record_id:
        return crm.Written(write.record_id) if body == {} else UNCLEAR
    record_id = as_text(as_dict(body).get("id"))
    return crm.Written(record_id) if record_id else UNCLEAR


def _read_changes(link: crm.CrmLink, changes: crm.ListChanges, body: Any, _memory: Any) -> crm.Reply:
    record_changes, rows = [], rows_of(body, "records")
    currency = link.settings.get("currency", "")
    for row in rows:
        owner = as_dict(row.get("Owner"))
        amount = as_text(as_dict(row.get("ConvertedOpportunity")).get("Amount"))
        change = crm.RecordChange(
            as_text(row.get("Id")),
            crm.Cursor(as_text(row.get("SystemModstamp"))),
            as_text(row.get(OUR_ID)),
            status=as_text(row.get("Status")) or None,
            owner=as_text(owner.get("Email")) or as_text(owner.get("Name")) or None,
            value=f"{amount} {currency}" if amount and currency else None,
            by=as_text(as_dict(row.get("LastModifiedBy")).get("Name")),
            is_gone=row.get("IsDeleted") is True,
            moved_to=as_text(row.get("MasterRecordId")) or _converted_to(row),
        )
        record_changes.append(change)
    return api.changes_reply(changes.after, record_changes, is_more=len(rows) == _PAGE)


class Salesforce(api.JsonApi):
    """Connector of Salesforce, by OAuth; its tokens come with the address of the instance."""

    traits = crm.ConnectorTraits(
        name="salesforce",
        label="Salesforce",
        address="https://login.salesforce.com",
        settings=(
            crm.ConnectorSetting(
                "client_id", N_("Consumer key"), help=N_("In Salesforce: Setup, App Manager, your app.")
            ),
            crm.ConnectorSetting("client_secret", N_("Consumer secret"), is_secret=True),
            crm.ConnectorSetting(
                "currency", N_("Currency of opportunities"), is_required=False, example="EUR"
            ),
        ),
        defaults=(
            ("last_name", "LastName"),
            ("first_name", "FirstName"),
            ("name", "Company"),
            ("email", "Email"),
            ("phone", "Phone"),
            ("whatsapp", "MobilePhone"),
            ("lead_source", "LeadSource"),
        ),
        upserts=True,
        tells_changes=True,
        enumerates=True,
        oauth=crm.OAuth(
            "https://login.salesforce.com/services/oauth2/authorize",
            "https://login.salesforce.com/services/oauth2/token",
            ("api", "refresh_token"),
        ),
    )
    address_field = "instance_url"
    encode = staticmethod(_encode)
    readers: ClassVar[api.Readers] = {
        crm.DescribeFields: _read_description,
        crm.FindRecord: _read_found,
        crm.ReadRecord: _read_record,
        crm.WriteRecord: _read_written,
        # The recycle bin keeps a lead for fifteen days. Source: "View, Restore, and Manage the Recycle Bin".
        crm.EraseRecord: lambda _link, _, body, _memory: (
            crm.Erased(is_partial=True) if body == {} else UNCLEAR
        ),
        crm.ListChanges: _read_changes,
        crm.ListRecords: lambda _link, _, body, _memory: api.list_reply(
            map(_record, rows_of(body, "records")), _PAGE
        ),
    }

    def read_error(
        self, link: crm.CrmLink, operation: crm.Operation, answer: HttpAnswer, body: Any, memory: Any
    ) -> crm.Reply | None:
        if 200 <= answer.status < 300:
            return None
        is_missing = answer.status == 404
        for error in as_dicts(body):
            code, text = as_text(error.get("errorCode")), as_text(error.get("message"))
            if code in _BUSY:
                return NotNow(code.lower(), retry_after_s(answer))
            if code in _NOT_THERE:
                is_missing = True
                break
            named = error.get("fields")
            field = as_text(named[0]) if isinstance(named, list) and named else ""
            column, existing = _NO_COLUMN.search(text), _EXISTING.search(text)
            matches = as_dicts(as_dict(error.get("duplicateResult")).get("matchResults"))
            duplicates = [record for match in matches for record in as_dicts(match.get("matchRecords"))]
            duplicate_ids = [as_text(as_dict(duplicate.get("record")).get("Id")) for duplicate in duplicates]
            existing_id = next(filter(None, duplicate_ids), existing[1] if existing else "")
            replies: dict[str, crm.Reply] = {
                "INVALID_SESSION_ID": crm.Expired(),
                "REQUIRED_FIELD_MISSING": Failed("required_field_missing"),
                **dict.fromkeys(_FIELD_GONE, crm.FieldGone(column[1] if column else field)),
                **dict.fromkeys(_VALUE_GONE, crm.ValueGone(field)),
                **dict.fromkeys(("DUPLICATES_DETECTED", "DUPLICATE_VALUE"), crm.Exists(existing_id)),
            }
            if code in replies:
                return replies[code]
        if not is_missing:
            return None
        if memory or not isinstance(operation, crm.ReadRecord | crm.WriteRecord) or not operation.record_id:
            return crm.NoRecord()
        # A missing lead may have been merged into another one, which only deleted rows name.
        columns = "Id, IsDeleted, MasterRecordId, IsConverted, ConvertedContactId"
        where = f"Id = '{_quoted(operation.record_id)}'"
        return crm.FollowUp(_select(link, columns, "Lead", where, end="LIMIT 1", deleted=True), _WHERE)

    def is_same_value(self, field: str, written: str, current: str) -> bool:
        return current == _NOT_HELD or super().is_same_value(field, written, current)

    def record_url(self, link: crm.CrmLink, record_id: str) -> str:
        return f"{link.address}/lightning/r/{_object(record_id)}/{record_id}/view"
