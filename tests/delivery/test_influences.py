"""What a model goes by: the fields that decide come first, values of few are not told, nothing else is."""

import random

import pytest

from contatto.learning.evaluation import FEW, weigh_influences
from contatto.learning.marketplace import new_marketplace
from contatto.learning.model import (
    AdGroupLine,
    AdLine,
    ClickLine,
    Decision,
    Influence,
    InfluenceSource,
    LineBudgetMode,
    Question,
    RequestLine,
    ViewLine,
)

SECOND = 1_000_000
BEGINS = 1_767_225_600 * SECOND


@pytest.fixture(scope="module")
def found() -> list[Influence]:
    """Who likes tea taps three times in five, others one in ten; their own names tell nothing."""
    market, chance = new_marketplace(3), random.Random(4)  # noqa: S311 — seeded
    market.take(AdGroupLine(BEGINS, "1", "shop", budget_mode=LineBudgetMode.DAY, budget_micros=10**12))
    market.take(AdLine(BEGINS, "2", "1", {"format": "SINGLE_IMAGE"}))
    for number in range(1_200):
        ts, name = BEGINS + number * 60 * SECOND, f"request {number}"
        likes = chance.choice(["tea", "cars", "shoes"])
        said = {"likes": likes, "own": [f"name {number}"]}
        answer = market.take(RequestLine(ts, name, f"viewer {number}", "SG", said, 1))
        if not isinstance(answer, Decision) or answer.ad_id is None:
            continue
        market.take(ViewLine(ts + SECOND, name))
        if chance.random() < (0.6 if likes == "tea" else 0.1):
            market.take(ClickLine(ts + 2 * SECOND, name))
    return weigh_influences(market.market)


def test_the_field_that_decides_comes_first_with_its_values(found: list[Influence]) -> None:
    first = next(each for each in found if each.question is Question.CLICK)
    assert (first.source, first.name) == (InfluenceSource.FIELD, "likes")
    assert first.most is not None
    assert first.least is not None
    assert first.most.value == "tea"
    assert first.most.times > 1.3 > 1.0 > first.least.times


def test_values_that_few_viewers_have_are_not_told(found: list[Influence]) -> None:
    own = [each for each in found if each.name == "own"]
    assert all(each.most is None and each.least is None for each in own)
    assert "name 1" not in repr(found)


def test_of_a_question_that_hardly_arose_nothing_is_told(found: list[Influence]) -> None:
    assert FEW > 0
    assert {each.question for each in found} == {Question.CLICK, Question.CONVERSATION}
    assert weigh_influences(new_marketplace(1).market) == []
