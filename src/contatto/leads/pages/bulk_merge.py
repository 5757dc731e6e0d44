"""Several leads side by side, which of them stays, and the merge of all."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import HTMLResponse, RedirectResponse

from contatto.accounts.auth import FormCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import require
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.leads.actions.bulk_merge import MOST_JOINED, merge_many_leads
from contatto.leads.pages.query import actor_of, read_query
from contatto.leads.pages.rows import LeadRow, rows_of
from contatto.leads.rules.filters import for_member
from contatto.leads.store import listing, records
from contatto.ui.context import context_of

router = APIRouter(include_in_schema=False)


class _Chosen(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    ids: list[str] = Field(default_factory=list, max_length=500)
    all: bool = False
    query: str = Field("", max_length=8_000)


class _Sent(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    ids: list[str] = Field(max_length=MOST_JOINED)
    keep: str = Field(max_length=36)
    reason: str = Field("", max_length=1_000)


@router.post("/leads/merge/ask")
async def post_ask_bulk_merge(
    request: Request, caller: FormCaller, sent: Annotated[_Chosen, Form()]
) -> HTMLResponse:
    """Ask which of the chosen leads stays; this changes nothing."""
    require(caller, Permission.WRITE_LEADS)
    context = context_of(request)
    wanted = for_member(read_query(sent.query).wanted, caller.subject_id)

    def load(tx: Tx) -> list[LeadRow]:
        ids = sent.ids
        if sent.all:
            ids = listing.list_lead_ids_after(tx, caller.business_id, wanted, "", MOST_JOINED + 1)
        found = records.list_leads_by_id(tx, caller.business_id, set(ids))
        leads = [lead for each, lead in found.items() if lead.id == each and lead.hidden_at is None]
        if not 2 <= len(leads) <= MOST_JOINED:
            raise Refused(
                errors.INVALID, "Choose 2 to %(most)s leads, and which of them stays.", most=MOST_JOINED
            )
        return rows_of(tx, caller.business_id, sorted(leads, key=lambda lead: lead.created_at))

    leads = await context.db.read(load)
    return context.pages.render(request, "leads/join.html", {"caller": caller, "leads": leads})


@router.post("/leads/merge")
async def post_bulk_merge(
    request: Request, caller: FormCaller, sent: Annotated[_Sent, Form()]
) -> RedirectResponse:
    require(caller, Permission.WRITE_LEADS)
    actor = actor_of(caller)

    def join(tx: Tx) -> None:
        merge_many_leads(tx, actor, sent.keep, sent.ids, sent.reason)

    await context_of(request).db.write(join)
    return RedirectResponse(f"/leads/{sent.keep}", 303)
