"""Numbers of features: knots where they are, also when they wander."""

import math

import pytest

from contatto.learning.features import KNOTS, MOST_KNOTS, FeatureFields, FieldValues
from contatto.learning.marketplace import Replica
from tests.delivery.test_replica import learned


def test_numbers_that_wander_out_of_the_first_ones_are_told_apart_again() -> None:
    """A rate that stands still for weeks has one knot; later ones would all count as that one."""
    values = FieldValues("rate")
    for _ in range(300):
        values.place_number(4.9)
    assert values.place_number(1.2) == values.place_number(0.7)
    low, ([only], _) = values.hash_named("tail", "< 4.9"), values.place_number(4.9)
    assert values.place_number(0.7) == ([low, only], [1.0, 1.0])
    for number in range(300):
        values.place_number(0.5 + number % 40 / 10)
    assert values.place_number(1.2) != values.place_number(0.7)
    assert values.place_number(4.9) == ([values.hashes["4.9"]], [1.0])
    for number in range(30_000):
        values.place_number(float(number))
    assert len(values.knots) < MOST_KNOTS + KNOTS


def test_numbers_that_hardly_anybody_has_share_a_feature() -> None:
    """What one new account of a click farm teaches holds for the next one, of another age."""
    values = FieldValues("account_days")
    for number in range(300):
        values.place_number(float(10 + number))
    low, high = values.hash_named("tail", "< 11"), values.hash_named("tail", "> 264")
    assert (low, 1.0) in zip(*values.place_number(0.0), strict=True)
    assert (low, 1.0) in zip(*values.place_number(3.0), strict=True)
    assert (high, 1.0) in zip(*values.place_number(900.0), strict=True)
    assert not {low, high} & {*values.place_number(11.0)[0], *values.place_number(264.0)[0]}


def test_a_copy_that_serves_learns_no_knots() -> None:
    saved, _ = learned(5)
    fields = Replica(7, 1, saved).market.asked_fields
    values = fields.values_of("age")
    assert values is not None
    values.knots = [30.0, 31.0]
    for number in range(600):
        values.place_number(float(number))
    assert values.knots == [30.0, 31.0]


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, 10**400, -(10**400)])
def test_a_number_that_is_none_or_beyond_all_bounds_leaves_every_weight_finite(odd: float) -> None:
    fields = FeatureFields("request")
    for number in [1.0, 2.0, odd] * 200:
        hashes, weights = fields.hash_features({"rate": number}, 40, print)
        assert hashes
        assert all(math.isfinite(weight) for weight in weights)
    assert all(math.isfinite(knot) for knot in fields.by_name["rate"].knots)
