"""Pipedrive persons, by the API v2; their changes are read from their deals.

Pipedrive has no upsert. A custom field of persons holds our id, its key is a setting, and a person is
searched by it before one is created. Values without a field go into one note, which is updated in place.

Source: developers.pipedrive.com, "API Reference": Persons, PersonFields, Deals (v2), Notes (v1).
"""

from typing import Any, ClassVar, Final
from urllib.parse import quote

from contatto.crm import model as crm
from contatto.crm.connectors import json_api as api
from contatto.crm.connectors.json_api import UNCLEAR, as_dict, as_dicts, as_text, records_reply, rows_of
from contatto.kit.i18n import N_
from contatto.kit.outbound.model import HttpAnswer, HttpRequest

_PERSONS: Final = "/api/v2/persons"
_PAGE: Final = 500
_PERSONS_PAGE: Final = 100
"""Persons are long, and an answer has at most 256 KiB."""
_LISTS: Final = {"email": "emails", "phone": "phones"}
"""Fields that are lists in Pipedrive; ours is the primary one."""
_PLAIN: Final = frozenset({"name", "label_ids", "owner_id", "org_id"})
_MARK: Final = "Contatto"
"""Prefix of our one note."""
_NOTE: Final = "note"
_DONE: Final = "done"


def _send(link: crm.CrmLink, method: str, path: str, body: Any = None) -> HttpRequest:
    """Build a request with the OAuth token, or without one with a user's API token."""
    headers = api.bearer(link) or {"x-api-token": link.secrets.get("api_token", "")}
    return api.json_request(method, link.address + path, headers, body)


def _our_field(link: crm.CrmLink) -> str:
    return link.settings.get("id_field", "")


def _encode(link: crm.CrmLink, operation: crm.Operation) -> HttpRequest:
    method, path, body = "GET", _PERSONS, None
    match operation:
        case crm.DescribeFields():
            path = "/v1/personFields?limit=500"
        case crm.FindRecord(by, value):
            fields = "custom_fields" if by is crm.FindBy.EXTERNAL_ID else by.value
            term = quote(value, safe="")
            path = f"{_PERSONS}/search?fields={fields}&exact_match=true&limit=5&term={term}"
        case crm.ReadRecord(record_id):
            path = f"{_PERSONS}/{api.path_id(record_id)}"
        case crm.WriteRecord(record_id):
            method, body = "POST", _person(link, operation)
            if record_id:
                method, path = "PATCH", f"{_PERSONS}/{api.path_id(record_id)}"
        case crm.MergeRecords(record_id, into_id):
            method, path = "PUT", f"/v1/persons/{api.path_id(record_id)}/merge"
            body = {"merge_with_id": _number(into_id)}
        case crm.EraseRecord(record_id):
            method, path = "DELETE", f"{_PERSONS}/{api.path_id(record_id)}"
        case crm.ListChanges(after):
            since = f"&updated_since={quote(after.at)}" if after.at else ""
            path = f"/api/v2/deals?sort_by=update_time&sort_direction=asc&limit={_PAGE}{since}"
        case crm.ListRecords(after):  # all persons, as no search selects those with our field
            cursor = f"&cursor={quote(after, safe='')}" if after else ""
            our_field = quote(_our_field(link), safe="")
            path = f"{_PERSONS}?custom_fields={our_field}&limit={_PERSONS_PAGE}{cursor}"
    return _send(link, method, path, body)


def _person(link: crm.CrmLink, write: crm.WriteRecord) -> dict[str, Any]:
    """Return the values of a person as Pipedrive groups them."""
    body: dict[str, Any] = {}
    custom = {_our_field(link): write.external_id}
    for name, value in write.values.items():
        if name in _LISTS:
            body[_LISTS[name]] = [{"value": value, "primary": True, "label": "work"}] if value else []
        elif name in _PLAIN:
            body[name] = value
        else:
            custom[name] = value
    return body | {"custom_fields": custom}


def _number(record_id: str) -> int | str:
    """Return an id as a number; another text unchanged, for the vendor to refuse."""
    return int(record_id) if record_id.isascii() and record_id.isdigit() else record_id


def _data(body: Any) -> dict[str, Any] | None:
    answer = as_dict(body)
    data = answer.get("data")
    return data if answer.get("success") is True and isinstance(data, dict) else None


def _read_description(link: crm.CrmLink, _: crm.DescribeFields, body: Any, _memory: Any) -> crm.Reply:
    fields = []
    for row in rows_of(body, "data"):
        is_fixed = row.get("bulk_edit_allowed") is False
        if not is_fixed and as_text(row.get("key")) not in ("", _our_field(link)):
            choices = api.read_choices(row.get("options"), "id", "label")
            is_required = row.get("mandatory_flag") is True
            fields.append(api.read_field(row, "key", "name", is_required=is_required, choices=choices))
    return crm.FieldsDescribed(tuple(fields))


def _read_found(link: crm.CrmLink, find: crm.FindRecord, body: Any, _memory: Any) -> crm.Reply:
    items = rows_of(_data(body), "items")
    records = [crm.CrmRecord(as_text(as_dict(item.get("item")).get("id"))) for item in items]
    return records_reply(sorted(records, key=lambda record: (len(record.id), record.id)))


def _read_record(link: crm.CrmLink, _: crm.ReadRecord, body: Any, _memory: Any) -> crm.Reply:
    data = _data(body)
    if data is None or not as_text(data.get("id")):
        return UNCLEAR
    if data.get("is_deleted") is True:
        return crm.NoRecord()
    values = {name: as_text(value) for name, value in data.items()}
    values |= {name: as_text(value) for name, value in as_dict(data.get("custom_fields")).items()}
    for name, listed in _LISTS.items():
        primary = [item for item in as_dicts(data.get(listed)) if item.get("primary") is True]
        values[name] = as_text(primary[0].get("value")) if primary else ""
    external_id = values.get(_our_field(link), "")
    return crm.FoundRecords((crm.CrmRecord(values["id"], external_id, values),))


