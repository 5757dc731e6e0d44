"""A pair that is found becomes a feature of what is kept too: its weights begin with all that came."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contatto.delivery.predict.fields import Fields
from contatto.delivery.predict.learned import MEANS_AGAIN, VARIANCES_AGAIN
from contatto.delivery.predict.market import Market
from contatto.delivery.predict.pairs import STRENGTH, Cuts, Pair, name_values, read_codes
from contatto.delivery.predict.records import Snapshots
from contatto.delivery.rules.backfilling import backfill
from contatto.delivery.rules.columns import ASKED, HEADS_AGAIN, MOST_CONTEXT

type Numbers = NDArray[Any]


class Observed(NamedTuple):
    """Views that are kept, in the order of time.

    ``samples`` has the place of each, its ad and its viewer; ``came`` what is known of it (see `slope_of`),
    and ``estimated`` what was estimated, by head.
    """

    samples: Numbers
    came: Numbers
    estimated: Numbers


def add_to_kept(market: Market, pair: Pair, observed: Observed) -> None:
    """Add a pair that was just found to the features of all that is kept.

    Its weights get what each observation holds, and are as sure as if they had been there all along.
    """
    kept, groups, learned = market.snapshots, market.groups, market.learned
    has_room = np.isin(observed.samples[:, 0], _name_kept(market, pair))
    seen = Observed(*(each[has_room] for each in observed))
    information = np.zeros((len(learned.again), HEADS_AGAIN), np.float32)
    backfill(
        *seen, kept.hashes, kept.values, kept.counts, kept.held, kept.shares, kept.stands_for, groups.ads,
        groups.ad_features, groups.ad_values, groups.feature_hashes, groups.crosses, learned.shift,
        learned.alike(), learned.again, learned.family_of, information,
    )  # fmt: skip
    slots = np.flatnonzero(information.any(axis=1))
    expected = learned.spread[learned.family_of[slots], MEANS_AGAIN]
    learned.table[slots, VARIANCES_AGAIN] = 1.0 / (1.0 / expected + information[slots])


def _name_kept(market: Market, pair: Pair) -> Numbers:
    """Add the feature that a pair makes of what each request said; the places that had room for it."""
    kept = market.snapshots
    places = np.array(
        [each.place for each in market.records.shown.values() if each and each.place >= 0], np.int64
    )
    places = places[kept.counts[places] < MOST_CONTEXT]
    left, left_cuts, right, right_cuts = pair
    said = np.stack(
        [
            _said(market.asked_fields, field, cuts, places, kept)
            for field, cuts in ((left, left_cuts), (right, right_cuts))
        ],
        axis=1,
    )
    combinations, which = np.unique(said, axis=0, return_inverse=True)
    names = [name_values(left, one, right, other) for one, other in combinations.tolist()]
    ends = kept.counts[places]
    kept.hashes[places, ends] = np.array(names, np.uint64)[which]
    kept.values[places, ends] = STRENGTH
    kept.kinds[places, ends] = ASKED
    kept.counts[places] = ends + 1
    return np.asarray(places)


def _said(fields: Fields, field: str, cuts: Cuts, places: Numbers, kept: Snapshots) -> Numbers:
    """What kept requests say of a field, as `name_values` wants it: see `said_of`."""
    values = fields.known[field]
    if cuts:
        codes: Numbers = read_codes([(field, values)], places, kept)[:, 0].astype(np.uint64)
        return codes
    names = np.sort(np.array([*values.hashes.values(), values.rare], np.uint64))
    hashes = kept.hashes[places]
    at = np.minimum(np.searchsorted(names, hashes), len(names) - 1)
    is_of_field = (names[at] == hashes) & (np.arange(MOST_CONTEXT) < kept.counts[places][:, None])
    first = hashes[np.arange(len(places)), is_of_field.argmax(axis=1)]
    said: Numbers = np.where(is_of_field.any(axis=1), first, np.uint64(0))
    return said
