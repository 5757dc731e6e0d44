"""Salesforce leads, by the REST API; a converted lead is written to as the contact that it became.

A custom field of leads, ``Contatto_Lead_Id__c`` (text, external id, unique), holds our id, and leads are made
by the upsert over it. The note goes into ``Description``.

Source: developer.salesforce.com, "REST API Developer Guide" (Upsert by External ID, Query, QueryAll, Status
Codes and Error Responses), "Object Reference" (Lead, EntityParticle, PicklistValueInfo), v62.0.
"""

import re
from dataclasses import replace
from typing import Any, ClassVar, Final
from urllib.parse import quote

from contatto.crm.connectors.json_api import (
    UNCLEAR,
    Abilities,
    JsonApi,
    as_dict,
    as_dicts,
    as_text,
    as_values,
    bearer,
    json_request,
    keep,
    past,
    path_id,
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
    FollowUp,
    FoundRecords,
    ListChanges,
    ListRecords,
    Moved,
    NoRecord,
    OAuth,
    Operation,
    ReadRecord,
    RecordChange,
    RecordsListed,
    Rejected,
    Reply,
    RetryLater,
    ValueGone,
    WriteRecord,
    Written,
)
from contatto.kit.i18n import N_
from contatto.kit.outbound.model import HttpAnswer, HttpRequest, retry_after_s

_TAKEN: Final = re.compile(r"record with id: ?([A-Za-z0-9]{15,18})")
_NO_COLUMN: Final = re.compile(r"No such column '([^']+)'")
_FIELD_GONE: Final = frozenset({"INVALID_FIELD", "INVALID_FIELD_FOR_INSERT_UPDATE"})
_VALUE_GONE: Final = frozenset({
    "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "STRING_TOO_LONG", "INVALID_EMAIL_ADDRESS",
    "NUMBER_OUTSIDE_VALID_RANGE", "INVALID_TYPE_ON_FIELD_IN_RECORD",
})  # fmt: skip
_BUSY: Final = frozenset({"REQUEST_LIMIT_EXCEEDED", "UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE"})
_GONE: Final = frozenset(
    {"ENTITY_IS_DELETED", "NOT_FOUND", "INVALID_CROSS_REFERENCE_KEY", "CANNOT_UPDATE_CONVERTED_LEAD"}
)


def reply_of(error: dict[str, Any], retry_after_s: float | None) -> Reply | None:
    """The reply that one error of an answer stands for; None for one that says no more than the status."""
    code, text = as_text(error.get("errorCode")), as_text(error.get("message"))
    if code in _BUSY:
        return RetryLater(code.lower(), retry_after_s)
    if code in _GONE:
        return NoRecord()
    named = error.get("fields")
    field = as_text(named[0]) if isinstance(named, list) and named else ""
    column = _NO_COLUMN.search(text)
    plain: dict[str, Reply] = {
        "INVALID_SESSION_ID": Expired(),
        "REQUIRED_FIELD_MISSING": Rejected("required_field_missing"),
        **dict.fromkeys(_FIELD_GONE, FieldGone(column[1] if column else field)),
        **dict.fromkeys(_VALUE_GONE, ValueGone(field)),
        **dict.fromkeys(("DUPLICATES_DETECTED", "DUPLICATE_VALUE"), Exists(_existing(error, text))),
    }
    return plain.get(code)


def _existing(error: dict[str, Any], text: str) -> str:
    """The record that is there already, from the duplicate rule's result or from the text."""
    result = as_dict(error.get("duplicateResult"))
    for match in as_dicts(result.get("matchResults")):
        for record in as_dicts(match.get("matchRecords")):
            record_id = as_text(as_dict(record.get("record")).get("Id"))
            if record_id:
                return record_id
    taken = _TAKEN.search(text)
    return taken[1] if taken is not None else ""


OUR_ID: Final = "Contatto_Lead_Id__c"
NOTE: Final = "Description"
_DATA: Final = "/services/data/v62.0"
_PAGE: Final = 200
_CONTACT: Final = "003"  # the first signs of a contact's id
_NOT_HELD: Final = "\0"  # stands for a field of leads in a contact, which has none to compare
_OF_LEADS: Final = frozenset({"Company", "Status", "LeadSource", "Rating", "Industry", "Website", OUR_ID})
_MATCH: Final = {FindBy.EMAIL: "Email = '{0}'", FindBy.PHONE: "(Phone = '{0}' OR MobilePhone = '{0}')"}
_KINDS: Final = {
    "email": FieldKind.EMAIL,
    "phone": FieldKind.PHONE,
    "picklist": FieldKind.CHOICE,
    "multipicklist": FieldKind.CHOICE,
    "boolean": FieldKind.BOOL,
    **dict.fromkeys(("int", "double", "currency", "percent"), FieldKind.NUMBER),
    **dict.fromkeys(("date", "datetime", "time"), FieldKind.TIME),
}
_WHERE: Final = "where"  # while it is asked what became of a lead


