"""The log of what went to one linked CRM, and its dead letters: edited and sent again, one by one or all."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Form, Query, Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import require
from contatto.crm.actions import targets as actions
from contatto.crm.actions.delivering import payload_of
from contatto.crm.actions.ledger import load_standings
from contatto.crm.model.deliveries import Delivery, DeliveryState
from contatto.crm.model.targets import Target
from contatto.crm.pages.views import HOME, TargetRow, show_target
from contatto.crm.pages.words import DELIVERIES, source_text
from contatto.crm.ports import CrmPorts
from contatto.crm.rules.mapping import with_edits
from contatto.crm.rules.reasons import reason_text
from contatto.crm.store import deliveries as store
from contatto.crm.store.lead_numbers import list_lead_numbers
from contatto.kit import errors
from contatto.kit.api_types import number_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.i18n import LazyText, translator_of
from contatto.leads.store.records import list_leads_by_id
from contatto.ui.context import context_of

router: Final = APIRouter(include_in_schema=False, prefix=HOME)
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
        target = actions.load_target(tx, caller.business_id, number_of(target_id))
        (standing,) = load_standings(tx, caller.business_id, [target])
        states = (wanted,) if wanted else ()
        deliveries = store.list_deliveries(tx, caller.business_id, target.id, states, MOST_SHOWN)
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
        actions.resend_dead(tx, actions.load_target(tx, caller.business_id, number_of(target_id)))

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
        actions.edit_dead(tx, found.target, found.delivery.id, found.edited | edited)

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
    target = actions.load_target(tx, business_id, number_of(target_id))
    delivery = actions.load_delivery(tx, target, number_of(delivery_id))
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
