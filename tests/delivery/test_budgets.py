"""Budgets and balances: several processes, late and repeated views, and one amount wherever one looks."""

import multiprocessing
import random
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import func, select

from contatto.ads import store as ads
from contatto.ads.actions.campaigns import NewAd, create_ad, create_ad_group
from contatto.ads.model import AdGroup, BudgetMode, NodeStatus, Pacing
from contatto.delivery import store
from contatto.delivery.actions.ledger import read_record
from contatto.delivery.actions.serving import AdServer
from contatto.kit.db.database import Database, open_database
from contatto.kit.db.tx import Clock, FixedClock, Tx
from contatto.kit.vault import Vault
from contatto.learning.model import EntryKind
from contatto.measurement.store import touches
from contatto.operators.actions import pay_in, set_balance_limit
from contatto.operators.model import Balance
from contatto.operators.store import find_balance
from contatto.wiring import PORTS
from tests.ads.world import Chain, World, new_ad_group
from tests.delivery.learning import Market, add_market

VIEW = 1_000
"""What a view costs without a rival: the reserve."""


def totals(market: Market) -> tuple[int, int, int, int]:
    """What was charged by the ledger, by the touches (what reports show), by the balance; and the views."""

    def work(tx: Tx) -> tuple[int, int, int, int]:
        account = market.world.ad_account.id
        days = store.list_charged_days(tx, market.id, account, "0000-00-00", "9999-99-99")
        mine = touches.c.business_id == market.id
        spend = tx.scalar(select(func.coalesce(func.sum(touches.c.cost_micros), 0)).where(mine))
        balance = find_balance(tx, market.id, account)
        charged = sum(day.charged_micros for day in days)
        return charged, int(spend), balance.charged_micros, sum(day.views for day in days)

    return market.db.read_now(work)


def with_budget(market: Market, micros: int, mode: BudgetMode = BudgetMode.DAY) -> None:
    """Give the first ad group a budget, and stop the other one."""
    first, second = market.chains

    def work(tx: Tx) -> None:
        changed = replace(first.ad_group, budget_micros=micros, budget_mode=mode, pacing=Pacing.FAST)
        assert ads.record_node(tx, first.ad_group, changed)
        ads.mark_status(tx, second.campaign, NodeStatus.PAUSED)

    market.db.write_now(work)


def with_campaign(market: Market, micros: int, mode: BudgetMode = BudgetMode.DAY) -> None:
    """Give the first campaign a budget and a second ad group, and stop the other one."""
    first, second = market.chains

    def work(tx: Tx) -> None:
        changed = replace(first.campaign, budget_micros=micros, budget_mode=mode)
        assert ads.record_node(tx, first.campaign, changed)
        ads.mark_status(tx, second.campaign, NodeStatus.PAUSED)
        new = new_ad_group(first.campaign, pacing=Pacing.FAST)
        group = create_ad_group(tx, market.id, new)
        create_ad(tx, market.id, NewAd(group.id, "Second ad", "Ask us about tea."))

    market.db.write_now(work)


def charged_groups(market: Market) -> dict[str, int]:
    """What each ad group was charged that was charged anything."""

    def work(tx: Tx) -> dict[str, int]:
        days = store.list_charged_days(tx, market.id, market.world.ad_account.id, "0000-00-00", "9999-99-99")
        groups = {day.ad_group_id for day in days}
        return {name: sum(day.charged_micros for day in days if day.ad_group_id == name) for name in groups}

    return market.db.read_now(work)


def pause(market: Market, *names: str) -> None:
    """Pause ad groups, and wait until serving has seen it."""

    def work(tx: Tx) -> None:
        for name in names:
            group = ads.find_node(tx, AdGroup, market.id, id=name)
            assert group is not None
            ads.mark_status(tx, group, NodeStatus.PAUSED)

    market.db.write_now(work)
    market.clock.advance(seconds=30)


@pytest.fixture
def market(database: Database, clock: FixedClock) -> Market:
    return add_market(database, clock, pacing=Pacing.FAST)


