"""The definition against brute force, and the worked cases of those who sell ads."""

import json
import random
from typing import Any

import msgspec
import pytest

from contatto import attribute, report
from contatto.measurement.engines.definition import DIALECTS
from contatto.measurement.engines.events import (
    EngineName,
    EngineOptions,
    answered,
    list_attributions,
    load_report,
)
from contatto.measurement.engines.staging import EngineFailed
from contatto.measurement.model import AttributionPolicy
from tests.measurement import oracle
from tests.measurement.cases import DAY, SECOND, joined, world
from tools.statements import FOLDER, emitted

Row = dict[str, Any]
DUCKDB = EngineName.DUCKDB
HOUR = 3_600 * SECOND
NOON = 1_767_268_800 * SECOND  # Thursday the 1st of January 2026


def refuse(line: int, fault: str) -> None:
    pytest.fail(f"line {line}: {fault}")


def answers(
    rows: list[Row],
    policy: AttributionPolicy | None = None,
    engine: EngineName = DUCKDB,
    connection: str = "",
) -> list[Row]:
    """Every row that comes out, in an order of its own."""
    with answered(rows, EngineOptions(policy, engine, connection), refuse) as staged:
        found = load_report(staged)
        lines = [*list_attributions(staged), *found.days, *found.totals, *found.unattributed]
    return in_order(msgspec.to_builtins(lines))


def in_order(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))


@pytest.fixture(scope="module")
def thousand() -> list[list[Row]]:
    return [world(seed) for seed in range(1_000)]


@pytest.mark.parametrize("policy", list(AttributionPolicy))
def test_a_thousand_small_worlds_come_out_as_by_brute_force(
    thousand: list[list[Row]], policy: AttributionPolicy
) -> None:
    found = answers(joined(thousand), policy)
    wanted = in_order([row for rows in thousand for row in oracle.answer(rows, policy)])
    assert len(found) == len(wanted)
    assert [(one, other) for one, other in zip(found, wanted, strict=True) if one != other][:3] == []


def test_postgresql_finds_the_same(postgres_url: str, thousand: list[list[Row]]) -> None:
    rows = joined(thousand[:50])
    for policy in AttributionPolicy:
        wanted = in_order([row for each in thousand[:50] for row in oracle.answer(each, policy)])
        assert answers(rows, policy, EngineName.POSTGRES, postgres_url) == wanted


def test_an_engine_that_is_not_there_is_told(postgres_url: str) -> None:
    with pytest.raises(EngineFailed, match="--connection"):
        answers(world(1), engine=EngineName.POSTGRES)
    for extra in (EngineName.SAIL, EngineName.CLICKHOUSE):
        with pytest.raises(EngineFailed, match=rf"contatto\[{extra}\]"):
            answers(world(1), engine=extra)
    with pytest.raises(EngineFailed, match="takes no --connection"):
        answers(world(1), None, EngineName.CLICKHOUSE, "http://127.0.0.1:8123")
    with pytest.raises(EngineFailed, match="nowhere"):
        answers(world(1), None, EngineName.POSTGRES, postgres_url.rpartition("/")[0] + "/nowhere")


@pytest.mark.parametrize("seed", range(3))
def test_larger_worlds_come_out_as_by_brute_force(seed: int) -> None:
    rows = world(seed, touches=3_000)
    assert answers(rows) == in_order(oracle.answer(rows))


def test_any_order_of_lines_and_any_replay_give_the_same(thousand: list[list[Row]]) -> None:
    rows = joined(thousand[:50])
    wanted = answers(rows)
    chance = random.Random(7)  # noqa: S311  # seeded
    windows = [row for row in rows if row["type"] == "window"]  # the one kind whose order may count
    for _ in range(3):
        others = [row for row in rows if row["type"] != "window"]
        others += chance.choices(others, k=200)
        chance.shuffle(others)
        assert answers([*others[:500], *windows, *others[500:]]) == wanted


def test_the_shipped_sql_is_what_the_definition_emits() -> None:
    shipped = {
        str(path.relative_to(FOLDER)): path.read_text(encoding="utf-8") for path in FOLDER.rglob("*.sql")
    }
    assert shipped == emitted(), "run `make docs`"
    assert {name.split("/")[3] for name in shipped if name.startswith("measurement")} == set(DIALECTS)


