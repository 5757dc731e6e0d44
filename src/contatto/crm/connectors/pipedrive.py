"""Pipedrive: persons, by the API v2; what becomes of them is read from their deals.

Pipedrive has no upsert. A custom field of persons holds our id, its key is a setting, and a person is
searched by it before one is made. What has no field goes into one note, which is changed and not added to.

Source: developers.pipedrive.com, "API Reference": Persons, PersonFields, Deals (v2), Notes (v1).
"""

from typing import Any, ClassVar, Final
from urllib.parse import quote

from contatto.crm.connectors.json_api import (
    ACCESS,
    UNCLEAR,
    Abilities,
    JsonApi,
    as_dict,
    as_dicts,
    as_text,
    as_values,
    bearer,
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
    Cursor,
    DescribeFields,
    Erased,
    EraseRecord,
    ErasureLevel,
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
    NoRecord,
    OAuth,
    Operation,
    ReadRecord,
    RecordChange,
    RecordsListed,
    Reply,
    ValueGone,
    WriteRecord,
    Written,
)
from contatto.kit.i18n import N_
from contatto.kit.outbound.model import HttpAnswer, HttpRequest

_PERSONS: Final = "/api/v2/persons"
_PAGE: Final = 500
_PERSONS_PAGE: Final = 100
"""Persons are long, and an answer may have 256 KiB."""
_LISTS: Final = {"email": "emails", "phone": "phones"}
"""Fields that are lists in Pipedrive; ours is the primary one."""
_PLAIN: Final = frozenset({"name", "label_ids", "owner_id", "org_id"})
_KINDS: Final = {
    "phone": FieldKind.PHONE,
    "enum": FieldKind.CHOICE,
    "set": FieldKind.CHOICE,
    **dict.fromkeys(("double", "int", "monetary"), FieldKind.NUMBER),
    **dict.fromkeys(("date", "time", "daterange"), FieldKind.TIME),
}
_MARK: Final = "Contatto"
"""Begins the one note that is ours."""
_NOTE: Final = "note"
_DONE: Final = "done"


def _headers(link: CrmLink) -> dict[str, str]:
    """By OAuth, or with the API token of a user."""
    token = link.secrets.get("api_token", "")
    return {"x-api-token": token} if token and not link.secrets.get(ACCESS) else bearer(link) or {}


def _send(link: CrmLink, method: str, path: str, body: Any = None) -> HttpRequest:
    return json_request(method, link.address + path, _headers(link), body)


def _our_field(link: CrmLink) -> str:
    return link.settings.get("id_field", "")


def _describe(link: CrmLink, _: DescribeFields) -> HttpRequest:
    return _send(link, "GET", "/v1/personFields?limit=500")


def _find(link: CrmLink, find: FindRecord) -> HttpRequest:
    fields = {FindBy.EXTERNAL_ID: "custom_fields", FindBy.EMAIL: "email", FindBy.PHONE: "phone"}[find.by]
    term = quote(find.value, safe="")
    return _send(link, "GET", f"{_PERSONS}/search?fields={fields}&exact_match=true&limit=5&term={term}")


def _read(link: CrmLink, read: ReadRecord) -> HttpRequest:
    return _send(link, "GET", f"{_PERSONS}/{path_id(read.record_id)}")


def _write(link: CrmLink, write: WriteRecord) -> HttpRequest:
    body: dict[str, Any] = {}
    custom = {_our_field(link): write.external_id}
    for name, value in write.values.items():
        if name in _LISTS:
            body[_LISTS[name]] = [{"value": value, "primary": True, "label": "work"}] if value else []
        elif name in _PLAIN:
            body[name] = value
        else:
            custom[name] = value
    body["custom_fields"] = custom
    if write.record_id:
        return _send(link, "PATCH", f"{_PERSONS}/{path_id(write.record_id)}", body)
    return _send(link, "POST", _PERSONS, body)


def _enumerate(link: CrmLink, enumerate_: ListRecords) -> HttpRequest:
    """All persons, since they cannot be searched by having our field."""
    after = f"&cursor={quote(enumerate_.after, safe='')}" if enumerate_.after else ""
    ours = quote(_our_field(link), safe="")
    return _send(link, "GET", f"{_PERSONS}?custom_fields={ours}&limit={_PERSONS_PAGE}{after}")


def _number(record_id: str) -> int | str:
    """Return an id as the number that the vendor wants; another text as it is, for the vendor to refuse."""
    return int(record_id) if record_id.isascii() and record_id.isdigit() else record_id


