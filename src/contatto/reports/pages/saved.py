"""Reports that members keep: the list, and what its forms send."""

from dataclasses import dataclass, replace
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse

from contatto.accounts.auth import FormCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import require
from contatto.kit.db.tx import Tx
from contatto.kit.texts import read_pairs
from contatto.reports.actions.saved import drop_report, keep_report
from contatto.reports.registry import METRICS
from contatto.reports.rules.looks import Look, read_look
from contatto.reports.store import saved as store
from contatto.ui.context import context_of

router: Final = APIRouter(include_in_schema=False)
LONGEST_QUERY: Final = 4_000


def read_kept(query: str) -> Look:
    """The question that a kept query or a form holds; only known words stay."""
    return read_look(read_pairs(query, 100), METRICS)


@dataclass(frozen=True, slots=True)
class ReportLink:
    """A kept report, and whether it is the one that is open."""

    id: str
    name: str
    href: str
    is_current: bool
    is_mine: bool
    is_shared: bool


def shown_reports(tx: Tx, caller: Caller, look: Look) -> list[ReportLink]:
    """The reports that the member sees, with the one that is open."""
    saved_reports = store.list_saved_reports(tx, caller.business_id, caller.subject_id)
    return [
        ReportLink(
            id=report.id,
            name=report.name,
            href=f"/reports?{report.query}",
            is_current=replace(read_kept(report.query), advertiser=look.advertiser) == look,
            is_mine=report.member_id == caller.subject_id,
            is_shared=report.is_shared,
        )
        for report in saved_reports
    ]


@router.post("/reports/saved")
async def post_saved_report(
    request: Request,
    caller: FormCaller,
    name: Annotated[str, Form(max_length=200)] = "",
    query: Annotated[str, Form(max_length=LONGEST_QUERY)] = "",
    shared: Annotated[bool, Form()] = False,  # noqa: FBT002 - a box that is ticked or not
) -> RedirectResponse:
    """Keep the page as it is shown; its question is read and written anew, so only known words are kept."""
    require(caller, Permission.READ_REPORTS)
    look = read_kept(query)
    owner = (caller.business_id, caller.subject_id)

    def keep(tx: Tx) -> None:
        keep_report(tx, owner, name, urlencode(look.pairs()), is_shared=shared)

    await context_of(request).db.write(keep)
    return RedirectResponse(look.href(), 303)


@router.post("/reports/saved/{report_id}/delete")
async def post_saved_report_away(
    request: Request,
    caller: FormCaller,
    report_id: str,
    query: Annotated[str, Form(max_length=LONGEST_QUERY)] = "",
) -> RedirectResponse:
    require(caller, Permission.READ_REPORTS)
    owner = (caller.business_id, caller.subject_id)
    await context_of(request).db.write(lambda tx: drop_report(tx, owner, report_id))
    return RedirectResponse(read_kept(query).href(), 303)