def _send(link: CrmLink, method: str, path: str, body: Any = None) -> HttpRequest:
    return json_request(method, f"{link.address}{_DATA}{path}", bearer(link) or {}, body)


def _select(
    link: CrmLink, columns: str, source: str, *where: str, end: str, deleted: bool = False
) -> HttpRequest:
    """A query in SOQL; whatever somebody typed went through ``_quoted``."""
    soql = f"SELECT {columns} FROM {source} WHERE {' AND '.join(where)} {end}"  # noqa: S608 - values are quoted
    return _send(link, "GET", f"/{'queryAll' if deleted else 'query'}?q={quote(soql)}")


def _quoted(value: str) -> str:
    """A text inside of quotes. Source: "SOQL and SOSL Reference", Quoted String Escape Sequences."""
    return value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", " ")


def _object(record_id: str) -> str:
    return "Contact" if record_id.startswith(_CONTACT) else "Lead"


def _describe(link: CrmLink, _: DescribeFields) -> HttpRequest:
    columns = (
        "QualifiedApiName, Label, DataType, Length, IsCreatable, IsUpdatable, IsNillable, IsDefaultedOnCreate"
    )
    of_leads = "EntityDefinition.QualifiedApiName = 'Lead'"
    return _select(link, columns, "EntityParticle", of_leads, end="LIMIT 800")


def _choices(link: CrmLink) -> HttpRequest:
    of_leads = "EntityParticle.EntityDefinition.QualifiedApiName = 'Lead'"
    columns = "EntityParticle.QualifiedApiName, Value, Label"
    return _select(link, columns, "PicklistValueInfo", of_leads, "IsActive = true", end="LIMIT 1000")


def _find(link: CrmLink, find: FindRecord) -> HttpRequest:
    value = _quoted(find.value)
    match = f"{OUR_ID} = '{value}'" if find.by is FindBy.EXTERNAL_ID else _MATCH[find.by].format(value)
    columns = f"Id, {OUR_ID}, IsConverted, ConvertedContactId, SystemModstamp"
    return _select(link, columns, "Lead", match, end="ORDER BY CreatedDate, Id LIMIT 5")


def _read(link: CrmLink, read: ReadRecord) -> HttpRequest:
    return _send(link, "GET", f"/sobjects/{_object(read.record_id)}/{path_id(read.record_id)}")


def _write(link: CrmLink, write: WriteRecord) -> HttpRequest:
    values: dict[str, str | None] = {name: value or None for name, value in write.values.items()}
    if write.note:
        values[NOTE] = write.note
    if write.record_id is None:
        return _send(link, "PATCH", f"/sobjects/Lead/{OUR_ID}/{path_id(write.external_id)}", values)
    values[OUR_ID] = write.external_id
    kind = _object(write.record_id)
    if kind == "Contact":
        values = {name: value for name, value in values.items() if name not in _OF_LEADS}
    return _send(link, "PATCH", f"/sobjects/{kind}/{path_id(write.record_id)}", values)


def _where_is(link: CrmLink, record_id: str) -> HttpRequest:
    columns = "Id, IsDeleted, MasterRecordId, IsConverted, ConvertedContactId"
    return _select(link, columns, "Lead", f"Id = '{_quoted(record_id)}'", end="LIMIT 1", deleted=True)


def _erase(link: CrmLink, erase: EraseRecord) -> HttpRequest:
    return _send(link, "DELETE", f"/sobjects/{_object(erase.record_id)}/{path_id(erase.record_id)}")


def _changes(link: CrmLink, changes: ListChanges) -> HttpRequest:
    """Leads of ours that changed since, the deleted ones too; those read at that very time are left out."""
    after = changes.after
    columns = (
        f"Id, {OUR_ID}, Status, Owner.Email, Owner.Name, LastModifiedBy.Name, SystemModstamp, IsDeleted, "
        "MasterRecordId, IsConverted, ConvertedContactId, ConvertedOpportunity.Amount"
    )
    where = [f"{OUR_ID} != null"]
    if after.at:
        where.append(f"SystemModstamp >= {after.at}")
    if after.id:
        seen = ", ".join(f"'{_quoted(each)}'" for each in after.id.split(",")[:_PAGE])
        where.append(f"Id NOT IN ({seen})")
    order = f"ORDER BY SystemModstamp, Id LIMIT {_PAGE}"
    return _select(link, columns, "Lead", *where, end=order, deleted=True)


