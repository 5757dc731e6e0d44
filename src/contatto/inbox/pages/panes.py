"""The inbox in three panes, and the live stream behind all pages."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import require
from contatto.channels.model import MessageKind, Sender
from contatto.inbox.actions import desk as desk_actions
from contatto.inbox.actions import replies
from contatto.inbox.model import Message
from contatto.inbox.pages.desk import View, inbox_values, read_view
from contatto.inbox.store import conversations
from contatto.inbox.store.conversations import ConversationFilter
from contatto.kit import errors
from contatto.kit.context import context_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import named_id, new_id
from contatto.kit.web.live import sse_answer, stream_events
from contatto.leads.model import Lead, Status
from contatto.leads.rules.filters import LeadFilter
from contatto.leads.store.listing import count_leads

router = APIRouter(include_in_schema=False)


@router.get("/live")
async def follow_live(request: Request, caller: PageCaller) -> StreamingResponse:
    feed = context_of(request).live
    return sse_answer(stream_events(feed, caller.business_id, request.headers.get("last-event-id")))


@router.get("/nav")
async def show_nav(request: Request, caller: PageCaller, section: str = "") -> HTMLResponse:
    context = context_of(request)

    def count(tx: Tx) -> dict[str, int]:
        unread = conversations.count_conversations(tx, caller.business_id, ConversationFilter("unread"))
        raw = count_leads(tx, caller.business_id, LeadFilter(statuses=(Status.RAW,)))
        return {"inbox": unread, "leads": raw}

    values = {"caller": caller, "section": section, "nav_counts": await context.db.read(count)}
    return context.pages.render(request, "web/nav.html", values)


@router.get("/inbox")
async def show_inbox(
    request: Request, caller: PageCaller, tab: str = "all", q: str = "", before: str = ""
) -> HTMLResponse:
    return await _render(request, caller, "inbox/inbox.html", read_view(tab, q, before), None)


@router.get("/inbox/list")
async def show_list(
    request: Request, caller: PageCaller, tab: str = "all", q: str = "", selected: str = ""
) -> HTMLResponse:
    return await _render(request, caller, "inbox/_list.html", read_view(tab, q), selected or None)


@router.get("/inbox/{conversation_id}")
async def show_conversation(
    request: Request,
    caller: PageCaller,
    conversation_id: str,
    tab: str = "all",
    q: str = "",
    before: str = "",
) -> HTMLResponse:
    view = read_view(tab, q, older=before)
    return await _render(request, caller, "inbox/inbox.html", view, conversation_id, strict=True)


@router.get("/inbox/{conversation_id}/thread")
async def show_thread(
    request: Request, caller: PageCaller, conversation_id: str, before: str = ""
) -> HTMLResponse:
    view = read_view(older=before)
    return await _render(request, caller, "inbox/_thread.html", view, conversation_id, strict=True)


@router.get("/inbox/{conversation_id}/contact")
async def show_contact(request: Request, caller: PageCaller, conversation_id: str) -> HTMLResponse:
    return await _render(request, caller, "inbox/_contact.html", read_view(), conversation_id, strict=True)


@router.post("/inbox/{conversation_id}/messages")
async def post_reply(
    request: Request,
    caller: FormCaller,
    conversation_id: str,
    text: Annotated[str, Form()] = "",
    client_message_id: Annotated[str, Form()] = "",
) -> Response:
    require(caller, Permission.WRITE_INBOX)

    def reply(tx: Tx) -> Message:
        message_id = named_id(conversation_id, client_message_id) if _is_uuid(conversation_id) else ""
        message = Message(
            seq=0,
            id=message_id if client_message_id else new_id(),
            conversation_id=conversation_id,
            sender=Sender.BUSINESS,
            kind=MessageKind.TEXT,
            text=text.strip(),
            author=caller.display_name,
            at=tx.now,
        )
        return replies.send_reply(tx, caller.business_id, conversation_id, message)

    await context_of(request).db.write(reply)
    return await _after_post(request, caller, conversation_id)


@router.post("/inbox/{conversation_id}/messages/{message_id}/retry")
async def post_retry(request: Request, caller: FormCaller, conversation_id: str, message_id: str) -> Response:
    require(caller, Permission.WRITE_INBOX)

    def retry(tx: Tx) -> None:
        replies.retry_reply(tx, caller.business_id, conversation_id, message_id)

    await context_of(request).db.write(retry)
    return await _after_post(request, caller, conversation_id)


@router.post("/inbox/{conversation_id}/lead")
async def post_mark_as_lead(request: Request, caller: FormCaller, conversation_id: str) -> Response:
    require(caller, Permission.WRITE_LEADS)

    def mark(tx: Tx) -> Lead:
        return desk_actions.mark_conversation_as_lead(
            tx, caller.business_id, conversation_id, caller.display_name
        )

    await context_of(request).db.write(mark)
    return await _after_post(request, caller, conversation_id)


@router.post("/inbox/{conversation_id}/read")
async def post_read(request: Request, caller: FormCaller, conversation_id: str) -> Response:
    require(caller, Permission.WRITE_INBOX)
    await context_of(request).db.write(
        lambda tx: desk_actions.note_conversation_read(tx, caller.business_id, conversation_id)
    )
    return Response(status_code=204)


async def _after_post(request: Request, caller: Caller, conversation_id: str) -> Response:
    if request.headers.get("hx-request"):
        return await _render(request, caller, "inbox/_thread.html", read_view(), conversation_id, strict=True)
    return RedirectResponse(f"/inbox/{conversation_id}", 303)


async def _render(
    request: Request, caller: Caller, template: str, view: View, selected: str | None, *, strict: bool = False
) -> HTMLResponse:
    """Render one of the inbox's templates; with ``strict`` an unknown conversation is refused."""
    require(caller, Permission.READ_INBOX)
    context = context_of(request)
    values = await context.db.read(lambda tx: inbox_values(tx, caller.business_id, view, selected))
    if strict and values["selected"] is None:
        raise Refused(errors.NOT_FOUND, "There is no such conversation.")
    return context.pages.render(request, template, values | {"caller": caller})


def _is_uuid(text: str) -> bool:
    return len(text) == 36 and text.replace("-", "").isalnum()
