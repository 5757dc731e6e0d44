"""Forms that members send: into a thread, and the page that a link on a platform opens."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import HTMLResponse, Response

from contatto.accounts.auth import FormCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import require
from contatto.channels.model import ChannelAccount
from contatto.channels.store import find_account
from contatto.forms.actions import find_published
from contatto.forms.model import FormVersion, Known
from contatto.inbox import rules
from contatto.inbox.actions.forms import FormOffer, HandedIn, find_bookings, send_form
from contatto.inbox.actions.threads import owned_conversation
from contatto.inbox.auth import ChatLimits
from contatto.inbox.model import Conversation, Message
from contatto.inbox.pages.chat import (
    SheetReader,
    answer_form,
    draw_sheet,
    find_misopening,
    read_sent,
    submission_of,
)
from contatto.inbox.pages.desk import after_post, is_uuid
from contatto.inbox.rules import FormLink
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import named_id, new_id
from contatto.leads.model import Actor
from contatto.ui.context import Context, context_of, part_of
from contatto.ui.render import UNKEPT

LINK_KEY = "form-link"
"""The purpose under which the vault gives the signer of links."""


@router.post("/inbox/{conversation_id}/forms")
async def post_send_form(
    request: Request,
    caller: FormCaller,
    conversation_id: str,
    page_id: Annotated[str, Form(max_length=20)] = "",
    client_message_id: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    require(caller, Permission.WRITE_INBOX)
    context = context_of(request)
    actor = Actor(caller.business_id, caller.subject_id, caller.display_name)
    is_named = bool(client_message_id) and is_uuid(conversation_id)
    message_id = named_id(conversation_id, f"form:{client_message_id}") if is_named else new_id()

    def send(tx: Tx) -> Message:
        owned_conversation(tx, caller.business_id, conversation_id)
        version = _published(tx, caller.business_id, page_id)
        until = context.clock.now() + timedelta(days=rules.FORM_LINK_DAYS)
        link = FormLink(caller.business_id, conversation_id, version.number, int(until.timestamp()))
        token = rules.sign_form_link(link, context.vault.signer(LINK_KEY))
        offer = FormOffer(version, f"{context.settings.base_url}/form/{token}")
        return send_form(tx, actor, conversation_id, message_id, offer)

    await context.db.write(send)
    return await after_post(request, caller, conversation_id)


@router.get("/form/{token}")
async def show_form_link(request: Request, token: str) -> HTMLResponse:
    """The form of a link, as a page of its own."""
    context, link = _open_link(request, token)

    def load(tx: Tx) -> tuple[ChannelAccount, FormVersion, Known]:
        conversation = _linked(tx, link)
        account = find_account(tx, link.business_id, conversation.channel_account_id)
        if account is None:
            raise Refused(errors.NOT_FOUND)
        version = _published(tx, link.business_id, str(link.number))
        return account, version, Known(bookings=find_bookings(tx, version))

    account, version, prefill = await context.db.read(load)
    values = {
        "account": {"id": account.id, "display_name": account.name},
        "form": draw_sheet(request, version, _reader(account, link, token, prefill)),
        "conversation_id": link.conversation_id,
    }
    return context.pages.render(request, "inbox/form.html", values)


@router.get("/form/{token}/{page_id}")
async def show_linked_sheet(request: Request, token: str, page_id: str, lang: str = "") -> HTMLResponse:
    """The sheet alone, in another language; ``page_id`` is the one of the link."""
    context, link = _open_link(request, token)

    def load(tx: Tx) -> tuple[ChannelAccount, FormVersion, Known]:
        conversation = _linked(tx, link)
        account = find_account(tx, link.business_id, conversation.channel_account_id)
        if account is None or page_id != str(link.number):
            raise Refused(errors.NOT_FOUND, "Form not found.")
        version = _published(tx, link.business_id, page_id)
        return account, version, Known(bookings=find_bookings(tx, version))

    account, version, prefill = await context.db.read(load)
    return HTMLResponse(
        draw_sheet(request, version, _reader(account, link, token, prefill), lang).html, headers=UNKEPT
    )


def _reader(account: ChannelAccount, link: FormLink, token: str, prefill: Known) -> SheetReader:
    """Whoever opens the link; they are shown no details, as it may be passed on to somebody else."""
    return SheetReader(account, link.conversation_id, prefill, base=f"/form/{token}")


@router.post("/form/{token}")
async def post_linked_form(request: Request, token: str) -> Response:
    """Take what the person of the link sends; the same ``submission_id`` again gives the same answer."""
    context, link = _open_link(request, token)
    sent = await read_sent(request)
    now_s = context.clock.now().timestamp()
    part_of(request, ChatLimits).linked_forms.check(link.conversation_id, now_s)

    misopened = find_misopening(context, sent, link.number, link.conversation_id)
    submission = submission_of(sent)
    handed = HandedIn(link.business_id, link.number, link.conversation_id, submission, misopened=misopened)
    return await answer_form(request, sent, handed)


def _open_link(request: Request, token: str) -> tuple[Context, FormLink]:
    """Return the content of a form link while it may be opened.

    Raises:
        Refused: NOT_FOUND.
    """
    context = context_of(request)
    link = rules.read_form_link(token, context.vault.signer(LINK_KEY)) if len(token) < 200 else None
    if link is None or link.until_s < context.clock.now().timestamp():
        raise Refused(errors.NOT_FOUND, "This link has expired. Ask in the chat for a new one.")
    return context, link


def _linked(tx: Tx, link: FormLink) -> Conversation:
    return owned_conversation(tx, link.business_id, link.conversation_id)


def _published(tx: Tx, business_id: str, page_id: str) -> FormVersion:
    version = find_published(tx, business_id, page_id)
    if version is None:
        raise Refused(errors.NOT_FOUND, "Form not found.")
    return version
