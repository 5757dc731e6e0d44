"""Copies of campaigns, ad groups and ads, on both databases and through the page."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from contatto.ads import store
from contatto.ads.actions.campaigns import NewAd, audit_ad, change_status, create_ad, create_ad_group
from contatto.ads.actions.edits import copy_node
from contatto.ads.model import Ad, AdGroup, Audit, Campaign, NodeFilter, NodeKind, NodeStatus, Page, Place
from contatto.capture.actions import turn_off_capture
from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.measurement import store as measured
from tests.ads.test_actions import counts
from tests.ads.world import Chain, World, add_chain, add_world, new_ad_group
from tests.journeys.running import House, csrf_of, running_house


@pytest.fixture
def world(database: Database) -> World:
    return database.write_now(add_world)


@pytest.fixture
def chain(database: Database, world: World) -> Chain:
    """A campaign with two ad groups; the first has two ads and a deleted one, the second none."""

    def build(tx: Tx) -> Chain:
        made = add_chain(tx, world, frequency=2, frequency_schedule=7)
        create_ad(tx, world.id, NewAd(made.ad_group.id, "Second ad", "Come in.", status=NodeStatus.PAUSED))
        gone = create_ad(tx, world.id, NewAd(made.ad_group.id, "Gone", "Bye."))
        change_status(tx, world.ad_account, NodeKind.AD, [gone.number], NodeStatus.DELETED)
        create_ad_group(tx, world.id, new_ad_group(made.campaign, name="Empty"))
        return made

    return database.write_now(build)


def copied(database: Database, world: World, place: Place, **rest: bool) -> Campaign | AdGroup | Ad:
    return database.write_now(
        lambda tx: copy_node(tx, world.id, place, lambda name: f"Copy of {name}", **rest)
    )


def under(database: Database, world: World, campaign_number: int) -> tuple[list[AdGroup], list[Ad]]:
    wanted = NodeFilter(campaign_numbers=frozenset({campaign_number}))
    mine = (world.id, world.ad_account.id, wanted)
    page = Page(1, 100)
    return database.read_now(
        lambda tx: (store.list_nodes(tx, AdGroup, *mine, page), store.list_nodes(tx, Ad, *mine, page))
    )


def test_a_campaign_is_copied_whole_and_paused(database: Database, world: World, chain: Chain) -> None:
    made = copied(database, world, (NodeKind.CAMPAIGN, chain.campaign.number))
    assert (made.name, made.status) == ("Copy of November", NodeStatus.PAUSED)
    assert made.number != chain.campaign.number
    groups, ads = under(database, world, made.number)
    before_groups, before_ads = under(database, world, chain.campaign.number)
    assert (
        [group.name for group in groups] == [group.name for group in before_groups] == ["Empty", "Singapore"]
    )
    assert [(ad.name, ad.status) for ad in ads] == [
        ("Second ad", NodeStatus.PAUSED),
        ("First ad", NodeStatus.ACTIVE),
    ]
    assert {ad.ad_group_id for ad in ads} == {groups[1].id}
    assert {ad.campaign_id for ad in ads} == {groups[0].campaign_id} == {made.id}
    assert not {ad.number for ad in ads} & {ad.number for ad in before_ads}


def test_an_ad_group_and_an_ad_are_copied_beside_the_original(
    database: Database, world: World, chain: Chain
) -> None:
    group = copied(database, world, (NodeKind.AD_GROUP, chain.ad_group.number))
    assert isinstance(group, AdGroup)
    same = {"id": chain.ad_group.id, "number": chain.ad_group.number, "name": chain.ad_group.name}
    assert replace(group, **same, status=NodeStatus.ACTIVE) == chain.ad_group  # type: ignore[arg-type]
    assert group.status is NodeStatus.PAUSED
    ad = copied(database, world, (NodeKind.AD, chain.ad.number))
    assert isinstance(ad, Ad)
    assert (ad.ad_group_id, ad.status, ad.text) == (chain.ad_group.id, NodeStatus.PAUSED, chain.ad.text)
    heard = database.read_now(lambda tx: measured.find_measured_ad(tx, world.id, ad.id))
    assert heard is not None
    assert heard.ad_name == "Copy of First ad"


def test_a_copy_cannot_escape_the_review(database: Database, world: World, chain: Chain) -> None:
    database.write_now(lambda tx: audit_ad(tx, chain.ad.number, Audit.REJECTED, "Shouting"))
    ad = copied(database, world, (NodeKind.AD, chain.ad.number))
    assert isinstance(ad, Ad)
    assert (ad.audit, ad.audit_reason) == (Audit.REJECTED, "Shouting")
    waiting = copied(database, world, (NodeKind.AD, chain.ad.number), needs_review=True)
    assert isinstance(waiting, Ad)
    assert (waiting.audit, waiting.audit_reason) == (Audit.AUDITING, "")


def test_a_goal_that_could_not_be_chosen_anew_is_not_copied(
    database: Database, world: World, chain: Chain
) -> None:
    database.write_now(lambda tx: turn_off_capture(tx, world.id, world.channel.id))
    before = database.read_now(lambda tx: counts(tx, world))
    for place in (
        (NodeKind.CAMPAIGN, chain.campaign.number),
        (NodeKind.AD_GROUP, chain.ad_group.number),
        (NodeKind.AD, chain.ad.number),
    ):
        with pytest.raises(Refused) as refused:
            copied(database, world, place)
        assert refused.value.code is errors.CAPTURE_OFF
    assert database.read_now(lambda tx: counts(tx, world)) == before


def test_what_is_deleted_or_of_another_business_is_not_copied(
    database: Database, world: World, chain: Chain
) -> None:
    other = database.write_now(add_world)
    with pytest.raises(Refused) as refused:
        copied(database, other, (NodeKind.AD, chain.ad.number))
    assert refused.value.code is errors.NOT_FOUND
    database.write_now(
        lambda tx: change_status(tx, world.ad_account, NodeKind.AD, [chain.ad.number], NodeStatus.DELETED)
    )
    with pytest.raises(Refused):
        copied(database, world, (NodeKind.AD, chain.ad.number))


def test_the_longest_name_stays_within_its_limit(database: Database, world: World) -> None:
    chain = database.write_now(lambda tx: add_chain(tx, world, name="n" * 512))
    made = copied(database, world, (NodeKind.AD_GROUP, chain.ad_group.number))
    assert len(made.name) == 512
    assert made.name.startswith("Copy of nnn")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path) as running:
        running.sign_in()
        yield running


def test_a_button_that_is_pressed_twice_makes_one_copy(house: House) -> None:
    ad = house.make_ad("LEAD_GENERATION")
    page = house.client.get("/ads?tree=open").text
    assert f'formaction="/ads/campaigns/{ad["campaign_id"]}/copy"' in page
    once = page.partition('name="once" value="')[2].partition('"')[0]
    assert len(once) == 36
    form = {"csrf_token": csrf_of(page), "once": once, "query": "tree=open"}
    address = f"/ads/campaigns/{ad['campaign_id']}/copy"
    answers = [house.client.post(address, data=form, follow_redirects=False) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 303]
    assert answers[0].headers["location"] == answers[1].headers["location"]
    campaigns = house.data("GET", "/campaign/get/")["list"]
    assert len(campaigns) == 2
    assert campaigns[0]["campaign_name"].startswith("Copy of Campaign ")
    assert campaigns[0]["operation_status"] == "DISABLE"
    assert answers[0].headers["location"] == f"/ads?tree=open#campaigns-{campaigns[0]['campaign_id']}"
    later = {**form, "once": ""}
    for kind, key in (("ad-groups", "adgroup_id"), ("ads", "ad_id")):
        answer = house.client.post(f"/ads/{kind}/{ad[key]}/copy", data=later, follow_redirects=False)
        assert answer.status_code == 303, answer.text
    assert len(house.data("GET", "/ad/get/")["list"]) == 4


def test_without_the_form_s_token_nothing_is_copied(house: House) -> None:
    ad = house.make_ad("LEAD_GENERATION")
    assert house.client.post(f"/ads/ads/{ad['ad_id']}/copy", data={}).status_code == 403
    assert len(house.data("GET", "/ad/get/")["list"]) == 1