def _read_written(link: crm.CrmLink, write: crm.WriteRecord, body: Any, memory: Any) -> crm.Reply:
    if memory.startswith(_DONE):
        return crm.Written(memory.removeprefix(_DONE))
    if memory.startswith(_NOTE):
        record_id, text = memory.removeprefix(_NOTE), f"{_MARK}\n{write.note}"
        rows = rows_of(body, "data") if as_dict(body).get("data") is not None else []
        for row in rows:
            if as_text(row.get("content")).startswith(_MARK):
                request = _send(link, "PUT", f"/v1/notes/{as_text(row.get('id'))}", {"content": text})
                return crm.FollowUp(request, _DONE + record_id)
        note = {"content": text, "person_id": _number(record_id)}
        return crm.FollowUp(_send(link, "POST", "/v1/notes", note), _DONE + record_id)
    data = _data(body)
    record_id = as_text((data or {}).get("id"))
    if not record_id:
        return UNCLEAR
    if not write.note:
        return crm.Written(record_id)
    notes = f"/v1/notes?person_id={quote(record_id, safe='')}&sort=add_time%20ASC&limit=100"
    return crm.FollowUp(_send(link, "GET", notes), _NOTE + record_id)


def _read_enumerated(link: crm.CrmLink, _: crm.ListRecords, body: Any, _memory: Any) -> crm.Reply:
    pairs = [
        (as_text(row.get("id")), as_text(as_dict(row.get("custom_fields")).get(_our_field(link))))
        for row in rows_of(body, "data")
    ]
    next_page = as_dict(as_dict(body).get("additional_data")).get("next_cursor")
    return crm.RecordsListed(tuple(pair for pair in pairs if all(pair)), as_text(next_page))


def _read_changes(_link: crm.CrmLink, changes: crm.ListChanges, body: Any, _memory: Any) -> crm.Reply:
    record_changes, cursor, deals = [], changes.after, rows_of(body, "data")
    read_ids = set(cursor.id.split(","))
    for deal in deals:
        at, deal_id, person_id = (as_text(deal.get(name)) for name in ("update_time", "id", "person_id"))
        if at == changes.after.at and deal_id in read_ids:
            continue
        cursor = api.advance(cursor, at, deal_id)
        status, amount = as_text(deal.get("status")) or None, as_text(deal.get("value"))
        currency = as_text(deal.get("currency"))
        value = f"{amount} {currency}" if amount and currency else None
        if person_id:
            record_changes.append(crm.RecordChange(person_id, cursor, status=status, value=value))
    is_more = len(deals) == _PAGE and cursor != changes.after
    return crm.ChangesListed(tuple(record_changes), cursor, is_more=is_more)


class Pipedrive(api.JsonApi):
    """Connector of Pipedrive, by OAuth or with an API token."""

    traits = crm.ConnectorTraits(
        name="pipedrive",
        label="Pipedrive",
        address="https://api.pipedrive.com",
        settings=(
            crm.ConnectorSetting(
                "id_field",
                N_("Key of the person field for the Contatto ID"),
                example="4f1c…",
                help=N_("In Pipedrive: Data fields, Person. Add a text field, and copy its API key."),
            ),
            crm.ConnectorSetting(
                "api_token",
                N_("API token"),
                is_secret=True,
                is_required=False,
                help=N_("In Pipedrive: your avatar, Personal preferences, API."),
            ),
            *api.app_settings(
                N_("In Pipedrive: Developer Hub, your app. Needed only to connect without a token."),
                N_("Next to the client ID."),
                is_required=False,
            ),
        ),
        defaults=(("name", "name"), ("email", "email"), ("phone", "phone")),
        merges=True,
        tells_changes=True,
        enumerates=True,
        search_lag_s=10.0,
        record_page="{address}/person/{record_id}",
        oauth=crm.OAuth(
            "https://oauth.pipedrive.com/oauth/authorize",
            "https://oauth.pipedrive.com/oauth/token",
            is_pkce=False,
        ),
    )
    address_field = "api_domain"
    access = (api.ACCESS, "api_token")
    encode = staticmethod(_encode)
    readers: ClassVar[api.Readers] = {
        crm.DescribeFields: _read_description,
        crm.FindRecord: _read_found,
        crm.ReadRecord: _read_record,
        crm.WriteRecord: _read_written,
        crm.MergeRecords: lambda _link, merge, body, _memory: (
            crm.Written(merge.into_id) if _data(body) is not None else UNCLEAR
        ),
        # A deleted person can be restored for thirty days.
        crm.EraseRecord: lambda _link, _, body, _memory: (
            crm.Erased(is_partial=True) if _data(body) is not None else UNCLEAR
        ),
        crm.ListChanges: _read_changes,
        crm.ListRecords: _read_enumerated,
    }

    def read_error(
        self, link: crm.CrmLink, operation: crm.Operation, answer: HttpAnswer, body: Any, memory: Any
    ) -> crm.Reply | None:
        if answer.status in (404, 410):
            return crm.NoRecord()
        if answer.status != 400 or not isinstance(operation, crm.WriteRecord):
            return None
        field = as_text(as_dict(as_dict(body).get("additional_data")).get("field"))
        text = as_text(as_dict(body).get("error")) + as_text(as_dict(body).get("error_info"))
        named = next((name for name in operation.values if name and name in text), field)
        if "Unrecognized" in text or "does not exist" in text:
            return crm.FieldGone(named)
        return crm.ValueGone(named) if named else None
