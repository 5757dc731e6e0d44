"""Chats that ads elsewhere opened: kept as they are told, credited as soon as the ad is known, and once."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from contatto.ad_platforms.actions import NewOutsideAccount, connect_outside_account, save_nodes
from contatto.ad_platforms.model import AdPlatform, NodeLevel, OutsideAccount, OutsideNode
from contatto.inbox.store.messages import list_referrals
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.ids import new_number
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store import listing
from contatto.leads.store.listing import Credit, is_earned_elsewhere, list_credits
from contatto.measurement.store import list_measured_ads
from tests import make
from tests.background import work_off
from tests.inbox.incoming import NUMBER, SECOND, received, take
from tests.make import Shop

AD = 1_801
LATER = make.NOON_MS + 60 * SECOND


@pytest.fixture
def shop(database: Database) -> Shop:
    return database.write_now(lambda tx: make.shop(tx))


def tapped(number: int = AD, at_ms: int = make.NOON_MS, **ad: Any) -> bytes:
    shown = {"ad_id": str(number), "ad_name": "New year"} | ad
    content = make.tapped(make.ad(), at_ms=at_ms) | {"referral": {"source": "ad", "ad": shown}}
    return make.webhook("im_referral_msg", content)


def account(db: Database, shop: Shop, external_id: str = "7001", platform: str = "tiktok") -> OutsideAccount:
    new = NewOutsideAccount(platform=AdPlatform(platform), external_id=external_id)
    return db.write_now(lambda tx: connect_outside_account(tx, shop.business_id, new, ()))


def mirror(db: Database, shop: Shop, of: OutsideAccount, *numbers: int) -> None:
    """Make ads known, and let the outbox tell the inbox of it."""
    nodes = [OutsideNode(NodeLevel.CAMPAIGN, 1, 0, "January")]
    nodes += [OutsideNode(NodeLevel.AD_GROUP, 2, 1, "Chats", goal="LEAD_GENERATION")]
    nodes += [OutsideNode(NodeLevel.AD, number, 2, f"Ad {number}") for number in numbers]

    def work(tx: Tx) -> None:
        save_nodes(tx, of, nodes[:2], new_number())
        save_nodes(tx, of, nodes[2:], new_number())

    db.write_now(work)
    work_off(db)


def credit(db: Database, shop: Shop) -> Credit | None:
    """Who earned the one lead."""

    def look(tx: Tx) -> Credit | None:
        (lead,) = listing.list_leads(tx, shop.business_id, LeadFilter())
        return list_credits(tx, shop.business_id, {lead.id}).get(lead.id)

    return db.read_now(look)


def test_a_lead_is_credited_to_the_ad_elsewhere_that_opened_its_chat(database: Database, shop: Shop) -> None:
    mirror(database, shop, account(database, shop), AD)
    found = take(database, shop, tapped(), received(NUMBER, at_ms=LATER))
    assert found.refused == 0
    earned = credit(database, shop)
    assert earned is not None
    assert (earned[1].ad_number, earned[1].campaign_name, earned[1].platform) == (AD, "January", "tiktok")


def test_a_chat_that_came_before_its_ad_was_known_is_credited_when_it_is(
    database: Database, shop: Shop
) -> None:
    take(database, shop, tapped(), received(NUMBER, at_ms=LATER))
    assert credit(database, shop) is None
    mirror(database, shop, account(database, shop), AD)
    earned = credit(database, shop)
    assert earned is not None
    assert earned[1].ad_number == AD


def test_the_same_referral_again_is_the_same_touch(database: Database, shop: Shop) -> None:
    mirror(database, shop, account(database, shop), AD)
    found = take(database, shop, tapped(), tapped(create_time=5), received(NUMBER, at_ms=LATER))
    assert found.merged == 1
    mirror(database, shop, account(database, shop), AD)
    touches = database.read_now(
        lambda tx: tx.connection.exec_driver_sql("SELECT count(*) FROM touches").scalar()
    )
    assert touches == 1


def test_of_two_accounts_with_the_same_ad_id_the_one_that_is_named_is_credited(
    database: Database, shop: Shop
) -> None:
    first, second = account(database, shop, "7001"), account(database, shop, "7002")
    mirror(database, shop, first, AD)
    mirror(database, shop, second, AD)
    take(database, shop, tapped(advertiser_id="7002"), received(NUMBER, at_ms=LATER))
    earned = credit(database, shop)
    assert earned is not None
    assert earned[1].ad_account_id == second.id


def test_where_two_ads_fit_and_none_is_named_nobody_is_credited(database: Database, shop: Shop) -> None:
    mirror(database, shop, account(database, shop, "7001"), AD)
    mirror(database, shop, account(database, shop, "7002"), AD)
    take(database, shop, tapped(), received(NUMBER, at_ms=LATER))
    assert credit(database, shop) is None


def test_an_ad_of_another_platform_earns_nothing_here(database: Database, shop: Shop) -> None:
    mirror(database, shop, account(database, shop, platform="meta"), AD)
    take(database, shop, tapped(), received(NUMBER, at_ms=LATER))
    assert credit(database, shop) is None


def test_an_ad_of_ours_with_the_same_id_comes_before_one_elsewhere(database: Database, shop: Shop) -> None:
    ours = database.write_now(
        lambda tx: make.published_ad(tx, shop.business_id, ad_number=AD, channel_account_id=shop.tiktok.id)
    )
    mirror(database, shop, account(database, shop), AD)
    take(database, shop, tapped(), received(NUMBER, at_ms=LATER))
    earned = credit(database, shop)
    assert earned is not None
    assert earned[1].ad_id == ours.ad_id


def test_the_later_tap_wins_whichever_side_shows_the_ad(database: Database, shop: Shop) -> None:
    ours = database.write_now(lambda tx: make.published_ad(tx, shop.business_id))
    mirror(database, shop, account(database, shop), AD)
    on_ours = make.webhook("im_referral_msg", make.tapped(ours, at_ms=make.NOON_MS + 5 * SECOND))
    take(database, shop, on_ours, tapped(), received(NUMBER, at_ms=LATER))
    earned = credit(database, shop)
    assert earned is not None
    assert earned[1].ad_id == ours.ad_id


def test_a_tap_longer_ago_than_the_window_earns_nothing(
    database: Database, shop: Shop, clock: FixedClock
) -> None:
    mirror(database, shop, account(database, shop), AD)
    long_after = make.NOON_MS + int(timedelta(days=7).total_seconds()) * SECOND + 1
    take(database, shop, tapped(), received(NUMBER, at_ms=long_after))
    assert credit(database, shop) is None


def test_another_business_is_not_credited(database: Database, shop: Shop) -> None:
    other = database.write_now(lambda tx: make.business(tx, "Another"))
    theirs = account(database, replace(shop, business_id=other.id))
    mirror(database, replace(shop, business_id=other.id), theirs, AD)
    take(database, shop, tapped(), received(NUMBER, at_ms=LATER))
    assert credit(database, shop) is None
    assert database.read_now(lambda tx: list_measured_ads(tx, shop.business_id)) == {}


def test_a_referral_stays_as_it_was_told_with_its_account(database: Database, shop: Shop) -> None:
    mirror(database, shop, account(database, shop), AD)
    take(database, shop, tapped(advertiser_id="7001"), received(NUMBER, at_ms=LATER))

    def look(tx: Tx) -> tuple[str, str]:
        (lead,) = listing.list_leads(tx, shop.business_id, LeadFilter())
        (told,) = list_referrals(tx, shop.business_id, lead.conversation_id)
        return told.advertiser, told.headline

    assert database.read_now(look) == ("7001", "New year")


def test_a_lead_of_an_ad_elsewhere_is_of_every_ad_account_of_ours(database: Database, shop: Shop) -> None:
    mirror(database, shop, account(database, shop), AD)
    take(database, shop, tapped(), received(NUMBER, at_ms=LATER))

    def look(tx: Tx) -> bool:
        (lead,) = listing.list_leads(tx, shop.business_id, LeadFilter())
        return is_earned_elsewhere(tx, shop.business_id, lead.id, "an ad account of ours")

    assert not database.read_now(look)
