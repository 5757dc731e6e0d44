"""What a budget is expected to bring: ranges that hold, narrow with what is known, and say when none is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.delivery.actions.results import forecast_ad_group, list_outlooks
from contatto.delivery.rules import DRIFT, Earnings, Forecast, forecast
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.simulator.worlds.game import EnginePlayer, Game
from contatto.simulator.worlds.simulation import Size, WorldName, make_world
from tests.delivery.learning import add_market

UNIT = 1_000_000


@pytest.mark.parametrize("rate", [0.3, 2.0])
def test_the_range_holds_eight_of_ten_cases(rate: float) -> None:
    chance, held, cases = np.random.default_rng(3), 0, 2_000
    for _ in range(cases):
        own = Earnings(int(chance.poisson(rate * 40)), 40 * UNIT)
        found = forecast(own, Earnings(int(rate * 400), 400 * UNIT), 20 * UNIT)
        assert found is not None
        drift = chance.gamma(1.0 / DRIFT, DRIFT)
        held += found.low <= chance.poisson(20 * rate * drift) <= found.high
    assert 0.77 <= held / cases <= 0.9


@given(st.integers(0, 500), st.integers(1, 10**10), st.integers(1, 10**10))
def test_more_money_is_never_expected_to_bring_less(conversions: int, spent: int, budget: int) -> None:
    own, like = Earnings(conversions, spent), Earnings(conversions + 10, 2 * spent)
    one, two = forecast(own, like, budget), forecast(own, like, 2 * budget)
    assert one is not None
    assert two is not None
    assert one.low <= one.middle + 1 <= one.high + 1
    assert (one.low, one.high) <= (two.low, two.high)
    assert two.middle == pytest.approx(2 * one.middle)


def test_what_is_known_of_an_ad_group_narrows_the_range() -> None:
    like = Earnings(1_000, 1_000 * UNIT)
    new, known = (
        forecast(Earnings(0, 0), like, 50 * UNIT),
        forecast(Earnings(200, 200 * UNIT), like, 50 * UNIT),
    )
    assert new is not None
    assert known is not None
    assert new.middle == pytest.approx(known.middle)
    assert known.high - known.low < new.high - new.low


def test_with_nothing_to_go_by_nothing_is_said() -> None:
    assert forecast(Earnings(0, 0), Earnings(0, 0), UNIT) is None
    assert forecast(Earnings(0, UNIT), Earnings(0, UNIT), UNIT) is None


def test_ad_groups_are_told_what_their_budgets_bring(database: Database, clock: FixedClock) -> None:
    market = add_market(database, clock)
    account = market.world.ad_account
    assert {each.expected for each in database.read_now(lambda tx: list_outlooks(tx, account))} == {None}
    market.play(60)
    found = database.read_now(lambda tx: list_outlooks(tx, account))
    assert len(found) == len(market.chains)

    def ask_again(tx: Tx) -> list[Forecast | None]:
        return [
            forecast_ad_group(tx, account, each.ad_group, min(each.budget_micros, 2 * each.spent_micros))
            for each in found
        ]

    assert [each.expected for each in found] == database.read_now(ask_again)
    assert all(each.spent_micros for each in found)
    assert any(each.expected for each in found)


def test_who_began_some_days_ago_is_judged_by_the_days_since(database: Database, clock: FixedClock) -> None:
    market = add_market(database, clock)
    account = market.world.ad_account
    market.play(30)

    def spent() -> list[int]:
        return [each.spent_micros for each in database.read_now(lambda tx: list_outlooks(tx, account))]

    of_a_day = spent()
    clock.advance(days=6)
    assert spent() == [amount // 7 for amount in of_a_day]
    clock.advance(days=20)
    assert set(spent()) == {0}


@pytest.mark.parametrize("hour", range(0, 24, 4))
def test_an_ad_group_that_began_today_is_judged_at_any_hour(
    database: Database, clock: FixedClock, hour: int
) -> None:
    clock.advance(hours=hour)
    market = add_market(database, clock)
    market.play(30)
    outlooks = database.read_now(lambda tx: list_outlooks(tx, market.world.ad_account))
    assert all(each.spent_micros for each in outlooks)


@pytest.mark.slow
def test_in_a_world_of_the_simulator_the_range_holds_what_comes() -> None:
    world = make_world(WorldName.LINEAR, 203, Size.SMALL, requests=12_000)
    shown = Game(world, EnginePlayer(world.seed).answer, "lead").play().shown
    days = (shown.ts - shown.ts.min()) // 86_400_000_000
    groups = np.array([ad.group for ad in world.ads])[shown.ad]
    spend, leads = (np.zeros((len(world.groups), int(days.max()) + 1)) for _ in range(2))
    np.add.at(spend, (groups, days), 1e6 * shown.spend)
    np.add.at(leads, (groups, days), shown.leads)
    chance, held, cases = np.random.default_rng(1), 0, 0
    for _ in range(20):
        came = chance.poisson(leads)
        for day in range(2, spend.shape[1] - 3):
            like = Earnings(int(came[:, :day].sum()), int(spend[:, :day].sum()))
            for group in range(len(spend)):
                own = Earnings(int(came[group, :day].sum()), int(spend[group, :day].sum()))
                budget = int(spend[group, day : day + 3].sum())
                found = forecast(own, like, budget) if budget else None
                if found is not None:
                    cases += 1
                    held += found.low <= came[group, day : day + 3].sum() <= found.high
    assert cases > 200
    assert held / cases >= 0.75
