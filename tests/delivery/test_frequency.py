"""Frequency caps in serving: exact for simultaneous requests and processes, and told in the log."""

import asyncio
import multiprocessing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contatto.ads import store as ads
from contatto.ads.actions.campaigns import AdGroupChanges, update_ad_group
from contatto.ads.model import NodeStatus, Pacing
from contatto.delivery.actions.results import Verdict, explain_decision
from contatto.delivery.actions.serving import AdServer, seed_of, serve_ad
from contatto.delivery.rules import ServedAd
from contatto.kit.db.database import Database, open_database
from contatto.kit.db.tx import Clock, FixedClock, Tx
from contatto.kit.vault import Vault
from contatto.learning.model import Hurdle
from contatto.wiring import PORTS
from tests.ads.world import Chain, World
from tests.delivery.learning import ASKED, KEY, Market, add_market
from tests.delivery.played import replay_record
from tests.delivery.test_budgets import totals
from tests.examples import examples
from tests.operators.marketplace import Marketplace, add_marketplace


def cap(market: Market, frequency: int, schedule: int, *, chain: int = 0) -> None:
    """Give an ad group a frequency cap; 0 takes it away."""
    number = market.chains[chain].ad_group.number
    changes = AdGroupChanges(frequency=frequency, frequency_schedule=schedule or None)
    market.db.write_now(lambda tx: update_ad_group(tx, market.world.ad_account, number, changes))
    pass_time(market, seconds=30)


def pass_time(market: Market, **span: float) -> None:
    """Let time pass, and serving processes read what has changed."""
    market.clock.advance(**span)


def alone(market: Market) -> None:
    """Stop the second ad group."""
    market.db.write_now(lambda tx: ads.mark_status(tx, market.chains[1].campaign, NodeStatus.PAUSED))


@pytest.fixture
def market(database: Database, clock: FixedClock) -> Market:
    found = add_market(database, clock, pacing=Pacing.FAST)
    alone(found)
    return found


def ask(
    market: Market, count: int = 1, viewer: str = "Mei", server: AdServer | None = None, **changes: object
) -> list[ServedAd]:
    return market.ask(count, server, viewer_id=viewer, **changes)


def test_a_viewer_sees_an_ad_group_as_often_as_its_cap_allows_and_again_when_the_days_are_over(
    market: Market,
) -> None:
    cap(market, 2, 7)
    for _ in range(4):
        for served in ask(market):
            market.see(served)
    assert totals(market)[3] == 2
    assert len(ask(market, viewer="Bo")) == 1
    market.clock.advance(days=6, hours=23)
    assert ask(market) == []
    market.clock.advance(hours=2)
    assert len(ask(market, 3)) == 2


def test_a_decision_counts_until_its_view_may_no_longer_be_expected_and_a_late_view_counts(
    market: Market,
) -> None:
    cap(market, 1, 1)
    (late,) = ask(market, 3)
    market.clock.advance(minutes=14)
    assert ask(market) == []
    market.clock.advance(minutes=2)
    (second,) = ask(market, 3)
    market.see(late)
    market.clock.advance(minutes=20)
    assert ask(market) == []
    market.see(second)
    market.clock.advance(hours=23, minutes=50)
    assert ask(market, 2) == []
    market.clock.advance(minutes=30)
    assert len(ask(market, 2)) == 1


def test_a_new_cap_counts_the_views_before_it_and_without_one_nothing_is_limited(market: Market) -> None:
    for served in ask(market, 3):
        market.see(served)
    cap(market, 3, 1)
    assert ask(market) == []
    cap(market, 4, 1)
    assert len(ask(market, 3)) == 1
    cap(market, 0, 0)
    assert len(ask(market, 3)) == 3


def test_viewers_without_consent_are_unknown_so_no_cap_applies_to_them(market: Market) -> None:
    cap(market, 1, 28)
    assert len(ask(market, 4, has_consent=False)) == 4


def test_where_one_ad_group_has_shown_enough_another_one_is_shown(market: Market) -> None:
    first, second = market.chains
    market.db.write_now(lambda tx: ads.mark_status(tx, second.campaign, NodeStatus.ACTIVE))
    for chain in range(2):
        cap(market, 3, 7, chain=chain)
    served = ask(market, 8)
    shown = [each.ad_id for each in served]
    assert [shown.count(str(chain.ad.number)) for chain in (first, second)] == [3, 3]
    records = [record for record in market.decisions() if first.ad_group.number in record.left_out]
    assert {why for record in records for why in record.left_out.values()} == {Hurdle.FREQUENCY.value}
    for record in market.decisions():
        assert replay_record(seed_of(market.id), None, record) == record
    told = market.db.read_now(lambda tx: explain_decision(tx, market.id, records[-1].nonce))
    verdict = told.verdict_of(first.ad.number, first.ad_group.number)
    assert verdict == (Verdict.LEFT_OUT, "frequency")


def ask_at_once(market: Market, servers: list[AdServer], count: int) -> list[ServedAd]:
    """Ask all servers at the same time for the same viewer."""

    async def work() -> list[ServedAd]:
        asked = replace(ASKED, viewer_id="Mei")
        now = market.clock.now()
        requests = [serve_ad(server, market.id, asked, now, KEY) for server in servers for _ in range(count)]
        found = await asyncio.gather(*requests)
        for server in servers:
            await server.flush()
        return [each for each in found if each is not None]

    return asyncio.run(work())