class Story:
    """A file told in words: one business in UTC, ad groups, and one person."""

    def __init__(self, timezone: str = "UTC") -> None:
        self.rows: list[Row] = [{"type": "business", "business_id": "shop", "timezone": timezone}]
        self._ids = 0

    def group(self, name: str, goal: str = "lead") -> None:
        self.rows.append(
            {"type": "adgroup", "adgroup_id": name, "campaign_id": "c", "business_id": "shop", "goal": goal}
        )

    def window(self, group: str, since: int, click_s: int | None, view_s: int | None) -> None:
        row = {"type": "window", "adgroup_id": group, "from_ts": since, "click_s": click_s, "view_s": view_s}
        self.rows.append(row)

    def touch(self, group: str, kind: str, ts: int, cost: int = 0) -> int:
        self._ids += 1
        self.rows.append(
            {
                "type": "touch",
                "touch_id": self._ids,
                "user_id": "ana",
                "adgroup_id": group,
                "ad_id": "ad",
                "kind": kind,
                "ts": ts,
                "cost_micros": cost,
            }
        )
        return self._ids

    def converts(self, ts: int, kind: str = "lead") -> int:
        self._ids += 1
        self.rows.append(
            {
                "type": "conversion",
                "conversion_id": self._ids,
                "user_id": "ana",
                "business_id": "shop",
                "kind": kind,
                "ts": ts,
            }
        )
        return self._ids

    def won_by(self, conversion: int, policy: str | None = None) -> tuple[Any, ...]:
        found = {row.conversion_id: row for row in attribute(self.rows, policy=policy)}[conversion]
        return found.adgroup_id, found.via


def test_a_conversation_ad_and_then_a_lead_ad() -> None:
    """R49: the chat began through a Conversation ad, the details were shared through a Lead ad."""
    story = Story()
    story.group("talk", "conversation")
    story.group("lead")
    story.touch("talk", "click", NOON)
    chat = story.converts(NOON + HOUR, "conversation")
    story.touch("lead", "click", NOON + DAY)
    lead = story.converts(NOON + DAY + HOUR)
    assert story.won_by(chat) == ("talk", "click")
    assert story.won_by(lead) == ("lead", "click")


@pytest.mark.parametrize(
    ("touches", "winner"),
    [
        pytest.param([("A", "view", 0)], ("A", "view"), id="A: only a view, within a day"),
        pytest.param([("A", "click", -2), ("B", "view", 0)], ("A", "click"), id="B: a click, then a view"),
        pytest.param([("A", "view", -2), ("B", "view", 0)], ("B", "view"), id="C: two views, one too old"),
        pytest.param([("A", "click", -6), ("B", "click", -2)], ("B", "click"), id="D: two clicks"),
        pytest.param([("A", "click", -8), ("B", "view", -2)], (None, None), id="E: all too old"),
    ],
)
def test_three_ads_and_one_credit(touches: list[tuple[str, str, int]], winner: tuple[str, str]) -> None:
    story = Story()
    for name in ("A", "B"):
        story.group(name)
    for name, kind, days in touches:
        story.touch(name, kind, NOON + days * DAY)
    assert story.won_by(story.converts(NOON + HOUR)) == winner


def test_a_click_prevails_over_a_later_view_unless_the_last_touch_is_wanted() -> None:
    story = Story()
    story.group("clicked")
    story.group("seen")
    story.touch("clicked", "click", NOON)
    story.touch("seen", "view", NOON + HOUR)
    lead = story.converts(NOON + 2 * HOUR)
    assert story.won_by(lead) == ("clicked", "click")
    assert story.won_by(lead, "last_touch") == ("seen", "view")


def test_a_click_on_monday_and_a_lead_on_tuesday() -> None:
    monday = NOON + 4 * DAY
    story = Story("Europe/Rome")
    story.group("lead")
    story.touch("lead", "click", monday, cost=1_000_001)
    story.converts(monday + DAY)
    story.converts(monday + DAY + 1)
    days = {row.day: row for row in report(story.rows).days}
    assert list(days) == ["2026-01-05", "2026-01-06"]
    assert (days["2026-01-05"].conversions, days["2026-01-05"].rt_conversions) == (2, 0)
    assert (days["2026-01-06"].conversions, days["2026-01-06"].rt_conversions) == (0, 2)
    assert days["2026-01-05"].cost_per_conversion_micros == 500_000
    assert days["2026-01-06"].cost_per_conversion_micros is None


def test_a_window_that_changes_later_leaves_earlier_touches_alone() -> None:
    story = Story()
    story.group("lead")
    story.window("lead", NOON + 1, 60, None)
    story.touch("lead", "click", NOON)
    assert story.won_by(story.converts(NOON + 6 * DAY)) == ("lead", "click")


def test_of_two_windows_from_the_same_moment_the_later_line_counts() -> None:
    story = Story()
    story.group("lead")
    story.window("lead", NOON, 86_400, None)
    story.window("lead", NOON, 60, None)
    story.touch("lead", "click", NOON)
    assert story.won_by(story.converts(NOON + HOUR)) == (None, None)


def test_ids_may_be_numbers_and_come_back_as_they_were() -> None:
    story = Story()
    story.rows[0]["business_id"] = 7
    row = {"type": "adgroup", "adgroup_id": 9, "campaign_id": 1, "business_id": 7, "goal": "lead"}
    story.rows.append(row)
    story.touch(9, "click", NOON)  # type: ignore[arg-type]  # a number on purpose
    lead = story.converts(NOON)
    story.rows[-1]["business_id"] = 7
    assert story.won_by(lead) == (9, "click")
    assert report(story.rows).unattributed[0].business_id == 7
