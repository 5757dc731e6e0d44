"""Choosing the ad for a viewer with what was learned, and handing out signed links for its view and tap."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from uuid import UUID

from itsdangerous import Signer

from contatto.delivery.actions.capping import Claims, ViewClaim
from contatto.delivery.actions.serving import AdServer, Shop
from contatto.delivery.model.decisions import AdRequest, Bidder, Candidate, Member, Price, Served
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


@dataclass(frozen=True, slots=True)
class Limits:
    """Bars to ads beside their terms: the claims of the decision under frequency caps, and more."""

    claims: Claims = field(default_factory=Claims)
    find_bar: FindBar | None = None


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
    nonce, limits = new_number(), Limits()
    if shop.snapshot is None or not shop.snapshot.candidates:
        return None
    record = shop.replica.propose(gather_able(shop, request, nonce, now, limits))
    while not await has_view_left(shop, request, record, limits.claims):
        shop.replica.take_back(record)
        record = shop.replica.propose(gather_able(shop, request, nonce, now, limits))
    shop.replica.note_shown(record)
    shop.settle_claims(limits.claims, record)
    chosen = shop.candidates.get(record.ad) if record.ad else None
    if chosen is None:
        shop.note(record, None, None)
        return None
    return hand_out(shop, chosen, record, request, signer)


async def has_view_left(shop: Shop, request: AdRequest, record: Record, claims: Claims) -> bool:
    """Report whether the chosen ad may be shown under the frequency cap of its ad group.

    Otherwise this claims a view in the database. The decision must then be made again, because budgets and
    ads may have changed meanwhile.
    """
    chosen = shop.candidates.get(record.ad) if record.ad else None
    cap = None if chosen is None else chosen.ad_group.cap
    if chosen is None or cap is None or record.viewer == NOBODY or record.ad_group == claims.granted:
        return True
    name_id = shop.server.live_ads.name_id
    persons = {
        viewer_id_of(name_id, account_id, request.viewer_id, own_chat=own_chat)
        for account_id, own_chat in chosen.homes
    }
    claim = ViewClaim(record.nonce, chosen.ad_group, cap, record.viewer, tuple(sorted(persons)))
    if not await shop.caps.claim(claim):
        claims.refused.add(record.ad_group)
        return False
    if claims.granted:  # the new claim has taken its place
        claims.refused.add(claims.granted)
        shop.caps.give_back(record.viewer, claims.granted)
    claims.granted = record.ad_group
    return False


def gather_able(shop: Shop, request: AdRequest, nonce: int, now: datetime, limits: Limits) -> Asked:
    """Gather the ads of one business that may compete for a request, with their budgets."""
    viewer = _pseudonym(shop.server.live_ads.name_id, shop.business_id, request)
    floor = max(request.floor_micros, RESERVE_MICROS)
    able, available, left_out = _compare(shop, request, now, viewer, floor, limits)
    return Asked(
        nonce, micros(now), viewer, request.country, features_of(request), floor, able, available,
        {number: why for number, why in left_out.items() if number not in available},
        trial_of(viewer, shop.server.trial_share) if viewer != NOBODY else 0,
    )  # fmt: skip


def hand_out(shop: Shop, chosen: Candidate, record: Record, request: AdRequest, signer: Signer) -> Served:
    """Note that an ad is shown, and sign its links."""
    price = price_of(chosen.ad_group, record.price_micros, record.p[0])
    shop.note(record, chosen, price)
    ticket = TrackingTicket(
        TicketKind.VIEW, shop.business_id, chosen.live.ad.id, record.nonce, request.viewer_id,
        price.view_micros, request.country, record.placement, record.trial,
    )  # fmt: skip
    business_name = "" if shop.snapshot is None else shop.snapshot.business_name
    return _served(business_name, chosen, ticket, price, signer)


def _compare(
    shop: Shop, request: AdRequest, now: datetime, viewer: str, floor: int, limits: Limits
) -> tuple[list[int], dict[int, float], dict[int, str]]:  # fmt: skip
    """Return which ads may compete, what is left of their ad groups' budgets, and what keeps the others out.

    Ads and ad groups are the API's numbers. This goes through all ad groups for each request, so what is the
    same for all of them is looked up before.
    """
    members: Members = {} if shop.snapshot is None else shop.snapshot.members
    able: list[int] = []
    available: dict[int, float] = {}
    left_out: dict[int, str] = {}
    known = partial(_known, shop.server.live_ads.name_id, request, viewer)
    held_of = shop.held
    is_watched = viewer != NOBODY and shop.limits_views
    now_ts = micros(now)
    by_terms = [compare_terms(term, request) for term in shop.terms]
    for bidder in shop.bidders:
        number = bidder.ad_group_number
        hurdle = find_hurdle(bidder.candidate, by_terms[bidder.terms], now, known, members)
        if hurdle is None and is_watched and _has_seen_enough(shop, bidder, viewer, now_ts, limits.claims):
            hurdle = Hurdle.FREQUENCY
        if hurdle is None:
            held, ads = held_of.get(bidder.ad_group_id, 0.0), bidder.ads
            if held * 1_000 < floor:
                hurdle = Hurdle.BUDGET
                shop.note_empty()
            elif limits.find_bar is not None:
                hurdle, ads, room = limits.find_bar(bidder)
                held = min(held, room)
            if hurdle is None:
                able += ads
                available[number] = held
                continue
        left_out.setdefault(number, hurdle.value)
    return able, available, left_out


def _has_seen_enough(shop: Shop, bidder: Bidder, viewer: str, now_ts: int, claims: Claims) -> bool:
    """Report whether a viewer saw an ad group as often as its cap, or the installation, allows."""
    number, cap, most_views = bidder.ad_group_number, bidder.cap, shop.server.most_views
    if most_views and shop.replica.shown_lately(viewer, number) > most_views - 0.5:
        return True
    if cap is None or number == claims.granted:
        return False
    return number in claims.refused or shop.caps.is_reached(viewer, number, cap, now_ts)


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
    business_name: str, chosen: Candidate, view: TrackingTicket, price: Price, signer: Signer
) -> Served:
    """An ad with its links: the viewer is whom the publisher named, and opens no chat."""
    ad = chosen.live.ad
    click = replace(view, kind=TicketKind.CLICK, cost_micros=price.click_micros)
    return Served(
        ad_id=str(ad.number),
        ad_name=ad.name,
        headline=ad.headline,
        text=ad.text,
        business_name=business_name,
        view_url=f"/t/v/{sign_ticket(view, signer)}",
        click_url=f"/t/c/{sign_ticket(click, signer)}",
        decision_id=str(view.nonce),
    )
