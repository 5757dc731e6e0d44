"""HubSpot contacts, by the CRM API v3.

A property of its own, with unique values, holds our id, and contacts are made by the upsert over it. The
connector makes that property when the first write finds it missing. The note goes into ``message``. HubSpot
merges two contacts into a third one, to which the ids of both lead.

Source: developers.hubspot.com, "CRM API | Contacts", "Search", "Properties", "Owners", v3; changelog,
"Updated merge functionality for contacts and companies".
"""

import re
from typing import Any, ClassVar, Final

from contatto.crm.connectors.json_api import (
    UNCLEAR,
    Abilities,
    JsonApi,
    as_dict,
    as_dicts,
    as_text,
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
    Exists,
    FieldGone,
    FieldKind,
    FieldsDescribed,
    FindBy,
    FindRecord,
    FollowUp,
    FoundRecords,
    ListChanges,
    ListRecords,
    MergeRecords,
    Moved,
    NoRecord,
    OAuth,
    Operation,
    ReadRecord,
    RecordChange,
    RecordsListed,
    Rejected,
    Reply,
    ValueGone,
    WriteRecord,
    Written,
)
from contatto.kit.i18n import N_
from contatto.kit.outbound.model import HttpAnswer, HttpRequest

_EXISTING: Final = re.compile(r"[Ee]xisting ID: ?([0-9]+)")
_MISSING: Final = re.compile(r'[Pp]roperty "?\'?([A-Za-z0-9_]+)"?\'? does not exist')


def trouble_of_write(body: dict[str, Any]) -> Reply | None:
    """What HubSpot says more exactly than by its status: in the body, or one by one in a batch."""
    for error in (body, *as_dicts(body.get("errors"))):
        text = as_text(error.get("message"))
        existing = _EXISTING.search(text)
        if existing is not None:
            return Exists(existing[1])
        missing = _MISSING.search(text)
        if missing is not None:
            return FieldGone(missing[1])
        code = as_text(error.get("code") or error.get("error"))
        name = _property_named(error)
        if code == "PROPERTY_DOESNT_EXIST":
            return FieldGone(name)
        if code in ("INVALID_OPTION", "INVALID_EMAIL", "INVALID_LONG", "INVALID_DATE", "INVALID_STRING"):
            return ValueGone(name)
        if as_text(error.get("category")) == "CONFLICT":
            return Exists()
    return None


def _property_named(error: dict[str, Any]) -> str:
    """The property that an error is about: HubSpot names it in one of two places."""
    named = as_dict(error.get("context")).get("propertyName")
    first = named[0] if isinstance(named, list) and named else error.get("name")
    return as_text(first)


OUR_ID: Final = "contatto_lead_id"
NOTE: Final = "message"
_CONTACTS: Final = "/crm/v3/objects/contacts"
_PAGE: Final = 100
_NUMBER: Final = "hs_object_id"
_CHANGED_AT: Final = "lastmodifieddate"
_WATCHED: Final = ("hs_lead_status", "hubspot_owner_id", _CHANGED_AT, OUR_ID)
_KINDS: Final = {
    "enumeration": FieldKind.CHOICE,
    "bool": FieldKind.BOOL,
    "number": FieldKind.NUMBER,
    "datetime": FieldKind.TIME,
    "date": FieldKind.TIME,
}
_BY: Final = {FindBy.EMAIL: ("email",), FindBy.PHONE: ("phone", "mobilephone")}
_CREATE_ID: Final = "create_id"
_WRITE_AGAIN: Final = "write_again"
_LEADS_TO: Final = "leads_to"


def _send(link: CrmLink, method: str, path: str, body: Any = None) -> HttpRequest:
    return json_request(method, link.address + path, bearer(link) or {}, body)


def _describe(link: CrmLink, _: DescribeFields) -> HttpRequest:
    return _send(link, "GET", "/crm/v3/properties/contacts?archived=false")


