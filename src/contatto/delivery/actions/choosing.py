"""Choice of an ad for a viewer: candidates, frequency caps, and the auction between businesses."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from itsdangerous import Signer

from contatto.audiences.model import Fingerprint
from contatto.delivery.actions.budgets import Claims, ViewClaim
from contatto.delivery.actions.serving import AdServer, TenantAdServer
from contatto.delivery.model import AdRequest, Bidder, Candidate, Member, ServedAd
from contatto.delivery.rules.results import trial_of
from contatto.delivery.rules.targeting import (
    RESERVE_MICROS,
    Members,
    choose_invited,
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
from contatto.measurement.rules import sign_ticket, viewer_id_of
from contatto.operators.actions import placement_of
from contatto.operators.model import OperatorSnapshot, Placement
from contatto.operators.rules import may_compete, review_digest

type FindBar = Callable[[Bidder], tuple[Hurdle | None, tuple[int, ...], float]]
"""Returns the hurdle of a bidder in a placement, or its allowed ads and their highest total price."""


@dataclass(frozen=True, slots=True)
class AdLimits:
    """Limits besides the terms of ads: claims under frequency caps, and rules of a placement."""

    claims: Claims = field(default_factory=Claims)
    find_bar: FindBar | None = None


async def serve_ad(
    server: AdServer, business_id: str, request: AdRequest, at: datetime, signer: Signer
) -> ServedAd | None:
    """Decide which ad of one business a viewer sees; None when none may be shown."""
    tenant = await server.tenant(business_id)
    nonce, limits = new_number(), AdLimits()
    if tenant.snapshot is None or not tenant.snapshot.candidates:
        return None
    record = tenant.replica.propose(gather_request(tenant, request, nonce, at, limits))
    while not await is_within_cap(tenant, request, record, limits.claims):
        tenant.replica.take_back(record)
        record = tenant.replica.propose(gather_request(tenant, request, nonce, at, limits))
    tenant.replica.note_shown(record)
    tenant.settle_claims(limits.claims, record)
    chosen = tenant.candidates.get(record.ad) if record.ad else None
    if chosen is None:
        tenant.note(record, None, None)
        return None
    return issue_ad(tenant, chosen, record, request, signer)


def gather_request(
    tenant: TenantAdServer, request: AdRequest, nonce: int, at: datetime, limits: AdLimits
) -> AuctionRequest:
    """Gather the ads of one business that may compete for a request, with their budgets."""
    viewer = NOBODY
    if request.has_consent:
        viewer = tenant.server.name_id(tenant.business_id, f"delivery:{request.viewer_id}")
    floor = max(request.floor_micros, RESERVE_MICROS)
    able, available, left_out = _compare(tenant, request, at, viewer, floor, limits)
    return AuctionRequest(
        nonce, micros(at), viewer, request.country, features_of(request), floor, able, available,
        {number: why for number, why in left_out.items() if number not in available},
        trial_of(viewer, tenant.server.trial_share) if viewer != NOBODY else 0,
    )  # fmt: skip


def _compare(
    tenant: TenantAdServer, request: AdRequest, at: datetime, viewer: str, floor: int, limits: AdLimits
) -> tuple[list[int], dict[int, float], dict[int, str]]:  # fmt: skip
    """Return the eligible ads, the available budgets of their ad groups, and the hurdles of all others.

    Ads and ad groups are the API's numbers. This loop over all ad groups runs for each request, so everything
    that they share is computed before it.
    """
    members: Members = {} if tenant.snapshot is None else tenant.snapshot.members
    able: list[int] = []
    available: dict[int, float] = {}
    left_out: dict[int, str] = {}
    name_id = tenant.server.name_id

    def find_identity(candidate: Candidate) -> frozenset[Member]:
        """Return the id of the viewer at the account of an ad, the pseudonym, and fingerprints."""
        account_id = candidate.live.ad.channel_account_id
        person = viewer_id_of(name_id, account_id, request.viewer_id, own_chat=candidate.own_chat)
        own: set[Member] = {person} if viewer == NOBODY else {person, UUID(viewer).bytes}
        return request.prints | own

    leases = tenant.available
    has_history = viewer != NOBODY and tenant.limits_views
    now_ts = micros(at)
    by_terms = [compare_terms(term, request) for term in tenant.terms]
    for bidder in tenant.bidders:
        number = bidder.ad_group_number
        hurdle = find_hurdle(bidder.candidate, by_terms[bidder.terms], at, find_identity, members)
        if hurdle is None and has_history and _is_capped(tenant, bidder, viewer, now_ts, limits.claims):
            hurdle = Hurdle.FREQUENCY
        if hurdle is None:
            budget, ads = leases.get(bidder.ad_group_id, 0.0), bidder.ads
            if budget * 1_000 < floor:
                hurdle = Hurdle.BUDGET
                tenant.renew_empty_lease()
            elif limits.find_bar is not None:
                hurdle, ads, most = limits.find_bar(bidder)
                budget = min(budget, most)
            if hurdle is None:
                able += ads
                available[number] = budget
                continue
        left_out.setdefault(number, hurdle.value)
    return able, available, left_out


def _is_capped(tenant: TenantAdServer, bidder: Bidder, viewer: str, now_ts: int, claims: Claims) -> bool:
    """Report whether a viewer reached the frequency cap of an ad group or of the installation."""
    number, cap, most_views = bidder.ad_group_number, bidder.cap, tenant.server.most_views
    if most_views and tenant.replica.shown_lately(viewer, number) > most_views - 0.5:
        return True
    if cap is None or number == claims.granted:
        return False
    return number in claims.refused or tenant.caps.is_reached(viewer, number, cap, now_ts)


async def is_within_cap(tenant: TenantAdServer, request: AdRequest, record: Record, claims: Claims) -> bool:
    """Report whether the chosen ad may be shown under the frequency cap of its ad group.

    Otherwise this claims a view in the database. The decision must then be made again, because budgets and
    ads may have changed meanwhile.
    """
    chosen = tenant.candidates.get(record.ad) if record.ad else None
    cap = None if chosen is None else chosen.ad_group.cap
    if chosen is None or cap is None or record.viewer == NOBODY or record.ad_group == claims.granted:
        return True
    name_id = tenant.server.name_id
    persons = {
        viewer_id_of(name_id, account_id, request.viewer_id, own_chat=own_chat)
        for account_id, own_chat in chosen.destinations
    }
    claim = ViewClaim(record.nonce, chosen.ad_group, cap, record.viewer, tuple(sorted(persons)))
    if not await tenant.caps.claim(claim):
        claims.refused.add(record.ad_group)
        return False
    if claims.granted:  # the new claim replaced it
        claims.refused.add(claims.granted)
        tenant.caps.give_back(record.viewer, claims.granted)
    claims.granted = record.ad_group
    return False


def issue_ad(
    tenant: TenantAdServer, chosen: Candidate, record: Record, request: AdRequest, signer: Signer
) -> ServedAd:
    """Note that an ad is shown, and sign its links for the viewer."""
    price = price_of(chosen.ad_group, record.price_micros, record.p[0])
    tenant.note(record, chosen, price)
    ad = chosen.live.ad
    view = TrackingTicket(
        TicketKind.VIEW, tenant.business_id, ad.id, record.nonce, request.viewer_id, price.view_micros,
        request.country, record.placement, record.trial,
    )  # fmt: skip
    click = replace(view, kind=TicketKind.CLICK, cost_micros=price.click_micros)
    return ServedAd(
        ad_id=str(ad.number),
        ad_name=ad.name,
        headline=ad.headline,
        text=ad.text,
        business_name="" if tenant.snapshot is None else tenant.snapshot.business_name,
        view_url=f"/t/v/{sign_ticket(view, signer)}",
        click_url=f"/t/c/{sign_ticket(click, signer)}",
        decision_id=str(record.nonce),
    )


type BlindFor = Callable[[str], Iterable[Fingerprint]]
"""Returns the fingerprints of a viewer for one business; each business has its own."""
_MARK: Final = "placement:"
_NEWEST: Final = 0.1
"""Weight of the newest offer in the moving average of a business."""


@dataclass(frozen=True, slots=True)
class Entrant:
    """A business that may compete, with the request as it may see it."""

    tenant: TenantAdServer
    request: AdRequest


@dataclass(frozen=True, slots=True)
class AuctionEntry:
    """The proposal of one business in an auction, possibly without an ad."""

    tenant: TenantAdServer
    request: AdRequest
    record: Record


async def serve_placement(
    server: AdServer,
    market: OperatorSnapshot,
    request: AdRequest,
    blind_for: BlindFor,
    at: datetime,
    signer: Signer,
) -> ServedAd | None:
    """Decide which ad of all admitted businesses a viewer sees in a placement; None when none may be shown.

    The ``placement`` of the request is the id or the name of one of the operator's.

    Raises:
        Refused: NOT_FOUND when the operator has no placement of this name.
    """
    placement = placement_of(market, request.placement)
    if placement is None:
        raise Refused(
            errors.NOT_FOUND, "placement: Unknown placement. Give the id or name of one of your placements."
        )
    viewer = NOBODY
    if request.has_consent:
        viewer = server.name_id(placement.business_id, f"{_MARK}{request.viewer_id}")
    is_capped = False
    if placement.most_views and viewer != NOBODY:
        day = server.operators.day_of(market.operator)
        is_capped = await server.operators.count_seen(placement, viewer, day) >= placement.most_views
    served = None
    if not is_capped:
        floor = max(request.floor_micros, placement.floor_micros)
        placed = replace(request, placement=placement.id, floor_micros=floor, ad_account_ids=None)
        entrants = await _gather_entrants(server, market, placement, placed, blind_for, at)
        entries = await _compete(server, market, placement, entrants, at)
        served = _settle(server, entries, placement, signer)
    server.operators.note(market.operator, placement, viewer, is_filled=served is not None)
    return served


async def _gather_entrants(
    server: AdServer, market: OperatorSnapshot, placement: Placement, request: AdRequest,
    blind_for: BlindFor, at: datetime,
) -> list[Entrant]:  # fmt: skip
    """Gather the businesses that may compete, each with its own view of the request.

    With many businesses, new ones load in the background and miss this auction.
    """
    entrants = []
    able = [name for name, admission in market.admitted.items() if may_compete(placement, admission)]
    invited = choose_invited(able, server.offers_in(placement.id), at.timestamp())
    waits = len(invited) == len(able) or not any(map(server.has_tenant, invited))
    for business_id in invited:
        if not waits and not server.has_tenant(business_id):
            server.load_tenant_soon(business_id)
            continue
        with acting(business_id):
            tenant = await server.tenant(business_id)
        if tenant.snapshot is None or not tenant.snapshot.candidates:
            continue
        prints = frozenset(blind_for(business_id))
        own = replace(request, prints=prints) if prints != request.prints else request
        entrants.append(Entrant(tenant, own))
    return entrants


async def _compete(
    server: AdServer, market: OperatorSnapshot, placement: Placement, entrants: list[Entrant], at: datetime
) -> list[AuctionEntry]:
    """Let each business propose an ad, until the best one is within its frequency cap."""
    nonce, claims = new_number(), [Claims() for _ in entrants]
    while True:
        entries = []
        for entrant, own in zip(entrants, claims, strict=True):
            find_bar = _bars(server, market, placement, entrant.tenant)
            able = gather_request(entrant.tenant, entrant.request, nonce, at, AdLimits(own, find_bar))
            record = entrant.tenant.replica.propose(able)
            entries.append(AuctionEntry(entrant.tenant, entrant.request, record))
        winner, _ = rank_offers([entry.record.offer_micros for entry in entries], nonce)
        best = None if winner is None else entries[winner]
        if winner is None or best is None:
            break
        if await is_within_cap(best.tenant, best.request, best.record, claims[winner]):
            break
        for entry in entries:
            entry.tenant.replica.take_back(entry.record)
    for place, entry in enumerate(entries):
        entry.tenant.settle_claims(claims[place], entry.record, is_shown=place == winner)
    return entries


def _bars(
    server: AdServer, market: OperatorSnapshot, placement: Placement, tenant: TenantAdServer
) -> FindBar:
    """Return the check of a placement: same currency, approved ads, and enough balance."""

    def find_bar(bidder: Bidder) -> tuple[Hurdle | None, tuple[int, ...], float]:
        candidate = bidder.candidate
        if candidate.currency != placement.currency:
            return Hurdle.CURRENCY, (), 0.0
        approved = []
        for number in bidder.ads:
            revision = tenant.revisions.get(number)
            if revision is None:
                ad = tenant.candidates[number].live.ad
                revision = tenant.revisions[number] = ad.id, review_digest(ad)
            if revision in market.approved:
                approved.append(number)
        if not approved:
            return Hurdle.REVIEW, (), 0.0
        most = server.operators.available_balance(market, candidate.ad_group.ad_account_id)
        hurdle = Hurdle.BALANCE if most * 1_000 < placement.floor_micros else None
        return hurdle, tuple(approved), most

    return find_bar


def _settle(
    server: AdServer, entries: list[AuctionEntry], placement: Placement, signer: Signer
) -> ServedAd | None:
    """Issue the ad with the best offer, and note the result for each business."""
    offers = [entry.record.offer_micros for entry in entries]
    winner, to_beat = rank_offers(offers, entries[0].record.nonce if entries else 0)
    served, averages = None, server.offers_in(placement.id)
    for place, entry in enumerate(entries):
        tenant, record = entry.tenant, entry.record
        before = averages.get(tenant.business_id, 0.0)
        averages[tenant.business_id] = before + _NEWEST * (record.offer_micros - before)
        record.placement, record.to_beat_micros = placement.id, to_beat[place]
        settle_record(record)
        chosen = tenant.candidates.get(record.ad) if record.ad else None
        if place == winner and chosen is not None and tenant.snapshot is not None:
            tenant.replica.note_shown(record)
            served = issue_ad(tenant, chosen, record, entry.request, signer)
            server.operators.note_promise(chosen.ad_group.ad_account_id, record.price_micros // 1_000)
        else:
            tenant.note(record, None, None)
    return served
