"""Choosing the ad for a viewer with what was learned, and handing out signed links for its view and tap."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from uuid import UUID

from itsdangerous import Signer

from contatto.delivery.actions.serving import AdServer, Shop
from contatto.delivery.model.decisions import AdRequest, Bidder, Candidate, Member, Price, Served, Snapshot
from contatto.delivery.model.log import NOBODY, Hurdle, Record
from contatto.delivery.predict.replica import Asked
from contatto.delivery.rules.asking import features_of
from contatto.delivery.rules.competing import RESERVE_MICROS, price_of
from contatto.delivery.rules.targeting import Members, compare_terms, find_hurdle
from contatto.delivery.rules.trials import trial_of
from contatto.kit.ids import new_number
from contatto.kit.timestamps import micros
from contatto.measurement.model import TicketKind, TrackingTicket
from contatto.measurement.rules import NameId, sign_ticket, viewer_id_of

type FindBar = Callable[[Bidder], tuple[Hurdle | None, tuple[int, ...], float]]
"""Why ads of a bidder may not be in a place, if so; those that may, and the most that they may cost there."""


async def serve_ad(
    server: AdServer, business_id: str, request: AdRequest, now: datetime, signer: Signer
) -> Served | None:
    """Decide which ad a viewer sees; None when none may be shown.

    Args:
        server: the ad server of this process.
        business_id: whose ads compete.
        request: the viewer and the place.
        now: the time of the request.
        signer: signs the tracking links.
    """
    shop = await server.shop(business_id)
    snapshot = shop.snapshot
    if snapshot is None or not snapshot.candidates:
        return None
    record = shop.replica.decide(gather_able(shop, request, new_number(), now))
    chosen = shop.candidates.get(record.ad) if record.ad else None
    if chosen is None:
        shop.note(record, None, None)
        return None
    return hand_out(shop, snapshot, chosen, record, request, signer)


def gather_able(
    shop: Shop, request: AdRequest, nonce: int, now: datetime, find_bar: FindBar | None = None
) -> Asked:
    """What the auction of a request among the ads of one business is asked; ``find_bar`` keeps more out."""
    viewer = _pseudonym(shop.server.live_ads.name_id, shop.business_id, request)
    floor = max(request.floor_micros, RESERVE_MICROS)
    able, available, left_out = _compare(shop, request, now, viewer, floor, find_bar)
    return Asked(
        nonce, micros(now), viewer, request.country, features_of(request), floor, able, available,
        {number: why for number, why in left_out.items() if number not in available},
        trial_of(viewer, shop.server.trial_share) if viewer != NOBODY else 0,
    )  # fmt: skip


def hand_out(
    shop: Shop, snapshot: Snapshot, chosen: Candidate, record: Record, request: AdRequest, signer: Signer
) -> Served:
    """Note that an ad is shown, and sign its links."""
    price = price_of(chosen.ad_group, record.price_micros, record.p[0])
    shop.note(record, chosen, price)
    ticket = TrackingTicket(
        TicketKind.VIEW, shop.business_id, chosen.live.ad.id, record.nonce, request.viewer_id,
        price.view_micros, request.country, record.placement, record.trial,
    )  # fmt: skip
    return _served(snapshot, chosen, ticket, price, signer)


def _compare(
    shop: Shop, request: AdRequest, now: datetime, viewer: str, floor: int,
    find_bar: FindBar | None,
) -> tuple[list[int], dict[int, float], dict[int, str]]:  # fmt: skip
    """Which ads may compete, what is left of their ad groups' budgets, and what keeps the others out.

    Ads and ad groups are the API's numbers. This goes through all ad groups for each request, so what is the
    same for all of them is looked up before.
    """
    members: Members = {} if shop.snapshot is None else shop.snapshot.members
    able: list[int] = []
    available: dict[int, float] = {}
    left_out: dict[int, str] = {}
    known = partial(_known, shop.server.live_ads.name_id, request, viewer)
    held_of = shop.held
    most_views = shop.server.most_views if viewer != NOBODY else 0
    by_terms = [compare_terms(each, request) for each in shop.terms]
    for bidder in shop.bidders:
        number = bidder.ad_group_number
        hurdle = find_hurdle(bidder.candidate, by_terms[bidder.terms], now, known, members)
        if hurdle is None and most_views:
            seen = shop.replica.shown_lately(viewer, number)
            hurdle = Hurdle.FREQUENCY if seen > most_views - 0.5 else None
        if hurdle is None:
            held, ads = held_of.get(bidder.ad_group_id, 0.0), bidder.ads
            if held * 1_000 < floor:
                hurdle = Hurdle.BUDGET
                shop.note_empty()
            elif find_bar is not None:
                hurdle, ads, room = find_bar(bidder)
                held = min(held, room)
            if hurdle is None:
                able += ads
                available[number] = held
                continue
        left_out.setdefault(number, hurdle.value)
    return able, available, left_out


def _pseudonym(name_id: NameId, business_id: str, request: AdRequest) -> str:
    """Whom delivery remembers a viewer as; nobody without consent."""
    return name_id(business_id, f"delivery:{request.viewer_id}") if request.has_consent else NOBODY


def _known(name_id: NameId, request: AdRequest, viewer: str, candidate: Candidate) -> frozenset[Member]:
    """What the viewer is known by: an id at the account of an ad, fingerprints, and whom delivery knows."""
    account_id = candidate.live.ad.channel_account_id
    person = viewer_id_of(name_id, account_id, request.viewer_id, own_chat=candidate.own_chat)
    own: set[Member] = {person} if viewer == NOBODY else {person, UUID(viewer).bytes}
    return request.prints | own


def _served(
    snapshot: Snapshot, chosen: Candidate, view: TrackingTicket, price: Price, signer: Signer
) -> Served:
    """An ad with its links: the viewer is whom the publisher named, and opens no chat."""
    ad = chosen.live.ad
    click = replace(view, kind=TicketKind.CLICK, cost_micros=price.click_micros)
    return Served(
        ad_id=str(ad.number),
        ad_name=ad.name,
        headline=ad.headline,
        text=ad.text,
        business_name=snapshot.business_name,
        view_url=f"/t/v/{sign_ticket(view, signer)}",
        click_url=f"/t/c/{sign_ticket(click, signer)}",
        decision_id=str(view.nonce),
    )