def test_simultaneous_requests_do_not_exceed_a_cap(market: Market) -> None:
    cap(market, 3, 7)
    servers = [AdServer(market.db) for _ in range(3)]
    served = ask_at_once(market, servers, 4)
    assert len(served) == 3
    for each in served:
        market.see(each)
    assert ask_at_once(market, [AdServer(market.db), *servers], 2) == []
    charged, spend, lost, views = totals(market)
    assert charged == spend == lost == 3_000
    assert views == 3


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "see", "wait", "at once", "restart", "learn"]), st.integers(0, 12)
    ),
    min_size=6,
    max_size=30,
)


@dataclass
class Visits:
    """What one viewer does: asks, waits, and sees each ad within a quarter of an hour or never."""

    market: Market
    servers: list[AdServer]
    waiting: list[tuple[datetime, ServedAd]] = field(default_factory=list)
    seen: list[datetime] = field(default_factory=list)

    def do(self, what: str, number: int) -> None:
        market, now = self.market, self.market.clock.now()
        if what == "ask":
            self.waiting += [(now, each) for each in ask(market, server=self.servers[number % 2])]
        elif what == "at once":
            self.waiting += [(now, each) for each in ask_at_once(market, self.servers, 2)]
        elif what == "see":
            self.see(number, now)
        elif what == "wait":
            market.clock.advance(hours=number * number / 3)
        elif what == "restart":
            self.servers[number % 2] = AdServer(market.db)
        else:
            market.train()

    def see(self, number: int, now: datetime) -> None:
        asked_at, served = self.waiting.pop(number % len(self.waiting)) if self.waiting else (now, None)
        if served is not None and now - asked_at < timedelta(minutes=15):
            self.market.see(served)
            self.seen.append(now)


def test_no_period_has_more_views_of_a_viewer_than_the_cap_allows(market: Market) -> None:
    """Whatever restarts, is learned or waits."""

    @given(STEPS, st.integers(1, 3), st.integers(1, 2))
    @settings(max_examples=examples(40), deadline=None)
    def play(steps: list[tuple[str, int]], frequency: int, days: int) -> None:
        market.clock.advance(days=10)  # what earlier examples did is over
        cap(market, frequency, days)
        visits = Visits(market, [AdServer(market.db), AdServer(market.db)])
        for what, number in steps:
            visits.do(what, number)
            market.clock.advance(seconds=5)
        period = timedelta(days=days)
        counts = [sum(at - period < each <= at for each in visits.seen) for at in visits.seen]
        assert max(counts, default=0) <= frequency

    play()


def see_process(url: str, world: World, chains: list[Chain], told: Any) -> None:
    """One serving process: four viewers come again and again, and see what they are shown."""
    db = open_database(url, Clock(), Vault({"test": bytes(32)}), PORTS)
    try:
        market = Market(db, _Real(), world, chains, AdServer(db))  # type: ignore[arg-type]  # time passes by itself
        for turn in range(40):
            for served in market.ask(1, viewer_id=f"viewer {turn % 4}"):
                market.see(served)
        told.put("done")
    finally:
        db.close()


class _Real:
    """Time as it is, for processes; a test's clock that is moved does nothing here."""

    def advance(self, **_: float) -> None:
        """Nothing: time passes by itself."""

    def now(self) -> datetime:
        return datetime.now(UTC)


def test_three_serving_processes_keep_a_cap_together(postgres_copy: str) -> None:
    db = open_database(postgres_copy, Clock(), Vault({"test": bytes(32)}), PORTS)
    try:
        market = add_market(db, _Real(), pacing=Pacing.FAST)  # type: ignore[arg-type]  # time passes by itself
        alone(market)
        cap(market, 5, 1)
        serving = multiprocessing.get_context("forkserver")
        serving.set_forkserver_preload([__name__])
        told = serving.Queue()
        arguments = (postgres_copy, market.world, market.chains, told)
        processes = [serving.Process(target=see_process, args=arguments) for _ in range(3)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(240)
        assert [process.exitcode for process in processes] == [0, 0, 0]
        charged, spend, lost, views = totals(market)
        assert views == 4 * 5
        assert charged == spend == lost
    finally:
        db.close()


@pytest.fixture
def placement(database: Database, clock: FixedClock) -> Marketplace:
    return add_marketplace(database, clock)


def test_in_a_marketplace_the_cap_of_the_winner_holds_and_another_business_wins_then(
    placement: Marketplace,
) -> None:
    def limit(tx: Tx) -> None:
        for world, chain in zip(placement.worlds, placement.chains, strict=True):
            changes = AdGroupChanges(frequency=2, frequency_schedule=1)
            update_ad_group(tx, world.ad_account, chain.ad_group.number, changes)

    placement.db.write_now(limit)
    placement.clock.advance(seconds=30)
    served = placement.ask(8, viewer_id="Mei")
    assert sorted(placement.owner_of(each) for each in served) == [0, 0, 1, 1]
    assert len(placement.ask(2, viewer_id="Bo")) == 2
