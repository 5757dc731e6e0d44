"""A file of leads: taken as text, shown row by row before anything happens, and then imported as a job."""

import asyncio
from typing import Annotated, Final

import phonenumbers
from fastapi import APIRouter, Form, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import HTMLResponse, RedirectResponse

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import require
from contatto.channels.store import list_accounts
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.i18n import translator_of
from contatto.leads.actions import importing as actions
from contatto.leads.actions import jobs
from contatto.leads.model.jobs import Job, JobKind
from contatto.leads.pages.query import actor_of
from contatto.leads.rules.importing import read_sheet
from contatto.ui.context import context_of

router = APIRouter(include_in_schema=False)
COUNTRIES: Final = tuple(sorted(phonenumbers.SUPPORTED_REGIONS))


class _Sheet(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    text: str = Field("", max_length=1_000_000)
    country: str = Field("", max_length=2)


@router.get("/leads/import")
async def show_import(request: Request, caller: PageCaller) -> HTMLResponse:
    require(caller, Permission.WRITE_LEADS)
    context = context_of(request)
    accounts = await context.db.read(lambda tx: list_accounts(tx, caller.business_id))
    country = accounts[0].registration_country if accounts else ""
    values = {
        "caller": caller,
        "country": country,
        "countries": COUNTRIES,
        "preview": None,
        "text": "",
        "error": "",
    }
    return context.pages.render(request, "leads/import.html", values)


@router.post("/leads/import")
async def post_preview(request: Request, caller: FormCaller, sent: Annotated[_Sheet, Form()]) -> HTMLResponse:
    """Show what the import would do; nothing is changed."""
    require(caller, Permission.WRITE_LEADS)
    context = context_of(request)
    preview, error = None, ""
    try:
        country = _country(sent.country)
        # In a thread: it reads each row.
        sheet = await asyncio.to_thread(read_sheet, sent.text)
        preview = await context.db.read_long(
            lambda tx: actions.foresee_import(tx, caller.business_id, sheet, country)
        )
    except Refused as refused:
        detail = refused.detail_in(translator_of(request))
        error = detail.partition(": ")[2] or detail
    values = {"caller": caller, "country": sent.country, "countries": COUNTRIES, "preview": preview}
    return context.pages.render(request, "leads/import.html", values | {"text": sent.text, "error": error})


@router.post("/leads/import/start")
async def post_import(
    request: Request, caller: FormCaller, sent: Annotated[_Sheet, Form()]
) -> RedirectResponse:
    require(caller, Permission.WRITE_LEADS)
    sheet = await asyncio.to_thread(read_sheet, sent.text)
    plan = actions.plan_import(sheet, _country(sent.country))
    actor = actor_of(caller)

    def start(tx: Tx) -> Job:
        return jobs.start_job(tx, actor, JobKind.IMPORT, plan)

    job = await context_of(request).db.write(start)
    return RedirectResponse(f"/leads/jobs/{job.id}", 303)


def _country(text: str) -> str:
    if text and text not in COUNTRIES:
        raise Refused(errors.INVALID, "country: choose one of the list.")
    return text
