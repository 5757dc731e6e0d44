"""Erasing people: the page that says what goes and asks for a word, and the act."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Request
from pydantic import BaseModel, ConfigDict
from pydantic import Field as Limits
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import require
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_, translator_of
from contatto.kit.read_audit import note_seen
from contatto.leads.actions.jobs import start_job
from contatto.leads.model import JobKind, Lead, Plan
from contatto.leads.pages.center import actor_of, read_query
from contatto.leads.rules.filters import for_member
from contatto.leads.rules.records import MOST_ERASED, person_label
from contatto.leads.store import listing, records
from contatto.leads.store.facets import list_sharing_leads
from contatto.ui.context import context_of

WORD: Final = N_("erase")
"""What has to be typed, in the reader's language or in English."""
NAMED: Final = 20
"""Leads that the page names; of more it says the number."""


class _ErasedChoice(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    ids: list[str] = Limits(default_factory=list, max_length=MOST_ERASED)
    all: bool = False
    query: str = Limits("", max_length=8_000)


class _Sure(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    ids: str = Limits(max_length=40 * MOST_ERASED)
    word: str = Limits("", max_length=100)


@router.get("/leads/{lead_id}/erase")
async def show_erase(request: Request, caller: PageCaller, lead_id: str) -> HTMLResponse:
    require(caller, Permission.ERASE_LEADS)
    return await _ask(request, caller, (lead_id,))


@router.post("/leads/erase/ask")
async def post_ask(request: Request, caller: FormCaller, sent: Annotated[_ErasedChoice, Form()]) -> HTMLResponse:
    """Ask before the chosen leads, or all that match by now, are erased; this changes nothing."""
    require(caller, Permission.ERASE_LEADS)
    lead_filter = for_member(read_query(sent.query).wanted, caller.subject_id)

    def matching(tx: Tx) -> list[str]:
        return listing.list_lead_ids_after(tx, caller.business_id, lead_filter, "", MOST_ERASED + 1)

    ids = await context_of(request).db.read(matching) if sent.all else sent.ids
    return await _ask(request, caller, tuple(ids))


@router.post("/leads/erase")
async def post_erase(request: Request, caller: FormCaller, sent: Annotated[_Sure, Form()]) -> Response:
    require(caller, Permission.ERASE_LEADS)
    ids = tuple(filter(None, sent.ids.split(",")))
    typed = sent.word.strip().casefold()
    if typed not in (WORD, translator_of(request).gettext(WORD).casefold()):
        return await _ask(request, caller, ids, is_wrong=True)
    actor, plan = actor_of(caller), Plan(lead_ids=ids)

    def start(tx: Tx) -> str:
        return start_job(tx, actor, JobKind.ERASE, plan).id

    job_id = await context_of(request).db.write(start)
    return RedirectResponse(f"/leads/jobs/{job_id}", 303)


async def _ask(
    request: Request, caller: Caller, ids: tuple[str, ...], *, is_wrong: bool = False
) -> HTMLResponse:
    context = context_of(request)
    if not 0 < len(ids) <= MOST_ERASED:
        raise Refused(errors.INVALID, "Choose at most %(most)s leads to erase.", most=MOST_ERASED)

    def load(tx: Tx) -> dict[str, Any]:
        leads_by_id = records.list_leads_by_id(tx, caller.business_id, set(ids))
        leads = [
            leads_by_id[asked_id]
            for asked_id in ids
            if asked_id in leads_by_id and leads_by_id[asked_id].id == asked_id
        ]
        if not leads:
            raise Refused(errors.NOT_FOUND, "Lead not found.")
        lead_ids = {lead.id for lead in leads}
        note_seen("lead_id", sorted(lead_ids))
        twins = list_sharing_leads(tx, caller.business_id, lead_ids)
        return {"leads": [_named(lead) for lead in leads[:NAMED]], "ids": lead_ids, "twins": len(twins)}

    values = await context.db.read(load)
    values |= {"count": len(values["ids"]), "ids": ",".join(sorted(values["ids"]))}
    values |= {"caller": caller, "word": WORD, "is_wrong": is_wrong}
    return context.pages.render(request, "leads/erase.html", values, 422 if is_wrong else 200)


def _named(lead: Lead) -> dict[str, str]:
    return {"id": lead.id, "name": person_label(lead.name, lead.person_id)}