def _merge(link: CrmLink, merge: MergeRecords) -> HttpRequest:
    """The one that stays is named in the body. Source: "Merge two persons", v1."""
    body = {"merge_with_id": _number(merge.into_id)}
    return _send(link, "PUT", f"/v1/persons/{path_id(merge.record_id)}/merge", body)


def _erase(link: CrmLink, erase: EraseRecord) -> HttpRequest:
    return _send(link, "DELETE", f"{_PERSONS}/{path_id(erase.record_id)}")


def _changes(link: CrmLink, changes: ListChanges) -> HttpRequest:
    since = f"&updated_since={quote(changes.after.at)}" if changes.after.at else ""
    return _send(link, "GET", f"/api/v2/deals?sort_by=update_time&sort_direction=asc&limit={_PAGE}{since}")


def _data(body: Any) -> dict[str, Any] | None:
    answer = as_dict(body)
    data = answer.get("data")
    return data if answer.get("success") is True and isinstance(data, dict) else None


def _read_description(link: CrmLink, _: DescribeFields, body: Any, _memory: str) -> Reply:
    listed = as_dict(body).get("data")
    if not isinstance(listed, list):
        return UNCLEAR
    taken = {"", _our_field(link)}
    fields = [each for each in as_dicts(listed) if as_text(each.get("key")) not in taken]
    return FieldsDescribed(
        tuple(_field(field) for field in fields if field.get("bulk_edit_allowed") is not False)
    )


def _field(one: dict[str, Any]) -> CrmField:
    name = as_text(one.get("key"))
    kind = FieldKind.EMAIL if name == "email" else _KINDS.get(as_text(one.get("field_type")), FieldKind.TEXT)
    listed = as_dicts(one.get("options"))
    return CrmField(
        name,
        as_text(one.get("name")) or name,
        kind,
        is_required=one.get("mandatory_flag") is True,
        choices=tuple((as_text(each.get("id")), as_text(each.get("label"))) for each in listed),
    )


def _read_found(link: CrmLink, find: FindRecord, body: Any, _memory: str) -> Reply:
    data = _data(body)
    if data is None or not isinstance(data.get("items"), list):
        return UNCLEAR
    items = [as_dict(each.get("item")) for each in as_dicts(data["items"])]
    records = tuple(CrmRecord(as_text(item.get("id"))) for item in items if as_text(item.get("id")))
    return (
        FoundRecords(tuple(sorted(records, key=lambda record: (len(record.id), record.id))))
        if records
        else NoRecord()
    )


def _read_record(link: CrmLink, _: ReadRecord, body: Any, _memory: str) -> Reply:
    data = _data(body)
    if data is None or not as_text(data.get("id")):
        return UNCLEAR
    if data.get("is_deleted") is True:
        return NoRecord()
    values = as_values(data)
    values |= {name: as_text(value) for name, value in as_dict(data.get("custom_fields")).items()}
    for name, listed in _LISTS.items():
        first = [each for each in as_dicts(data.get(listed)) if each.get("primary") is True]
        values[name] = as_text(first[0].get("value")) if first else ""
    external_id = values.get(_our_field(link), "")
    return FoundRecords((CrmRecord(values["id"], external_id, values, values.get("update_time", "")),))


def _read_written(link: CrmLink, write: WriteRecord, body: Any, memory: str) -> Reply:
    if memory.startswith(_DONE):
        return Written(memory.removeprefix(_DONE))
    if memory.startswith(_NOTE):
        return _put_note(link, write, body, memory.removeprefix(_NOTE))
    data = _data(body)
    record_id = as_text((data or {}).get("id"))
    if not record_id:
        return UNCLEAR
    if not write.note:
        return Written(record_id)
    notes = f"/v1/notes?person_id={quote(record_id, safe='')}&sort=add_time%20ASC&limit=100"
    return FollowUp(_send(link, "GET", notes), _NOTE + record_id)


def _put_note(link: CrmLink, write: WriteRecord, body: Any, record_id: str) -> Reply:
    """Change the note that is ours, or add it: never a second one."""
    listed = as_dict(body).get("data")
    if listed is not None and not isinstance(listed, list):
        return UNCLEAR
    text = f"{_MARK}\n{write.note}"
    ours = [each for each in as_dicts(listed) if as_text(each.get("content")).startswith(_MARK)]
    if ours:
        path, method = f"/v1/notes/{as_text(ours[0].get('id'))}", "PUT"
        return FollowUp(_send(link, method, path, {"content": text}), _DONE + record_id)
    return FollowUp(
        _send(link, "POST", "/v1/notes", {"content": text, "person_id": _number(record_id)}),
        _DONE + record_id,
    )


