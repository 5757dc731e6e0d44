"""The marketplace keeps its promises whatever the lines do: budgets, prices, repetition, odd values."""

import math
from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contatto.learning.market import UNITS, limit_units
from contatto.learning.marketplace import Marketplace, UnusableLine
from contatto.learning.model import AnyLine, Decision
from contatto.learning.storage import Damaged, Different
from tests.delivery.small_world import BEGINS, DAY, SECOND, Line, play, set_up
from tests.examples import examples

decode = msgspec.json.Decoder(AnyLine.__value__).decode


def teller(marketplace: Marketplace) -> Any:
    """The marketplace as something that takes and gives dictionaries."""

    def ask(line: Line) -> Line | None:
        answer = marketplace.take(decode(msgspec.json.encode(line)))
        return None if answer is None else msgspec.to_builtins(answer)

    return ask


def report_of(marketplace: Marketplace, name: str = "report") -> dict[str, Any]:
    ask = teller(marketplace)
    found = ask({"type": "report", "ts": marketplace.market.now, "ask_id": name})
    return {group["adgroup_id"]: group for group in found["adgroups"]}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["request", "view", "old view", "click", "pause", "resume", "budget", "lead", "wait"]
        ),
        st.integers(0, 40),
        st.integers(-50, 4_000),
    ),
    max_size=120,
)


@given(STEPS, st.sampled_from(["day", "total"]), st.sampled_from(["smooth", "fast"]), st.booleans())
@settings(max_examples=examples(60), deadline=None)
def test_no_ad_group_spends_more_than_its_limit_whatever_the_lines_do(
    steps: list[tuple[str, int, int]], mode: str, pacing: str, is_random: bool
) -> None:
    marketplace = Marketplace(1, is_random=is_random)
    ask = teller(marketplace)
    budget = 5_000
    group: Line = {}
    for start in set_up(2, budget_mode=mode, budget_micros=budget, pacing=pacing, countries=[]):
        group = start if start["type"] == "adgroup" else group
        ask(start)
    ts, asked = BEGINS, 0
    for what, number, passed in steps:
        ts = max(BEGINS, ts + passed * SECOND)
        line: Line = {"type": what, "ts": ts, "request_id": f"r{number}"}
        if what == "request":
            asked += 1
            line |= {"request_id": f"r{asked}", "viewer_id": f"v{number}", "floor_micros": 1_000_000 + number}
        elif what == "old view":
            line |= {"type": "view", "request_id": f"r{max(asked - number, 0)}"}
        elif what in {"pause", "resume"}:
            line = {**group, "ts": ts, "status": "off" if what == "pause" else "on"}
        elif what == "budget":
            budget += number  # a budget that grows: what was spent before stays within it
            line = {**group, "ts": ts, "budget_micros": budget}
        elif what == "lead":
            line = {"type": "lead", "ts": ts, "viewer_id": f"v{number}", "advertiser_id": "advertiser 0"}
        elif what == "wait":
            ts += number * 900 * SECOND
            continue
        before = {each.number: each.counted for each in marketplace.market.groups.groups}
        try:
            answer = ask(line)
        except UnusableLine:
            continue
        if answer is not None and answer["ad_id"] is not None:
            assert line["floor_micros"] <= answer["price_micros"] <= answer["offer_micros"]
        for each in marketplace.market.groups.groups:
            assert each.counted <= max(limit_units(each.line), before[each.number])
            assert each.promised >= 0


def test_views_that_come_all_at_once_are_charged_up_to_the_limit_and_no_further() -> None:
    marketplace = Marketplace(1)
    ask = teller(marketplace)
    for line in set_up(1, budget_mode="total", budget_micros=3_000, pacing="fast"):
        ask(line)
    shown = []
    for number in range(400):
        ts = BEGINS + number * 1_000 * SECOND
        line = {"type": "request", "ts": ts, "request_id": f"r{number}", "viewer_id": "v", "country": "IT"}
        answer = ask({**line, "floor_micros": 1_000_000})
        shown += [answer] if answer["ad_id"] else []
    promised = sum(answer["price_micros"] for answer in shown)
    assert promised > 3_000 * UNITS  # promises end, else an ad that is never seen would end the ad group
    for answer in shown:
        with_luck = {"type": "view", "ts": marketplace.market.now, "request_id": answer["request_id"]}
        try:
            ask(with_luck)
        except UnusableLine:
            assert answer["request_id"] not in marketplace.market.records.shown
    assert report_of(marketplace)["group 0"]["spend_micros"] <= 3_000


