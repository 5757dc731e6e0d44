"""HubSpot contacts, by the CRM API v3.

A property with unique values holds our id; an upsert by this property creates contacts. The connector creates
the property when the first write finds it missing. Values without a field go into ``message``. HubSpot merges
two contacts into a third one, and the ids of both lead to it.

Source: developers.hubspot.com, "CRM API | Contacts", "Search", "Properties", "Owners", v3; changelog,
"Updated merge functionality for contacts and companies".
"""

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from contatto.crm import model as crm
from contatto.crm.connectors import json_api as api
from contatto.crm.connectors.json_api import UNCLEAR, as_dict, as_dicts, as_text, records_reply, rows_of
from contatto.kit.i18n import N_
from contatto.kit.outbound.model import Failed, HttpAnswer, HttpRequest

_EXISTING: Final = re.compile(r"[Ee]xisting ID: ?([0-9]+)")
_MISSING: Final = re.compile(r'[Pp]roperty "?\'?([A-Za-z0-9_]+)"?\'? does not exist')


def read_write_error(body: dict[str, Any]) -> crm.Reply | None:
    """Return the failure that a body or the errors of its batch name; None for another one."""
    for error in (body, *as_dicts(body.get("errors"))):
        text = as_text(error.get("message"))
        existing = _EXISTING.search(text)
        if existing is not None:
            return crm.Exists(existing[1])
        missing = _MISSING.search(text)
        if missing is not None:
            return crm.FieldGone(missing[1])
        code = as_text(error.get("code") or error.get("error"))
        # HubSpot names the property in one of two places.
        names = as_dict(error.get("context")).get("propertyName")
        name = as_text(names[0] if isinstance(names, list) and names else error.get("name"))
        if code == "PROPERTY_DOESNT_EXIST":
            return crm.FieldGone(name)
        if code in ("INVALID_OPTION", "INVALID_EMAIL", "INVALID_LONG", "INVALID_DATE", "INVALID_STRING"):
            return crm.ValueGone(name)
        if as_text(error.get("category")) == "CONFLICT":
            return crm.Exists()
    return None


OUR_ID: Final = "contatto_lead_id"
NOTE: Final = "message"
_CONTACTS: Final = "/crm/v3/objects/contacts"
_PAGE: Final = 100
_NUMBER: Final = "hs_object_id"
_CHANGED_AT: Final = "lastmodifieddate"
_WATCHED: Final = ("hs_lead_status", "hubspot_owner_id", _CHANGED_AT, OUR_ID)
_SEARCHED: Final = {crm.FindBy.EMAIL: ("email",), crm.FindBy.PHONE: ("phone", "mobilephone")}
_OUR_PROPERTY: Final = {
    "name": OUR_ID,
    "label": "Contatto lead ID",
    "type": "string",
    "fieldType": "text",
    "groupName": "contactinformation",
    "hasUniqueValue": True,
}
# The memory of a follow-up names the request that the next reply answers.
_CREATE_ID: Final = "create_id"
_WRITE_AGAIN: Final = "write_again"
_READ_MERGED: Final = "leads_to"


