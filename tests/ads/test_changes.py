"""Changing campaigns, ad groups and ads after they were made; measuring hears of it."""

from datetime import timedelta
from functools import partial

import pytest

from contatto.ads import store
from contatto.ads.actions.campaigns import (
    AdChanges,
    AdGroupChanges,
    CampaignChanges,
    change_status,
    update_ad,
    update_ad_group,
    update_campaign,
)
from contatto.ads.actions.edits import create_welcome_message
from contatto.ads.model import Ad, AdGroup, BidType, BudgetMode, NodeKind, NodeStatus, ScheduleType
from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.values import micros
from contatto.measurement import actions as measuring
from contatto.measurement import store as measured
from contatto.measurement.actions import record_views
from contatto.measurement.model import Goal, Impression, MeasuredAd, TouchKind
from tests.ads.test_actions import made
from tests.ads.world import NOW, Chain, World, add_channel, add_world
from tests.forms.papers import published


def measured_ad(database: Database, world: World, chain: Chain) -> MeasuredAd:
    found = database.read_now(lambda tx: measured.find_measured_ad(tx, world.id, chain.ad.id))
    assert found is not None
    return found


def change_group(database: Database, world: World, chain: Chain, **changes: object) -> None:
    wanted = AdGroupChanges(**changes)  # type: ignore[arg-type]  # a test names real fields
    database.write_now(lambda tx: update_ad_group(tx, world.ad_account, chain.ad_group.number, wanted))


def test_measuring_hears_of_new_names_on_every_level_also_for_deleted_ads(database: Database) -> None:
    world, chain = made(database)
    account = world.ad_account

    def work(tx: Tx) -> None:
        store.mark_status(tx, chain.ad, NodeStatus.DELETED)
        update_campaign(tx, account, chain.campaign.number, CampaignChanges(" Spring "))
        update_ad_group(tx, account, chain.ad_group.number, AdGroupChanges("Islands", page_id=page_id))

    page_id = str(database.write_now(lambda tx: published(tx, world.id)).number)
    database.write_now(work)
    ad = measured_ad(database, world, chain)
    assert (ad.campaign_name, ad.ad_group_name, ad.page_id) == ("Spring", "Islands", page_id)


def test_measuring_hears_what_the_ads_welcome_message_says(database: Database) -> None:
    world, chain = made(database)
    new = (world.ad_account, "", " Hello! ", (("Open?", "Nine to six."),))
    message = database.write_now(lambda tx: create_welcome_message(tx, *new))
    own = AdChanges(auto_message_id=str(message.number))
    database.write_now(lambda tx: update_ad(tx, world.ad_account, chain.ad.number, own))
    for number in ("7", "9" * 19, "x"):
        foreign = AdChanges(auto_message_id=number)
        with pytest.raises(Refused, match="welcome message not found"):
            database.write_now(
                partial(update_ad, account=world.ad_account, number=chain.ad.number, changes=foreign)
            )
        ad = measured_ad(database, world, chain)
        assert (ad.welcome, ad.questions, ad.answers) == ("Hello!", ("Open?",), ("Nine to six.",))


def test_a_changed_ad_is_kept_whole_and_published(database: Database) -> None:
    world, chain = made(database)
    new = (world.ad_account, "", "Hello!", (("Open?", "Nine to six."),))
    message = str(database.write_now(lambda tx: create_welcome_message(tx, *new)).number)
    changes = AdChanges(name="Second", text=" Say hello ", headline="Tea", auto_message_id=message)
    database.write_now(lambda tx: update_ad(tx, world.ad_account, chain.ad.number, changes))
    kept = database.read_now(lambda tx: store.find_node(tx, Ad, world.id, number=chain.ad.number))
    assert kept is not None
    assert (kept.name, kept.text, kept.headline, kept.auto_message_id) == (
        "Second",
        "Say hello",
        "Tea",
        message,
    )
    assert (kept.video_id, kept.status) == (chain.ad.video_id, NodeStatus.ACTIVE)
    ad = measured_ad(database, world, chain)
    assert (ad.ad_name, ad.headline, ad.text) == ("Second", "Tea", "Say hello")


def test_an_ad_may_move_to_another_account_only_where_the_goal_is_available(database: Database) -> None:
    world, chain = made(database, goal=Goal.CONVERSATION)
    rome, teh = database.write_now(
        lambda tx: (add_channel(tx, world.id, "IT", "Roma"), add_channel(tx, world.id, "MY", "Teh"))
    )

    def move(channel_id: str) -> None:
        changes = AdChanges(channel_account_id=channel_id)
        database.write_now(lambda tx: update_ad(tx, world.ad_account, chain.ad.number, changes))

    move(teh.id)
    assert measured_ad(database, world, chain).channel_account_id == teh.id
    with pytest.raises(Refused, match="IT"):
        move(rome.id)
    assert measured_ad(database, world, chain).channel_account_id == teh.id


def test_new_countries_of_an_ad_group_are_checked_as_at_the_beginning(database: Database) -> None:
    world, chain = made(database)
    change_group(database, world, chain, countries=("MY", "UAE"))
    with pytest.raises(Refused) as refused:
        change_group(database, world, chain, name="Other", countries=("MY", "TR"))
    assert refused.value.code is errors.NOT_ELIGIBLE
    kept = database.read_now(lambda tx: store.find_node(tx, AdGroup, world.id, id=chain.ad_group.id))
    assert kept is not None
    assert (kept.countries, kept.name) == (("AE", "MY"), "Singapore")


