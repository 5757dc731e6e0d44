"""Tracking links: the view pixel and the tap on an ad."""

import base64
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from contatto.kit import errors
from contatto.kit.context import Context, context_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.http import HotRoute
from contatto.kit.ids import new_id
from contatto.kit.moments import micros
from contatto.kit.web.visitor import VISITOR_KEY, read_visitor, set_visitor
from contatto.measurement import actions, rules, store
from contatto.measurement.model import MeasuredAd, TouchKind, TrackingTicket

_GIF: Final = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
TRACKING_KEY: Final = "tracking"


async def view_ad(request: Request) -> Response:
    """Count a view; the answer is a transparent pixel."""
    context = context_of(request)
    ticket, ad = await _ticket_and_ad(context, request)
    if actions.is_spent(ticket, context.clock.now()):
        return _pixel()
    visitor = ticket.viewer or read_visitor(request, context.vault.signing_key(VISITOR_KEY))
    touch = actions.stamp_ticket(ad, ticket, TouchKind.VIEW, visitor, micros(context.clock.now()))
    insert = store.APPEND_TOUCH[context.db.engine.dialect.name]
    await context.db.append(insert, store.touch_row(touch))
    return _pixel()


def _pixel() -> Response:
    return Response(_GIF, media_type="image/gif", headers={"Cache-Control": "no-store"})


async def tap_ad(request: Request) -> Response:
    """Count a tap and lead the person to the chat, known by the visitor's cookie.

    A link that was tapped before, from another browser, makes a new visitor: a forwarded link must not open
    somebody else's chat.
    """
    context = context_of(request)
    ticket, ad = await _ticket_and_ad(context, request)
    key = context.vault.signing_key(VISITOR_KEY)
    known = read_visitor(request, key)
    visitor = ticket.viewer or known or new_id()
    touch = actions.stamp_ticket(ad, ticket, TouchKind.CLICK, visitor, micros(context.clock.now()))
    is_new = await context.db.write(lambda tx: actions.record_touch(tx, touch))
    if not is_new and known != visitor:
        visitor = known or new_id()
    response = RedirectResponse(ad.landing_path, 303, headers={"Cache-Control": "no-store"})
    set_visitor(response, visitor, key, context.pages.cookies)
    return response


async def _ticket_and_ad(context: Context, request: Request) -> tuple[TrackingTicket, MeasuredAd]:
    key = context.vault.signing_key(TRACKING_KEY)
    ticket = rules.read_ticket(request.path_params["token"], key)

    def find(tx: Tx) -> MeasuredAd | None:
        return store.find_measured_ad(tx, ticket.business_id, ticket.ad_id)

    ad = await context.db.read(find)
    if ad is None:
        raise Refused(errors.NOT_FOUND)
    return ticket, ad


routes = [HotRoute("/t/v/{token}", view_ad), HotRoute("/t/c/{token}", tap_ad)]
