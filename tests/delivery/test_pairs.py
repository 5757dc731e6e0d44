"""Pairs of what requests say: found where two fields tell more together, and nowhere else."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contatto.delivery.model.lines import AdGroupLine, AdLine, RequestLine
from contatto.delivery.predict.backfilling import Observed, add_to_kept
from contatto.delivery.predict.fields import Fields
from contatto.delivery.predict.groups import Groups
from contatto.delivery.predict.marketplace import Marketplace
from contatto.delivery.predict.pairs import (
    FIRST_CLICKS,
    LEAST_GAIN,
    MOST_PAIRS,
    STRENGTH,
    Missed,
    Pair,
    Pairs,
    cuts_of,
    find_pairs,
    name_pair,
    read_codes,
)
from contatto.delivery.predict.records import Snapshots
from contatto.delivery.rules.columns import F_ASKED, HEADS, HEADS_AGAIN
from contatto.delivery.rules.hashing import slot_of
from contatto.delivery.rules.pairing import CODES, pair_gain
from tests.examples import examples

ADS = 6
SEEN = 4_000


def gain_of(seed: int, *, together: float = 0.0, alone: float = 0.0, compiled: bool = True) -> float:
    """The gain of two fields of six and three values, told by 4,000 observations of six ads in three fields.

    ``together`` is how strongly both tell, ``alone`` how strongly the first does, in each ad of its own.
    """
    rng = np.random.default_rng(seed)
    left, right, ad = rng.integers(1, 7, SEEN), rng.integers(1, 4, SEEN), rng.integers(0, ADS, SEEN)
    scores = together * rng.normal(0.0, 1.0, (ADS, 7, 4))[ad, left, right]
    scores += alone * rng.normal(0.0, 1.0, (ADS, 7))[ad, left]
    p = np.full(SEEN, 0.2)
    came = rng.random(SEEN) < 1.0 / (1.0 + np.exp(1.386 - scores))
    ads, features = np.zeros((ADS, 3), np.int64), np.zeros((ADS, 24), np.int64)
    ads[:, 2], features[:, 0] = 1, np.arange(ADS)
    gain: Any = pair_gain if compiled else getattr(pair_gain, "py_func", pair_gain)
    return float(
        gain(
            left, right, ad, ads, features, np.arange(1, ADS + 1), np.array([0] + [1] * ADS), came - p,
            p * (1.0 - p), np.zeros((ADS + 1, CODES, CODES, 3)),
        )
    )  # fmt: skip


def test_two_fields_that_tell_more_together_are_found() -> None:
    assert min(gain_of(seed, together=1.0) for seed in range(5)) > LEAST_GAIN


def test_fields_that_tell_nothing_are_no_pair() -> None:
    assert max(gain_of(seed) for seed in range(100)) < LEAST_GAIN


def test_what_one_field_tells_alone_is_no_pair() -> None:
    assert max(gain_of(seed, alone=0.6) for seed in range(50)) < LEAST_GAIN


def test_compiled_and_python_find_the_same_to_the_last_bit() -> None:
    if not hasattr(pair_gain, "py_func"):
        pytest.skip("no compiler here")
    assert gain_of(1, together=0.3) == gain_of(1, together=0.3, compiled=False)


FEATURES = st.fixed_dictionaries(
    {},
    optional={
        "age": st.sampled_from(["young", "old", "other"]),
        "member": st.booleans(),
        "visits": st.floats(-50.0, 50.0),
    },
)


@settings(max_examples=examples(60), deadline=None)
@given(told=st.lists(FEATURES, min_size=1, max_size=30))
def test_what_is_kept_of_a_request_tells_the_same_values_as_the_request(
    told: list[dict[str, object]],
) -> None:
    """The learner finds pairs in kept features, and serving makes them of told ones: both mean the same."""
    fields, kept = Fields("request"), Snapshots()
    for number in range(400):  # so that numbers are told apart
        fields.hash_features({"visits": float(number % 97) - 48.0, "age": "young", "member": True}, 40, print)
    places = np.arange(len(told))
    for place, features in enumerate(told):
        hashes, shares = fields.hash_features(features, 40, print)
        kept.hashes[place, : len(hashes)], kept.values[place, : len(shares)] = hashes, shares
        kept.counts[place] = len(hashes)
    known = [(name, values) for name, values in fields.known.items() if name != "visits" or values.knots]
    codes = read_codes(known, places, kept)
    for field, (name, values) in enumerate(known):
        pair: Pair = (name, cuts_of(values), "age", None)
        said = [name_pair(pair, fields, features, "SG") for features in told]
        age = [features.get("age") for features in told]
        same_here = {
            (left, right) for left, right in zip(said, zip(codes[:, field], age, strict=True), strict=True)
        }
        assert len(same_here) == len(set(said)) == len({code for _, code in same_here})


def test_only_a_few_pairs_are_taken_at_a_time_and_in_all() -> None:
    pairs = Pairs()
    found: list[tuple[float, Pair]] = [
        (LEAST_GAIN + number, (f"a{number}", None, "b", None)) for number in range(20)
    ]
    pairs.choose(found)
    assert [left for left, *_ in pairs.chosen] == ["a19", "a18"]
    for _ in range(5):
        pairs.choose(found)
    assert len(pairs.chosen) == MOST_PAIRS
    assert not pairs.is_time_to_look(10**6)


def test_a_pair_that_tells_too_little_is_not_taken() -> None:
    pairs = Pairs()
    pairs.choose([(LEAST_GAIN - 0.1, ("a", None, "b", None))])
    assert pairs.chosen == []
    assert not pairs.is_time_to_look(FIRST_CLICKS - 1)
    assert pairs.is_time_to_look(FIRST_CLICKS)


def test_a_marketplace_with_pairs_is_saved_and_goes_on_alike() -> None:
    def ask(marketplace: Marketplace, number: int) -> object:
        told = {"age": "young" if number % 2 else "old", "gender": "f"}
        return marketplace.take(
            RequestLine(
                ts=number, request_id=f"r{number}", viewer_id=f"v{number % 7}", country="SG", features=told
            )
        )

    first = Marketplace(1)
    first.take(AdGroupLine(ts=0, adgroup_id="g", advertiser_id="a"))
    first.take(AdLine(ts=0, ad_id="x", adgroup_id="g", features={"offer": "one"}))
    ask(first, 1)
    first.market.pairs.chosen = [("age", None, "gender", None)]
    second = Marketplace(1)
    second.restore(first.save())
    assert second.market.pairs.chosen == first.market.pairs.chosen
    for number in range(2, 30):
        assert ask(first, number) == ask(second, number)
    assert first.save() == second.save()


def ask_many(*, knows_pair: bool) -> tuple[Marketplace, Pair]:
    """A marketplace that was asked sixty times by people of two ages with all kinds of visits; their pair."""
    marketplace = Marketplace(3)
    marketplace.take(AdGroupLine(ts=0, adgroup_id="g", advertiser_id="a"))
    marketplace.take(AdLine(ts=0, ad_id="x", adgroup_id="g", features={"offer": "one"}))
    fields = marketplace.market.asked_fields
    for number in range(400):  # so that numbers are told apart
        fields.hash_features({"visits": number % 97 - 48.0}, 40, print)
    pair: Pair = ("age", None, "visits", cuts_of(fields.known["visits"]))
    marketplace.market.pairs.chosen = [pair] if knows_pair else []
    for number in range(60):
        told: dict[str, object] = {"visits": number % 41 - 20.0, "member": True}
        if number % 3:
            told["age"] = "young" if number % 2 else "old"
        marketplace.take(
            RequestLine(
                ts=number, request_id=f"r{number}", viewer_id=f"v{number}", country="SG", features=told
            )
        )
    return marketplace, pair


def kept_features(marketplace: Marketplace) -> dict[str, set[int]]:
    """What is kept of each request, as names of features."""
    market = marketplace.market
    shown = [each for each in market.records.shown.values() if each]
    kept = market.snapshots
    return {
        each.request_id: set(kept.hashes[each.place, : kept.counts[each.place]].tolist()) for each in shown
    }


def test_a_pair_that_is_found_becomes_a_feature_of_what_is_kept_as_if_it_had_always_been_one() -> None:
    (before, _), (after, pair) = ask_many(knows_pair=True), ask_many(knows_pair=False)
    nothing = Observed(np.zeros((0, 3), np.int64), np.zeros((0, 4)), np.zeros((0, 5)))
    add_to_kept(after.market, pair, nothing)
    assert len(kept_features(before)) > 20
    assert kept_features(after) == kept_features(before)


def test_weights_of_a_pair_that_is_found_begin_with_what_each_observation_holds() -> None:
    marketplace, pair = ask_many(knows_pair=False)
    market = marketplace.market
    shown = [each for each in market.records.shown.values() if each]
    places = np.array([each.place for each in shown])
    market.snapshots.held[places, 0] = np.linspace(-0.4, 0.6, len(shown))
    observed = Observed(
        np.array([(each.place, each.ad, each.viewer) for each in shown]),
        np.tile([1.0, 0.0, 0.0, 0.0], (len(shown), 1)),
        np.full((len(shown), 5), 0.3),
    )
    add_to_kept(market, pair, observed)
    kept, learned = market.snapshots, market.learned
    names = kept.hashes[places, kept.counts[places] - 1]
    for name in np.unique(names):
        slot = slot_of(name, learned.shift)
        mine = names == name
        expected = learned.spread[F_ASKED, 0] * STRENGTH * kept.held[places[mine], 0].sum()
        assert learned.again[slot, 0] == pytest.approx(expected, abs=1e-6)
        information = STRENGTH**2 * 0.3 * 0.7 * mine.sum()
        variance = 1.0 / (1.0 / learned.spread[F_ASKED, 0] + information)
        assert learned.table[slot, HEADS] == pytest.approx(variance)
        assert learned.table[slot, HEADS + 1] == pytest.approx(learned.spread[F_ASKED, 1])


def test_requests_that_say_nothing_have_no_codes_and_no_pairs() -> None:
    kept, nothing = Snapshots(), np.zeros((3, HEADS_AGAIN))
    places = np.zeros(3, np.int64)
    assert read_codes([], places, kept).shape == (3, 0)
    seen = Missed(places, places, nothing, nothing + 1.0)
    assert find_pairs([], Fields("request"), Fields("ad"), Groups(), kept, seen) == []
