"""Keeping what is typed on the way to an ad, and making campaign, ad group and ad of it in one step."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from contatto.accounts.model import Caller
from contatto.ads.actions.ad_groups import NewAdGroup, create_ad_group, plan_ad_group
from contatto.ads.actions.ads import NewAd, create_ad
from contatto.ads.actions.campaigns import NewCampaign, create_campaign, plan_campaign
from contatto.ads.model import Ad, AdGroup, Campaign, Draft, Status, Step, Typed
from contatto.ads.store import drafts as store
from contatto.ads.store import tree
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id

KEEP_UNTOUCHED: Final = timedelta(days=1)
KEEP: Final = timedelta(days=180)
LONGEST_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Plan:
    """What a draft is about to become; None where a campaign or an ad group is there already."""

    campaign: NewCampaign | None
    ad_group: NewAdGroup | None
    ad: NewAd


def start_draft(
    tx: Tx, caller: Caller, under: tuple[int, int] = (0, 0), content: Mapping[str, Typed] | None = None
) -> Draft:
    """A draft in which nothing is typed yet, save for the ``content`` that it starts with.

    Args:
        tx: an open transaction.
        caller: who types.
        under: the numbers of the campaign and of the ad group that it belongs to, 0 for none.
        content: what its fields begin with, step by step.

    Raises:
        Refused: NOT_FOUND, when campaign or ad group are not there.
    """
    campaign_number, ad_group_number = under
    if ad_group_number:
        ad_group = find_live_ad_group(tx, caller.business_id, ad_group_number)
        campaign_number = tree.load_campaigns(tx, caller.business_id, {ad_group.campaign_id})[
            ad_group.campaign_id
        ].number
    if campaign_number:
        find_live_campaign(tx, caller.business_id, campaign_number)
    draft = Draft(
        id=new_id(),
        business_id=caller.business_id,
        made_by=caller.subject_id,
        campaign_number=campaign_number,
        ad_group_number=ad_group_number,
        content=content or {},
        revision=0,
        created_at=tx.now,
        updated_at=tx.now,
    )
    store.save_draft(tx, draft)
    return draft


def load_draft(tx: Tx, business_id: str, draft_id: str) -> Draft:
    """A draft of the business.

    Raises:
        Refused: NOT_FOUND.
    """
    draft = store.find_draft(tx, business_id, draft_id)
    if draft is None:
        raise Refused(errors.NOT_FOUND, "There is no such draft. It may have been published or discarded.")
    return draft


def keep_typed(tx: Tx, draft: Draft, step: Step, typed: Typed, seen: int) -> Draft:
    """Keep what was typed into a step, as the page that showed revision ``seen`` has it now.

    Raises:
        Refused: CONFLICT, when the draft was changed elsewhere; INVALID beyond its size.
    """
    if draft.typed(step) == typed and draft.revision == seen:
        return draft
    content = {**draft.content, step.value: typed}
    if len(json.dumps(content)) > LONGEST_BYTES:
        raise Refused(errors.INVALID, "This is more text than a draft can hold.")
    changed = replace(draft, content=content, revision=seen + 1, updated_at=tx.now)
    if not store.record_draft(tx, changed, seen):
        raise Refused(errors.CONFLICT, "This draft was changed in another window. Reload to see it.")
    return changed


def discard_draft(tx: Tx, business_id: str, draft_id: str) -> None:
    """Delete a draft; one that is gone already stays gone."""
    store.delete_draft(tx, business_id, draft_id)


def find_live_campaign(tx: Tx, business_id: str, number: int) -> Campaign:
    """A campaign that is not deleted.

    Raises:
        Refused: NOT_FOUND.
    """
    campaign = tree.find_campaign_by_number(tx, business_id, number)
    if campaign is None or campaign.status is Status.DELETED:
        raise Refused(errors.NOT_FOUND, "The campaign is not there any more.")
    return campaign


def find_live_ad_group(tx: Tx, business_id: str, number: int) -> AdGroup:
    """An ad group that is not deleted.

    Raises:
        Refused: NOT_FOUND.
    """
    ad_group = tree.find_ad_group_by_number(tx, business_id, number)
    if ad_group is None or ad_group.status is Status.DELETED:
        raise Refused(errors.NOT_FOUND, "The ad group is not there any more.")
    return ad_group


def planned_campaign(tx: Tx, draft: Draft, new: NewCampaign | None) -> Campaign:
    """The campaign of a draft: the one that is there, or the one that would be made.

    Raises:
        Refused: NOT_FOUND, NO_ADVERTISER, INVALID.
    """
    if new is None:
        return find_live_campaign(tx, draft.business_id, draft.campaign_number)
    return plan_campaign(tx, draft.business_id, new)


def planned_ad_group(tx: Tx, draft: Draft, campaign: Campaign, new: NewAdGroup | None) -> AdGroup:
    """The ad group of a draft: the one that is there, or the one that would be made.

    Raises:
        Refused: NOT_FOUND, INVALID, NOT_ELIGIBLE, CAPTURE_OFF.
    """
    if new is None:
        return find_live_ad_group(tx, draft.business_id, draft.ad_group_number)
    return plan_ad_group(tx, campaign, new)


def publish_draft(tx: Tx, draft: Draft, plan: Plan, *, needs_review: bool) -> Ad:
    """Make what the draft describes, all of it or nothing, and end the draft.

    Raises:
        Refused: CONFLICT when it was published or discarded meanwhile; NOT_FOUND, INVALID, NOT_ELIGIBLE,
            CAPTURE_OFF.
    """
    if not store.delete_draft(tx, draft.business_id, draft.id):
        raise Refused(errors.CONFLICT, "This draft was published or discarded meanwhile.")
    if plan.campaign is None:
        campaign = find_live_campaign(tx, draft.business_id, draft.campaign_number)
    else:
        campaign = create_campaign(tx, draft.business_id, plan.campaign)
    if plan.ad_group is None:
        ad_group = find_live_ad_group(tx, draft.business_id, draft.ad_group_number)
    else:
        new = replace(plan.ad_group, campaign_id=campaign.id)
        ad_group = create_ad_group(tx, draft.business_id, new)
    ad = replace(plan.ad, ad_group_id=ad_group.id)
    return create_ad(tx, draft.business_id, ad, needs_review=needs_review)


def forget_drafts(tx: Tx) -> int:
    """Delete drafts that nobody ever typed into, and those that rest for half a year; say how many."""
    return store.delete_old_drafts(tx, tx.now - KEEP_UNTOUCHED, tx.now - KEEP)