def _find(link: CrmLink, find: FindRecord) -> HttpRequest:
    if find.by is FindBy.EXTERNAL_ID:
        return _send(
            link, "GET", f"{_CONTACTS}/{path_id(find.value)}?idProperty={OUR_ID}&properties={OUR_ID}"
        )
    groups = [
        {"filters": [{"propertyName": name, "operator": "EQ", "value": find.value}]} for name in _BY[find.by]
    ]
    oldest = {"propertyName": "createdate", "direction": "ASCENDING"}
    search = {"filterGroups": groups, "sorts": [oldest], "properties": [OUR_ID], "limit": 5}
    return _send(link, "POST", f"{_CONTACTS}/search", search)


def _read(link: CrmLink, read: ReadRecord) -> HttpRequest:
    names = ",".join(dict.fromkeys((OUR_ID, _CHANGED_AT, *read.fields)))
    return _send(link, "GET", f"{_CONTACTS}/{path_id(read.record_id)}?properties={names}")


def _write(link: CrmLink, write: WriteRecord) -> HttpRequest:
    values = {**write.values, OUR_ID: write.external_id}
    if write.note:
        values[NOTE] = write.note
    if write.record_id:
        return _send(link, "PATCH", f"{_CONTACTS}/{path_id(write.record_id)}", {"properties": values})
    made = {"idProperty": OUR_ID, "id": write.external_id, "properties": values}
    return _send(link, "POST", f"{_CONTACTS}/batch/upsert", {"inputs": [made]})


def _our_property(link: CrmLink) -> HttpRequest:
    made = {
        "name": OUR_ID,
        "label": "Contatto lead ID",
        "type": "string",
        "fieldType": "text",
        "groupName": "contactinformation",
        "hasUniqueValue": True,
    }
    return _send(link, "POST", "/crm/v3/properties/contacts", made)


def _merge(link: CrmLink, merge: MergeRecords) -> HttpRequest:
    body = {"primaryObjectId": merge.into_id, "objectIdToMerge": merge.record_id}
    return _send(link, "POST", f"{_CONTACTS}/merge", body)


def _erase(link: CrmLink, erase: EraseRecord) -> HttpRequest:
    return _send(link, "POST", f"{_CONTACTS}/gdpr-delete", {"objectId": erase.record_id})


def _changes(link: CrmLink, changes: ListChanges) -> HttpRequest:
    """Contacts of ours that changed since, but for those that were read at that very time."""
    after = changes.after
    filters: list[dict[str, Any]] = [{"propertyName": OUR_ID, "operator": "HAS_PROPERTY"}]
    if after.at:
        filters.append({"propertyName": _CHANGED_AT, "operator": "GTE", "value": after.at})
    if after.id:
        seen = after.id.split(",")[:_PAGE]
        filters.append({"propertyName": _NUMBER, "operator": "NOT_IN", "values": seen})
    oldest = {"propertyName": _CHANGED_AT, "direction": "ASCENDING"}
    groups = [{"filters": filters}]
    search = {"filterGroups": groups, "sorts": [oldest], "properties": list(_WATCHED), "limit": _PAGE}
    return _send(link, "POST", f"{_CONTACTS}/search", search)


def _enumerate(link: CrmLink, enumerate_: ListRecords) -> HttpRequest:
    """By the number of the record: a search gives no more than 10,000 results, however they are paged."""
    filters = [{"propertyName": OUR_ID, "operator": "HAS_PROPERTY"}]
    if enumerate_.after:
        filters.append({"propertyName": _NUMBER, "operator": "GT", "value": enumerate_.after})
    by_number = {"propertyName": _NUMBER, "direction": "ASCENDING"}
    groups = [{"filters": filters}]
    search = {"filterGroups": groups, "sorts": [by_number], "properties": [OUR_ID], "limit": _PAGE}
    return _send(link, "POST", f"{_CONTACTS}/search", search)


def _read_description(_link: CrmLink, _: DescribeFields, body: Any, _memory: str) -> Reply:
    results = as_dict(body).get("results")
    if not isinstance(results, list):
        return UNCLEAR
    return FieldsDescribed(tuple(_field(each) for each in as_dicts(results) if _is_ours_to_write(each)))