def test_charges_spend_and_balance_are_one_amount(market: Market) -> None:
    market.play(30)
    charged, spend, lost, views = totals(market)
    assert charged == spend == lost > 0
    assert views == 30


def test_a_view_that_comes_twice_is_charged_once(market: Market) -> None:
    (served,) = market.ask()
    market.see(served)
    once = totals(market)
    market.see(served)
    assert totals(market) == once


def test_views_that_come_late_are_charged_up_to_125_percent_of_a_day_and_no_further(market: Market) -> None:
    """A day's promises are all seen on the next day, beside that day's own."""
    with_budget(market, 20 * VIEW)
    late = market.ask(30)
    assert len(late) == 20
    market.clock.advance(hours=6)  # midnight in Singapore has passed, and so has what was promised
    for served in [*late, *market.ask(30)]:
        market.see(served)
    charged, spend, lost, views = totals(market)
    assert charged == spend == lost == 25 * VIEW
    assert views == 40


def test_a_total_is_never_exceeded_however_late_views_come(market: Market) -> None:
    with_budget(market, 20 * VIEW, BudgetMode.TOTAL)
    late = market.ask(30)
    market.clock.advance(hours=2)
    more = market.ask(30)
    for served in [*late, *more]:
        market.see(served)
    assert totals(market)[0] == 20 * VIEW


def test_ad_groups_of_a_campaign_share_its_total_and_never_exceed_it(market: Market) -> None:
    with_campaign(market, 30 * VIEW, BudgetMode.TOTAL)
    for served in market.ask(10):
        market.see(served)
    pause(market, *charged_groups(market))
    late = market.ask(40)
    market.clock.advance(hours=2)  # what was promised is free again
    for served in [*late, *market.ask(40)]:
        market.see(served)
    by_group = charged_groups(market)
    assert len(by_group) == 2
    assert sum(by_group.values()) == 30 * VIEW
    market.clock.advance(minutes=1)
    assert market.ask(5) == []


def test_late_views_of_a_campaign_are_charged_up_to_125_percent_of_its_day(market: Market) -> None:
    with_campaign(market, 20 * VIEW)
    late = market.ask(30)
    market.clock.advance(hours=6)  # midnight in Singapore has passed, and so has what was promised
    for served in [*late, *market.ask(30)]:
        market.see(served)
    charged, spend, lost, _ = totals(market)
    assert charged == spend == lost == 25 * VIEW


def test_what_a_paused_ad_group_promised_and_spent_counts_for_its_campaign(market: Market) -> None:
    with_campaign(market, 20 * VIEW)
    for served in market.ask(4):
        market.see(served)
    promised = len(market.ask(4))
    pause(market, *charged_groups(market))
    more = market.ask(30)
    assert promised == 4
    for served in more:
        market.see(served)
    assert 0 < totals(market)[0] <= 16 * VIEW


