"""BottleCRM (the Python package ``django-crm``): leads, by its REST API with a personal access token.

Our id stands in ``source_ref``, which its lists cannot be searched by: after a lost answer a lead is found by
its e-mail address, of which a business has one lead, or among the possible duplicates of its phone number.
The note goes into ``description``.

Source: the OpenAPI document of django-crm 1.35.0 (``/schema/``), "Leads".
"""

from typing import Any, ClassVar, Final
from urllib.parse import quote

from contatto.crm.connectors.json_api import (
    UNCLEAR,
    Abilities,
    JsonApi,
    as_dict,
    as_dicts,
    as_pairs,
    as_text,
    as_values,
    bearer,
    json_request,
    path_id,
)
from contatto.crm.model import (
    ConnectorSetting,
    ConnectorTraits,
    CrmField,
    CrmLink,
    CrmRecord,
    DescribeFields,
    Erased,
    EraseRecord,
    Exists,
    FieldKind,
    FieldsDescribed,
    FindBy,
    FindRecord,
    FoundRecords,
    MergeRecords,
    NoRecord,
    Operation,
    ReadRecord,
    Reply,
    ValueGone,
    WriteRecord,
    Written,
)
from contatto.kit.i18n import N_
from contatto.kit.outbound.model import HttpAnswer, HttpRequest

OUR_ID: Final = "source_ref"
NOTE: Final = "description"
_LEADS: Final = "/api/leads/"
_TEXTS: Final = {
    **{"title": "Title", "salutation": "Salutation", "first_name": "First name", "last_name": "Last name"},
    **{"job_title": "Job title", "company_name": "Company", "website": "Website", "linkedin_url": "LinkedIn"},
    **{"source_detail": "Sub-source", "address_line": "Address", "city": "City", "state": "State"},
    "postcode": "Postal code",
}
_CHOICES: Final = {
    "status": ("status", "Status"),
    "source": ("source", "Source"),
    "industry": ("industries", "Industry"),
    "country": ("countries", "Country"),
}
"""Field → where the list of leads names its choices, and what a person calls it."""
_LIMITS: Final = {"title": 64, "salutation": 64, "phone": 25, "source_detail": 100, "postcode": 64}
_TAKEN: Final = "already"


def _send(link: CrmLink, method: str, path: str, body: Any = None) -> HttpRequest:
    return json_request(method, f"{link.address}{_LEADS}{path}", bearer(link) or {}, body)


def _describe(link: CrmLink, _: DescribeFields) -> HttpRequest:
    return _send(link, "GET", "?limit=1")


def _find(link: CrmLink, find: FindRecord) -> HttpRequest:
    if find.by is FindBy.EMAIL:
        return _send(link, "GET", f"?limit=20&email={quote(find.value)}")
    return _send(link, "POST", "duplicates/", {"phone": find.value})


def _read(link: CrmLink, read: ReadRecord) -> HttpRequest:
    return _send(link, "GET", f"{path_id(read.record_id)}/")


def _write(link: CrmLink, write: WriteRecord) -> HttpRequest:
    values = {**write.values, OUR_ID: write.external_id}
    if write.note:
        values[NOTE] = write.note
    if write.record_id:
        return _send(link, "PATCH", f"{path_id(write.record_id)}/", values)
    return _send(link, "POST", "", values)


def _merge(link: CrmLink, merge: MergeRecords) -> HttpRequest:
    return _send(link, "POST", f"{path_id(merge.into_id)}/merge/", {"merge_id": merge.record_id})


def _erase(link: CrmLink, erase: EraseRecord) -> HttpRequest:
    return _send(link, "DELETE", f"{path_id(erase.record_id)}/")


