"""Pages of deliveries and of the mapping of one linked CRM."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Form, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import may, require
from contatto.capture.model import Field as ContactField
from contatto.crm.actions.checks import try_lead
from contatto.crm.actions.deliveries import connector_of, link_of, payload_of, read_snapshot
from contatto.crm.actions.targets import (
    MOST_ROWS,
    edit_dead,
    load_delivery,
    load_standings,
    load_target,
    map_target,
    resend_dead,
)
from contatto.crm.model import (
    CrmField,
    Delivery,
    DeliveryState,
    MappedField,
    MappingFault,
    RecordLink,
    Target,
    TrialResult,
    TrialState,
    Weakness,
)
from contatto.crm.pages.targets import HOME, TargetRow, show_target
from contatto.crm.registry import CrmPorts
from contatto.crm.rules.mapping import ANSWER, PLAIN_SOURCES, STATUS, with_edits
from contatto.crm.rules.reasons import reason_text
from contatto.crm.store.deliveries import list_deliveries, list_lead_numbers, list_records_of_lead
from contatto.crm.store.targets import find_trial, list_targets
from contatto.kit import errors
from contatto.kit.api_types import number_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_, LazyText, brand_of, translator_of
from contatto.leads.model import STATUS_TEXTS, Lead, LeadStatus
from contatto.leads.rules.filters import LeadFilter
from contatto.leads.store.listing import list_leads
from contatto.leads.store.records import find_lead, list_leads_by_id
from contatto.ui.context import context_of

SOURCES: Final[Mapping[str, str]] = {
    "name": N_("Name"),
    "first_name": N_("First name"),
    "last_name": N_("Last name"),
    ContactField.PHONE.value: N_("Phone"),
    ContactField.EMAIL.value: N_("E-mail"),
    "status": N_("Status"),
    "owner": N_("Owner (e-mail)"),
    "labels": N_("Labels"),
    "lead_id": N_("Lead number"),
    "lead_url": N_("Lead link"),
    "lead_source": N_("Source"),
    "created_at": N_("Received at"),
    "campaign_id": N_("Campaign ID"),
    "campaign_name": N_("Campaign"),
    "adgroup_id": N_("Ad group ID"),
    "adgroup_name": N_("Ad group"),
    "ad_id": N_("Ad ID"),
    "ad_name": N_("Ad"),
    "form_name": N_("Form"),
}
"""By their names in mappings; other contact details go by the names of their platforms."""
DELIVERIES: Final[Mapping[DeliveryState, tuple[str, str]]] = {
    DeliveryState.DUE: (N_("To send"), "review"),
    DeliveryState.SENT: (N_("Sent"), "contacted"),
    DeliveryState.VERIFIED: (N_("Verified"), "on"),
    DeliveryState.DEAD: (N_("Failed"), "failed"),
}
"""States of deliveries, with the colours of their badges."""


def source_text(source: str) -> LazyText | str:
    """A name of ours as people know it; an answer to a form is named by its question."""
    if source.startswith(ANSWER):
        return LazyText(N_("Answer: %(question)s"), question=source.removeprefix(ANSWER))
    return LazyText(SOURCES[source]) if source in SOURCES else brand_of(source.replace("_", " "))


def fault_texts(faults: Iterable[MappingFault]) -> list[LazyText]:
    """What is wrong with a row of a mapping, and what follows."""
    found = list(faults)
    wrong = [fault.value for fault in found if fault.weakness is Weakness.NO_CHOICE]
    texts = []
    if any(fault.weakness is Weakness.NO_FIELD for fault in found):
        texts.append(LazyText(N_("This field no longer exists in the CRM, so nothing is written to it")))
    if wrong:
        says = N_("Not among the field's options, so not written: %(values)s")
        texts.append(LazyText(says, values=", ".join(wrong)))
    return texts


router: Final = APIRouter(include_in_schema=False, prefix=HOME)
lead_router: Final = APIRouter(include_in_schema=False)
MOST_SHOWN: Final = 100
VALUE: Final = "value."
"""Before the names of the CRM's fields in a form."""