def _read_found(_link: CrmLink, find: FindRecord, body: Any, _memory: str) -> Reply:
    if find.by is FindBy.EXTERNAL_ID:
        record = _record(as_dict(body))
        return FoundRecords((record,)) if record.id else UNCLEAR
    results = as_dict(body).get("results")
    if not isinstance(results, list):
        return UNCLEAR
    records = tuple(record for record in map(_record, as_dicts(results)) if record.id)
    return FoundRecords(records) if records else NoRecord()


def _read_record(_link: CrmLink, read: ReadRecord, body: Any, _memory: str) -> Reply:
    record = _record(as_dict(body))
    if not record.id:
        return UNCLEAR
    # of a contact that was merged, HubSpot gives the one that is left
    return FoundRecords((record,)) if record.id == read.record_id else Moved(record.id)


def _read_written(link: CrmLink, write: WriteRecord, body: Any, memory: str) -> Reply:
    if memory == _CREATE_ID:
        return FollowUp(_write(link, write), _WRITE_AGAIN)
    made = as_dicts(as_dict(body).get("results"))
    record_id = as_text((made[0] if made else as_dict(body)).get("id"))
    return Written(record_id) if record_id else UNCLEAR


def _read_merged(_link: CrmLink, merge: MergeRecords, body: Any, memory: str) -> Reply:
    record_id = as_text(as_dict(body).get("id"))
    if memory == _LEADS_TO and record_id == merge.record_id:
        return Rejected("merge")
    return Written(record_id) if record_id else UNCLEAR


def _read_erased(_link: CrmLink, _: EraseRecord, body: Any, _memory: str) -> Reply:
    return Erased() if body == {} else UNCLEAR


def _read_changes(link: CrmLink, changes: ListChanges, body: Any, memory: str) -> Reply:
    if memory:
        return _told(changes.after, as_dicts(recall(memory)), _owners(as_dict(body)))
    results = as_dict(body).get("results")
    if not isinstance(results, list):
        return UNCLEAR
    records = [record for record in map(_record, as_dicts(results)) if record.id]
    if not records:
        return ChangesListed((), changes.after)
    page = [{"id": each.id, "at": each.changed_at, **dict(each.values)} for each in records]
    return FollowUp(_send(link, "GET", "/crm/v3/owners/?limit=500"), keep(page))


def _read_enumerated(_link: CrmLink, _: ListRecords, body: Any, _memory: str) -> Reply:
    results = as_dict(body).get("results")
    if not isinstance(results, list):
        return UNCLEAR
    records = [record for record in map(_record, as_dicts(results)) if record.id]
    after = records[-1].id if len(records) == _PAGE else ""
    return RecordsListed(tuple((each.id, each.external_id) for each in records if each.external_id), after)


def _record(one: dict[str, Any]) -> CrmRecord:
    values = {name: as_text(value) for name, value in as_dict(one.get("properties")).items()}
    changed_at = values.get(_CHANGED_AT) or as_text(one.get("updatedAt"))
    return CrmRecord(as_text(one.get("id")), values.get(OUR_ID, ""), values, changed_at)


def _is_ours_to_write(one: dict[str, Any]) -> bool:
    is_fixed = as_dict(one.get("modificationMetadata")).get("readOnlyValue") is True
    return not is_fixed and one.get("hidden") is not True and as_text(one.get("name")) not in ("", OUR_ID)


def _field(one: dict[str, Any]) -> CrmField:
    name = as_text(one.get("name"))
    kind = _KINDS.get(as_text(one.get("type")), FieldKind.TEXT)
    if name == "email":
        kind = FieldKind.EMAIL
    elif one.get("fieldType") == "phonenumber":
        kind = FieldKind.PHONE
    options = as_dicts(one.get("options"))
    choices = tuple((as_text(option.get("value")), as_text(option.get("label"))) for option in options)
    return CrmField(name, as_text(one.get("label")) or name, kind, choices=choices)


def _owners(body: dict[str, Any]) -> dict[str, str]:
    return {as_text(each.get("id")): as_text(each.get("email")) for each in as_dicts(body.get("results"))}


