"""Making campaigns, ad groups and ads, and changing their status, on both databases."""

import pytest

from contatto.ads import store
from contatto.ads.actions.campaigns import (
    NewAd,
    NewCampaign,
    change_status,
    create_ad,
    create_ad_group,
    create_campaign,
    find_channel,
)
from contatto.ads.model import (
    Ad,
    AdGroup,
    BudgetMode,
    Campaign,
    ClickWindow,
    NodeFilter,
    NodeKind,
    NodeStatus,
    Page,
    ViewWindow,
)
from contatto.ads.store import load_live_nodes
from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.measurement import store as measured
from contatto.measurement.model import Goal
from tests.ads.world import Chain, World, add_campaign, add_chain, add_channel, add_world, new_ad_group

ALL = NodeFilter(statuses=frozenset(NodeStatus))


def counts(tx: Tx, world: World, wanted: NodeFilter = ALL) -> tuple[int, int, int]:
    """How many campaigns, ad groups and ads an ad account has."""
    mine = (world.id, world.ad_account.id, wanted)
    return (
        store.count_nodes(tx, Campaign, *mine),
        store.count_nodes(tx, AdGroup, *mine),
        store.count_nodes(tx, Ad, *mine),
    )


def made(database: Database, **changes: object) -> tuple[World, Chain]:
    def work(tx: Tx) -> tuple[World, Chain]:
        world = add_world(tx)
        return world, add_chain(tx, world, **changes)

    return database.write_now(work)


def test_what_was_made_is_read_back_whole(database: Database) -> None:
    world, chain = made(database, click_window=ClickWindow.ONE_DAY, view_window=ViewWindow.OFF)

    def work(tx: Tx) -> Chain:
        campaign = store.find_node(tx, Campaign, world.id, number=chain.campaign.number)
        group = store.find_node(tx, AdGroup, world.id, id=chain.ad_group.id)
        ad = store.find_node(tx, Ad, world.id, number=chain.ad.number)
        assert campaign is not None
        assert group is not None
        assert ad is not None
        return Chain(campaign, group, ad)

    assert database.read_now(work) == chain


def test_measuring_hears_of_a_new_ad_with_its_windows_and_where_a_tap_leads(database: Database) -> None:
    world, chain = made(database, click_window=ClickWindow.FOURTEEN_DAYS, view_window=ViewWindow.OFF)
    ad = database.read_now(lambda tx: measured.find_measured_ad(tx, world.id, chain.ad.id))
    assert ad is not None
    assert (ad.goal, ad.click_window_s, ad.view_window_s) == (Goal.LEAD, 14 * 86_400, None)
    assert (ad.timezone, ad.currency) == ("Asia/Singapore", "SGD")
    assert ad.landing_path == f"/chat/{world.channel.id}"
    assert (ad.ad_number, ad.ad_group_name) == (chain.ad.number, "Singapore")


def test_a_refused_ad_group_leaves_no_row(database: Database) -> None:
    def start(tx: Tx) -> tuple[World, str]:
        world = add_world(tx, capture_on=False)
        return world, add_campaign(tx, world).id

    world, campaign_id = database.write_now(start)
    campaign = database.read_now(lambda tx: store.find_node(tx, Campaign, world.id, id=campaign_id))
    assert campaign is not None
    with pytest.raises(Refused) as off:
        database.write_now(lambda tx: create_ad_group(tx, world.id, new_ad_group(campaign)))
    assert off.value.code is errors.CAPTURE_OFF
    new = new_ad_group(campaign, countries=("SG", "TR"))
    with pytest.raises(Refused) as abroad:
        database.write_now(lambda tx: create_ad_group(tx, world.id, new))
    assert abroad.value.code is errors.NOT_ELIGIBLE
    assert database.read_now(lambda tx: counts(tx, world)) == (1, 0, 0)


def test_without_an_account_the_first_that_may_have_the_goal_is_taken(database: Database) -> None:
    def work(tx: Tx) -> tuple[str, str]:
        world = add_world(tx, channel_country="IT")
        eligible = add_channel(tx, world.id, "MY", "Teh")
        from_capture = add_world(tx).channel  # another business's account is never taken
        assert from_capture.business_id != world.id
        group = create_ad_group(tx, world.id, new_ad_group(add_campaign(tx, world), goal=Goal.CONVERSATION))
        return group.channel_account_id, eligible.id

    chosen, eligible = database.write_now(work)
    assert chosen == eligible


def test_an_ad_on_an_ineligible_account_of_its_own_is_refused(database: Database) -> None:
    def work(tx: Tx) -> None:
        world = add_world(tx)
        group = add_chain(tx, world).ad_group
        other = add_channel(tx, world.id, "IT", "Roma")
        create_ad(tx, world.id, NewAd(group.id, "Second", "Ciao", channel_account_id=other.id))

    with pytest.raises(Refused, match="IT"):
        database.write_now(work)


def test_a_channel_account_is_also_known_by_its_platforms_id(database: Database) -> None:
    world, _ = made(database)
    found = database.read_now(lambda tx: find_channel(tx, world.id, world.channel.external_id))
    assert found == world.channel


def test_a_direct_message_ad_needs_its_call_to_action(database: Database) -> None:
    world, chain = made(database)
    new = NewAd(chain.ad_group.id, "Second", "Text", call_to_action="LEARN_MORE")
    with pytest.raises(Refused, match=r"call_to_action: .*SEND_MESSAGE"):
        database.write_now(lambda tx: create_ad(tx, world.id, new))


