"""The customer's chat page: public, opened from an ad, with no word of what happens on our side."""

from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.capture import store as capture_store
from contatto.channels.model import Platform
from contatto.channels.store import find_public_account, list_embed_origins
from contatto.forms.actions import choose_form
from contatto.forms.model import NOBODY
from contatto.inbox.actions.forms import find_known
from contatto.inbox.actions.taps import find_tapped_ad
from contatto.inbox.model import AutomaticMessages
from contatto.inbox.pages.sheets import SheetReader, draw_sheet
from contatto.inbox.rules import with_ad
from contatto.inbox.store.automatic import find_automatic
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.measurement.model import MeasuredAd
from contatto.ui.context import context_of
from contatto.ui.security import csp_within
from contatto.ui.visitor import (
    VISITOR_KEY,
    Carrier,
    new_visitor,
    open_visitor,
    public_id,
    read_visitor,
    set_visitor,
    sign_visitor,
)

router = APIRouter(include_in_schema=False)


@router.get("/chat/{account_id}")
async def show_chat(request: Request, account_id: str) -> HTMLResponse:
    """The customer's page. It is public: whoever opens it is given an identity at this account."""
    context = context_of(request)
    signer = context.vault.signer(VISITOR_KEY)
    secret = read_visitor(request, account_id, signer) or new_visitor()
    person = public_id(secret, account_id, context.vault.derivation_key(VISITOR_KEY))
    values = await context.db.read(lambda tx: _chat_values(tx, account_id, person))
    _show_form(request, values, person)
    response = context.pages.render(request, "inbox/chat.html", values)
    # Each time, so that somebody who comes back after a rotation holds what the newest key signed.
    set_visitor(response, secret, account_id, signer, context.pages.cookies)
    return response


@router.get("/chat/{account_id}/embed")
async def show_embedded_chat(request: Request, account_id: str, v: str = "") -> Response:
    """The same page inside a site that the business allows; a token in its address names the visitor."""
    context = context_of(request)
    if request.headers.get("sec-fetch-dest") == "document":  # somebody else's token must not come by a link
        return RedirectResponse(f"/chat/{quote(account_id)}", 303)
    origins = await context.db.read(lambda tx: _origins_of(tx, account_id))
    signer = context.vault.signer(VISITOR_KEY)
    secret = open_visitor(v, account_id, Carrier.FRAME, signer)
    if secret is None:
        fresh = sign_visitor(new_visitor(), account_id, Carrier.FRAME, signer)
        values: dict[str, Any] = {"account_id": account_id, "fresh": fresh}
        response = context.pages.render(request, "inbox/embed.html", values)
    else:
        person = public_id(secret, account_id, context.vault.derivation_key(VISITOR_KEY))
        values = await context.db.read(lambda tx: _chat_values(tx, account_id, person))
        _show_form(request, values, person)
        response = context.pages.render(request, "inbox/chat.html", values | {"visitor_token": v})
    response.headers["Content-Security-Policy"] = csp_within(origins)
    return response


def _show_form(request: Request, values: dict[str, Any], visitor: str) -> None:
    """Put the sheet of the form in the place of its version."""
    account, version, known = values.pop("form_of")
    values["form"] = version and draw_sheet(request, version, SheetReader(account, visitor, known))


def _origins_of(tx: Tx, account_id: str) -> tuple[str, ...]:
    """The sites that may show a chat.

    Raises:
        Refused: NOT_FOUND, also where there is none.
    """
    account = find_public_account(tx, account_id)
    allowed = list_embed_origins(tx, account.business_id).get(account.id) if account else None
    if not allowed:
        raise Refused(errors.NOT_FOUND, "No other site may show this chat.")
    return allowed


def _chat_values(tx: Tx, account_id: str, visitor: str) -> dict[str, Any]:
    account = find_public_account(tx, account_id)
    if account is None or account.platform is not Platform.WEBCHAT:
        raise Refused(errors.NOT_FOUND, "Chat not found.")
    switch = capture_store.find_switch(tx, account.business_id, account.id)
    policy = switch.privacy_policy_url if switch else ""
    tapped = find_tapped_ad(tx, account, visitor)
    ad = tapped[1] if tapped else None
    version = choose_form(tx, account.business_id, account.id, ad.page_id if ad else "")
    kept = find_automatic(tx, account.business_id, account.id)
    automatic = with_ad(kept[0].active if kept else AutomaticMessages(), ad)
    return {
        "account": {"id": account.id, "display_name": account.name, "handle": account.handle or None},
        "ad": _shown_ad(ad) if ad and ad.headline else None,
        "form_of": (account, version, find_known(tx, account, visitor, version) if version else NOBODY),
        "welcome": automatic.welcome or None,
        "questions": [each.ask for each in automatic.questions],
        "visitor_token": None,
        "prompts": [(each.ask, each.say) for each in automatic.prompts],
        "privacy_policy_url": policy if policy.startswith("https://") else None,
    }


def _shown_ad(ad: MeasuredAd) -> dict[str, str | None]:
    """What the person saw of the ad; its internal names are not for the customer's eyes."""
    return {"headline": ad.headline, "body": ad.text or None, "label": None}