def test_the_same_lines_give_the_same_answers_and_another_seed_gives_others() -> None:
    def answers(seed: int) -> list[Any]:
        found: list[Any] = []
        ask = teller(Marketplace(seed, settings={"temperature": 0.5, "explore": 0.2}))
        play(lambda line: found.append(ask(line)) or found[-1], requests=600)
        return found

    assert answers(1) == answers(1)
    assert answers(1) != answers(2)


def test_what_is_said_again_changes_nothing_and_is_answered_alike() -> None:
    once, twice = Marketplace(5), Marketplace(5)
    ask, ask_twice = teller(once), teller(twice)
    told = play(ask, requests=700)
    for line in told:
        assert ask_twice(line) == ask_twice(line)
    assert once.save() == twice.save()


def test_lines_of_one_moment_may_come_in_another_order() -> None:
    marketplace = Marketplace(1)
    ask = teller(marketplace)
    for line in set_up(1):
        ask(line)
    for number in range(3):
        line = {"type": "request", "ts": BEGINS + SECOND, "request_id": f"r{number}", "viewer_id": "v"}
        ask({**line, "country": "IT", "floor_micros": 1_000})
    ask({"type": "click", "ts": BEGINS + 3 * SECOND, "request_id": "r2"})
    assert report_of(marketplace, "before")["group 0"]["clicks"] == 0
    ask({"type": "view", "ts": BEGINS + 2 * SECOND, "request_id": "r2"})
    found = report_of(marketplace, "after")["group 0"]
    assert (found["views"], found["clicks"]) == (1, 1)


def test_a_click_without_a_view_and_one_that_was_never_asked_for_count_nothing() -> None:
    marketplace = Marketplace(1)
    ask = teller(marketplace)
    for line in set_up(1):
        ask(line)
    for number in range(3):
        line = {"type": "request", "ts": BEGINS + SECOND, "request_id": f"r{number}", "viewer_id": "v"}
        ask({**line, "country": "IT", "floor_micros": 1_000})
    ask({"type": "click", "ts": BEGINS + SECOND, "request_id": "r2"})
    with pytest.raises(UnusableLine):
        ask({"type": "click", "ts": BEGINS + SECOND, "request_id": "forged"})
    ask({"type": "conversation", "ts": BEGINS + SECOND, "viewer_id": "v", "advertiser_id": "advertiser 0"})
    found = report_of(marketplace)["group 0"]
    assert (found["views"], found["clicks"], found["conversations"], found["spend_micros"]) == (0, 0, 0, 0)


def shown_to(ask: Any, number: int, ts: int, viewer: str = "v") -> None:
    """Ask until an ad is shown to a viewer, see it and click it."""
    for attempt in range(40):
        name = f"r{number}.{attempt}"
        line = {"type": "request", "ts": ts, "request_id": name, "viewer_id": viewer, "country": "IT"}
        answer = ask({**line, "floor_micros": 1_000})
        if answer["ad_id"]:
            ask({"type": "view", "ts": ts, "request_id": name})
            ask({"type": "click", "ts": ts, "request_id": name})
            return
    raise AssertionError("no ad was shown")


def test_a_lead_counts_once_and_only_within_the_window_of_its_click() -> None:
    marketplace = Marketplace(1)
    ask = teller(marketplace)
    for line in set_up(1, click_window_s=3_600, view_window_s=60):
        ask(line)
    shown_to(ask, 1, BEGINS + SECOND, "quick")
    shown_to(ask, 2, BEGINS + SECOND, "slow")
    about = {"type": "lead", "advertiser_id": "advertiser 0", "source": "form"}
    ask({**about, "viewer_id": "quick", "ts": BEGINS + 3_601 * SECOND})
    ask({**about, "viewer_id": "slow", "ts": BEGINS + 3_602 * SECOND})
    ask({**about, "viewer_id": "quick", "ts": BEGINS + 3_603 * SECOND})
    assert report_of(marketplace)["group 0"]["leads"] == 1


