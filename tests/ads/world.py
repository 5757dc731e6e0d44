"""A small business with ads, for the tests of ads, delivery and reports."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from contatto.accounts import actions as accounts
from contatto.accounts.model import AdAccount, Business
from contatto.accounts.store import ad_accounts
from contatto.ads.actions.campaigns import (
    NewAd,
    NewAdGroup,
    NewCampaign,
    create_ad,
    create_ad_group,
    create_campaign,
)
from contatto.ads.model import Ad, AdGroup, Campaign
from contatto.capture import actions as capture
from contatto.capture.actions import CompanyData
from contatto.channels import store as channels
from contatto.channels.model import ChannelAccount, Platform
from contatto.kit.db.tx import Tx
from contatto.kit.ids import new_id
from contatto.kit.languages import zones_of
from contatto.measurement.model import Goal

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""The time at which the fixture ``clock`` stands."""
COMPANY = CompanyData("Kopi and Co", "https://kopi.example.com", "https://kopi.example.com/privacy")


@dataclass(frozen=True, slots=True)
class World:
    """One business with an ad account and a channel account."""

    business: Business
    ad_account: AdAccount
    channel: ChannelAccount

    @property
    def id(self) -> str:
        return self.business.id


@dataclass(frozen=True, slots=True)
class Chain:
    campaign: Campaign
    ad_group: AdGroup
    ad: Ad


def add_channel(tx: Tx, business_id: str, country: str = "SG", name: str = "Kopi") -> ChannelAccount:
    account = ChannelAccount(
        new_id(), business_id, Platform.WEBCHAT, new_id(), name, name.lower(), country, tx.now
    )
    row = {field: getattr(account, field) for field in ChannelAccount.__dataclass_fields__}
    tx.insert_ignore(channels.channel_accounts, row)
    return account


def add_world(
    tx: Tx,
    *,
    ad_country: str = "SG",
    channel_country: str = "SG",
    timezone: str = "Asia/Singapore",
    capture_on: bool = True,
) -> World:
    business = accounts.create_business(tx, "Kopi and Co")
    new = accounts.NewAdAccount("Main", ad_country, "SGD", zones_of(ad_country)[0])
    made = accounts.add_ad_account(tx, business.id, new)
    tx.change(ad_accounts, business.id, made.id, timezone=timezone)  # a test names a zone by its rules
    ad_account = replace(made, timezone=timezone)
    channel = add_channel(tx, business.id, channel_country)
    if capture_on:
        capture.turn_on_capture(tx, business.id, channel.id, COMPANY)
    return World(business, ad_account, channel)


def add_campaign(tx: Tx, world: World) -> Campaign:
    return create_campaign(tx, world.id, NewCampaign(world.ad_account.id, "November"))


def new_ad_group(campaign: Campaign, **changes: object) -> NewAdGroup:
    new = NewAdGroup(campaign.id, "Singapore", Goal.LEAD, ("SG",))
    return replace(new, **changes)  # type: ignore[arg-type]  # a test names real fields


def add_chain(tx: Tx, world: World, **changes: object) -> Chain:
    """A campaign with an ad group (of goal Lead unless told otherwise) and an ad."""
    campaign = add_campaign(tx, world)
    ad_group = create_ad_group(tx, world.id, new_ad_group(campaign, **changes))
    ad = create_ad(tx, world.id, NewAd(ad_group.id, "First ad", "Write to us about coffee."))
    return Chain(campaign, ad_group, ad)
