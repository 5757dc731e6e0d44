"""The customer's chat page: public, opened from an ad, with no word of what happens on our side."""

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from contatto.capture import store as capture_store
from contatto.channels.model import ChannelAccount, Platform
from contatto.channels.store import find_public_account
from contatto.kit import errors
from contatto.kit.context import context_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.kit.web.visitor import VISITOR_KEY, read_visitor, set_visitor

router = APIRouter(include_in_schema=False)
WELCOME: Final = "Hello! Write to us here: we answer as soon as we can."


@router.get("/chat/{account_id}")
async def show_chat(request: Request, account_id: str) -> HTMLResponse:
    """The customer's page. It is public: whoever opens it gets a visitor's cookie."""
    context = context_of(request)

    def load(tx: Tx) -> tuple[ChannelAccount | None, str]:
        account = find_public_account(tx, account_id)
        switch = account and capture_store.find_switch(tx, account.business_id, account.id)
        return account, switch.privacy_policy_url if switch else ""

    account, policy = await context.db.read(load)
    if account is None or account.platform is not Platform.WEBCHAT:
        raise Refused(errors.NOT_FOUND, "There is no such chat.")
    values: dict[str, Any] = {
        "account": {"id": account.id, "display_name": account.name, "handle": account.handle or None},
        "ad": None,
        "welcome": WELCOME,
        "questions": [],
        "privacy_policy_url": policy if policy.startswith("https://") else None,
    }
    response = context.pages.render(request, "inbox/chat.html", values)
    key = context.vault.signing_key(VISITOR_KEY)
    if read_visitor(request, key) is None:
        set_visitor(response, new_id(), key, context.pages.cookies)
    return response
