"""BottleCRM leads (the Python package ``django-crm``), by its REST API with a personal access token.

``source_ref`` holds our id, but no list is searchable by it. After a lost answer a lead is found by its
e-mail address, which no other lead has, or among the possible duplicates of its phone number. The note goes
into ``description``.

Source: the OpenAPI document of django-crm 1.35.0 (``/schema/``), "Leads".
"""

from functools import partial
from typing import Any, ClassVar, Final
from urllib.parse import quote

from contatto.crm import model as crm
from contatto.crm.connectors import json_api as api
from contatto.crm.connectors.json_api import UNCLEAR, as_dict, as_dicts, as_text, records_reply, rows_of
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
"""By field: the key of its choices in the list of leads, and its label."""
_LIMITS: Final = {"title": 64, "salutation": 64, "phone": 25, "source_detail": 100, "postcode": 64}
_EXISTS: Final = "already"


def _encode(link: crm.CrmLink, operation: crm.Operation) -> HttpRequest:
    method, path, body = "GET", _LEADS, None
    match operation:
        case crm.DescribeFields():
            path = f"{_LEADS}?limit=1"
        case crm.FindRecord(crm.FindBy.EMAIL, value):
            path = f"{_LEADS}?limit=20&email={quote(value)}"
        case crm.FindRecord(_, value):
            method, path, body = "POST", f"{_LEADS}duplicates/", {"phone": value}
        case crm.ReadRecord(record_id):
            path = f"{_LEADS}{api.path_id(record_id)}/"
        case crm.WriteRecord(record_id):
            body = {**operation.values, OUR_ID: operation.external_id}
            body |= {NOTE: operation.note} if operation.note else {}
            method, path = "POST", _LEADS
            if record_id:
                method, path = "PATCH", f"{_LEADS}{api.path_id(record_id)}/"
        case crm.MergeRecords(record_id, into_id):
            method, path, body = "POST", f"{_LEADS}{api.path_id(into_id)}/merge/", {"merge_id": record_id}
        case crm.EraseRecord(record_id):
            method, path = "DELETE", f"{_LEADS}{api.path_id(record_id)}/"
    return api.send(link, method, path, body)


def _read_description(_link: crm.CrmLink, _: crm.DescribeFields, body: Any, _memory: str) -> crm.Reply:
    lists = as_dict(body)
    if "open_leads" not in lists:
        return UNCLEAR
    fields = [crm.CrmField(name, label, limit=_LIMITS.get(name, 255)) for name, label in _TEXTS.items()]
    fields.append(crm.CrmField("email", "E-mail", limit=254))
    fields.append(crm.CrmField("phone", "Phone", limit=_LIMITS["phone"]))
    for name, (listed, label) in _CHOICES.items():
        fields.append(crm.CrmField(name, label, choices=api.as_pairs(lists.get(listed))))
    return crm.FieldsDescribed(tuple(fields))


def _read_found(_link: crm.CrmLink, find: crm.FindRecord, body: Any, _memory: str) -> crm.Reply:
    answer = as_dict(body)
    if find.by is crm.FindBy.PHONE:
        duplicates = rows_of(body, "duplicates")
        leads = [lead for lead in duplicates if "phone" in (lead.get("matched_on") or ())]
        return records_reply(map(_record, leads))
    if "open_leads" not in answer:
        return UNCLEAR
    pages = [as_dict(answer.get(name)).get(name) for name in ("open_leads", "close_leads")]
    similar = [lead for page in pages for lead in as_dicts(page)]
    leads = [lead for lead in similar if as_text(lead.get("email")).casefold() == find.value.casefold()]
    return records_reply(map(_record, leads))


_record: Final = partial(api.read_record, record_id="id", our_id=OUR_ID)


def _read_written(_link: crm.CrmLink, write: crm.WriteRecord, body: Any, _memory: str) -> crm.Reply:
    answer = as_dict(body)
    if answer.get("error") is not False:
        return UNCLEAR
    record_id = write.record_id or as_text(answer.get("id"))
    return crm.Written(record_id) if record_id else UNCLEAR


class BottleCrm(api.JsonApi):
    """Connector of BottleCRM, without a change feed: no list is sorted by the time of a change."""

    traits = crm.ConnectorTraits(
        name="bottlecrm",
        label="BottleCRM",
        settings=(
            crm.ConnectorSetting(
                "access_token",
                N_("Personal access token"),
                is_secret=True,
                help=N_(
                    "In BottleCRM: your profile, API tokens. The token acts as the person who creates it."
                ),
            ),
        ),
        finds_by=(crm.FindBy.EMAIL, crm.FindBy.PHONE),
        defaults=(
            ("name", "title"),
            ("first_name", "first_name"),
            ("last_name", "last_name"),
            ("email", "email"),
            ("phone", "phone"),
        ),
        merges=True,
        record_page="{address}/leads/{record_id}",
    )
    encode = staticmethod(_encode)
    readers: ClassVar[api.Readers] = {
        crm.DescribeFields: _read_description,
        crm.FindRecord: _read_found,
        crm.ReadRecord: lambda _link, _, body, _memory: api.record_reply(
            _record(as_dict(as_dict(body).get("lead_obj")))
        ),
        crm.WriteRecord: _read_written,
        crm.MergeRecords: lambda _link, merge, body, _memory: (
            crm.Written(merge.into_id) if as_dict(body).get("error") is False else UNCLEAR
        ),
        crm.EraseRecord: lambda _link, _, body, _memory: (
            crm.Erased() if as_dict(body).get("error") is False else UNCLEAR
        ),
    }

    def read_error(
        self, link: crm.CrmLink, operation: crm.Operation, answer: HttpAnswer, body: Any, memory: str
    ) -> crm.Reply | None:
        if answer.status == 404:
            return crm.NoRecord()
        errors = as_dict(as_dict(body).get("errors"))
        if answer.status != 400 or not isinstance(operation, crm.WriteRecord) or not errors:
            return None
        if _EXISTS in str(errors.get("email", "")):
            return crm.Exists()
        return crm.ValueGone(next(iter(errors)))
