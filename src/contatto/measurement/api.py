"""Tracking links: the view pixel and the tap on an ad."""

import base64
import re
from collections.abc import Collection
from contextlib import suppress
from datetime import timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from contatto.accounts.auth import DirectRoute
from contatto.accounts.model import Access, Credential
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused, check_found
from contatto.kit.ids import made_at_ms
from contatto.kit.rate_limits import SharedLimit, client_network
from contatto.kit.values import micros
from contatto.measurement import actions, rules, store
from contatto.measurement.actions import GatheredTouches
from contatto.measurement.model import MeasuredAd, Tap, TicketKind, TrackingTicket
from contatto.ui.render import VISITOR_KEY, new_visitor, public_id, read_visitor, set_visitor
from contatto.ui.requests import Context, context_of, part_of

_GIF: Final = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_MACHINE: Final = re.compile(
    r"(?<!cu)bot\b|crawler|spider|preview|externalhit|whatsapp/|embedly|skypeuri", re.IGNORECASE
)
"""Programs that fetch a link before, or instead of, a person. CUBOT is a brand of phones."""
_PREFETCH: Final = ("sec-purpose", "purpose", "x-purpose", "x-moz")
_NO_STORE: Final = {"Cache-Control": "no-store"}


async def view_ad(request: Request) -> Response:
    """Count a view; the answer is a transparent pixel."""
    context = context_of(request)
    ticket, ad = await _ticket_and_ad(context, request, {TicketKind.VIEW})
    ts = micros(context.clock.now())
    # Repeats of a link beyond the longest window could not be detected.
    is_expired = made_at_ms(ticket.nonce) < (ts - rules.LONGEST_WINDOW // timedelta(microseconds=1)) // 1_000
    if not (is_expired or _is_program(request)):
        viewer_id = rules.viewer_of(context.vault.named_id, ad, ticket)
        touch = actions.stamp_ticket(ad, ticket, viewer_id, ts)
        await part_of(request, GatheredTouches).views.submit(rules.impression_of(touch, ticket))
    return Response(_GIF, media_type="image/gif", headers=_NO_STORE)


async def tap_ad(request: Request) -> Response:
    """Count a tap, and redirect to the chat.

    In our own chat the cookie of the channel account identifies the person, who is new without it. The first
    tap also links the viewer in the ticket to this person, so that the viewer's earlier views can win the
    person's conversions. Link previews and prefetches are not counted.
    """
    context = context_of(request)
    ticket, ad = await _ticket_and_ad(context, request, {TicketKind.CLICK, TicketKind.CHAT})
    # Source: https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Sec-Purpose
    purpose = " ".join(request.headers.get(name, "") for name in _PREFETCH).lower()
    # A browser would reuse a prefetched redirect for the tap itself, which would then not count.
    if any(word in purpose for word in ("prefetch", "prerender", "preview")):
        return Response(status_code=503, headers=_NO_STORE)
    response = RedirectResponse(ad.landing_path, 303, headers=_NO_STORE)
    if _is_program(request):
        return response
    ts = micros(context.clock.now())
    viewer_id = rules.viewer_of(context.vault.named_id, ad, ticket)
    person_id, linked_viewer_id = viewer_id, None
    if ad.opens_own_chat:
        signer, account_id = context.vault.signer(VISITOR_KEY), ad.channel_account_id
        secret = read_visitor(request, account_id, signer) or new_visitor()
        person = public_id(secret, account_id, context.vault.derivation_key(VISITOR_KEY))
        person_id, linked_viewer_id = context.vault.named_id(account_id, person), viewer_id
        set_visitor(response, secret, account_id, signer, context.pages.cookies)
    touch = actions.stamp_ticket(ad, ticket, person_id, ts)
    # Taps on chat links count up to a daily limit per ad and network.
    daily_limit = context.settings.chat_link_taps_per_day if ticket.kind is TicketKind.CHAT else 0
    tap = Tap(rules.impression_of(touch, ticket), linked_viewer_id)
    if not daily_limit:
        await part_of(request, GatheredTouches).taps.submit(tap)
        return response
    place = f"{touch.ad_id}:{client_network(request)}"

    def work(tx: Tx) -> None:
        if not store.list_known_touches(tx, touch.business_id, [touch.touch_id]):
            SharedLimit("chat links", daily_limit, timedelta(days=1)).take(tx, place)
        actions.record_taps(tx, [tap])

    with suppress(Refused):  # the person gets to the chat all the same
        await context.db.write(work)
    return response


def _is_program(request: Request) -> bool:
    """Report whether a program sent a request: not a GET, or from a link preview or search engine."""
    return request.method != "GET" or _MACHINE.search(request.headers.get("user-agent", "")) is not None


async def _ticket_and_ad(
    context: Context, request: Request, kinds: Collection[TicketKind]
) -> tuple[TrackingTicket, MeasuredAd]:
    signer = context.vault.signer(rules.TRACKING_KEY)
    ticket = rules.read_ticket(request.path_params["token"], kinds, signer)
    ad = check_found(await part_of(request, GatheredTouches).ads.submit((ticket.business_id, ticket.ad_id)))
    return ticket, ad


routes = [
    DirectRoute("GET", "/t/v/{token}", view_ad, Access(Credential.ADDRESS)),
    DirectRoute("GET", "/t/c/{token}", tap_ad, Access(Credential.ADDRESS)),
]
