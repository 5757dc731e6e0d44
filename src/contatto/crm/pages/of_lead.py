"""The part of a lead's page that says how far the lead is in each linked CRM, with its record there."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from contatto.accounts.auth import PageCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import may, require
from contatto.crm.actions.running import connector_of, link_of
from contatto.crm.model.deliveries import DeliveryState, RecordLink
from contatto.crm.model.targets import Target
from contatto.crm.pages.views import HOME
from contatto.crm.pages.words import DELIVERIES
from contatto.crm.store.deliveries import list_records_of_lead
from contatto.crm.store.targets import list_targets
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.leads.store.records import find_lead
from contatto.ui.context import context_of

router: Final = APIRouter(include_in_schema=False)


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


@router.get("/leads/{lead_id}/crm")
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