class EditForm(BaseModel):
    """Values in the CRM's fields, each named by its field behind ``value.``."""

    model_config = ConfigDict(extra="allow")

    @property
    def values(self) -> dict[str, str]:
        return {
            name.removeprefix(VALUE): text
            for name, text in (self.model_extra or {}).items()
            if name.startswith(VALUE) and isinstance(text, str)
        }


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """One delivery; ``why`` says why it is dead, or not there yet."""

    id: int
    lead_id: str
    lead_number: int
    revision: int
    state: str
    tone: str
    why: LazyText | str
    is_dead: bool
    is_edited: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class ValueField:
    """A value that can be edited: the CRM's field, what it is made of, and what would be written."""

    name: str
    label: str
    source: LazyText | str
    value: str


@router.get("/{target_id}/log")
async def show_log(
    request: Request, caller: PageCaller, target_id: str, state: Annotated[str, Query(max_length=16)] = ""
) -> HTMLResponse:
    require(caller, Permission.ADMINISTER)
    context = context_of(request)
    wanted = DeliveryState(state) if state in set(DeliveryState) else None

    def load(tx: Tx) -> dict[str, Any]:
        target = load_target(tx, caller.business_id, number_of(target_id))
        (standing,) = load_standings(tx, caller.business_id, [target])
        states = (wanted,) if wanted else ()
        deliveries = list_deliveries(tx, caller.business_id, target.id, states, MOST_SHOWN)
        numbers = list_lead_numbers(tx, caller.business_id, {delivery.lead_id for delivery in deliveries})
        return {
            "target": show_target(standing, tx.ports[CrmPorts].connectors),
            "rows": [_row(each, numbers.get(each.lead_id, 0)) for each in deliveries],
        }

    values = await context.db.read(load)
    values |= {
        "caller": caller,
        "state": wanted.value if wanted else "",
        "states": [(each.value, label) for each, (label, _) in DELIVERIES.items()],
        "most": MOST_SHOWN,
    }
    return context.pages.render(request, "crm/log.html", values)


def _row(delivery: Delivery, number: int) -> DeliveryRow:
    state, tone = DELIVERIES[delivery.state]
    return DeliveryRow(
        id=delivery.id,
        lead_id=delivery.lead_id,
        lead_number=number,
        revision=delivery.revision,
        state=state,
        tone=tone,
        why=reason_text(delivery.reason) if delivery.reason else "",
        is_dead=delivery.state is DeliveryState.DEAD,
        is_edited=bool(delivery.edited),
        at=delivery.settled_at or delivery.sent_at or delivery.created_at,
    )


@router.post("/{target_id}/resend")
async def post_resend(request: Request, caller: FormCaller, target_id: str) -> RedirectResponse:
    """Send all dead letters again, as they stand, 500 at a time."""
    require(caller, Permission.ADMINISTER)

    def resend(tx: Tx) -> None:
        resend_dead(tx, load_target(tx, caller.business_id, number_of(target_id)))

    await context_of(request).db.write(resend)
    return RedirectResponse(f"{HOME}/{target_id}/log", 303)


@router.get("/{target_id}/dead/{delivery_id}")
async def show_dead_letter(
    request: Request, caller: PageCaller, target_id: str, delivery_id: str
) -> HTMLResponse:
    require(caller, Permission.ADMINISTER)
    return await _render(request, caller, target_id, delivery_id)


@router.post("/{target_id}/dead/{delivery_id}")
async def post_dead_letter(
    request: Request,
    caller: FormCaller,
    target_id: str,
    delivery_id: str,
    form: Annotated[EditForm, Form()],
) -> Response:
    """Send one again, with what was changed in it."""
    require(caller, Permission.ADMINISTER)
    base_url = context_of(request).settings.base_url

    def resend(tx: Tx) -> None:
        found = _load(tx, caller.business_id, target_id, delivery_id, base_url)
        asked = {field.name: field.value for field in found.fields}
        edited = {
            name: text.strip()
            for name, text in form.values.items()
            if name in asked and text.strip() != asked[name]
        }
        edit_dead(tx, found.target, found.delivery.id, found.edited | edited)

    try:
        await context_of(request).db.write(resend)
    except Refused as refused:
        if refused.code not in (errors.INVALID, errors.CONFLICT):
            raise
        return await _render(request, caller, target_id, delivery_id, refused, form.values)
    return RedirectResponse(f"{HOME}/{target_id}/log", 303)


@dataclass(frozen=True, slots=True)
class _Letter:
    """A delivery with what would be written now, the edits of members in it."""

    target: Target
    shown: TargetRow
    delivery: Delivery
    row: DeliveryRow
    fields: list[ValueField]
    note: str
    edited: dict[str, str]


