"""What goes where: ours beside the CRM's own fields, a real lead in them, and a try that writes nothing."""

from collections.abc import Mapping
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
from contatto.accounts.rules import require
from contatto.crm.actions.delivering import payload_of
from contatto.crm.actions.ledger import load_standings
from contatto.crm.actions.snapshots import read_snapshot
from contatto.crm.actions.targets import MOST_ROWS, load_target, map_target
from contatto.crm.actions.trying import try_lead
from contatto.crm.model.operations import CrmField
from contatto.crm.model.sources import ANSWER, PLAIN_SOURCES, STATUS
from contatto.crm.model.targets import MappedField, Target, Weakness
from contatto.crm.model.trials import TrialResult, TrialState
from contatto.crm.pages.views import HOME, show_target
from contatto.crm.pages.words import fault_texts, source_text
from contatto.crm.ports import CrmPorts
from contatto.crm.rules.reasons import reason_text
from contatto.crm.store.trials import find_trial
from contatto.kit import errors
from contatto.kit.api_types import number_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.i18n import LazyText, translator_of
from contatto.leads.model import STATUS_TEXTS, Lead, LeadStatus
from contatto.leads.rules.filters import LeadFilter
from contatto.leads.store.listing import list_leads
from contatto.leads.store.records import list_leads_by_id
from contatto.ui.context import context_of

router: Final = APIRouter(include_in_schema=False, prefix=HOME)
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
class RowView:
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
    return await _render(request, caller, target_id, lead_id)


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
        return await _render(request, caller, target_id, form.lead_id, refused, form)
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
        return await _render(request, caller, target_id, lead_id, refused)
    return RedirectResponse(f"{_href(target_id, lead_id)}#trial", 303)


def _href(target_id: str, lead_id: str) -> str:
    return f"{HOME}/{target_id}/mapping" + (f"?lead_id={lead_id}" if lead_id else "")


async def _render(
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
            "rows": [_row(target, row, shown) for row in rows],
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


def _row(target: Target, row: MappedField, shown: Mapping[str, str]) -> RowView:
    field = _field(target, row.target)
    choices = field.choices if field else ()
    faults = fault_texts(fault for fault in target.faults if fault.field == row.target)
    return RowView(row.source, row.target, shown.get(row.target, ""), faults, choices, _words(row, choices))


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
