"""The customer's chat page: public, opened from an ad, with no word of what happens on our side."""

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from contatto.capture import store as capture_store
from contatto.channels.model import ChannelAccount, Platform
from contatto.channels.store import find_public_account
from contatto.inbox.actions import person_id_of
from contatto.kit import errors
from contatto.kit.context import context_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.kit.web.visitor import VISITOR_KEY, read_visitor, set_visitor
from contatto.measurement import store as measurement
from contatto.measurement.model import MeasuredAd, TouchKind

router = APIRouter(include_in_schema=False)
WELCOME: Final = "Hello! Write to us here: we answer as soon as we can."


@router.get("/chat/{account_id}")
async def show_chat(request: Request, account_id: str) -> HTMLResponse:
    """The customer's page. It is public: whoever opens it gets a visitor's cookie."""
    context = context_of(request)
    key = context.vault.signing_key(VISITOR_KEY)
    visitor = read_visitor(request, key)
    values = await context.db.read(lambda tx: _chat_values(tx, account_id, visitor))
    response = context.pages.render(request, "inbox/chat.html", values)
    if visitor is None:
        set_visitor(response, new_id(), key, context.pages.cookies)
    return response


def _chat_values(tx: Tx, account_id: str, visitor: str | None) -> dict[str, Any]:
    account = find_public_account(tx, account_id)
    if account is None or account.platform is not Platform.WEBCHAT:
        raise Refused(errors.NOT_FOUND, "There is no such chat.")
    switch = capture_store.find_switch(tx, account.business_id, account.id)
    policy = switch.privacy_policy_url if switch else ""
    ad = _tapped_ad(tx, account, visitor) if visitor else None
    return {
        "account": {"id": account.id, "display_name": account.name, "handle": account.handle or None},
        "ad": ad and {"headline": ad.headline, "body": ad.text or None, "label": None},
        "welcome": WELCOME,
        "questions": [],
        "privacy_policy_url": policy if policy.startswith("https://") else None,
    }


def _tapped_ad(tx: Tx, account: ChannelAccount, visitor: str) -> MeasuredAd | None:
    """The ad that this visitor tapped last; internal names of it are not for the customer's eyes."""
    person_id = person_id_of(account, visitor)
    for touch in measurement.list_touches_of(tx, account.business_id, person_id, 20):
        if touch.kind is TouchKind.CLICK:
            ad = measurement.find_measured_ad(tx, account.business_id, touch.ad_id)
            return ad if ad and ad.headline else None
    return None