def test_deleting_a_campaign_takes_all_under_it_along_and_is_final(database: Database) -> None:
    world, chain = made(database)
    number = chain.campaign.number
    database.write_now(
        lambda tx: change_status(tx, world.ad_account, NodeKind.CAMPAIGN, [number], NodeStatus.DELETED)
    )
    assert database.read_now(lambda tx: counts(tx, world, NodeFilter())) == (0, 0, 0)
    assert database.read_now(lambda tx: counts(tx, world)) == (1, 1, 1)
    with pytest.raises(Refused, match="cannot change to active"):
        database.write_now(
            lambda tx: change_status(tx, world.ad_account, NodeKind.AD, [chain.ad.number], NodeStatus.ACTIVE)
        )


def test_a_change_of_several_is_of_all_or_of_none(database: Database) -> None:
    world, chain = made(database)
    numbers = [chain.ad_group.number, 1]
    with pytest.raises(Refused) as refused:
        database.write_now(
            lambda tx: change_status(tx, world.ad_account, NodeKind.AD_GROUP, numbers, NodeStatus.PAUSED)
        )
    assert refused.value.code is errors.NOT_FOUND
    group = database.read_now(lambda tx: store.find_node(tx, AdGroup, world.id, id=chain.ad_group.id))
    assert group is not None
    assert group.status is NodeStatus.ACTIVE


def test_another_business_can_neither_see_nor_change_nor_build_on_it(database: Database) -> None:
    mine, chain = made(database)
    other = database.write_now(add_world)
    attempts = [
        lambda tx: change_status(
            tx, other.ad_account, NodeKind.CAMPAIGN, [chain.campaign.number], NodeStatus.DELETED
        ),
        lambda tx: create_ad_group(tx, other.id, new_ad_group(chain.campaign)),
        lambda tx: create_ad(tx, other.id, NewAd(chain.ad_group.id, "Mine now", "")),
        lambda tx: create_campaign(tx, other.id, NewCampaign(mine.ad_account.id, "Mine now")),
        lambda tx: find_channel(tx, other.id, mine.channel.id),
    ]
    for attempt in attempts:
        with pytest.raises(Refused) as refused:
            database.write_now(attempt)
        assert refused.value.code in (errors.NOT_FOUND, errors.NO_ADVERTISER)
    assert database.read_now(lambda tx: counts(tx, mine, NodeFilter())) == (1, 1, 1)
    assert database.read_now(lambda tx: counts(tx, other)) == (0, 0, 0)
    found = database.read_now(lambda tx: store.find_node(tx, Ad, other.id, number=chain.ad.number))
    assert found is None


def test_lists_are_newest_first_in_pages_and_filtered_by_what_is_above(database: Database) -> None:
    def work(tx: Tx) -> None:
        world = add_world(tx)
        chains = [add_chain(tx, world) for _ in range(3)]
        mine = (world.id, world.ad_account.id)
        newest = [chain.ad.number for chain in reversed(chains)]
        assert [ad.number for ad in store.list_nodes(tx, Ad, *mine, NodeFilter(), Page(1, 2))] == newest[:2]
        assert [ad.number for ad in store.list_nodes(tx, Ad, *mine, NodeFilter(), Page(2, 2))] == newest[2:]
        under = NodeFilter(campaign_numbers=frozenset({chains[0].campaign.number}))
        assert [group.id for group in store.list_nodes(tx, AdGroup, *mine, under, Page())] == [
            chains[0].ad_group.id
        ]
        assert [ad.id for ad in store.list_nodes(tx, Ad, *mine, under, Page())] == [chains[0].ad.id]
        in_group = NodeFilter(ad_group_numbers=frozenset({chains[1].ad_group.number}))
        assert [ad.id for ad in store.list_nodes(tx, Ad, *mine, in_group, Page())] == [chains[1].ad.id]
        assert store.count_nodes(tx, Campaign, *mine, NodeFilter(name_part="NOVEM")) == 3
        assert store.count_nodes(tx, Campaign, *mine, NodeFilter(name_part="%")) == 0

    database.write_now(work)


@pytest.mark.parametrize("level", ["campaign", "ad_group", "ad"])
def test_an_ad_is_live_only_while_all_above_it_are_active(database: Database, level: str) -> None:
    world, chain = made(database)
    assert [live.ad.id for live in database.read_now(lambda tx: load_live_nodes(tx, world.id).live)] == [
        chain.ad.id
    ]
    kind, number = {
        "campaign": (NodeKind.CAMPAIGN, chain.campaign.number),
        "ad_group": (NodeKind.AD_GROUP, chain.ad_group.number),
        "ad": (NodeKind.AD, chain.ad.number),
    }[level]
    database.write_now(lambda tx: change_status(tx, world.ad_account, kind, [number], NodeStatus.PAUSED))
    assert database.read_now(lambda tx: load_live_nodes(tx, world.id).live) == ()


def test_money_of_a_campaign_is_kept_in_micros(database: Database) -> None:
    def work(tx: Tx) -> int | None:
        world = add_world(tx)
        new = NewCampaign(world.ad_account.id, " Spring ", BudgetMode.DAY, 12_345_678)
        campaign = create_campaign(tx, world.id, new)
        assert campaign.name == "Spring"
        return campaign.budget_micros

    assert database.write_now(work) == 12_345_678
