"""Pages of deliveries and of the mapping of one linked CRM."""

import json
from collections.abc import Mapping
from itertools import zip_longest
from typing import Annotated, Any, Final

import msgspec
from fastapi import Form, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from contatto.accounts.auth import may, page_routes
from contatto.accounts.model import Caller, Permission, ReadAudit
from contatto.capture.model import Field as ContactField
from contatto.crm import model as crm
from contatto.crm.actions import targets as actions
from contatto.crm.actions.checks import try_lead
from contatto.crm.actions.deliveries import connector_of, link_of, payload_of, read_snapshot
from contatto.crm.pages.targets import HOME, PrefixedForm, load_view
from contatto.crm.rules.deliveries import ANSWER, PLAIN_SOURCES, STATUS, reason_text, with_edits
from contatto.crm.store import deliveries as store
from contatto.crm.store.deliveries import list_targets
from contatto.crm.store.events import find_trial
from contatto.integrations.model import DeliveryState, TrialState
from contatto.kit import errors
from contatto.kit.api_types import number_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import check_found
from contatto.kit.i18n import N_, LazyText
from contatto.kit.values import brand_of
from contatto.leads.model import STATUS_TEXTS, Lead, LeadStatus
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store.listing import list_leads, list_leads_by_id
from contatto.leads.store.records import find_lead
from contatto.ui.requests import context_of

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
"""Labels by the names in mappings; other contact details have the names of their platforms."""
DELIVERIES: Final[Mapping[DeliveryState, tuple[str, str]]] = {
    DeliveryState.DUE: (N_("To send"), "review"),
    DeliveryState.SENT: (N_("Sent"), "contacted"),
    DeliveryState.VERIFIED: (N_("Verified"), "on"),
    DeliveryState.DEAD: (N_("Failed"), "failed"),
}
"""States of deliveries, with the colours of their badges."""


def source_text(source: str) -> LazyText | str:
    """Return the label of a source; an answer to a form has its question as label."""
    if source.startswith(ANSWER):
        return LazyText(N_("Answer: %(question)s"), question=source.removeprefix(ANSWER))
    return LazyText(SOURCES[source]) if source in SOURCES else brand_of(source.replace("_", " "))


router: Final = page_routes(HOME)
lead_router: Final = page_routes()
MOST_SHOWN: Final = 100
VALUE: Final = "value."
"""Prefix of the names of the CRM's fields in a form."""


@router.page("/{target_id}/log", Permission.ADMINISTER, "crm/log.html")
def show_log(
    tx: Tx, request: Request, caller: Caller, target_id: str, state: Annotated[str, Query(max_length=16)] = ""
) -> dict[str, Any]:
    chosen = DeliveryState(state) if state in DELIVERIES else None
    target, target_view = load_view(tx, caller.business_id, target_id)
    states = (chosen,) if chosen else ()
    deliveries = store.ledger.list_entries(tx, caller.business_id, target.id, states, MOST_SHOWN)
    numbers = store.list_lead_numbers(tx, caller.business_id, {delivery.lead_id for delivery in deliveries})
    return {
        "target": target_view,
        "rows": [_row(delivery, numbers.get(delivery.lead_id, 0)) for delivery in deliveries],
        "state": chosen.value if chosen else "",
        "states": [(value.value, label) for value, (label, _) in DELIVERIES.items()],
        "most": MOST_SHOWN,
    }


def _row(delivery: crm.Delivery, number: int) -> dict[str, Any]:
    """Return the values that pages show of a delivery; ``why`` is the reason that it did not arrive."""
    state, tone = DELIVERIES[delivery.state]
    return {
        "id": delivery.id,
        "lead_id": delivery.lead_id,
        "lead_number": number,
        "revision": delivery.revision,
        "state": state,
        "tone": tone,
        "why": reason_text(delivery.reason) if delivery.reason else "",
        "is_dead": delivery.state is DeliveryState.DEAD,
        "is_edited": bool(delivery.edited),
        "at": delivery.settled_at or delivery.sent_at or delivery.created_at,
    }


def _load_delivery(
    tx: Tx, request: Request, caller: Caller, target_id: str, delivery_id: str
) -> tuple[crm.Target, crm.Delivery, Lead | None, crm.Payload | None]:
    """Return a delivery with its CRM, its lead, and the values that it would write, with a member's edits."""
    target = actions.load_target(tx, caller.business_id, number_of(target_id))
    delivery = store.ledger.find(tx, caller.business_id, number_of(delivery_id), target.id)
    delivery = check_found(delivery, "Delivery not found.")
    lead = list_leads_by_id(tx, caller.business_id, {delivery.lead_id}).get(delivery.lead_id)
    if lead is None or connector_of(tx, target) is None:
        return target, delivery, lead, None
    payload = payload_of(tx, target, lead, delivery.revision, context_of(request).settings.base_url)
    return target, delivery, lead, with_edits(payload, json.loads(delivery.edited or "{}"))