def _load(tx: Tx, business_id: str, target_id: str, delivery_id: str, base_url: str) -> _Letter:
    target = load_target(tx, business_id, number_of(target_id))
    delivery = load_delivery(tx, target, number_of(delivery_id))
    (standing,) = load_standings(tx, business_id, [target])
    shown = show_target(standing, tx.ports[CrmPorts].connectors)
    lead = list_leads_by_id(tx, business_id, {delivery.lead_id}).get(delivery.lead_id)
    edited = msgspec.json.decode(delivery.edited, type=dict[str, str]) if delivery.edited else {}
    row = _row(delivery, lead.number if lead else 0)
    if lead is None or target.connector not in tx.ports[CrmPorts].connectors:
        return _Letter(target, shown, delivery, row, [], "", edited)
    payload = with_edits(payload_of(tx, target, lead, delivery.revision, base_url), edited)
    labels = {each.name: each.label for each in target.described}
    fields = [
        ValueField(name, labels.get(name) or name, source_text(payload.sources.get(name, "")), text)
        for name, text in payload.values.items()
    ]
    return _Letter(target, shown, delivery, row, fields, payload.note, edited)


async def _render(
    request: Request,
    caller: Caller,
    target_id: str,
    delivery_id: str,
    refused: Refused | None = None,
    typed: dict[str, str] | None = None,
) -> HTMLResponse:
    """The page of one; after a refusal, with what was typed and what is wrong with it."""
    context = context_of(request)
    base_url = context.settings.base_url
    found = await context.db.read(lambda tx: _load(tx, caller.business_id, target_id, delivery_id, base_url))
    values = {
        "caller": caller,
        "target": found.shown,
        "letter": found.row,
        "fields": found.fields,
        "note": found.note,
        "typed": typed or {},
        "error": refused.detail_in(translator_of(request)) if refused else "",
    }
    status = refused.code.http_status if refused else 200
    return context.pages.render(request, "crm/letter.html", values, status)


@dataclass(frozen=True, slots=True)
class RecordView:
    """A lead in one CRM; ``href`` leads to its record there, ``page`` to the CRM's page here."""

    name: str
    page: str
    state: str
    tone: str
    is_dead: bool
    href: str
    verified_at: datetime | None
    status: str
    told_at: datetime | None


@lead_router.get("/leads/{lead_id}/crm")
async def show_crm_of_lead(request: Request, caller: PageCaller, lead_id: str) -> HTMLResponse:
    """Return how far a lead is in each CRM."""
    require(caller, Permission.READ_LEADS)
    context = context_of(request)

    def load(tx: Tx) -> list[RecordView]:
        if find_lead(tx, caller.business_id, lead_id) is None:
            raise Refused(errors.NOT_FOUND, "Lead not found.")
        records = {
            record.target_id: record for record in list_records_of_lead(tx, caller.business_id, lead_id)
        }
        targets = list_targets(tx, caller.business_id)
        return [_view(tx, target, records[target.id]) for target in targets if target.id in records]

    values = {
        "caller": caller,
        "lead_id": lead_id,
        "records": await context.db.read(load),
        "can_manage": may(caller, Permission.ADMINISTER),
    }
    return context.pages.render(request, "crm/_lead.html", values)


def _view(tx: Tx, target: Target, record: RecordLink) -> RecordView:
    connector, href = connector_of(tx, target), ""
    if connector is not None and record.record_id:
        href = connector.record_url(link_of(target, tx), record.record_id)
    state, tone = DELIVERIES[record.state]
    return RecordView(
        name=target.name,
        page=f"{HOME}/{target.number}/log?state=dead",
        state=state,
        tone=tone,
        is_dead=record.state is DeliveryState.DEAD,
        href=href if href.startswith(("https://", "http://")) else "",
        verified_at=record.verified_at,
        status=record.status,
        told_at=record.told_at,
    )


MOST_LEADS: Final = 20
"""Leads that can be chosen to look at: the latest."""
EMPTY_ROWS: Final = 3
Texts = Annotated[list[Annotated[str, Field(max_length=2_100)]], Field(max_length=MOST_ROWS * 8)]


