"""Choices of an ad for a viewer, with frequency caps and the auction between businesses."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from itsdangerous import Signer

from contatto.audiences.model import Fingerprint
from contatto.delivery.actions.budgets import Claims, ViewClaim
from contatto.delivery.actions.serving import AdServer, Shop
from contatto.delivery.model import AdRequest, Bidder, Candidate, Member, Price, Served
from contatto.delivery.rules.results import trial_of
from contatto.delivery.rules.targeting import (
    RESERVE_MICROS,
    Members,
    choose_asked,
    compare_terms,
    features_of,
    find_hurdle,
    price_of,
    rank_offers,
)
from contatto.kit import errors
from contatto.kit.db.database import acting
from contatto.kit.errors import Refused
from contatto.kit.ids import new_number
from contatto.kit.timestamps import micros
from contatto.learning.model import NOBODY, Hurdle, Record
from contatto.learning.replica import AuctionRequest, settle_record
from contatto.measurement.model import TicketKind, TrackingTicket
from contatto.measurement.rules import NameId, sign_ticket, viewer_id_of
from contatto.operators.actions import placement_of
from contatto.operators.model import Field, Placement
from contatto.operators.rules import may_compete, review_digest

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


def gather_able(shop: Shop, request: AdRequest, nonce: int, now: datetime, limits: Limits) -> AuctionRequest:
    """Gather the ads of one business that may compete for a request, with their budgets."""
    viewer = _pseudonym(shop.server.live_ads.name_id, shop.business_id, request)
    floor = max(request.floor_micros, RESERVE_MICROS)
    able, available, left_out = _compare(shop, request, now, viewer, floor, limits)
    return AuctionRequest(
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


type BlindFor = Callable[[str], Iterable[Fingerprint]]
"""The fingerprints of a viewer as one business knows them: each has its own, which mean nothing to others."""
_MARK: Final = "placement:"
_NEWEST: Final = 0.1
"""How much the newest offer counts in what a business offered lately."""


@dataclass(frozen=True, slots=True)
class Entrant:
    """A business that may compete, and the request as it knows it."""

    shop: Shop
    request: AdRequest


@dataclass(frozen=True, slots=True)
class Entry:
    """A business in the auction, and the ad that it enters with, if any."""

    shop: Shop
    request: AdRequest
    record: Record


async def serve_placement(
    server: AdServer, field: Field, request: AdRequest, blind_for: BlindFor, now: datetime, signer: Signer
) -> Served | None:
    """Decide which ad of all admitted businesses a viewer sees in a placement; None when none may be shown.

    Args:
        server: the ad server of this process.
        field: the operator and whom it admitted.
        request: the viewer and the place; its ``placement`` is the id or the name of one of the operator's.
        blind_for: gives what a business may know the viewer by.
        now: the time of the request.
        signer: signs the tracking links.

    Raises:
        Refused: NOT_FOUND when the operator has no such placement.
    """
    placement = placement_of(field, request.placement)
    if placement is None:
        raise Refused(
            errors.NOT_FOUND, "placement: Unknown placement. Give the id or name of one of your placements."
        )
    viewer = NOBODY
    if request.has_consent:
        viewer = server.live_ads.name_id(placement.business_id, f"{_MARK}{request.viewer_id}")
    served = None
    if not await _is_tired(server, field, placement, viewer):
        floor = max(request.floor_micros, placement.floor_micros)
        asked = replace(request, placement=placement.id, floor_micros=floor, ad_account_ids=None)
        entrants = await _gather(server, field, placement, asked, blind_for, now)
        entries = await _compete(server, field, placement, entrants, now)
        served = _settle(server, entries, placement, signer)
    server.operators.note(field.operator, placement, viewer, is_filled=served is not None)
    return served


async def _is_tired(server: AdServer, field: Field, placement: Placement, viewer: str) -> bool:
    """Return whether a viewer who is known saw as many ads here today as they may."""
    if not placement.most_views or viewer == NOBODY:
        return False
    day = server.operators.day_of(field.operator)
    return await server.operators.count_seen(placement, viewer, day) >= placement.most_views


async def _gather(
    server: AdServer, field: Field, placement: Placement, request: AdRequest, blind_for: BlindFor,
    now: datetime,
) -> list[Entrant]:  # fmt: skip
    """Gather the businesses that may compete here, each with the request as it knows it.

    Where there are many, the ads of one that is asked for the first time are read behind the answer.
    """
    entrants = []
    able = [name for name, admission in field.admitted.items() if may_compete(placement, admission)]
    chosen = choose_asked(able, server.offers_in(placement.id), now.timestamp())
    waits = len(chosen) == len(able) or not any(map(server.has_shop, chosen))
    for business_id in chosen:
        if not waits and not server.has_shop(business_id):
            server.bring_shop(business_id)
            continue
        with acting(business_id):
            shop = await server.shop(business_id)
        if shop.snapshot is None or not shop.snapshot.candidates:
            continue
        prints = frozenset(blind_for(business_id))
        own = replace(request, prints=prints) if prints != request.prints else request
        entrants.append(Entrant(shop, own))
    return entrants


async def _compete(
    server: AdServer, field: Field, placement: Placement, entrants: list[Entrant], now: datetime
) -> list[Entry]:
    """Let each business enter with the ad that it would show, until the best one is within its cap."""
    nonce, claims = new_number(), [Claims() for _ in entrants]
    while True:
        entries = []
        for entrant, own in zip(entrants, claims, strict=True):
            find_bar = _bars(server, field, placement, entrant.shop)
            able = gather_able(entrant.shop, entrant.request, nonce, now, Limits(own, find_bar))
            entries.append(Entry(entrant.shop, entrant.request, entrant.shop.replica.propose(able)))
        winner, _ = rank_offers([entry.record.offer_micros for entry in entries], nonce)
        best = None if winner is None else entries[winner]
        if winner is None or best is None:
            break
        if await has_view_left(best.shop, best.request, best.record, claims[winner]):
            break
        for entry in entries:
            entry.shop.replica.take_back(entry.record)
    for place, entry in enumerate(entries):
        entry.shop.settle_claims(claims[place], entry.record, is_shown=place == winner)
    return entries


def _bars(server: AdServer, field: Field, placement: Placement, shop: Shop) -> FindBar:
    """What keeps ads out of a placement: another currency, no review that approved them, no money left."""

    def find_bar(bidder: Bidder) -> tuple[Hurdle | None, tuple[int, ...], float]:
        candidate = bidder.candidate
        if candidate.currency != placement.currency:
            return Hurdle.CURRENCY, (), 0.0
        ads = tuple(number for number in bidder.ads if _is_approved(field, shop, number))
        if not ads:
            return Hurdle.REVIEW, (), 0.0
        room = server.operators.room_of(field, candidate.ad_group.ad_account_id)
        hurdle = Hurdle.BALANCE if room * 1_000 < placement.floor_micros else None
        return hurdle, ads, room

    return find_bar


def _is_approved(field: Field, shop: Shop, number: int) -> bool:
    revision = shop.revisions.get(number)
    if revision is None:
        ad = shop.candidates[number].live.ad
        revision = shop.revisions[number] = ad.id, review_digest(ad)
    return revision in field.approved


def _settle(server: AdServer, entries: list[Entry], placement: Placement, signer: Signer) -> Served | None:
    """Let the best offer win, and note for each business what came of it."""
    offers = [each.record.offer_micros for each in entries]
    winner, to_beat = rank_offers(offers, entries[0].record.nonce if entries else 0)
    served, lately = None, server.offers_in(placement.id)
    for place, entry in enumerate(entries):
        shop, record = entry.shop, entry.record
        before = lately.get(shop.business_id, 0.0)
        lately[shop.business_id] = before + _NEWEST * (record.offer_micros - before)
        record.placement, record.to_beat_micros = placement.id, to_beat[place]
        settle_record(record)
        chosen = shop.candidates.get(record.ad) if record.ad else None
        if place == winner and chosen is not None and shop.snapshot is not None:
            shop.replica.note_shown(record)
            served = hand_out(shop, chosen, record, entry.request, signer)
            server.operators.note_promise(chosen.ad_group.ad_account_id, record.price_micros // 1_000)
        else:
            shop.note(record, None, None)
    return served