@router.page("/{target_id}/dead/{delivery_id}", Permission.ADMINISTER, "crm/letter.html", ReadAudit.EACH)
def show_dead_letter(
    tx: Tx,
    request: Request,
    caller: Caller,
    target_id: str,
    delivery_id: str,
    *,
    form: PrefixedForm | None = None,
) -> dict[str, Any]:
    """Show a failed delivery; after a refusal with the entries."""
    target, delivery, lead, payload = _load_delivery(tx, request, caller, target_id, delivery_id)
    labels = {field.name: field.label for field in target.described}
    values, sources = (payload.values, payload.sources) if payload else ({}, {})
    fields = [
        {
            "name": name,
            "label": labels.get(name) or name,
            "source": source_text(sources.get(name, "")),
            "value": text,
        }
        for name, text in values.items()
    ]
    return {
        "target": load_view(tx, caller.business_id, target_id)[1],
        "delivery": _row(delivery, lead.number if lead else 0),
        "fields": fields,
        "note": payload.note if payload else "",
        "typed": form.list_texts(VALUE) if form else {},
    }


@router.form(
    "/{target_id}/dead/{delivery_id}",
    Permission.ADMINISTER,
    show_dead_letter,
    errors.INVALID,
    errors.CONFLICT,
)
def post_dead_letter(
    tx: Tx,
    request: Request,
    caller: Caller,
    target_id: str,
    delivery_id: str,
    form: Annotated[PrefixedForm, Form()],
) -> str:
    _, delivery, _, payload = _load_delivery(tx, request, caller, target_id, delivery_id)
    current = payload.values if payload else {}
    edited = {
        name: text.strip()
        for name, text in form.list_texts(VALUE).items()
        if name in current and text.strip() != current[name]
    }
    actions.edit_dead(tx, delivery, json.loads(delivery.edited or "{}") | edited)
    return f"{HOME}/{target_id}/log"


@lead_router.page("/leads/{lead_id}/crm", Permission.READ_LEADS, "crm/_lead.html")
def show_crm_of_lead(tx: Tx, request: Request, caller: Caller, lead_id: str) -> dict[str, Any]:
    check_found(find_lead(tx, caller.business_id, lead_id), "Lead not found.")
    records = {
        record.target_id: record for record in store.list_records(tx, caller.business_id, lead_id=lead_id)
    }
    views = []
    for target in list_targets(tx, caller.business_id):
        record, connector, href = records.get(target.id), connector_of(tx, target), ""
        if record is None:
            continue
        if connector is not None and record.record_id:
            href = connector.record_url(link_of(target, tx), record.record_id)
        state, tone = DELIVERIES[record.state]
        view = {
            "name": target.name,
            "page": f"{HOME}/{target.number}/log?state=dead",
            "state": state,
            "tone": tone,
            "is_dead": record.state is DeliveryState.DEAD,
            "href": href if href.startswith(("https://", "http://")) else "",
            "verified_at": record.verified_at,
            "status": record.status,
            "told_at": record.told_at,
        }
        views.append(view)
    return {"lead_id": lead_id, "records": views, "can_manage": may(caller, Permission.ADMINISTER)}


MOST_LEADS: Final = 20
"""The latest leads, to choose from."""
EMPTY_ROWS: Final = 3
Texts = Annotated[list[Annotated[str, Field(max_length=2_100)]], Field(max_length=actions.MOST_ROWS * 8)]


class MappingForm(BaseModel):
    """Rows of a mapping, and of its translations of words, as parallel lists.

    ``word_field`` is the CRM's field in which our word ``word_ours`` is ``word_theirs``.
    """

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
    def rows(self) -> tuple[crm.MappedField, ...]:
        """Return the rows that name both sides."""
        words: dict[str, list[tuple[str, str]]] = {}
        word_rows = zip_longest(self.word_field, self.word_ours, self.word_theirs, fillvalue="")
        for name, our_word, crm_word in word_rows:
            if our_word.strip() and crm_word.strip():
                words.setdefault(name, []).append((our_word.strip(), crm_word.strip()))
        pairs = zip_longest(self.source, self.target, fillvalue="")
        return tuple(
            crm.MappedField(source, target, tuple(words.get(target, ())))
            for source, target in ((source.strip(), target.strip()) for source, target in pairs)
            if source and target
        )

    @property
    def statuses(self) -> dict[str, str]:
        pairs = zip_longest(self.status_theirs, self.status_ours, fillvalue="")
        names = set(LeadStatus)
        return {word.strip(): status for word, status in pairs if word.strip() and status in names}