def _encode(link: crm.CrmLink, operation: crm.Operation) -> HttpRequest:
    method, path, body = "GET", _CONTACTS, None
    match operation:
        case crm.DescribeFields():
            path = "/crm/v3/properties/contacts?archived=false"
        case crm.FindRecord(crm.FindBy.EXTERNAL_ID, value):
            path = f"{_CONTACTS}/{api.path_id(value)}?idProperty={OUR_ID}&properties={OUR_ID}"
        case crm.FindRecord(by, value):
            groups = [
                {"filters": [{"propertyName": name, "operator": "EQ", "value": value}]}
                for name in _SEARCHED[by]
            ]
            oldest = {"propertyName": "createdate", "direction": "ASCENDING"}
            method, path = "POST", f"{_CONTACTS}/search"
            body = {"filterGroups": groups, "sorts": [oldest], "properties": [OUR_ID], "limit": 5}
        case crm.ReadRecord(record_id, fields):
            names = ",".join(dict.fromkeys((OUR_ID, _CHANGED_AT, *fields)))
            path = f"{_CONTACTS}/{api.path_id(record_id)}?properties={names}"
        case crm.WriteRecord(record_id, external_id):
            values = {**operation.values, OUR_ID: external_id}
            values |= {NOTE: operation.note} if operation.note else {}
            method, path = "POST", f"{_CONTACTS}/batch/upsert"
            body = {"inputs": [{"idProperty": OUR_ID, "id": external_id, "properties": values}]}
            if record_id:
                method, path = "PATCH", f"{_CONTACTS}/{api.path_id(record_id)}"
                body = {"properties": values}
        case crm.MergeRecords(record_id, into_id):
            method, path = "POST", f"{_CONTACTS}/merge"
            body = {"primaryObjectId": into_id, "objectIdToMerge": record_id}
        case crm.EraseRecord(record_id):
            method, path, body = "POST", f"{_CONTACTS}/gdpr-delete", {"objectId": record_id}
        case crm.ListChanges(after):
            # Our contacts that changed since the cursor, without those read at its very time.
            since: dict[str, Any] = {"propertyName": _CHANGED_AT, "operator": "GTE", "value": after.at}
            read_ids = after.id.split(",")[:_PAGE]
            unread: dict[str, Any] = {"propertyName": _NUMBER, "operator": "NOT_IN", "values": read_ids}
            filters = [*([since] if after.at else []), *([unread] if after.id else [])]
            return _search_ours(link, filters, _CHANGED_AT, _WATCHED)
        case crm.ListRecords(after):
            # By number, as paging of one search ends at 10,000 results.
            following = {"propertyName": _NUMBER, "operator": "GT", "value": after}
            return _search_ours(link, [following] if after else [], _NUMBER, [OUR_ID])
    return api.send(link, method, path, body)


def _search_ours(
    link: crm.CrmLink, filters: list[dict[str, Any]], order: str, names: Sequence[str]
) -> HttpRequest:
    all_filters = [{"propertyName": OUR_ID, "operator": "HAS_PROPERTY"}, *filters]
    sorts = [{"propertyName": order, "direction": "ASCENDING"}]
    search = {"filterGroups": [{"filters": all_filters}], "sorts": sorts, "properties": names, "limit": _PAGE}
    return api.send(link, "POST", f"{_CONTACTS}/search", search)


def _read_description(_link: crm.CrmLink, _: crm.DescribeFields, body: Any, _memory: Any) -> crm.Reply:
    fields = []
    for row in rows_of(body, "results"):
        is_fixed = as_dict(row.get("modificationMetadata")).get("readOnlyValue") is True
        is_hidden = row.get("hidden") is True or as_text(row.get("name")) in ("", OUR_ID)
        if not is_fixed and not is_hidden:
            choices = api.read_choices(row.get("options"), "value", "label")
            fields.append(api.read_field(row, "name", "label", choices=choices))
    return crm.FieldsDescribed(tuple(fields))


def _read_found(_link: crm.CrmLink, find: crm.FindRecord, body: Any, _memory: Any) -> crm.Reply:
    is_by_id = find.by is crm.FindBy.EXTERNAL_ID
    return api.record_reply(_record(as_dict(body))) if is_by_id else records_reply(_records(body))


def _read_record(_link: crm.CrmLink, read: crm.ReadRecord, body: Any, _memory: Any) -> crm.Reply:
    record = _record(as_dict(body))
    if not record.id:
        return UNCLEAR
    # For a merged contact HubSpot returns the remaining one.
    return crm.FoundRecords((record,)) if record.id == read.record_id else crm.Moved(record.id)


def _read_written(link: crm.CrmLink, write: crm.WriteRecord, body: Any, memory: Any) -> crm.Reply:
    if memory == _CREATE_ID:
        return crm.FollowUp(_encode(link, write), _WRITE_AGAIN)
    rows = as_dicts(as_dict(body).get("results"))
    record_id = as_text((rows[0] if rows else as_dict(body)).get("id"))
    return crm.Written(record_id) if record_id else UNCLEAR


def _read_merged(_link: crm.CrmLink, merge: crm.MergeRecords, body: Any, memory: Any) -> crm.Reply:
    record_id = as_text(as_dict(body).get("id"))
    if memory == _READ_MERGED and record_id == merge.record_id:
        return Failed("merge")
    return crm.Written(record_id) if record_id else UNCLEAR


