"""Telling measuring what ads are: it is told of every ad that changes, or whose ad group or campaign does."""

from dataclasses import replace
from typing import Final

from contatto.accounts.model import AdAccount
from contatto.ads.actions.accounts import find_channel
from contatto.ads.model import Ad, AdGroup, Campaign, NodeFilter, NodeStatus, Page, WelcomeMessage
from contatto.ads.rules import settings
from contatto.ads.store import nodes as store
from contatto.ads.store.messages import list_welcome_messages
from contatto.channels import registry as channel_registry
from contatto.channels.model import ChannelAccount
from contatto.kit.db.tx import Tx
from contatto.kit.numbers import read_number
from contatto.measurement import actions as measurement
from contatto.measurement.model import MeasuredAd

EVERY_STATUS: Final = frozenset(NodeStatus)
NO_PAGES: Final = Page(1, 1_000_000)


def publish_ads(tx: Tx, account: AdAccount, wanted: NodeFilter) -> None:
    """Publish the ads of an ad account that are wanted, as they are now."""
    found = store.list_ads(tx, account.business_id, account.id, wanted, NO_PAGES)
    campaigns = store.load_campaigns(tx, account.business_id, {ad.campaign_id for ad in found})
    groups = store.load_ad_groups(tx, account.business_id, {ad.ad_group_id for ad in found})
    for ad in found:
        channel = find_channel(tx, account.business_id, ad.channel_account_id)
        homes = (account, channel)
        above = (groups[ad.ad_group_id], campaigns[ad.campaign_id])
        publish_one_ad(tx, ad, *above, homes)


def publish_one_ad(
    tx: Tx, ad: Ad, ad_group: AdGroup, campaign: Campaign, homes: tuple[AdAccount, ChannelAccount]
) -> None:
    """Publish an ad as it is now; ``homes`` are its ad account and its channel account."""
    measured = measured_ad(ad, ad_group, campaign, homes)
    message = find_welcome(tx, ad)
    if message is not None:
        measured = replace(
            measured, welcome=message.content, questions=message.questions, answers=message.answers
        )
    measurement.publish_ad(tx, measured)


def find_welcome(tx: Tx, ad: Ad) -> WelcomeMessage | None:
    """The welcome message that an ad names, if its ad account has it."""
    number = read_number(ad.auto_message_id)
    if not number:
        return None
    found = list_welcome_messages(tx, ad.business_id, ad.ad_account_id, [number])
    return found[0] if found else None


def measured_ad(
    ad: Ad, ad_group: AdGroup, campaign: Campaign, homes: tuple[AdAccount, ChannelAccount]
) -> MeasuredAd:
    """What measuring must know of an ad besides its welcome message; ``homes`` as above."""
    account, channel = homes
    return MeasuredAd(
        ad_id=ad.id,
        ad_number=ad.number,
        ad_name=ad.name,
        ad_group_id=ad_group.id,
        ad_group_number=ad_group.number,
        ad_group_name=ad_group.name,
        campaign_id=campaign.id,
        campaign_number=campaign.number,
        campaign_name=campaign.name,
        business_id=ad.business_id,
        ad_account_id=account.id,
        channel_account_id=channel.id,
        goal=ad_group.goal,
        click_window_s=settings.window_seconds(ad_group.click_window),
        view_window_s=settings.window_seconds(ad_group.view_window),
        timezone=account.timezone,
        currency=account.currency,
        landing_path=channel_registry.landing_path(channel),
        headline=ad.headline,
        text=ad.text,
        page_id=ad.page_id or ad_group.page_id,
    )
