"""Choosing the ad for a viewer, with signed links for its view and its tap."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from itsdangerous import Signer

from contatto.delivery.index import LiveAds
from contatto.delivery.model.decisions import AdRequest, Candidate, Member, Outcome, Served, Snapshot
from contatto.delivery.rules.auction import hold_auction
from contatto.delivery.rules.pacing import day_share, has_budget
from contatto.delivery.rules.targeting import fits
from contatto.kit.ids import new_number
from contatto.measurement.model import TicketKind, TrackingTicket
from contatto.measurement.rules import NameId, sign_ticket, viewer_id_of


async def serve_ad(
    live_ads: LiveAds, business_id: str, request: AdRequest, now: datetime, signer: Signer
) -> Served | None:
    """Decide which ad a viewer sees; None when none may be shown.

    Args:
        live_ads: the index of this process.
        business_id: whose ads compete.
        request: the viewer and the place.
        now: the time of the request.
        signer: signs the tracking links.
    """
    snapshot = await live_ads.snapshot(business_id)
    promised = live_ads.promised_micros(business_id)
    nonce = new_number()
    zones = {candidate.timezone for candidate in snapshot.candidates}
    shares = {zone: day_share(now, zone) for zone in zones}
    able = [
        candidate
        for candidate in snapshot.candidates
        if fits(candidate, request, now, _known(candidate, request, live_ads.name_id), snapshot.members)
        and _has_budget(snapshot, candidate, promised, shares[candidate.timezone])
    ]
    outcome = hold_auction(able, nonce)
    if outcome is None:
        return None
    promised[outcome.candidate.ad_group.id] += outcome.view_cost_micros
    return _served(snapshot, outcome, _ticket(business_id, nonce, request), signer)


def _ticket(business_id: str, nonce: int, request: AdRequest) -> TrackingTicket:
    """What both links of an impression say: the viewer is whom the publisher named, and opens no chat."""
    viewer = request.viewer_id
    return TrackingTicket(TicketKind.VIEW, business_id, "", nonce, viewer, country=request.country)


def _known(candidate: Candidate, request: AdRequest, name_id: NameId) -> frozenset[Member]:
    """What the viewer is known by, where the ad group asks: an id at its account, and fingerprints."""
    ad_group = candidate.ad_group
    if not ad_group.audience_ids and not ad_group.excluded_audience_ids:
        return frozenset()
    account_id = candidate.live.ad.channel_account_id
    viewer = viewer_id_of(name_id, account_id, request.viewer_id, own_chat=candidate.own_chat)
    return request.prints | {viewer}


def _has_budget(
    snapshot: Snapshot, candidate: Candidate, promised: Mapping[str, int], share_of_day: float
) -> bool:
    ad_group = candidate.ad_group
    coming = promised.get(ad_group.id, 0)
    spent = snapshot.spent_micros.get(ad_group.id, 0) + coming
    ever = snapshot.spent_ever_micros.get(ad_group.id, 0) + coming
    return has_budget(ad_group, spent, ever, share_of_day)


def _served(snapshot: Snapshot, outcome: Outcome, ticket: TrackingTicket, signer: Signer) -> Served:
    ad = outcome.candidate.live.ad
    view = replace(ticket, ad_id=ad.id, cost_micros=outcome.view_cost_micros)
    click = replace(view, kind=TicketKind.CLICK, cost_micros=outcome.click_cost_micros)
    return Served(
        ad_id=str(ad.number),
        ad_name=ad.name,
        headline=ad.headline,
        text=ad.text,
        business_name=snapshot.business_name,
        view_url=f"/t/v/{sign_ticket(view, signer)}",
        click_url=f"/t/c/{sign_ticket(click, signer)}",
    )
