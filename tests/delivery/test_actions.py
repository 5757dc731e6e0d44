"""Choosing an ad from the index, on both databases."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from sqlalchemy.event import listen

from contatto.ads import store as ads
from contatto.ads.actions.campaigns import change_status
from contatto.ads.model import BudgetMode, NodeKind, NodeStatus, Pacing
from contatto.capture.actions import turn_off_capture
from contatto.delivery.actions.ledger import PROMISE_US
from contatto.delivery.actions.serving import AdServer, SnapshotCache, load_snapshot, serve_ad
from contatto.delivery.rules import AdRequest, ServedAd, Snapshot
from contatto.kit.concurrency import FRESH, TOO_OLD
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.values import micros
from contatto.kit.vault import Vault
from contatto.measurement import actions as measurement
from contatto.measurement import store as measured
from contatto.measurement.actions import record_views
from contatto.measurement.model import Goal, Impression, TicketKind
from contatto.measurement.rules import read_ticket
from tests.ads.world import Chain, World, add_chain, add_world

KEY = Vault({"k": bytes(32)}).signer("tracking")
ASKED = AdRequest("viewer-1", "SG")


def serve(live: AdServer, world: World, asked: AdRequest = ASKED) -> ServedAd | None:
    async def ask() -> ServedAd | None:
        served = await serve_ad(live, world.id, asked, live.db.clock.now(), KEY)
        await live.flush()
        return served

    return asyncio.run(ask())


def made(database: Database, **changes: object) -> tuple[World, Chain]:
    def work(tx: Tx) -> tuple[World, Chain]:
        world = add_world(tx)
        return world, add_chain(tx, world, **changes)

    return database.write_now(work)


def test_the_links_carry_one_impression_of_the_viewer_and_its_price(database: Database) -> None:
    world, chain = made(database)
    served = serve(AdServer(database), world)
    assert served is not None
    assert (served.ad_id, served.business_name) == (str(chain.ad.number), "Kopi and Co")
    assert (served.headline, served.text) == ("Kopi", "Write to us about coffee.")
    view = read_ticket(served.view_url.removeprefix("/t/v/"), {TicketKind.VIEW}, KEY)
    click = read_ticket(served.click_url.removeprefix("/t/c/"), {TicketKind.CLICK}, KEY)
    assert (view.business_id, view.ad_id, view.viewer) == (world.id, chain.ad.id, "viewer-1")
    assert (view.cost_micros, click.cost_micros) == (1_000, 0)
    assert replace(click, kind=TicketKind.VIEW, cost_micros=1_000) == view
    again = serve(AdServer(database), world)
    assert again is not None
    assert again.view_url != served.view_url


def test_ads_of_another_business_never_compete(database: Database) -> None:
    made(database)
    other = database.write_now(add_world)
    assert serve(AdServer(database), other) is None


def test_the_index_is_read_with_as_many_statements_for_ten_ads_as_for_one(database: Database) -> None:
    world, _ = made(database)

    def statements(tx: Tx) -> int:
        said: list[str] = []
        listen(tx.connection, "before_cursor_execute", lambda *told: said.append(told[2]))
        load_snapshot(tx, world.id)
        return len(said)

    of_one = database.read_now(statements)
    database.write_now(lambda tx: [add_chain(tx, world) for _ in range(9)])
    assert database.read_now(statements) == of_one


def test_live_ads_are_made_anew_only_when_something_of_them_changed(database: Database) -> None:
    world, chain = made(database)
    known = SnapshotCache()

    def load() -> Snapshot:
        return database.read_now(lambda tx: load_snapshot(tx, world.id, known))

    first = load()
    again = load()
    assert again.candidates is first.candidates
    assert again.lines is first.lines
    database.write_now(lambda tx: turn_off_capture(tx, world.id, world.channel.id))
    without_capture = load()
    assert [each.may_serve for each in (*first.candidates, *without_capture.candidates)] == [True, False]
    database.write_now(
        lambda tx: change_status(tx, world.ad_account, NodeKind.AD, [chain.ad.number], NodeStatus.PAUSED)
    )
    assert load().candidates == ()


def test_a_lead_ad_stops_while_capture_is_off(database: Database, clock: FixedClock) -> None:
    world, _ = made(database)
    live = AdServer(database)
    assert serve(live, world) is not None
    database.write_now(lambda tx: turn_off_capture(tx, world.id, world.channel.id))
    clock.advance(seconds=TOO_OLD.total_seconds() + 1)
    assert serve(live, world) is None


def test_a_conversation_ad_serves_with_capture_off(database: Database) -> None:
    world, _ = made(database, goal=Goal.CONVERSATION)
    database.write_now(lambda tx: turn_off_capture(tx, world.id, world.channel.id))
    assert serve(AdServer(database), world) is not None


def test_a_fresh_snapshot_is_used_and_a_stale_one_read_again_behind_the_answer(
    database: Database, clock: FixedClock
) -> None:
    world, chain = made(database)
    live = AdServer(database)

    async def watch() -> list[bool]:
        seen: list[bool] = []

        async def ask() -> None:
            seen.append(await serve_ad(live, world.id, ASKED, clock.now(), KEY) is not None)

        await ask()
        numbers = [chain.ad.number]
        await database.write(
            lambda tx: change_status(tx, world.ad_account, NodeKind.AD, numbers, NodeStatus.PAUSED)
        )
        await ask()
        clock.advance(seconds=FRESH.total_seconds() + 1)
        await ask()
        await live.live_ads.refresh(world.id)
        await ask()
        return seen

    assert asyncio.run(watch()) == [True, True, True, False]


def view(database: Database, served: ServedAd) -> None:
    """See an ad, as its link does."""
    ticket = read_ticket(served.view_url.removeprefix("/t/v/"), {TicketKind.VIEW}, KEY)

    def work(tx: Tx) -> None:
        ad = measured.find_measured_ad(tx, ticket.business_id, ticket.ad_id)
        assert ad is not None
        touch = measurement.stamp_ticket(ad, ticket, None, micros(tx.now))
        record_views(tx, [Impression(touch, ticket.nonce)])

    database.write_now(work)


def test_what_is_promised_or_charged_uses_up_the_budget_in_every_process(
    database: Database, clock: FixedClock
) -> None:
    world, chain = made(database, budget_mode=BudgetMode.DAY, pacing=Pacing.FAST)
    small = replace(chain.ad_group, budget_micros=3_000)
    assert database.write_now(lambda tx: ads.record_node(tx, chain.ad_group, small))
    live, other = AdServer(database), AdServer(database)
    served = [serve(live, world) for _ in range(4)]
    assert [each is not None for each in served] == [True, True, True, False]
    assert serve(other, world) is None
    for each in served[:2]:
        assert each is not None
        view(database, each)
    clock.advance(seconds=TOO_OLD.total_seconds() + 1)
    assert serve(live, world) is None
    clock.advance(seconds=PROMISE_US / 1e6)
    assert [serve(other, world) is not None for _ in range(2)] == [True, False]
    assert serve(live, world) is None


def test_the_spend_of_a_day_ends_with_the_day_of_the_ad_account(
    database: Database, clock: FixedClock
) -> None:
    world, chain = made(database, budget_mode=BudgetMode.DAY, pacing=Pacing.FAST)
    small = replace(chain.ad_group, budget_micros=1_000)
    assert database.write_now(lambda tx: ads.record_node(tx, chain.ad_group, small))
    live = AdServer(database)
    first = serve(live, world)
    assert first is not None
    view(database, first)
    assert serve(live, world) is None
    clock.advance(hours=4)  # midnight in Singapore
    assert serve(live, world) is not None


def test_a_total_budget_ends_for_good(database: Database, clock: FixedClock) -> None:
    ends = clock.now() + timedelta(days=9)
    world, chain = made(database, budget_mode=BudgetMode.TOTAL, budget_micros=50_000_000, ends_at=ends)
    small = replace(chain.ad_group, budget_micros=1_000)
    assert database.write_now(lambda tx: ads.record_node(tx, chain.ad_group, small))
    live = AdServer(database)
    first = serve(live, world)
    assert first is not None
    view(database, first)
    clock.advance(days=2)
    assert serve(live, world) is None


def test_only_ads_of_the_asked_account_are_chosen(database: Database) -> None:
    world, _ = made(database)
    live = AdServer(database)
    assert serve(live, world, replace(ASKED, channel_account_id=world.channel.id)) is not None
    assert serve(live, world, replace(ASKED, channel_account_id="another")) is None