def test_a_window_that_is_changed_leaves_earlier_clicks_alone() -> None:
    marketplace = Marketplace(1)
    ask = teller(marketplace)
    lines = list(set_up(1, click_window_s=3_600))
    for line in lines:
        ask(line)
    shown_to(ask, 1, BEGINS + SECOND)
    ask({**lines[0], "ts": BEGINS + 2 * SECOND, "click_window_s": 60, "view_window_s": 60})
    about = {"type": "conversation", "advertiser_id": "advertiser 0", "viewer_id": "v"}
    ask({**about, "ts": BEGINS + 1_000 * SECOND})
    assert report_of(marketplace)["group 0"]["conversations"] == 1


def test_an_ad_group_serves_by_its_status_schedule_country_and_day() -> None:
    marketplace = Marketplace(1)
    ask = teller(marketplace)
    group, ad = set_up(1, starts_ts=BEGINS + DAY, ends_ts=BEGINS + 2 * DAY, budget_mode="infinite")
    ask(group)
    ask(ad)

    def is_shown(number: int, ts: int, country: str = "IT") -> bool:
        asked = 0
        for attempt in range(20):
            line = {"type": "request", "ts": ts, "request_id": f"{number}.{attempt}", "viewer_id": "v"}
            asked += ask({**line, "country": country, "floor_micros": 1_000})["ad_id"] is not None
        return asked > 0

    assert not is_shown(1, BEGINS + DAY - 1)
    assert is_shown(2, BEGINS + DAY)
    assert not is_shown(3, BEGINS + DAY, "SG")
    ask({**group, "ts": BEGINS + DAY + 1, "status": "off"})
    assert not is_shown(4, BEGINS + DAY + 2)
    ask({**group, "ts": BEGINS + DAY + 3})
    assert is_shown(5, BEGINS + 2 * DAY - 1)
    assert not is_shown(6, BEGINS + 2 * DAY)


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=20),
    st.lists(st.one_of(st.text(max_size=5), st.integers()), max_size=5),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2), st.integers(10**20, 10**300),
)  # fmt: skip


@given(st.lists(st.dictionaries(st.text(max_size=8), ODD, max_size=6), min_size=1, max_size=20))
@settings(max_examples=examples(50), deadline=None)
def test_features_of_any_shape_leave_every_number_finite(bags: list[dict[str, Any]]) -> None:
    marketplace = Marketplace(1)
    ask = teller(marketplace)
    for line in set_up(2):
        ask({**line, "features": bags[0]} if line["type"] == "ad" else line)
    for number, features in enumerate(bags):
        ts = BEGINS + number * 400 * SECOND
        line = {
            "type": "request",
            "ts": ts,
            "request_id": f"r{number}",
            "viewer_id": "v",
            "features": features,
        }
        answer = ask({**line, "country": "IT", "floor_micros": 1_000})
        assert all(math.isfinite(value) for value in answer.values() if isinstance(value, float))
        if answer["ad_id"]:
            ask({"type": "view", "ts": ts, "request_id": f"r{number}"})
    assert np.isfinite(marketplace.market.learned.table).all()


def test_a_feature_with_a_million_values_fills_neither_the_memory_nor_the_weights() -> None:
    marketplace = Marketplace(1)
    ask = teller(marketplace)
    for line in set_up(1, budget_mode="infinite"):
        ask(line)
    for number in range(3_000):
        ts = BEGINS + number * SECOND
        line = {"type": "request", "ts": ts, "request_id": f"r{number}", "viewer_id": "v", "country": "IT"}
        ask({**line, "features": {"session": f"session {number}"}, "floor_micros": 1_000})
    known = marketplace.market.asked_fields.by_name["session"]
    assert len(known.hashes) < 100
    assert len(known.counts) <= 20_000


