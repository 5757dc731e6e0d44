"""Copies of campaigns, ad groups and ads with what is under them; a copy is paused until it is turned on."""

from collections.abc import Callable
from dataclasses import replace

from contatto.accounts.model import AdAccount
from contatto.ads.actions.accounts import find_channel, load_ad_account, load_facts
from contatto.ads.actions.nodes import find_node
from contatto.ads.actions.publishing import NO_PAGES, publish_one_ad
from contatto.ads.model import Ad, AdGroup, Audit, Campaign, NodeFilter, NodeStatus, Place
from contatto.ads.rules import goals, settings
from contatto.ads.store import nodes as store
from contatto.channels.model import ChannelAccount
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id, new_number


def copy_node(
    tx: Tx, business_id: str, place: Place, named: Callable[[str], str], *, needs_review: bool = False
) -> Campaign | AdGroup | Ad:
    """Copy what stands at a place, beside it, with all under it that is not deleted.

    The copy itself is paused; what is under it keeps its status, so that one switch starts it all.

    Args:
        tx: holds the whole copy or nothing of it.
        business_id: whose it is.
        place: what is copied.
        named: makes the name of the copy from that of the original.
        needs_review: whether copied ads wait for the operator.

    Raises:
        Refused: NOT_FOUND; NOT_ELIGIBLE or CAPTURE_OFF for a goal that could not be chosen anew.
    """
    item = find_node(tx, business_id, place)
    name = named(item.name)[: settings.LONGEST_NAME].strip()
    if isinstance(item, Campaign):
        return _copy_campaign(tx, item, name, needs_review=needs_review)
    campaign = store.find_campaign(tx, business_id, item.campaign_id)
    if campaign is None:
        raise Refused(errors.NOT_FOUND)
    if isinstance(item, AdGroup):
        group = replace(item, name=name, status=NodeStatus.PAUSED)
        return _copy_ad_group(tx, group, campaign, needs_review=needs_review)
    above = store.find_ad_group(tx, business_id, item.ad_group_id)
    if above is None:
        raise Refused(errors.NOT_FOUND)
    ad = replace(item, name=name, status=NodeStatus.PAUSED)
    return _copy_ad(tx, ad, (above, campaign), needs_review=needs_review)


def _copy_campaign(tx: Tx, campaign: Campaign, name: str, *, needs_review: bool) -> Campaign:
    made = replace(
        campaign,
        id=new_id(),
        number=new_number(),
        name=name,
        status=NodeStatus.PAUSED,
        created_at=tx.now,
        updated_at=tx.now,
    )
    store.save_campaign(tx, made)
    under = NodeFilter(campaign_numbers=frozenset({campaign.number}))
    found = store.list_ad_groups(tx, campaign.business_id, campaign.ad_account_id, under, NO_PAGES)
    for group in reversed(found):  # the oldest first, so that the copies stand in the same order
        _copy_ad_group(tx, group, made, needs_review=needs_review)
    return made


def _copy_ad_group(tx: Tx, group: AdGroup, campaign: Campaign, *, needs_review: bool) -> AdGroup:
    """Copy an ad group into a campaign; its schedule stays, so one that has ended is put right by hand."""
    _check_goal(tx, group, group.channel_account_id)
    made = replace(
        group,
        id=new_id(),
        number=new_number(),
        campaign_id=campaign.id,
        created_at=tx.now,
        updated_at=tx.now,
    )
    store.save_ad_group(tx, made)
    under = NodeFilter(ad_group_numbers=frozenset({group.number}))
    for ad in reversed(store.list_ads(tx, group.business_id, group.ad_account_id, under, NO_PAGES)):
        _copy_ad(tx, ad, (made, campaign), needs_review=needs_review)
    return made


def _copy_ad(tx: Tx, ad: Ad, above: tuple[AdGroup, Campaign], *, needs_review: bool) -> Ad:
    """Copy an ad into an ad group; one that was rejected is no better as a copy."""
    group, campaign = above
    homes = _check_goal(tx, group, ad.channel_account_id)
    made = replace(
        ad,
        id=new_id(),
        number=new_number(),
        ad_group_id=group.id,
        campaign_id=campaign.id,
        created_at=tx.now,
        updated_at=tx.now,
        audit=Audit.AUDITING if needs_review else ad.audit,
        audit_reason="" if needs_review else ad.audit_reason,
    )
    store.save_ad(tx, made)
    publish_one_ad(tx, made, group, campaign, homes)
    return made


def _check_goal(tx: Tx, group: AdGroup, channel_account_id: str) -> tuple[AdAccount, ChannelAccount]:
    """Refuse a goal that could not be chosen anew; give the ad account and the channel account."""
    account = load_ad_account(tx, group.business_id, group.ad_account_id)
    channel = find_channel(tx, group.business_id, channel_account_id)
    goals.check_goal(group.goal, load_facts(tx, account, channel, group.countries))
    return account, channel
