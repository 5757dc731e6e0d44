"""Choosing an ad from the index, on both databases."""

import asyncio
from dataclasses import replace

from contatto.ads.actions.ads import change_ad_status
from contatto.ads.model import BudgetMode, NodeStatus, Pacing
from contatto.ads.store import nodes as ads
from contatto.capture.actions import turn_off_capture
from contatto.delivery.actions import serve_ad
from contatto.delivery.index import FRESH, TOO_OLD, LiveAds, load_snapshot
from contatto.delivery.model.decisions import AdRequest, Served
from contatto.kit.clock import FixedClock
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.timestamps import micros
from contatto.kit.vault import Vault
from contatto.measurement import actions as measurement
from contatto.measurement import store as measured
from contatto.measurement.model import Goal, TicketKind, TouchKind
from contatto.measurement.rules import read_ticket
from tests.ads.world import Chain, World, add_chain, add_world

KEY = Vault({"k": bytes(32)}).signer("tracking")
ASKED = AdRequest("viewer-1", "SG")


def serve(live: LiveAds, world: World, asked: AdRequest = ASKED) -> Served | None:
    now = live._db.clock.now()
    return asyncio.run(serve_ad(live, world.id, asked, now, KEY))


def made(database: Database, **changes: object) -> tuple[World, Chain]:
    def work(tx: Tx) -> tuple[World, Chain]:
        world = add_world(tx)
        return world, add_chain(tx, world, **changes)

    return database.write_now(work)


def test_the_links_carry_one_impression_of_the_viewer_and_its_price(database: Database) -> None:
    world, chain = made(database)
    served = serve(LiveAds(database), world)
    assert served is not None
    assert (served.ad_id, served.business_name) == (str(chain.ad.number), "Kopi and Co")
    assert (served.headline, served.text) == ("Kopi", "Write to us about coffee.")
    view = read_ticket(served.view_url.removeprefix("/t/v/"), {TicketKind.VIEW}, KEY)
    click = read_ticket(served.click_url.removeprefix("/t/c/"), {TicketKind.CLICK}, KEY)
    assert (view.business_id, view.ad_id, view.viewer) == (world.id, chain.ad.id, "viewer-1")
    assert (view.cost_micros, click.cost_micros) == (1_000, 0)
    assert replace(click, kind=TicketKind.VIEW, cost_micros=1_000) == view
    again = serve(LiveAds(database), world)
    assert again is not None
    assert again.view_url != served.view_url


def test_ads_of_another_business_never_compete(database: Database) -> None:
    made(database)
    other = database.write_now(add_world)
    assert serve(LiveAds(database), other) is None


def test_a_lead_ad_stops_while_capture_is_off(database: Database, clock: FixedClock) -> None:
    world, _ = made(database)
    live = LiveAds(database)
    assert serve(live, world) is not None
    database.write_now(lambda tx: turn_off_capture(tx, world.id, world.channel.id))
    clock.advance(seconds=TOO_OLD.total_seconds() + 1)
    assert serve(live, world) is None


def test_a_conversation_ad_serves_with_capture_off(database: Database) -> None:
    world, _ = made(database, goal=Goal.CONVERSATION)
    database.write_now(lambda tx: turn_off_capture(tx, world.id, world.channel.id))
    assert serve(LiveAds(database), world) is not None


def test_a_fresh_snapshot_is_used_and_a_stale_one_read_again_behind_the_answer(
    database: Database, clock: FixedClock
) -> None:
    world, chain = made(database)
    live = LiveAds(database)

    async def watch() -> list[bool]:
        seen: list[bool] = []

        async def ask() -> None:
            seen.append(await serve_ad(live, world.id, ASKED, clock.now(), KEY) is not None)

        await ask()
        numbers = [chain.ad.number]
        await database.write(lambda tx: change_ad_status(tx, world.ad_account, numbers, NodeStatus.PAUSED))
        await ask()
        clock.advance(seconds=FRESH.total_seconds() + 1)
        await ask()
        await live.refresh(world.id)
        await ask()
        return seen

    assert asyncio.run(watch()) == [True, True, True, False]


def test_spend_that_was_seen_or_only_promised_uses_up_the_budget(
    database: Database, clock: FixedClock
) -> None:
    world, chain = made(database, budget_mode=BudgetMode.DAY, pacing=Pacing.FAST)
    small = replace(chain.ad_group, budget_micros=3_000)
    assert database.write_now(lambda tx: ads.record_ad_group(tx, chain.ad_group, small))
    live = LiveAds(database)
    assert [serve(live, world) is not None for _ in range(4)] == [True, True, True, False]

    def see_two(tx: Tx) -> None:
        ad = measured.find_measured_ad(tx, world.id, chain.ad.id)
        assert ad is not None
        for touch_id in (1, 2):
            touch = measurement.stamp_touch(ad, TouchKind.VIEW, "p", micros(clock.now()), touch_id, 1_000)
            measurement.record_touch(tx, touch)

    database.write_now(see_two)
    clock.advance(seconds=TOO_OLD.total_seconds() + 1)
    assert [serve(live, world) is not None for _ in range(2)] == [True, False]


def test_the_spend_of_a_day_ends_with_the_day_of_the_ad_account(
    database: Database, clock: FixedClock
) -> None:
    world, chain = made(database, budget_mode=BudgetMode.TOTAL)

    def see(tx: Tx) -> None:
        ad = measured.find_measured_ad(tx, world.id, chain.ad.id)
        assert ad is not None
        touch = measurement.stamp_touch(ad, TouchKind.VIEW, "p", micros(clock.now()), 1, 1_000)
        measurement.record_touch(tx, touch)

    database.write_now(see)
    today = database.read_now(lambda tx: load_snapshot(tx, world.id))
    assert today.spent_micros == {chain.ad_group.id: 1_000}
    clock.advance(hours=4)  # midnight in Singapore
    tomorrow = database.read_now(lambda tx: load_snapshot(tx, world.id))
    assert tomorrow.spent_micros == {}
    assert tomorrow.spent_ever_micros == {chain.ad_group.id: 1_000}


def test_only_ads_of_the_asked_account_are_chosen(database: Database) -> None:
    world, _ = made(database)
    live = LiveAds(database)
    assert serve(live, world, replace(ASKED, channel_account_id=world.channel.id)) is not None
    assert serve(live, world, replace(ASKED, channel_account_id="another")) is None
