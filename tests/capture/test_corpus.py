import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from contatto.capture.rules import MARKETS, detect_contacts, detect_contacts_batch

FIXTURES = Path(__file__).parents[1] / "fixtures" / "capture"
DEV_SET = Path(__file__).parents[3] / "shared" / "data" / "capture_dev.jsonl"
CASELESS = {"line", "wechat"}

type Row = dict[str, Any]


def read(*files: Path) -> list[Row]:
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def canon(field: str, value: str) -> tuple[str, str]:
    return field, value.casefold() if field in CASELESS else value


class Score:
    def __init__(self, rows: list[Row]) -> None:
        self.hits, self.extras, self.missed = Counter[str](), Counter[str](), Counter[str]()
        self.empty = self.empty_hit = 0
        for row in rows:
            wanted = {canon(pair["field"], pair["value"]) for pair in row["expect"]}
            matches = detect_contacts(row["text"], row["country"])
            found = {canon(match.field.value, match.value) for match in matches}
            self.hits.update(field for field, _ in wanted & found)
            self.extras.update(field for field, _ in found - wanted)
            self.missed.update(field for field, _ in wanted - found)
            self.empty += not wanted
            self.empty_hit += not wanted and bool(found)

    def precision(self) -> float:
        return self.hits.total() / (self.hits.total() + self.extras.total())

    def recall(self) -> float:
        return self.hits.total() / (self.hits.total() + self.missed.total())

    def worst_f1(self) -> float:
        return min(
            2 * self.hits[field] / (2 * self.hits[field] + self.extras[field] + self.missed[field])
            for field in self.hits
        )

    def assert_targets(self) -> None:
        assert self.precision() >= 0.985
        assert self.recall() >= 0.975
        assert self.worst_f1() >= 0.95
        assert self.empty_hit / self.empty <= 0.008
        assert len(self.hits) == 12


@pytest.fixture(scope="module")
def own_rows() -> list[Row]:
    return read(*sorted(FIXTURES.glob("*.jsonl")))


def test_our_set_is_as_wide_as_we_say(own_rows: list[Row]) -> None:
    languages = defaultdict(set)
    for row in own_rows:
        for pair in row["expect"]:
            languages[pair["field"]].add(row["lang"])
    assert len(own_rows) >= 1_500
    assert {row["country"] for row in own_rows} == set(MARKETS)
    assert min(map(len, languages.values())) >= 8
    assert sum(not row["expect"] for row in own_rows) / len(own_rows) >= 0.45


def test_no_message_is_there_twice(own_rows: list[Row]) -> None:
    assert len({row["id"] for row in own_rows}) == len(own_rows)
    assert len({row["text"] for row in own_rows}) == len(own_rows)


def test_every_market_has_numbers_of_its_own(own_rows: list[Row]) -> None:
    markets = {row["country"] for row in own_rows for pair in row["expect"] if pair["field"] == "phone"}
    assert markets == set(MARKETS)


def test_the_targets_hold_on_our_set(own_rows: list[Row]) -> None:
    Score(own_rows).assert_targets()


def test_the_targets_hold_on_the_shared_set() -> None:
    if not DEV_SET.exists():
        pytest.skip(f"{DEV_SET.name} is not beside this project")
    Score(read(DEV_SET)).assert_targets()


def test_evidence_is_always_a_slice_of_the_message(own_rows: list[Row]) -> None:
    for row in own_rows:
        for match in detect_contacts(row["text"], row["country"]):
            assert row["text"][match.start : match.end] == match.raw


def test_a_batch_finds_what_one_by_one_finds(own_rows: list[Row]) -> None:
    rows = [*own_rows, *(read(DEV_SET) if DEV_SET.exists() else [])]
    messages = [(row["text"], row["country"]) for row in rows]
    pairs = zip(messages, messages[7:], strict=False)
    messages += [(f"{first}, {second}", country) for (first, country), (second, _) in pairs]
    assert detect_contacts_batch(messages) == [detect_contacts(*message) for message in messages]