def test_features_are_kept_as_they_were_when_the_ad_was_chosen() -> None:
    """No feature looks into the future: what comes after a request changes nothing that was kept of it."""
    marketplace = Marketplace(1)
    market, kept = marketplace.market, {}
    ask = teller(marketplace)
    changed: Counter[str] = Counter()

    def watch(line: Line) -> Line | None:
        answer = ask(line)
        if line["type"] == "request" and answer is not None and answer["ad_id"]:
            kept[line["request_id"]] = features_of(market, line["request_id"])
        for name, before in kept.items():
            shown = market.records.shown.get(name)
            if shown is not None and shown.place >= 0 and features_of(market, name) != before:
                changed[name] += 1
        return answer

    play(watch, requests=250)
    assert kept
    assert not changed


def features_of(market: Any, name: str) -> Any:
    place = market.records.shown[name].place
    count = int(market.snapshots.counts[place])
    arrays = (market.snapshots.hashes, market.snapshots.values, market.snapshots.between)
    return [each[place][:count].tolist() for each in arrays]


def test_what_is_known_of_a_viewer_at_a_request_is_what_happened_before_it() -> None:
    """The same past gives the same decision, whatever the future holds."""
    told = play(teller(Marketplace(2)), requests=500)
    half = next(place for place, line in enumerate(told) if line.get("request_id") == "r400")
    first = [teller(Marketplace(2)) for _ in range(2)]
    with_future = [first[0](line) for line in told][:half]
    alone = [first[1](line) for line in told[:half]]
    assert with_future == alone


def test_a_saved_marketplace_goes_on_like_the_one_that_was_saved() -> None:
    going, other = Marketplace(3), Marketplace(3)
    told = play(teller(Marketplace(3)), requests=1_200, days=3.0)
    half = len(told) // 2
    for line in told[:half]:
        teller(going)(line)
    other.restore(going.save())
    assert [_answer(going, line) for line in told[half:]] == [_answer(other, line) for line in told[half:]]
    assert going.save() == other.save()


def _answer(marketplace: Marketplace, line: Line) -> Line | str | None:
    """Return the answer, or why the line was of no use: saving ends a training, so later ads may differ."""
    try:
        answer: Line | None = teller(marketplace)(line)
    except UnusableLine as error:
        return str(error)
    return answer


def test_bytes_that_are_not_whole_or_of_another_marketplace_are_found() -> None:
    saved = Marketplace(3).save()
    with pytest.raises(Damaged):
        Marketplace(3).restore(saved[:-1])
    with pytest.raises(Damaged):
        Marketplace(3).restore(saved[:100] + bytes([saved[100] ^ 1]) + saved[101:])
    with pytest.raises(Damaged):
        Marketplace(3).restore(b"")
    with pytest.raises(Different):
        Marketplace(4).restore(saved)


def test_learning_raises_what_is_expected_of_those_who_respond() -> None:
    marketplace = Marketplace(1)
    ask = teller(marketplace)
    found: list[tuple[bool, float]] = []

    def watch(line: Line) -> Line | None:
        answer = ask(line)
        if line["type"] == "request" and answer is not None and answer["ad_id"]:
            taste, ad = int(line["features"]["taste"].split()[1]), int(answer["ad_id"].split()[1])
            found.append((taste == ad % 5, answer["p_click"]))
        return answer

    play(watch, requests=6_000, days=2.0)
    late = found[len(found) // 2 :]
    liked = [p for likes, p in late if likes]
    others = [p for likes, p in late if not likes]
    assert sum(liked) / len(liked) > 1.5 * sum(others) / len(others)


def test_a_decision_is_an_answer() -> None:
    marketplace = Marketplace(1)
    answer = marketplace.take(decode(b'{"type":"request","ts":5,"request_id":"a","viewer_id":"v"}'))
    assert isinstance(answer, Decision)
    assert answer.ad_id is None


CAP_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["request", "request", "view", "wait", "cap", "save"]),
        st.integers(0, 3),
        st.integers(0, 20),
    ),
    min_size=10,
    max_size=120,
)