def _read_changes(link: crm.CrmLink, changes: crm.ListChanges, body: Any, memory: Any) -> crm.Reply:
    if not memory:
        page = [{"id": record.id, **record.values} for record in _records(body)]
        if not page:
            return crm.ChangesListed((), changes.after)
        return crm.FollowUp(api.send(link, "GET", "/crm/v3/owners/?limit=500"), page)
    owners = as_dicts(as_dict(body).get("results"))
    addresses = {as_text(owner.get("id")): as_text(owner.get("email")) for owner in owners}
    record_changes, rows = [], as_dicts(memory)
    for row in rows:
        owner_id = as_text(row.get("hubspot_owner_id"))
        change = crm.RecordChange(
            as_text(row.get("id")),
            crm.Cursor(as_text(row.get(_CHANGED_AT))),
            as_text(row.get(OUR_ID)),
            as_text(row.get("hs_lead_status")) or None,
            addresses.get(owner_id, owner_id) or None,
        )
        record_changes.append(change)
    return api.changes_reply(changes.after, record_changes, is_more=len(rows) == _PAGE)


def _records(body: Any) -> list[crm.CrmRecord]:
    return [record for record in map(_record, rows_of(body, "results")) if record.id]


def _record(row: dict[str, Any]) -> crm.CrmRecord:
    values = {name: as_text(value) for name, value in as_dict(row.get("properties")).items()}
    values[_CHANGED_AT] = values.get(_CHANGED_AT) or as_text(row.get("updatedAt"))
    return crm.CrmRecord(as_text(row.get("id")), values.get(OUR_ID, ""), values)


class HubSpot(api.JsonApi):
    """Connector of HubSpot, by OAuth or with the access token of a private app."""

    traits = crm.ConnectorTraits(
        name="hubspot",
        label="HubSpot",
        address="https://api.hubapi.com",
        settings=(
            crm.ConnectorSetting(
                "access_token",
                N_("Access token of a private app"),
                is_secret=True,
                is_required=False,
                help=N_(
                    "In HubSpot: Settings, Private apps, your app. The token needs access to read and write "
                    "contacts."
                ),
            ),
            crm.ConnectorSetting(
                "client_id",
                N_("Client ID of the app"),
                is_required=False,
                help=N_("In HubSpot: your app, Auth. Needed only to connect without a token."),
            ),
            crm.ConnectorSetting(
                "client_secret",
                N_("Client secret of the app"),
                is_secret=True,
                is_required=False,
                help=N_("Next to the client ID."),
            ),
            crm.ConnectorSetting(
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
        record_page="https://app.hubspot.com/contacts/{portal_id}/record/0-1/{record_id}",
        oauth=crm.OAuth(
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
    encode = staticmethod(_encode)
    readers: ClassVar[api.Readers] = {
        crm.DescribeFields: _read_description,
        crm.FindRecord: _read_found,
        crm.ReadRecord: _read_record,
        crm.WriteRecord: _read_written,
        crm.MergeRecords: _read_merged,
        crm.EraseRecord: lambda _link, _, body, _memory: crm.Erased() if body == {} else UNCLEAR,
        crm.ListChanges: _read_changes,
        crm.ListRecords: lambda _link, _, body, _memory: api.list_reply(_records(body), _PAGE),
    }

    def read_error(
        self, link: crm.CrmLink, operation: crm.Operation, answer: HttpAnswer, body: Any, memory: Any
    ) -> crm.Reply | None:
        if isinstance(operation, crm.MergeRecords) and answer.status == 400 and not memory:
            # They may be merged already, as after a lost answer: read the contact that the old id returns.
            return crm.FollowUp(_encode(link, crm.ReadRecord(operation.record_id)), _READ_MERGED)
        if not isinstance(operation, crm.WriteRecord):
            return super().read_error(link, operation, answer, body, memory)
        if memory == _CREATE_ID:
            # 409: another request created the property meanwhile.
            return crm.FollowUp(_encode(link, operation), _WRITE_AGAIN) if answer.status == 409 else None
        if answer.status == 404 and operation.record_id:
            return crm.NoRecord()
        error = read_write_error(as_dict(body))
        if error == crm.FieldGone(OUR_ID) and memory != _WRITE_AGAIN:
            return crm.FollowUp(
                api.send(link, "POST", "/crm/v3/properties/contacts", _OUR_PROPERTY), _CREATE_ID
            )
        return error
