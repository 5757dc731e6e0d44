"""Saved views of the Leads Center: the bar with their counts, and what its forms send."""

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import HTMLResponse, RedirectResponse

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import may, require
from contatto.kit.db.tx import Tx
from contatto.leads.actions import views as actions
from contatto.leads.model.annotations import SavedView
from contatto.leads.pages.query import LeadsQuery, ReadAsked, actor_of, read_query
from contatto.leads.rules.filters import for_member
from contatto.leads.store import listing
from contatto.leads.store import views as store
from contatto.ui.context import context_of

router = APIRouter(include_in_schema=False)


class _NewView(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str = Field("", max_length=200)
    query: str = Field("", max_length=8_000)
    shared: bool = False


@router.get("/leads/views")
async def show_views(request: Request, caller: PageCaller, asked: ReadAsked) -> HTMLResponse:
    """The bar of views, each with its count; fetched after the page, so that no list waits for counts."""
    require(caller, Permission.READ_LEADS)
    context = context_of(request)
    found = await context.db.read(lambda tx: _views_of(tx, caller, asked))
    can_edit = may(caller, Permission.WRITE_LEADS)
    values = {"caller": caller, "views": found, "asked": asked, "can_edit": can_edit}
    return context.pages.render(request, "leads/_views.html", values)


@dataclass(frozen=True, slots=True)
class _ViewRow:
    """A kept view of the list; only pinned ones are counted."""

    id: str
    name: str
    href: str
    is_current: bool
    is_shared: bool
    is_pinned: bool
    is_mine: bool
    count: int | None


def _views_of(tx: Tx, caller: Caller, asked: LeadsQuery) -> list[_ViewRow]:
    views = store.list_views(tx, caller.business_id, caller.subject_id)
    return [_shown(tx, caller, asked, view) for view in views]


def _shown(tx: Tx, caller: Caller, asked: LeadsQuery, view: SavedView) -> _ViewRow:
    kept = read_query(view.query)
    wanted = for_member(kept.wanted, caller.subject_id)
    return _ViewRow(
        id=view.id,
        name=view.name,
        href=kept.href(),
        is_current=kept == asked,
        is_shared=view.is_shared,
        is_pinned=view.is_pinned,
        is_mine=view.member_id == caller.subject_id,
        count=listing.count_leads(tx, caller.business_id, wanted) if view.is_pinned else None,
    )


@router.post("/leads/views")
async def post_view(
    request: Request, caller: FormCaller, sent: Annotated[_NewView, Form()]
) -> RedirectResponse:
    """Keep the list as it is shown; the query is read and written anew, so only known words are kept."""
    require(caller, Permission.WRITE_LEADS)
    asked = read_query(sent.query)
    actor = actor_of(caller)

    def keep(tx: Tx) -> SavedView:
        return actions.keep_view(tx, actor, sent.name, asked.query, is_shared=sent.shared)

    await context_of(request).db.write(keep)
    return RedirectResponse(asked.href(), 303)


@router.post("/leads/views/{view_id}")
async def post_view_change(
    request: Request,
    caller: FormCaller,
    view_id: str,
    do: Annotated[Literal["pin", "unpin", "share", "unshare", "delete"], Form()],
    query: Annotated[str, Form(max_length=8_000)] = "",
) -> RedirectResponse:
    require(caller, Permission.WRITE_LEADS)
    actor = actor_of(caller)

    def change(tx: Tx) -> None:
        if do == "delete":
            actions.remove_view(tx, actor, view_id)
        elif do in ("pin", "unpin"):
            actions.pin_view(tx, actor, view_id, is_pinned=do == "pin")
        else:
            actions.share_view(tx, actor, view_id, is_shared=do == "share")

    await context_of(request).db.write(change)
    return RedirectResponse(read_query(query).href(), 303)