def test_budget_and_bid_change_and_a_bid_is_never_above_the_budget(database: Database) -> None:
    world, chain = made(database)
    change_group(
        database, world, chain, budget_micros=20_000_000, bid_type=BidType.CUSTOM, bid_micros=2_000_000
    )
    with pytest.raises(Refused, match="conversion_bid_price"):
        change_group(database, world, chain, budget_micros=1_000_000)
    change_group(database, world, chain, budget_micros=1_000_000, bid_type=BidType.NO_BID)
    kept = database.read_now(lambda tx: store.find_node(tx, AdGroup, world.id, id=chain.ad_group.id))
    assert kept is not None
    assert (kept.budget_micros, kept.bid_type, kept.bid_micros) == (1_000_000, BidType.NO_BID, None)


def test_a_start_can_be_moved_until_it_has_come(database: Database) -> None:
    world, chain = made(database, starts_at=NOW + timedelta(days=1))
    change_group(database, world, chain, starts_at=NOW)
    with pytest.raises(Refused, match="schedule_start_time"):
        change_group(database, world, chain, starts_at=NOW + timedelta(days=2))


def test_an_end_can_be_given_moved_and_taken_away(database: Database) -> None:
    world, chain = made(database)
    change_group(database, world, chain, ends_at=NOW + timedelta(days=3))
    with pytest.raises(Refused, match="schedule_end_time"):
        change_group(database, world, chain, ends_at=NOW - timedelta(days=3))
    kept = database.read_now(lambda tx: store.find_node(tx, AdGroup, world.id, id=chain.ad_group.id))
    assert kept is not None
    assert kept.ends_at == NOW + timedelta(days=3)
    change_group(database, world, chain, schedule_type=ScheduleType.FROM_NOW)
    kept = database.read_now(lambda tx: store.find_node(tx, AdGroup, world.id, id=chain.ad_group.id))
    assert kept is not None
    assert kept.ends_at is None


def test_what_is_deleted_cannot_be_changed(database: Database) -> None:
    world, chain = made(database)
    account = world.ad_account
    database.write_now(
        lambda tx: change_status(tx, account, NodeKind.CAMPAIGN, [chain.campaign.number], NodeStatus.DELETED)
    )
    attempts = [
        lambda tx: update_campaign(tx, account, chain.campaign.number, CampaignChanges("A")),
        lambda tx: update_ad_group(tx, account, chain.ad_group.number, AdGroupChanges("A")),
        lambda tx: update_ad(tx, account, chain.ad.number, AdChanges("A")),
    ]
    for attempt in attempts:
        with pytest.raises(Refused, match="deleted"):
            database.write_now(attempt)


def test_another_business_can_change_nothing(database: Database) -> None:
    _, chain = made(database)
    other = database.write_now(add_world).ad_account
    attempts = [
        lambda tx: update_campaign(tx, other, chain.campaign.number, CampaignChanges("A")),
        lambda tx: update_ad_group(tx, other, chain.ad_group.number, AdGroupChanges("A")),
        lambda tx: update_ad(tx, other, chain.ad.number, AdChanges("A")),
    ]
    for attempt in attempts:
        with pytest.raises(Refused) as refused:
            database.write_now(attempt)
        assert refused.value.code is errors.NOT_FOUND


def test_a_campaign_without_a_budget_stays_without(database: Database) -> None:
    world, chain = made(database)
    with pytest.raises(Refused, match="budget"):
        database.write_now(
            lambda tx: update_campaign(
                tx, world.ad_account, chain.campaign.number, CampaignChanges(budget_micros=1)
            )
        )


def test_a_total_budget_is_never_below_what_is_spent(database: Database) -> None:
    world, chain = made(database, budget_mode=BudgetMode.TOTAL, budget_micros=20_000_000)
    ad = measured_ad(database, world, chain)

    def spend(tx: Tx) -> None:
        touch = measuring.stamp_touch(ad, TouchKind.VIEW, "p1", micros(NOW), 1, 7_500_000)
        record_views(tx, [Impression(touch, 1)])

    database.write_now(spend)
    with pytest.raises(Refused, match=r"budget: 7\.5 is already spent"):
        change_group(database, world, chain, budget_micros=7_000_000)
    change_group(database, world, chain, budget_micros=7_500_000)
    kept = database.read_now(lambda tx: store.find_node(tx, AdGroup, world.id, id=chain.ad_group.id))
    assert kept is not None
    assert kept.budget_micros == 7_500_000


def test_deleted_is_final_and_staying_is_always_allowed(database: Database) -> None:
    world, chain = made(database)

    def move(status: NodeStatus) -> None:
        numbers = [chain.campaign.number]
        database.write_now(lambda tx: change_status(tx, world.ad_account, NodeKind.CAMPAIGN, numbers, status))

    for status in (NodeStatus.ACTIVE, NodeStatus.PAUSED, NodeStatus.PAUSED, NodeStatus.ACTIVE):
        move(status)
    move(NodeStatus.DELETED)
    move(NodeStatus.DELETED)
    for status in (NodeStatus.ACTIVE, NodeStatus.PAUSED):
        with pytest.raises(Refused, match="operation_status"):
            move(status)