def test_a_prepaid_account_spends_what_it_has_and_may_owe_what_its_credit_says(market: Market) -> None:
    account = market.world.ad_account

    def pay(tx: Tx, amount_micros: int) -> Balance:
        balance = find_balance(tx, market.id, account.id)
        return pay_in(tx, balance, account.timezone, amount_micros, "payment")

    def limit(tx: Tx) -> None:
        set_balance_limit(tx, find_balance(tx, market.id, account.id), 2 * VIEW)
        pay(tx, 3 * VIEW)

    market.db.write_now(limit)
    served = market.ask(20)
    for each in served:
        market.see(each)
    charged, spend, lost, _ = totals(market)
    assert charged == spend == lost <= 5 * VIEW
    assert lost > 5 * VIEW - 2 * max(VIEW, charged // max(len(served), 1))
    market.db.write_now(lambda tx: pay(tx, 50 * VIEW))
    market.clock.advance(seconds=30)
    assert market.ask(3)


def test_a_killed_server_gives_its_grants_and_promises_back(market: Market) -> None:
    with_budget(market, 10 * VIEW)
    killed, other = AdServer(market.db), AdServer(market.db)
    assert len(market.ask(4, server=killed)) == 4
    assert len(market.ask(10, server=other)) <= 6
    market.clock.advance(minutes=20)
    assert len(market.ask(30, server=other)) == 10


def test_where_requests_are_rare_a_grant_pays_for_views_at_the_price_of_the_last_one(market: Market) -> None:
    """Else every offer is cut to the smallest grant, and all ads are worth the same."""
    with_budget(market, 20_000 * VIEW)
    second = market.chains[1]

    def start(tx: Tx) -> None:
        changed = replace(second.ad_group, budget_micros=20_000 * VIEW, budget_mode=BudgetMode.DAY)
        assert ads.record_node(tx, second.ad_group, changed)
        ads.mark_status(tx, second.campaign, NodeStatus.ACTIVE)

    market.db.write_now(start)
    for _ in range(2):
        assert market.ask(1, floor_micros=40_000_000)
        market.clock.advance(minutes=1)
    before, then = (read_record(each.body) for each in market.entries() if each.kind is EntryKind.DECISION)
    assert before.price_micros >= 40_000_000
    assert [each.available for each in before.groups] == [50 * 1_000 * 1_000] * 2
    least = 50 * (before.price_micros // 1_000) * 1_000
    assert [each.available >= least for each in then.groups] == [True, True]


def play_process(url: str, world: World, chains: list[Chain], seed: int, told: Any) -> None:
    """One serving process: it asks until nothing comes any more; some views come late, some twice."""
    chance = random.Random(seed)  # noqa: S311 — seeded
    db = open_database(url, Clock(), Vault({"test": bytes(32)}), PORTS)
    try:
        market = Market(db, _Real(), world, chains, AdServer(db))  # type: ignore[arg-type]  # time passes by itself
        late, empty = [], 0
        while empty < 12:
            found = market.ask(5)
            empty = 0 if found else empty + 1
            for served in found:
                fate = chance.random()
                if fate < 0.9:
                    market.see(served)
                else:
                    late.append(served)
                if fate < 0.2:
                    market.see(served)  # the same link again
            if not found:
                for served in late:
                    market.see(served)
                late = []
                _Real.pause(0.25)
        told.put("done")
    finally:
        db.close()


class _Real:
    """Time as it is, for processes; a test's clock that is moved does nothing here."""

    def advance(self, **_: float) -> None:
        """Nothing: time passes by itself."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    @staticmethod
    def pause(seconds: float) -> None:
        time.sleep(seconds)


def play_processes(postgres_copy: str, market: Market) -> None:
    """Have three processes serve until nothing comes any more."""
    serving = multiprocessing.get_context("forkserver")
    serving.set_forkserver_preload([__name__])  # what they import is imported once for all three
    told = serving.Queue()
    arguments = (postgres_copy, market.world, market.chains)
    processes = [serving.Process(target=play_process, args=(*arguments, seed, told)) for seed in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
    assert [process.exitcode for process in processes] == [0, 0, 0]


def test_three_serving_processes_spend_one_budget_to_its_end_and_not_beyond(postgres_copy: str) -> None:
    clock: Clock = Clock()
    db = open_database(postgres_copy, clock, Vault({"test": bytes(32)}), PORTS)
    try:
        market = add_market(db, clock, pacing=Pacing.FAST)  # type: ignore[arg-type]  # time passes by itself
        budget = 150 * VIEW
        with_budget(market, budget)
        play_processes(postgres_copy, market)
        charged, spend, lost, views = totals(market)
        assert charged == spend == lost
        assert budget - VIEW < charged <= budget
        assert views == charged // VIEW
    finally:
        db.close()


def test_three_serving_processes_spend_one_budget_of_a_campaign_with_two_ad_groups(
    postgres_copy: str,
) -> None:
    clock: Clock = Clock()
    db = open_database(postgres_copy, clock, Vault({"test": bytes(32)}), PORTS)
    try:
        market = add_market(db, clock, pacing=Pacing.FAST)  # type: ignore[arg-type]  # time passes by itself
        budget = 150 * VIEW
        with_campaign(market, budget)
        play_processes(postgres_copy, market)
        charged, spend, lost, views = totals(market)
        assert charged == spend == lost == sum(charged_groups(market).values())
        assert budget - 2 * charged / views < charged <= budget
    finally:
        db.close()