class MappingForm(BaseModel):
    """Rows of a mapping as parallel lists; words belong to the field of the CRM in ``word_field``."""

    model_config = ConfigDict(extra="ignore")

    lead_id: Annotated[str, Field(max_length=36)] = ""
    source: Texts = []
    target: Texts = []
    word_field: Texts = []
    word_ours: Texts = []
    word_theirs: Texts = []
    status_theirs: Texts = []
    status_ours: Texts = []

    @property
    def rows(self) -> tuple[MappedField, ...]:
        """Those that name both sides; what names one is left out, as a blank row is."""
        words: dict[str, list[tuple[str, str]]] = {}
        for name, ours, theirs in zip_longest(
            self.word_field, self.word_ours, self.word_theirs, fillvalue=""
        ):
            if ours.strip() and theirs.strip():
                words.setdefault(name, []).append((ours.strip(), theirs.strip()))
        pairs = zip_longest(self.source, self.target, fillvalue="")
        return tuple(
            MappedField(source, target, tuple(words.get(target, ())))
            for source, target in ((source.strip(), target.strip()) for source, target in pairs)
            if source and target
        )

    @property
    def statuses(self) -> dict[str, str]:
        pairs = zip_longest(self.status_theirs, self.status_ours, fillvalue="")
        known = set(LeadStatus)
        return {theirs.strip(): ours for theirs, ours in pairs if theirs.strip() and ours in known}


@dataclass(frozen=True, slots=True)
class WordRow:
    """One of our words, and the CRM's in its place."""

    ours: str
    label: LazyText | str
    theirs: str


@dataclass(frozen=True, slots=True)
class MappingRowView:
    """A row of the mapping; ``shown`` is what of the lead goes there, ``faults`` what is wrong with it."""

    source: str
    target: str
    shown: str
    faults: list[LazyText]
    choices: tuple[tuple[str, str], ...]
    words: list[WordRow]


@dataclass(frozen=True, slots=True)
class LeadChoice:
    id: str
    name: str


@router.get("/{target_id}/mapping")
async def show_mapping(
    request: Request,
    caller: PageCaller,
    target_id: str,
    lead_id: Annotated[str, Query(max_length=36)] = "",
) -> HTMLResponse:
    require(caller, Permission.ADMINISTER)
    return await _render_mapping(request, caller, target_id, lead_id)


@router.post("/{target_id}/mapping")
async def post_mapping(
    request: Request, caller: FormCaller, target_id: str, form: Annotated[MappingForm, Form()]
) -> Response:
    require(caller, Permission.ADMINISTER)

    def change(tx: Tx) -> None:
        target = load_target(tx, caller.business_id, number_of(target_id))
        map_target(tx, target, form.rows, form.statuses)

    try:
        await context_of(request).db.write(change)
    except Refused as refused:
        if refused.code is not errors.INVALID:
            raise
        return await _render_mapping(request, caller, target_id, form.lead_id, refused, form)
    return RedirectResponse(_href(target_id, form.lead_id), 303)


@router.post("/{target_id}/trial")
async def post_trial(
    request: Request,
    caller: FormCaller,
    target_id: str,
    lead_id: Annotated[str, Form(max_length=36)] = "",
) -> Response:
    """Work out what would be written of a lead, and hold it against what is there; nothing is written."""
    require(caller, Permission.ADMINISTER)

    def ask(tx: Tx) -> None:
        try_lead(tx, load_target(tx, caller.business_id, number_of(target_id)), lead_id)

    try:
        await context_of(request).db.write(ask)
    except Refused as refused:
        if refused.code is not errors.CONFLICT:
            raise
        return await _render_mapping(request, caller, target_id, lead_id, refused)
    return RedirectResponse(f"{_href(target_id, lead_id)}#trial", 303)


def _href(target_id: str, lead_id: str) -> str:
    return f"{HOME}/{target_id}/mapping" + (f"?lead_id={lead_id}" if lead_id else "")


