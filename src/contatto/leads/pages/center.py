"""The list of the Leads Center: filtered, sorted, page by page, with exact counts."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from contatto.accounts.auth import PageCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import may, require
from contatto.kit.db.remembered import RememberedCounts
from contatto.kit.db.tx import Tx
from contatto.kit.numbers import PageNumber
from contatto.leads.model.leads import LeadStatus
from contatto.leads.pages.query import LeadsQuery, ReadAsked, chips_of, choices_of
from contatto.leads.pages.rows import rows_of
from contatto.leads.rules.filters import COLUMNS, Look, for_member
from contatto.leads.store import listing
from contatto.leads.store.looks import find_look, save_look
from contatto.ui.context import context_of, part_of

router = APIRouter(include_in_schema=False)
PAGE: Final = 50
_LAST_PAGE: Final = 1_000_000


@router.get("/leads")
async def show_leads(
    request: Request, caller: PageCaller, asked: ReadAsked, page: PageNumber = 1
) -> HTMLResponse:
    asked = await _with_look(request, caller, asked, keep=True)
    response = await _render(request, caller, "leads/list.html", asked, page)
    response.headers["HX-Push-Url"] = asked.href()  # without the fields that were left empty
    return response


@router.get("/leads/rows")
async def show_rows(
    request: Request, caller: PageCaller, asked: ReadAsked, page: PageNumber = 1
) -> HTMLResponse:
    asked = await _with_look(request, caller, asked, keep=False)
    return await _render(request, caller, "leads/_rows.html", asked, page)


async def _with_look(request: Request, caller: Caller, asked: LeadsQuery, *, keep: bool) -> LeadsQuery:
    """Columns and density as the address says, and kept for the member; else as the member had them last."""
    require(caller, Permission.READ_LEADS)
    db, of, member = context_of(request).db, caller.business_id, caller.subject_id
    kept = await db.read(lambda tx: find_look(tx, of, member))
    if not {"column", "dense"} & set(request.query_params):
        return asked if kept is None else replace(asked, look=replace(kept, sort=asked.look.sort))
    if keep and asked.look != replace(kept or Look(), sort=asked.look.sort):
        await db.write(lambda tx: save_look(tx, of, member, asked.look))
    return asked


async def _render(
    request: Request, caller: Caller, template: str, asked: LeadsQuery, page: int
) -> HTMLResponse:
    require(caller, Permission.READ_LEADS)
    context = context_of(request)
    whole, recall = template == "leads/list.html", part_of(request, RememberedCounts).begin()

    def load(tx: Tx) -> dict[str, Any]:
        counts = listing.load_lead_counts(tx, caller.business_id, recall)
        shown = _page_of(tx, caller, asked, page, counts)
        return shown | _around(tx, caller, asked) if whole else shown

    values = await context.db.read(load)
    values |= {"caller": caller, "asked": asked, "can_edit": may(caller, Permission.WRITE_LEADS)}
    values |= {"can_export": may(caller, Permission.EXPORT_LEADS)}
    values |= {"can_erase": may(caller, Permission.ERASE_LEADS)}
    return context.pages.render(request, template, values)


def _page_of(
    tx: Tx, caller: Caller, asked: LeadsQuery, page: int, counts: Mapping[LeadStatus, int]
) -> dict[str, Any]:
    wanted = for_member(asked.wanted, caller.subject_id)
    matches = listing.find_matches(tx, caller.business_id, wanted, counts)
    pages = max(1, -(-matches.total // PAGE))
    shown = min(max(page, 1), pages, _LAST_PAGE)
    offset = (shown - 1) * PAGE
    place = (asked.look.sort, PAGE, offset)
    found = listing.list_matches(tx, caller.business_id, wanted, matches, place)
    return {
        "total": matches.total,
        "leads": rows_of(tx, caller.business_id, found, with_crm="crm" in asked.look.columns),
        "page": shown,
        "pages": pages,
        "status_counts": {status.value: counts.get(status, 0) for status in LeadStatus},
        "all_hrefs": {"any": _joined(asked, any_of=True), "all": _joined(asked, any_of=False)},
    }


def _joined(asked: LeadsQuery, *, any_of: bool) -> str:
    return replace(asked, wanted=replace(asked.wanted, any_of=any_of)).href()


def _around(tx: Tx, caller: Caller, asked: LeadsQuery) -> dict[str, Any]:
    """What stands around the table: choices, and the chips of what is on."""
    choices = choices_of(tx, caller.business_id)
    return {
        "choices": choices,
        "chips": chips_of(asked, choices),
        "active": set(asked.pairs),
        "columns": COLUMNS,
    }