def _read_description(_link: CrmLink, _: DescribeFields, body: Any, _memory: str) -> Reply:
    lists = as_dict(body)
    if "open_leads" not in lists:
        return UNCLEAR
    fields = [CrmField(name, label, limit=_LIMITS.get(name, 255)) for name, label in _TEXTS.items()]
    fields.append(CrmField("email", "E-mail", FieldKind.EMAIL, limit=254))
    fields.append(CrmField("phone", "Phone", FieldKind.PHONE, limit=_LIMITS["phone"]))
    for name, (listed, label) in _CHOICES.items():
        fields.append(CrmField(name, label, FieldKind.CHOICE, choices=as_pairs(lists.get(listed))))
    return FieldsDescribed(tuple(fields))


def _read_found(_link: CrmLink, find: FindRecord, body: Any, _memory: str) -> Reply:
    answer = as_dict(body)
    if find.by is FindBy.PHONE:
        if not isinstance(answer.get("duplicates"), list):
            return UNCLEAR
        listed = [
            each for each in as_dicts(answer["duplicates"]) if "phone" in (each.get("matched_on") or ())
        ]
    else:
        if "open_leads" not in answer:
            return UNCLEAR
        pages = [as_dict(answer.get(name)).get(name) for name in ("open_leads", "close_leads")]
        near = [each for page in pages for each in as_dicts(page)]
        listed = [each for each in near if as_text(each.get("email")).casefold() == find.value.casefold()]
    records = tuple(record for record in map(_record, listed) if record.id)
    return FoundRecords(records) if records else NoRecord()


def _record(one: dict[str, Any]) -> CrmRecord:
    values = as_values(one)
    return CrmRecord(values.get("id", ""), values.get(OUR_ID, ""), values, values.get("updated_at", ""))


def _read_record(_link: CrmLink, _: ReadRecord, body: Any, _memory: str) -> Reply:
    record = _record(as_dict(as_dict(body).get("lead_obj")))
    return FoundRecords((record,)) if record.id else UNCLEAR


def _read_written(_link: CrmLink, write: WriteRecord, body: Any, _memory: str) -> Reply:
    answer = as_dict(body)
    if answer.get("error") is not False:
        return UNCLEAR
    record_id = write.record_id or as_text(answer.get("id"))
    return Written(record_id) if record_id else UNCLEAR


def _read_merged(_link: CrmLink, merge: MergeRecords, body: Any, _memory: str) -> Reply:
    return Written(merge.into_id) if as_dict(body).get("error") is False else UNCLEAR


def _read_erased(_link: CrmLink, _: EraseRecord, body: Any, _memory: str) -> Reply:
    return Erased() if as_dict(body).get("error") is False else UNCLEAR


class BottleCrm(JsonApi):
    """The connector of BottleCRM; it tells no changes: its lists cannot be read by the time of a change."""

    traits = ConnectorTraits(
        name="bottlecrm",
        label="BottleCRM",
        settings=(
            ConnectorSetting(
                "access_token",
                N_("Personal access token"),
                is_secret=True,
                help=N_(
                    "In BottleCRM: your profile, API tokens. The token acts as the person who creates it."
                ),
            ),
        ),
        finds_by=(FindBy.EMAIL, FindBy.PHONE),
        defaults=(
            ("name", "title"),
            ("first_name", "first_name"),
            ("last_name", "last_name"),
            ("email", "email"),
            ("phone", "phone"),
        ),
        merges=True,
    )
    abilities: ClassVar[Abilities] = {
        DescribeFields: (_describe, _read_description),
        FindRecord: (_find, _read_found),
        ReadRecord: (_read, _read_record),
        WriteRecord: (_write, _read_written),
        MergeRecords: (_merge, _read_merged),
        EraseRecord: (_erase, _read_erased),
    }

    def trouble(
        self, link: CrmLink, operation: Operation, answer: HttpAnswer, body: Any, memory: str
    ) -> Reply | None:
        if answer.status == 404:
            return NoRecord()
        errors = as_dict(as_dict(body).get("errors"))
        if answer.status != 400 or not isinstance(operation, WriteRecord) or not errors:
            return None
        if _TAKEN in str(errors.get("email", "")):
            return Exists()
        return ValueGone(next(iter(errors)))

    def record_url(self, link: CrmLink, record_id: str) -> str:
        return f"{link.address}/leads/{record_id}"