@router.page("/{target_id}/mapping", Permission.ADMINISTER, "crm/mapping.html", ReadAudit.EACH)
def show_mapping(
    tx: Tx,
    request: Request,
    caller: Caller,
    target_id: str,
    lead_id: Annotated[str, Query(max_length=36)] = "",
    *,
    form: MappingForm | None = None,
) -> dict[str, Any]:
    """Show the mapping with the values of a lead; after a refusal with the entries."""
    base_url, lead_id = context_of(request).settings.base_url, form.lead_id if form else lead_id
    target, target_view = load_view(tx, caller.business_id, target_id)
    connector = connector_of(tx, target)
    leads = list_leads(tx, caller.business_id, LeadFilter(), limit=MOST_LEADS)
    lead = leads[0] if leads else None
    if lead_id:
        chosen = list_leads_by_id(tx, caller.business_id, {lead_id}).get(lead_id)
        lead = check_found(chosen, "Lead not found.")
    payload = payload_of(tx, target, lead, 1, base_url) if lead and connector else None
    lead_sources = read_snapshot(tx, lead, base_url).values if lead else ()
    answers = {name for name in lead_sources if name.startswith(ANSWER)}
    used = {row.source for row in target.mapping}
    names = dict.fromkeys([*PLAIN_SOURCES, *sorted(answers | used)])
    shown = payload.values if payload else {}
    labels = {field.name: field.label for field in target.described}
    choices_by_field = {field.name: field.choices for field in target.described}
    row_views = []
    for row in form.rows if form else target.mapping:
        choices = choices_by_field.get(row.target, ())
        faults = [fault for fault in target.faults if fault.field == row.target]
        texts = []
        if any(fault.weakness is crm.Weakness.NO_FIELD for fault in faults):
            says = N_("This field no longer exists in the CRM, so nothing is written to it")
            texts.append(LazyText(says))
        if wrong := [fault.value for fault in faults if fault.weakness is crm.Weakness.NO_CHOICE]:
            says = N_("Not among the field's options, so not written: %(values)s")
            texts.append(LazyText(says, values=", ".join(wrong)))
        words: list[tuple[str, LazyText | str, str]]
        words = [(our_word, our_word, crm_word) for our_word, crm_word in row.words]
        if row.source == STATUS:
            crm_words = dict(row.words)
            words = [
                (status.value, LazyText(label), crm_words.get(status.value, ""))
                for status, label in STATUS_TEXTS.items()
            ]
        elif choices:
            words.append(("", "", ""))  # a row to add a word
        row_view = {
            "source": row.source,
            "target": row.target,
            "shown": shown.get(row.target, ""),
            "faults": texts,
            "choices": choices,
            "words": words,
        }
        row_views.append(row_view)
    # The CRM's words for statuses with ours, also those that we write, and two empty rows.
    statuses = dict(form.statuses if form else target.statuses)
    for row in target.mapping:
        if row.source == STATUS:
            choice_words = [value for value, _ in choices_by_field.get(row.target, ())]
            for crm_word in [crm_word for _, crm_word in row.words] + choice_words:
                statuses.setdefault(crm_word, "")
    status_words = [*statuses.items(), ("", ""), ("", "")]
    trial = find_trial(tx, caller.business_id, target.id)
    trial_view = trial and {
        "is_asked": trial.state is TrialState.PENDING,
        "is_failed": trial.state is TrialState.FAILED,
        "why": reason_text(trial.reason) if trial.reason else "",
        "of_this_lead": lead is not None and trial.lead_id == lead.id,
        "result": msgspec.json.decode(trial.found, type=crm.TrialResult) if trial.found else None,
        "at": trial.settled_at or trial.created_at,
    }
    return {
        "target": target_view,
        "leads": leads,
        "lead": lead,
        "rows": row_views,
        "note": payload.note if payload else "",
        "missing": [
            labels.get(fault.field) or fault.field
            for fault in target.faults
            if fault.weakness is crm.Weakness.NOT_MAPPED
        ],
        "sources": [(name, source_text(name)) for name in names],
        "crm_fields": target.described,
        "is_free": not target.described or (connector is not None and connector.traits.takes_anything),
        "status_words": status_words if connector and connector.traits.tells_changes else None,
        "trial": trial_view,
        "statuses": [(status.value, label) for status, label in STATUS_TEXTS.items()],
        "empty_rows": EMPTY_ROWS,
    }


@router.form("/{target_id}/mapping", Permission.ADMINISTER, show_mapping, errors.INVALID)
def post_mapping(
    tx: Tx, request: Request, caller: Caller, target_id: str, form: Annotated[MappingForm, Form()]
) -> str:
    target = actions.load_target(tx, caller.business_id, number_of(target_id))
    actions.map_target(tx, target, form.rows, form.statuses)
    return f"{HOME}/{target_id}/mapping" + (f"?lead_id={form.lead_id}" if form.lead_id else "")


@router.form("/{target_id}/trial", Permission.ADMINISTER, show_mapping, errors.CONFLICT)
def post_trial(
    tx: Tx,
    request: Request,
    caller: Caller,
    target_id: str,
    lead_id: Annotated[str, Form(max_length=36)] = "",
) -> str:
    """Compare the values that a delivery would write with the CRM's record, without a write."""
    target = actions.load_target(tx, caller.business_id, number_of(target_id))
    try_lead(tx, target, lead_id)
    return f"{HOME}/{target_id}/mapping" + (f"?lead_id={lead_id}" if lead_id else "") + "#trial"
