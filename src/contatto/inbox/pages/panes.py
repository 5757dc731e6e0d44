"""The inbox in three panes, and the live stream behind all pages."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse, Response, StreamingResponse

from contatto.accounts.auth import PageCaller, session_reader
from contatto.accounts.model import Permission
from contatto.accounts.rules import may, require
from contatto.inbox.pages.answers import render_inbox
from contatto.inbox.pages.desk import ViewQuery, list_found, read_view
from contatto.inbox.store import conversations
from contatto.inbox.store.conversations import ConversationFilter
from contatto.kit.db.remembered import RememberedCounts
from contatto.kit.db.tx import Tx
from contatto.kit.http import json_answer
from contatto.leads.model.leads import LeadStatus
from contatto.leads.store.listing import load_lead_counts
from contatto.ui.context import context_of, part_of
from contatto.ui.live import resume_point, sse_answer, stream_events

router = APIRouter(include_in_schema=False)


@router.get("/live")
async def follow_live(request: Request, caller: PageCaller) -> StreamingResponse:
    feed, reader = context_of(request).live, session_reader(request)
    return sse_answer(stream_events(feed, caller.business_id, resume_point(request), reader))


@router.get("/nav")
async def show_nav(request: Request, caller: PageCaller, section: str = "") -> HTMLResponse:
    context, recall = context_of(request), part_of(request, RememberedCounts).begin()

    def count(tx: Tx) -> dict[str, int]:
        counts: dict[str, int] = {}
        if may(caller, Permission.READ_INBOX):
            unread = ConversationFilter("unread")
            counts["inbox"] = conversations.count_conversations(tx, caller.business_id, unread)
        if may(caller, Permission.READ_LEADS):
            counts["leads"] = load_lead_counts(tx, caller.business_id, recall).get(LeadStatus.RAW, 0)
        return counts

    values = {"caller": caller, "section": section, "nav_counts": await context.db.read(count)}
    return context.pages.render(request, "ui/nav.html", values)


@router.get("/inbox")
async def show_inbox(
    request: Request, caller: PageCaller, asked: Annotated[ViewQuery, Query()], before: str = ""
) -> HTMLResponse:
    return await render_inbox(request, caller, "inbox/inbox.html", read_view(asked, before), None)


@router.get("/inbox/list")
async def show_list(
    request: Request, caller: PageCaller, asked: Annotated[ViewQuery, Query()], selected: str = ""
) -> HTMLResponse:
    return await render_inbox(request, caller, "inbox/_list.html", read_view(asked), selected or None)


@router.get("/inbox/search")
async def find_in_inbox(
    request: Request, caller: PageCaller, q: Annotated[str, Query(max_length=100)] = ""
) -> Response:
    """Conversations for the command palette."""
    require(caller, Permission.READ_INBOX)
    view = read_view(ViewQuery(q=q))
    found = await context_of(request).db.read(lambda tx: list_found(tx, caller, view.q))
    return json_answer({"found": found})


@router.get("/inbox/{conversation_id}")
async def show_conversation(
    request: Request,
    caller: PageCaller,
    conversation_id: str,
    asked: Annotated[ViewQuery, Query()],
    before: str = "",
) -> HTMLResponse:
    view = read_view(asked, older=before)
    return await render_inbox(request, caller, "inbox/inbox.html", view, conversation_id, strict=True)


@router.get("/inbox/{conversation_id}/thread")
async def show_thread(
    request: Request, caller: PageCaller, conversation_id: str, before: str = ""
) -> HTMLResponse:
    view = read_view(ViewQuery(), older=before)
    return await render_inbox(request, caller, "inbox/_thread.html", view, conversation_id, strict=True)


@router.get("/inbox/{conversation_id}/contact")
async def show_contact(request: Request, caller: PageCaller, conversation_id: str) -> HTMLResponse:
    return await render_inbox(
        request, caller, "inbox/_contact.html", read_view(ViewQuery()), conversation_id, strict=True
    )
