"""Source stays readable: counts of `tools.readability` stay under their limits, which only fall."""

import tomllib
from pathlib import Path

import pytest

from tests.house.tree import ROOT, plant
from tools.readability import LIMITS, check_subject, count_all, is_empty, list_findings, list_sources

SPARE = 1.03
"""A limit that lies further above its count has to be lowered: `python -m tools.readability --lower`."""


@pytest.fixture(scope="module")
def counts() -> dict[str, float]:
    return count_all(ROOT)


@pytest.fixture(scope="module")
def limits() -> dict[str, float]:
    return tomllib.loads((ROOT / LIMITS).read_text(encoding="utf-8"))


def test_no_count_is_above_its_limit(counts: dict[str, float], limits: dict[str, float]) -> None:
    assert limits.keys() == counts.keys()
    assert {name: count for name, count in counts.items() if count > limits[name]} == {}


def test_limits_fall_with_their_counts(counts: dict[str, float], limits: dict[str, float]) -> None:
    high = {name: limit for name, limit in limits.items() if limit > counts[name] * SPARE + 3}
    assert high == {}, "python -m tools.readability --lower"


@pytest.mark.parametrize(
    "name", ["found", "told", "each", "_asked", "keeps", "other_things", "KnownOnes", "heard"]
)
def test_names_without_a_noun_are_empty(name: str) -> None:
    assert is_empty(name) is (name != "KnownOnes")


@pytest.mark.parametrize("name", ["matches", "known_viewers", "ask_number", "lead", "tenant"])
def test_names_with_a_noun_are_not_empty(name: str) -> None:
    assert not is_empty(name)


def test_planted_faults_are_found(tmp_path: Path) -> None:
    plant(
        tmp_path,
        "src/contatto/planted.py",
        '"""Whether leads are foretold."""\n\n\n'
        "def keep(told: int) -> int:\n"
        f'    """{"Return a number of " + "very " * 30 + "long sentences."}"""\n'
        "    found = told  # nobody hears of it\n"
        "    return _inner(found)\n\n\n"
        "def _inner(count: int) -> int:\n    return count\n",
    )
    plant(tmp_path, "src/contatto/planted.html", "<p>This is told {{ what_it_is }} by itself</p>\n")
    found = [(finding.rule, finding.line) for finding in list_findings(tmp_path, list_sources(tmp_path))]
    assert sorted(found) == [
        ("empty_names", 4), ("empty_names", 4), ("empty_names", 6), ("long_sentences", 5), ("openers", 1),
        ("phrases", 1), ("phrases", 6), ("phrases", 6), ("phrases_on_screens", 1),
    ]  # fmt: skip
    counts = count_all(tmp_path)
    assert counts["short_modules"] == counts["private_functions_used_once"] == 1


@pytest.mark.parametrize(
    "subject",
    ["Retry HubSpot deliveries after a merge", "Merge branch of leads", "Name the limit of a file"],
)
def test_plain_subjects_of_commits_pass(subject: str) -> None:
    assert check_subject(f"{subject}\n\nBecause.\n") == []


@pytest.mark.parametrize(
    "subject",
    ["", "fix bug", "Fixed a bug", "Whether leads are kept", "Leads whose person is gone", "A" * 73],
)
def test_other_subjects_of_commits_are_refused(subject: str) -> None:
    assert check_subject(subject)
