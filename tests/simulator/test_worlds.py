"""Worlds are what they say: the same by seed, with the published means, and with limits in order."""

from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest

from contatto.simulator.worlds.features import LinearSetting, LinearWorld
from contatto.simulator.worlds.metrics import measure
from contatto.simulator.worlds.model import DAY, STARTS_TS, Past, Spans, World, offset_s, sigmoid
from contatto.simulator.worlds.policies import POLICIES, Auction
from contatto.simulator.worlds.simulation import SETTINGS, NoSuchSetting, Size, WorldName, make_world

NAMES = list(WorldName)


@pytest.fixture(params=NAMES)
def world(request: pytest.FixtureRequest) -> World:
    return make_world(request.param, 3, Size.TINY)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_makes_the_same_world(name: WorldName) -> None:
    one, two, other = (make_world(name, seed, Size.TINY) for seed in (5, 5, 6))
    assert one.viewer_features == two.viewer_features
    assert (one.groups, one.ads, one.edits) == (two.groups, two.ads, two.edits)
    last = one.days - 1
    for first, second in zip(_arrays(one, last), _arrays(two, last), strict=True):
        assert np.array_equal(first, second)
    assert one.viewer_features != other.viewer_features


def _arrays(world: World, day: int) -> list[np.ndarray]:
    return [getattr(of, name) for of in (world.requests(day), world.tables(day)) for name in of.__slots__]


def test_requests_come_in_order_from_viewers_who_are_there(world: World) -> None:
    for day in range(world.days):
        requests = world.requests(day)
        assert np.all(np.diff(requests.ts) >= 0)
        assert requests.ts[0] >= STARTS_TS + day * DAY
        assert requests.ts[-1] < STARTS_TS + (day + 1) * DAY
        expected = requests.viewer[world.farm_of[requests.viewer] != unexpected_farm(world)]
        assert len(expected) == pytest.approx(world.flow(day).sum(), abs=1)
        assert requests.floor.min() > 0
        assert requests.viewer.min() >= 0
        assert requests.viewer.max() < len(world.viewer_ids)


def test_numbers_among_features_are_never_negative(world: World) -> None:
    """Simple players take logarithms of counts and amounts."""
    numbers = [
        value
        for features in (*world.viewer_features, *(ad.features for ad in world.ads))
        for value in features.values()
        if isinstance(value, int | float)
    ]
    assert min(numbers, default=0) >= 0


def unexpected_farm(world: World) -> int:
    """Return the farm that comes in bursts, which no flow of requests expects."""
    return 0 if world.name == "interests" else 99