def _enumerate(link: CrmLink, enumerate_: ListRecords) -> HttpRequest:
    """Leads that were converted stand there still."""
    where = [f"{OUR_ID} != null"]
    if enumerate_.after:
        where.append(f"Id > '{_quoted(enumerate_.after)}'")
    return _select(link, f"Id, {OUR_ID}", "Lead", *where, end=f"ORDER BY Id LIMIT {_PAGE}")


def _rows(body: Any) -> list[dict[str, Any]] | None:
    """The rows of a query; None when the answer is no result."""
    rows = as_dict(body).get("records")
    return as_dicts(rows) if isinstance(rows, list) else None


def _read_description(link: CrmLink, _: DescribeFields, body: Any, memory: str) -> Reply:
    rows = _rows(body)
    if rows is None:
        return UNCLEAR
    if not memory:
        return FollowUp(_choices(link), keep([each for each in rows if _is_writable(each)]))
    choices: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        name = as_text(as_dict(row.get("EntityParticle")).get("QualifiedApiName"))
        choices.setdefault(name, []).append((as_text(row.get("Value")), as_text(row.get("Label"))))
    return FieldsDescribed(tuple(_field(each, choices) for each in as_dicts(recall(memory))))


def _is_writable(one: dict[str, Any]) -> bool:
    name = as_text(one.get("QualifiedApiName"))
    return bool(name) and name != OUR_ID and one.get("IsCreatable") is True and one.get("IsUpdatable") is True


def _field(one: dict[str, Any], choices: dict[str, list[tuple[str, str]]]) -> CrmField:
    name = as_text(one.get("QualifiedApiName"))
    needed = one.get("IsNillable") is False and one.get("IsDefaultedOnCreate") is not True
    length = one.get("Length")
    return CrmField(
        name,
        as_text(one.get("Label")) or name,
        _KINDS.get(as_text(one.get("DataType")).lower(), FieldKind.TEXT),
        is_required=needed and one.get("DataType") != "boolean",
        choices=tuple(choices.get(name, ())),
        limit=length if isinstance(length, int) else 0,
    )


def _read_found(_link: CrmLink, _: FindRecord, body: Any, _memory: str) -> Reply:
    rows = _rows(body)
    if rows is None:
        return UNCLEAR
    records = [_record(row) for row in rows]
    now = [
        as_text(each.get("ConvertedContactId")) if each.get("IsConverted") is True else "" for each in rows
    ]
    if records and now[0]:
        return Moved(now[0])
    found = tuple(record for record in records if record.id)
    return FoundRecords(found) if found else NoRecord()


def _record(one: dict[str, Any]) -> CrmRecord:
    values = as_values(one)
    return CrmRecord(values.get("Id", ""), values.get(OUR_ID, ""), values, values.get("SystemModstamp", ""))


def _read_record(_link: CrmLink, read: ReadRecord, body: Any, memory: str) -> Reply:
    if memory == _WHERE:
        return _read_where(body)
    one = as_dict(body)
    if one.get("IsConverted") is True and as_text(one.get("ConvertedContactId")):
        return Moved(as_text(one["ConvertedContactId"]))
    record = _record(one)
    if _object(record.id) == "Contact":
        record = replace(record, values={**dict.fromkeys(_OF_LEADS, _NOT_HELD), **record.values})
    return FoundRecords((record,)) if record.id else UNCLEAR


def _read_where(body: Any) -> Reply:
    rows = _rows(body)
    if rows is None:
        return UNCLEAR
    for row in rows:
        for name in ("MasterRecordId", "ConvertedContactId"):
            if as_text(row.get(name)):
                return Moved(as_text(row[name]))
    return NoRecord()


def _read_written(_link: CrmLink, write: WriteRecord, body: Any, memory: str) -> Reply:
    if memory == _WHERE:
        return _read_where(body)
    if write.record_id:
        return Written(write.record_id) if body == {} else UNCLEAR
    record_id = as_text(as_dict(body).get("id"))
    return Written(record_id) if record_id else UNCLEAR