class CappedViews:
    """One capped ad group, and what a test saw of its views: their times, and decisions without one."""

    def __init__(self) -> None:
        self.marketplace = Marketplace(1)
        self.ts, self.frequency, self.days = BEGINS, 2, 1
        self.seen: dict[str, list[int]] = {}
        self.waiting: dict[str, tuple[str, int]] = {}
        lines = set_up(1, budget_mode="infinite", pacing="fast", frequency=2, frequency_schedule=1)
        self.group, ad = lines
        self.tell(self.group)
        self.tell(ad)

    def tell(self, line: Line) -> Any:
        return teller(self.marketplace)(line)

    def do(self, what: str, viewer: int, number: int) -> None:
        self.ts += SECOND
        if what == "request":
            self.ask(f"v{viewer}")
        elif what == "view" and self.waiting:
            name = list(self.waiting)[number % len(self.waiting)]
            self.seen.setdefault(self.waiting.pop(name)[0], []).append(self.ts)
            self.tell({"type": "view", "ts": self.ts, "request_id": name})
        elif what == "wait":
            self.ts += number * 3_600 * SECOND
            limit = self.ts - 900 * SECOND
            self.waiting = {name: each for name, each in self.waiting.items() if each[1] > limit}
        elif what == "cap":
            self.frequency, self.days = 1 + viewer, 1 + number % 3
            cap = {"frequency": self.frequency, "frequency_schedule": self.days}
            self.tell({**self.group, "ts": self.ts, **cap})
        elif what == "save":
            restored = Marketplace(1)
            restored.restore(self.marketplace.save())
            self.marketplace = restored

    def ask(self, viewer: str) -> None:
        """Ask for an ad, which must be within the cap with all views and decisions of the last days."""
        asked = {"type": "request", "ts": self.ts, "request_id": f"r{self.ts}", "viewer_id": viewer}
        if self.tell({**asked, "country": "IT", "floor_micros": 1})["ad_id"]:
            self.waiting[f"r{self.ts}"] = (viewer, self.ts)
            lately = sum(at > self.ts - self.days * DAY for at in self.seen.get(viewer, ()))
            assert lately + sum(each[0] == viewer for each in self.waiting.values()) <= self.frequency


@given(CAP_STEPS)
@settings(max_examples=examples(60), deadline=None)
def test_no_viewer_sees_a_capped_ad_group_more_often_whatever_the_lines_do(
    steps: list[tuple[str, int, int]],
) -> None:
    """Views come within the time that they are waited for; caps change, and the state is saved and read."""
    views = CappedViews()
    for step in steps:
        views.do(*step)


def test_a_frequency_cap_ends_with_the_line_that_takes_it_away_and_counts_views_before_it() -> None:
    marketplace = Marketplace(1)
    ask = teller(marketplace)
    lines = list(set_up(1, budget_mode="infinite", pacing="fast"))
    group = next(line for line in lines if line["type"] == "adgroup")
    for line in lines:
        ask(line)

    def see(number: int, viewer: str = "v") -> bool:
        ts = BEGINS + number * 60 * SECOND
        asked = {"type": "request", "ts": ts, "request_id": f"r{number}", "viewer_id": viewer}
        answer = ask({**asked, "country": "IT", "floor_micros": 1})
        if answer["ad_id"]:
            ask({"type": "view", "ts": ts, "request_id": f"r{number}"})
        return answer["ad_id"] is not None

    see(0, "the first of all, for whom nothing is worth anything yet")
    assert [see(number) for number in range(1, 4)] == [True] * 3
    ask({**group, "ts": BEGINS + 200 * SECOND, "frequency": 4, "frequency_schedule": 7})
    assert [see(number) for number in range(4, 7)] == [True, False, False]
    assert see(7, "somebody else")
    ask({**group, "ts": BEGINS + 480 * SECOND})
    assert see(9)


def test_an_ad_that_came_before_its_ad_group_is_taken_when_it_is_sent_again() -> None:
    marketplace = Marketplace()
    group, ad = list(set_up(ads=1))
    ask = teller(marketplace)
    with pytest.raises(UnusableLine):
        ask(ad)
    ask(group)
    ask(ad)
    assert marketplace.market.groups.ad_ids == ["ad 0"]