def _told(after: Cursor, page: list[dict[str, Any]], owners: dict[str, str]) -> ChangesListed:
    changes, cursor = [], after
    for each in page:
        at, record_id = as_text(each.get("at")), as_text(each.get("id"))
        cursor = past(cursor, at, record_id)
        owner = as_text(each.get("hubspot_owner_id"))
        change = RecordChange(
            record_id,
            cursor,
            as_text(each.get(OUR_ID)),
            status=as_text(each.get("hs_lead_status")) or None,
            owner=owners.get(owner, owner) or None,
        )
        changes.append(change)
    return ChangesListed(tuple(changes), cursor, is_more=len(page) == _PAGE)


class HubSpot(JsonApi):
    """The connector of HubSpot; by OAuth, or with the access token of a private app."""

    traits = ConnectorTraits(
        name="hubspot",
        label="HubSpot",
        address="https://api.hubapi.com",
        settings=(
            ConnectorSetting(
                "access_token",
                N_("Access token of a private app"),
                is_secret=True,
                is_required=False,
                help=N_(
                    "In HubSpot: Settings, Private apps, your app. The token needs access to read and write "
                    "contacts."
                ),
            ),
            ConnectorSetting(
                "client_id",
                N_("Client ID of the app"),
                is_required=False,
                help=N_("In HubSpot: your app, Auth. Needed only to connect without a token."),
            ),
            ConnectorSetting(
                "client_secret",
                N_("Client secret of the app"),
                is_secret=True,
                is_required=False,
                help=N_("Next to the client ID."),
            ),
            ConnectorSetting(
                "portal_id",
                N_("Hub ID"),
                is_required=False,
                example="12345678",
                help=N_(
                    "The number in HubSpot's web address. With it, each lead links to its HubSpot contact."
                ),
            ),
        ),
        defaults=(
            ("email", "email"),
            ("phone", "phone"),
            ("whatsapp", "hs_whatsapp_phone_number"),
            ("first_name", "firstname"),
            ("last_name", "lastname"),
        ),
        upserts=True,
        merges=True,
        tells_changes=True,
        enumerates=True,
        search_lag_s=30.0,
        oauth=OAuth(
            "https://app.hubspot.com/oauth/authorize",
            "https://api.hubapi.com/oauth/v1/token",
            (
                "crm.objects.contacts.read",
                "crm.objects.contacts.write",
                "crm.objects.owners.read",
                "crm.schemas.contacts.read",
                "crm.schemas.contacts.write",
                "oauth",
            ),
            is_pkce=False,
        ),
    )
    abilities: ClassVar[Abilities] = {
        DescribeFields: (_describe, _read_description),
        FindRecord: (_find, _read_found),
        ReadRecord: (_read, _read_record),
        WriteRecord: (_write, _read_written),
        MergeRecords: (_merge, _read_merged),
        EraseRecord: (_erase, _read_erased),
        ListChanges: (_changes, _read_changes),
        ListRecords: (_enumerate, _read_enumerated),
    }

    def trouble(
        self, link: CrmLink, operation: Operation, answer: HttpAnswer, body: Any, memory: str
    ) -> Reply | None:
        if isinstance(operation, MergeRecords) and answer.status == 400 and not memory:
            # they may be one already, such as after an answer that was lost: where does the old id lead?
            return FollowUp(_read(link, ReadRecord(operation.record_id)), _LEADS_TO)
        if not isinstance(operation, WriteRecord):
            return super().trouble(link, operation, answer, body, memory)
        if memory == _CREATE_ID:
            # 409: somebody else has made the property meanwhile
            return FollowUp(_write(link, operation), _WRITE_AGAIN) if answer.status == 409 else None
        if answer.status == 404 and operation.record_id:
            return NoRecord()
        wrong = trouble_of_write(as_dict(body))
        if wrong == FieldGone(OUR_ID) and memory != _WRITE_AGAIN:
            return FollowUp(_our_property(link), _CREATE_ID)
        return wrong

    def record_url(self, link: CrmLink, record_id: str) -> str:
        portal = link.settings.get("portal_id", "")
        return f"https://app.hubspot.com/contacts/{portal}/record/0-1/{record_id}" if portal else ""
