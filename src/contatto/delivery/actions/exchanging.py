"""The auction between businesses for a placement of an operator.

Each admitted business enters with the ad that its own model and budgets choose, at that ad's offer. The best
offer wins, and pays the best offer of another business, or the floor of the placement. A business learns of
the others one number: the least offer that would have won. That is in its record, so each business's log
says by itself why the decision came out so, and makes it again bit for bit.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from itsdangerous import Signer

from contatto.audiences.model import Fingerprint
from contatto.delivery.actions.capping import Claims
from contatto.delivery.actions.choosing import FindBar, Limits, gather_able, hand_out, has_view_left
from contatto.delivery.actions.serving import AdServer, Shop
from contatto.delivery.model.decisions import AdRequest, Bidder, Served
from contatto.delivery.model.log import NOBODY, Hurdle, Record
from contatto.delivery.rules.exchanging import choose_asked, rank_offers, settle_record
from contatto.kit import errors
from contatto.kit.db.database import acting
from contatto.kit.errors import Refused
from contatto.kit.ids import new_number
from contatto.operators.index import placement_of
from contatto.operators.model import Field, Placement
from contatto.operators.rules import may_compete, review_digest

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