def test_requests_follow_the_curve_of_their_countries(world: World) -> None:
    requests = world.requests(1)
    tick = (requests.ts - STARTS_TS - DAY) // (DAY // 96)
    country = world.viewer_country[requests.viewer]
    for number in range(len(world.countries)):
        seen = np.bincount(tick[country == number] // 8, minlength=12)
        expected = world.flow(1)[:, number].reshape(12, 8).sum(1)
        assert np.abs(seen - expected).max() < 6 * np.sqrt(expected.max()) + 6


def test_the_default_world_has_the_published_means() -> None:
    """CTR 4.7 %, conversations 35 % of clicks, spam 26 %, leads 37 % of genuine conversations."""
    found = []
    for seed in range(12):
        world = LinearWorld(LinearSetting(viewers=3_000), seed)
        tables = world.tables(0)
        click = sigmoid(tables.click)
        genuine = click * tables.talk * (1 - tables.spam)
        leads = genuine * tables.lead
        means = [
            click.mean(),
            tables.talk.mean(),
            tables.spam.mean(),
            leads.sum() / genuine.sum(),
            leads.mean(),
        ]
        found.append(means)
    click, talk, spam, lead, whole = np.mean(found, 0)
    assert click == pytest.approx(0.047, abs=0.006)
    assert talk == pytest.approx(0.35, abs=0.02)
    assert spam == pytest.approx(0.27, abs=0.03)
    assert lead == pytest.approx(0.37, abs=0.04)
    assert whole == pytest.approx(0.0052, abs=0.001)


def test_a_viewer_likes_ads_of_a_vertical_alike() -> None:
    """With 0.35 of its own beside the 1 of its vertical, two ads of one have 1 / 1.12 = 0.89 in common."""
    found = []
    for seed in range(12):
        world = LinearWorld(LinearSetting(viewers=3_000), seed)
        click = world.tables(0).click - world.tables(0).click.mean(axis=1, keepdims=True)
        likeness = np.corrcoef(click.T)
        found.append(likeness[np.arange(8), np.arange(8) + 8].mean() - likeness[0, 1:8].mean())
    assert np.mean(found) > 0.9


def test_more_tension_makes_chatty_viewers_spam_more() -> None:
    def spam(tension: float) -> float:
        tables = LinearWorld(LinearSetting(viewers=5_000, tension=tension), 1).tables(0)
        talks = sigmoid(tables.click) * tables.talk
        return float((talks * tables.spam).sum() / talks.sum())

    assert spam(0.0) + 0.1 < spam(1.0) < spam(2.0) - 0.1


@pytest.mark.parametrize("name", NAMES)
def test_what_can_be_known_is_the_mean_of_what_is_true(name: WorldName) -> None:
    """In each tenth of what is expected the truth is that, within a few percent: no more can be predicted."""
    # Few viewers with few tastes each would differ from their mean by chance.
    viewers = {"viewers": 60_000.0} if name is WorldName.VARIETY else {}
    world = make_world(name, 4, Size.SMALL, **viewers)
    known, tables = world.observable(0, Past.empty(world)), world.tables(0)
    there = ~world.is_farm
    clicks = sigmoid(tables.click)[there]
    talks = clicks * tables.talk[there]
    leads = talks * (1 - tables.spam[there]) * tables.lead[there]
    for expected, true in ((known.click, clicks), (known.talks, talks), (known.leads, leads)):
        order = np.argsort(expected[there], axis=None)
        ratios = [
            true.ravel()[part].mean() / expected[there].ravel()[part].mean()
            for part in np.array_split(order, 10)
        ]
        assert np.allclose(ratios, 1, atol=0.16), ratios
        assert np.mean(ratios) == pytest.approx(1, abs=0.08)


@pytest.mark.parametrize("name", NAMES)
def test_the_more_a_player_knows_the_cheaper_its_leads_are(name: WorldName) -> None:
    world = make_world(name, 2, Size.SMALL, days=5, requests=15_000, **_budget(name))
    costs = {}
    for policy in POLICIES:
        figures = measure(Auction(world, policy).play())
        costs[policy] = figures.spend / figures.leads
    assert costs["random"] > 1.1 * costs["oracle_conv"]
    assert costs["oracle_conv"] > 1.05 * costs["oracle_obs"]
    assert costs["oracle_obs"] > 1.05 * costs["oracle"]


def _budget(name: WorldName) -> dict[str, float]:
    budgets = {
        WorldName.LINEAR: 2_000_000.0,
        WorldName.INTERESTS: 9_000_000.0,
        WorldName.STRANGERS: 3_000_000.0,
    }
    return {"budget_micros": budgets.get(name, 1_300_000.0)}


def test_one_who_knows_paces_nearly_perfectly() -> None:
    world = LinearWorld(LinearSetting(viewers=8_000, ads=8, days=4, requests=40_000, late_day=2), 1)
    figures = measure(Auction(world, "oracle_obs").play())
    assert figures.budget_use > 0.99
    assert figures.pacing_error < 0.01
    assert figures.starved == ()


def test_a_player_who_knows_gives_the_same_run_again() -> None:
    world = make_world(WorldName.SEGMENTS, 1, Size.TINY)
    first, second = (Auction(world, "random").play().shown for _ in range(2))
    for name in first.__slots__:
        assert np.array_equal(getattr(first, name), getattr(second, name), equal_nan=True)


def test_farms_look_like_good_viewers_and_bring_nothing() -> None:
    world = make_world(WorldName.SEGMENTS, 1, Size.SMALL)
    assert 20 < world.is_farm.sum() < 400
    tables, known = world.tables(5), world.observable(0, Past.empty(world))
    leads = sigmoid(tables.click) * tables.talk * (1 - tables.spam) * tables.lead
    assert leads[world.is_farm].mean() < 0.3 * leads.mean()
    assert sigmoid(tables.click)[world.is_farm].mean() > 3 * sigmoid(tables.click).mean()
    assert known.leads[world.is_farm].mean() > 1.3 * known.leads[~world.is_farm].mean()


def test_who_wrote_spam_again_and_again_is_known_for_a_farm() -> None:
    world = make_world(WorldName.SEGMENTS, 1, Size.SMALL)
    past = Past.empty(world)
    before = world.observable(6, past).leads.copy()
    past.chats[world.is_farm] = past.spams[world.is_farm] = 6
    after = world.observable(6, past).leads
    assert after[world.is_farm].mean() < 0.2 * before[world.is_farm].mean()
    assert np.array_equal(after[~world.is_farm], world.observable(6, Past.empty(world)).leads[~world.is_farm])


def test_the_best_possible_knows_spam_by_its_marks_alone() -> None:
    world = make_world(WorldName.SEGMENTS, 1, Size.TINY)
    world.nature = replace(world.nature, spam_recall=0.1, spam_false_alarm=0.0)
    auction = Auction(world, "oracle_obs")
    shown = auction.play().shown
    assert shown.spams.sum() > 50
    assert 0 < auction.past.spams.sum() < 0.25 * shown.spams.sum()


def test_tastes_turn_as_days_pass() -> None:
    world = make_world(WorldName.SEGMENTS, 1, Size.FULL, viewers=3_000)
    still = make_world(WorldName.SEGMENTS, 1, Size.FULL, viewers=3_000, drift=0)

    def alike(world: World) -> float:
        first, last = (world.observable(day, Past.empty(world)).leads for day in (0, 8))
        return float(np.corrcoef(np.log(first).ravel(), np.log(last).ravel())[0, 1])

    assert alike(still) > 0.995
    assert alike(world) < 0.97


def test_delays_are_as_told_and_some_leads_come_too_late() -> None:
    draws = np.random.default_rng(1).random((50_000, 2))
    world = LinearWorld(LinearSetting(viewers=2_000), 1)
    means = {
        group.kind: world.delays_s(number, draws).mean() / 86_400 for number, group in enumerate(world.groups)
    }
    assert means["fast"] == pytest.approx(0.03, rel=0.03)
    assert means["mixed"] == pytest.approx(0.5 * 0.04 + 0.5 * 1.5, rel=0.03)
    assert means["slow"] == pytest.approx(0.2 * 0.1 + 0.8 * 3.0, rel=0.03)
    for name in (WorldName.SEGMENTS, WorldName.THRESHOLDS):
        other = make_world(name, 1, Size.TINY)
        late = [np.mean(other.delays_s(number, draws) > 7 * 86_400) for number in range(len(other.groups))]
        assert max(late) > 0.05


def test_midnights_know_the_change_of_clocks() -> None:
    world = make_world(WorldName.SEGMENTS, 1, Size.TINY, days=14)
    group = replace(world.groups[0], timezone="America/New_York")
    world.groups = (group,)
    spans = [Spans(world).at(group, STARTS_TS + day * DAY) for day in range(14)]
    assert all(before[1] == after[0] for before, after in pairwise(spans))
    lengths = {(ends - begins) // 3_600_000_000 for begins, ends in spans}
    assert lengths == {23, 24}
    assert offset_s("America/New_York", 0) == -5 * 3600
    assert offset_s("America/New_York", 10) == -4 * 3600


def test_a_budget_of_a_day_lasts_a_day_of_its_time_zone() -> None:
    world = make_world(WorldName.SEGMENTS, 1, Size.TINY)
    spans = Spans(world)
    group = next(group for group in world.groups if group.budget_mode == "day" and group.timezone != "UTC")
    begins, ends = spans.at(group, STARTS_TS + DAY)
    assert ends - begins == DAY
    assert (begins + offset_s(group.timezone, 0) * 1_000_000) % DAY == 0
    assert begins <= STARTS_TS + DAY < ends
    total = next(group for group in world.groups if group.budget_mode == "total")
    assert spans.at(total, STARTS_TS + DAY) == (total.starts_ts, total.ends_ts)


def test_settings_that_a_world_does_not_have_are_refused() -> None:
    assert asdict(SETTINGS[WorldName.LINEAR, Size.FULL])["tension"] == 1.0
    with pytest.raises(NoSuchSetting, match="none of the settings of linear"):
        make_world(WorldName.LINEAR, 1, Size.TINY, drift=1)
    with pytest.raises(NoSuchSetting, match="days is a number from 1 to 60"):
        make_world(WorldName.LINEAR, 1, Size.TINY, days=0)
    with pytest.raises(NoSuchSetting, match="requests"):
        make_world(WorldName.LINEAR, 1, Size.TINY, requests=1e9)


def test_fields_that_repeat_each_other_tell_nothing_of_chances() -> None:
    usual, more = (make_world(WorldName.SEGMENTS, 1, Size.TINY, repeats=repeats) for repeats in (0, 1))
    assert np.array_equal(usual.tables(1).click, more.tables(1).click)
    zone_of = {features["town"]: features["zone"] for features in more.viewer_features}
    assert len(zone_of) == 5 * len(set(zone_of.values())) == 5 * len(more.zones)
    assert len({features["station"] for features in more.viewer_features}) == len(zone_of)
    for before, after in zip(usual.viewer_features, more.viewer_features, strict=True):
        assert {name: after[name] for name in before} == before


def test_idle_fields_tell_nothing_of_chances() -> None:
    usual, more = (make_world(WorldName.SEGMENTS, 1, Size.TINY, idle=idle) for idle in (0, 1))
    assert np.array_equal(usual.tables(1).click, more.tables(1).click)
    added = [
        after.keys() - before.keys()
        for before, after in zip(usual.viewer_features, more.viewer_features, strict=True)
    ]
    assert all(len(fields) == 30 for fields in added)
    assert len({features["idle 0"] for features in more.viewer_features}) > 1


def test_the_full_oracle_never_pays_for_a_farm() -> None:
    world = make_world(WorldName.THRESHOLDS, 1, Size.TINY)
    assert measure(Auction(world, "oracle").play()).farm_share < 0.005


def test_prices_are_defined_where_a_chance_rounds_to_zero() -> None:
    """In this world a viewer's chance of a lead is so small that it is zero as a number."""
    world = make_world(WorldName.INTERESTS, 112, Size.SMALL)
    assert np.isfinite(world._value).all()