def _read_merged(_link: CrmLink, merge: MergeRecords, body: Any, _memory: str) -> Reply:
    return Written(merge.into_id) if _data(body) is not None else UNCLEAR


def _read_erased(_link: CrmLink, _: EraseRecord, body: Any, _memory: str) -> Reply:
    """A deleted person can be brought back for thirty days."""
    return Erased(is_partial=True) if _data(body) is not None else UNCLEAR


def _read_enumerated(link: CrmLink, _: ListRecords, body: Any, _memory: str) -> Reply:
    answer = as_dict(body)
    listed, more = answer.get("data"), as_dict(answer.get("additional_data"))
    if not isinstance(listed, list):
        return UNCLEAR
    ours = [
        (as_text(each.get("id")), as_text(as_dict(each.get("custom_fields")).get(_our_field(link))))
        for each in as_dicts(listed)
    ]
    records = tuple((record_id, lead_id) for record_id, lead_id in ours if record_id and lead_id)
    return RecordsListed(records, as_text(more.get("next_cursor")))


def _read_changes(_link: CrmLink, changes: ListChanges, body: Any, _memory: str) -> Reply:
    listed = as_dict(body).get("data")
    if not isinstance(listed, list):
        return UNCLEAR
    told, cursor = [], changes.after
    seen = set(cursor.id.split(","))
    for each in as_dicts(listed):
        at, deal, person = (as_text(each.get(name)) for name in ("update_time", "id", "person_id"))
        if at == changes.after.at and deal in seen:
            continue
        cursor = past(cursor, at, deal)
        if person:
            told.append(_change(each, person, cursor))
    return ChangesListed(tuple(told), cursor, is_more=len(listed) == _PAGE and cursor != changes.after)


def _change(deal: dict[str, Any], person: str, cursor: Cursor) -> RecordChange:
    value, currency = as_text(deal.get("value")), as_text(deal.get("currency"))
    return RecordChange(
        person,
        cursor,
        status=as_text(deal.get("status")) or None,
        value=f"{value} {currency}" if value and currency else None,
    )


class Pipedrive(JsonApi):
    """The connector of Pipedrive, by OAuth or with an API token."""

    traits = ConnectorTraits(
        name="pipedrive",
        label="Pipedrive",
        address="https://api.pipedrive.com",
        settings=(
            ConnectorSetting(
                "id_field",
                N_("Key of the person field for the Contatto ID"),
                example="4f1c…",
                help=N_("In Pipedrive: Data fields, Person. Add a text field, and copy its API key."),
            ),
            ConnectorSetting(
                "api_token",
                N_("API token"),
                is_secret=True,
                is_required=False,
                help=N_("In Pipedrive: your avatar, Personal preferences, API."),
            ),
            ConnectorSetting(
                "client_id",
                N_("Client ID"),
                is_required=False,
                help=N_("In Pipedrive: Developer Hub, your app. Needed only to connect without a token."),
            ),
            ConnectorSetting(
                "client_secret",
                N_("Client secret"),
                is_secret=True,
                is_required=False,
                help=N_("Next to the client ID."),
            ),
        ),
        defaults=(("name", "name"), ("email", "email"), ("phone", "phone")),
        merges=True,
        erases=ErasureLevel.PARTIAL,
        tells_changes=True,
        enumerates=True,
        search_lag_s=10.0,
        oauth=OAuth(
            "https://oauth.pipedrive.com/oauth/authorize",
            "https://oauth.pipedrive.com/oauth/token",
            is_pkce=False,
        ),
    )
    address_field = "api_domain"
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

    def is_open(self, link: CrmLink) -> bool:
        return bool(link.secrets.get(ACCESS) or link.secrets.get("api_token"))

    def trouble(
        self, link: CrmLink, operation: Operation, answer: HttpAnswer, body: Any, memory: str
    ) -> Reply | None:
        if answer.status in (404, 410):
            return NoRecord()
        if answer.status != 400 or not isinstance(operation, WriteRecord):
            return None
        field = as_text(as_dict(as_dict(body).get("additional_data")).get("field"))
        text = as_text(as_dict(body).get("error")) + as_text(as_dict(body).get("error_info"))
        named = next((name for name in operation.values if name and name in text), field)
        if "Unrecognized" in text or "does not exist" in text:
            return FieldGone(named)
        return ValueGone(named) if named else None

    def record_url(self, link: CrmLink, record_id: str) -> str:
        return f"{link.address}/person/{record_id}"