async def _render_mapping(
    request: Request,
    caller: Caller,
    target_id: str,
    lead_id: str,
    refused: Refused | None = None,
    form: MappingForm | None = None,
) -> HTMLResponse:
    """The page; after a refusal, with what was typed and what is wrong with it."""
    context = context_of(request)
    base_url = context.settings.base_url

    def load(tx: Tx) -> dict[str, Any]:
        target = load_target(tx, caller.business_id, number_of(target_id))
        connectors = tx.ports[CrmPorts].connectors
        connector = connectors.get(target.connector)
        (standing,) = load_standings(tx, caller.business_id, [target])
        leads = list_leads(tx, caller.business_id, LeadFilter(), limit=MOST_LEADS)
        lead = _chosen(tx, caller.business_id, leads, lead_id)
        payload = payload_of(tx, target, lead, 1, base_url) if lead and connector else None
        sources = set(read_snapshot(tx, lead, base_url).values) if lead else set()
        rows = form.rows if form else target.mapping
        shown = payload.values if payload else {}
        return {
            "target": show_target(standing, connectors),
            "leads": [LeadChoice(each.id, each.name) for each in leads],
            "lead": LeadChoice(lead.id, lead.name) if lead else None,
            "rows": [_mapping_row(target, row, shown) for row in rows],
            "note": payload.note if payload else "",
            "missing": [
                _label(target, fault.field)
                for fault in target.faults
                if fault.weakness is Weakness.NOT_MAPPED
            ],
            "sources": _sources(target, sources),
            "crm_fields": target.described,
            "is_free": not target.described or (connector is not None and connector.traits.takes_anything),
            "told": _told(target, form) if connector and connector.traits.tells_changes else None,
            "trial": _trial(tx, target, lead.id if lead else ""),
        }

    values = await context.db.read(load)
    values |= {
        "caller": caller,
        "statuses": [(status.value, label) for status, label in STATUS_TEXTS.items()],
        "empty_rows": EMPTY_ROWS,
        "error": refused.detail_in(translator_of(request)) if refused else "",
    }
    status = refused.code.http_status if refused else 200
    return context.pages.render(request, "crm/mapping.html", values, status)


def _chosen(tx: Tx, business_id: str, leads: list[Lead], lead_id: str) -> Lead | None:
    if not lead_id:
        return leads[0] if leads else None
    found = list_leads_by_id(tx, business_id, {lead_id}).get(lead_id)
    if found is None:
        raise Refused(errors.NOT_FOUND, "Lead not found.")
    return found


def _sources(target: Target, of_lead: set[str]) -> list[tuple[str, LazyText | str]]:
    """What a row may take, the answers of the lead and of the mapping too."""
    answers = {name for name in of_lead if name.startswith(ANSWER)}
    used = {row.source for row in target.mapping}
    names = dict.fromkeys([*PLAIN_SOURCES, *sorted(answers | used)])
    return [(name, source_text(name)) for name in names]


def _field(target: Target, name: str) -> CrmField | None:
    return next((each for each in target.described if each.name == name), None)


def _label(target: Target, name: str) -> str:
    found = _field(target, name)
    return found.label or name if found else name


def _mapping_row(target: Target, row: MappedField, shown: Mapping[str, str]) -> MappingRowView:
    field = _field(target, row.target)
    choices = field.choices if field else ()
    faults = fault_texts(fault for fault in target.faults if fault.field == row.target)
    return MappingRowView(
        row.source, row.target, shown.get(row.target, ""), faults, choices, _words(row, choices)
    )


def _words(row: MappedField, choices: tuple[tuple[str, str], ...]) -> list[WordRow]:
    """Our statuses, and the words that are there; for a field with choices one more to fill in."""
    known = dict(row.words)
    if row.source == STATUS:
        return [
            WordRow(status.value, LazyText(label), known.get(status.value, ""))
            for status, label in STATUS_TEXTS.items()
        ]
    rows = [WordRow(ours, ours, theirs) for ours, theirs in row.words]
    return [*rows, WordRow("", "", "")] if choices else rows


def _told(target: Target, form: MappingForm | None) -> list[tuple[str, str]]:
    """The CRM's words for a status, and ours; those that are written there are there to begin with."""
    kept = dict(form.statuses if form else target.statuses)
    for row in target.mapping:
        if row.source == STATUS:
            field = _field(target, row.target)
            chosen = [value for value, _ in field.choices] if field else []
            for value in [theirs for _, theirs in row.words] + chosen:
                kept.setdefault(value, "")
    return [*kept.items(), ("", ""), ("", "")]


@dataclass(frozen=True, slots=True)
class TrialView:
    """The latest trial; ``result`` is there once it is done."""

    is_asked: bool
    is_failed: bool
    why: LazyText | str
    of_this_lead: bool
    result: TrialResult | None
    at: datetime


def _trial(tx: Tx, target: Target, lead_id: str) -> TrialView | None:
    trial = find_trial(tx, target.business_id, target.id)
    if trial is None:
        return None
    result = msgspec.json.decode(trial.found, type=TrialResult) if trial.found else None
    return TrialView(
        trial.state is TrialState.ASKED,
        trial.state is TrialState.FAILED,
        reason_text(trial.reason) if trial.reason else "",
        trial.lead_id == lead_id,
        result,
        trial.settled_at or trial.created_at,
    )