def _read_erased(_link: CrmLink, _: EraseRecord, body: Any, _memory: str) -> Reply:
    """It lies in the recycle bin for fifteen days. Source: "View, Restore, and Manage the Recycle Bin"."""
    return Erased(is_partial=True) if body == {} else UNCLEAR


def _read_enumerated(_link: CrmLink, _: ListRecords, body: Any, _memory: str) -> Reply:
    rows = _rows(body)
    if rows is None:
        return UNCLEAR
    records = tuple((as_text(row.get("Id")), as_text(row.get(OUR_ID))) for row in rows)
    return RecordsListed(records, records[-1][0] if len(records) == _PAGE else "")


def _read_changes(link: CrmLink, changes: ListChanges, body: Any, _memory: str) -> Reply:
    rows = _rows(body)
    if rows is None:
        return UNCLEAR
    told, cursor = [], changes.after
    for row in rows:
        at, record_id = as_text(row.get("SystemModstamp")), as_text(row.get("Id"))
        cursor = past(cursor, at, record_id)
        told.append(_change(link, row, cursor))
    return ChangesListed(tuple(told), cursor, is_more=len(rows) == _PAGE)


def _change(link: CrmLink, one: dict[str, Any], cursor: Cursor) -> RecordChange:
    owner = as_dict(one.get("Owner"))
    amount = as_text(as_dict(one.get("ConvertedOpportunity")).get("Amount"))
    currency = link.settings.get("currency", "")
    converted = as_text(one.get("ConvertedContactId")) if one.get("IsConverted") is True else ""
    return RecordChange(
        as_text(one.get("Id")),
        cursor,
        as_text(one.get(OUR_ID)),
        status=as_text(one.get("Status")) or None,
        owner=as_text(owner.get("Email")) or as_text(owner.get("Name")) or None,
        value=f"{amount} {currency}" if amount and currency else None,
        by=as_text(as_dict(one.get("LastModifiedBy")).get("Name")),
        is_gone=one.get("IsDeleted") is True,
        moved_to=as_text(one.get("MasterRecordId")) or converted,
    )


class Salesforce(JsonApi):
    """The connector of Salesforce, by OAuth; its tokens come with the address of the instance."""

    traits = ConnectorTraits(
        name="salesforce",
        label="Salesforce",
        address="https://login.salesforce.com",
        settings=(
            ConnectorSetting(
                "client_id", N_("Consumer key"), help=N_("In Salesforce: Setup, App Manager, your app.")
            ),
            ConnectorSetting("client_secret", N_("Consumer secret"), is_secret=True),
            ConnectorSetting("currency", N_("Currency of opportunities"), is_required=False, example="EUR"),
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
        erases=ErasureLevel.PARTIAL,
        tells_changes=True,
        enumerates=True,
        oauth=OAuth(
            "https://login.salesforce.com/services/oauth2/authorize",
            "https://login.salesforce.com/services/oauth2/token",
            ("api", "refresh_token"),
        ),
    )
    address_field = "instance_url"
    abilities: ClassVar[Abilities] = {
        DescribeFields: (_describe, _read_description),
        FindRecord: (_find, _read_found),
        ReadRecord: (_read, _read_record),
        WriteRecord: (_write, _read_written),
        EraseRecord: (_erase, _read_erased),
        ListChanges: (_changes, _read_changes),
        ListRecords: (_enumerate, _read_enumerated),
    }

    def trouble(
        self, link: CrmLink, operation: Operation, answer: HttpAnswer, body: Any, memory: str
    ) -> Reply | None:
        if 200 <= answer.status < 300:
            return None
        for error in as_dicts(body):
            reply = reply_of(error, retry_after_s(answer))
            if isinstance(reply, NoRecord):
                return _gone(link, operation, memory)
            if reply is not None:
                return reply
        return _gone(link, operation, memory) if answer.status == 404 else None

    def agrees(self, field: str, written: str, found: str) -> bool:
        return found == _NOT_HELD or super().agrees(field, written, found)

    def record_url(self, link: CrmLink, record_id: str) -> str:
        return f"{link.address}/lightning/r/{_object(record_id)}/{record_id}/view"


def _gone(link: CrmLink, operation: Operation, memory: str) -> Reply:
    """A lead that is not there may have been merged: only the query with deleted rows tells into which."""
    if memory or not isinstance(operation, ReadRecord | WriteRecord) or not operation.record_id:
        return NoRecord()
    return FollowUp(_where_is(link, operation.record_id), _WHERE)
