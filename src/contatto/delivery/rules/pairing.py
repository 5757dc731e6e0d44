"""Which pairs of what requests say tell more together than each tells alone.

Theory. Weights add up, so no sum of them says "young and a woman", or "this town, but not at night". What the
learner still misses of each observation is put into a table by the values of two fields, for each feature of
ads and for all ads at once. What one field alone explains of a table is taken out, for weights of its own can
learn that. What is left is compared with what chance would leave.

Source: He et al. 2014 (crosses found by trees before a linear learner); Lou et al. 2013 (pairs of fields by
what is left over, before they are fitted).
"""

import math
from typing import Final

import numpy as np

from contatto.delivery.rules.columns import A_FEATURES
from contatto.kit.kernels import Array, compiled

CODES: Final = 18
"""Values of a field that are told apart: missing, sixteen, and all others."""
OTHER: Final = CODES - 1
MOST_TABLES: Final = 65
"""For all ads at once, and for so many features of ads less one."""
_SHRINK: Final = 20.0
"""How much doubt a cell has, as a curvature."""
_SHRINK_ALONE: Final = 1.0
"""The same of what one field alone explains: all of that is to be taken out."""


@compiled
def code_samples(
    places: Array,
    kept_hashes: Array,
    kept_values: Array,
    kept_counts: Array,
    names: Array,
    field_of: Array,
    code_of: Array,
    knots: Array,
    is_number: Array,
    cuts: Array,
    codes: Array,
) -> None:
    """Tell the value of each field in each observation, as a code; 0 where it is missing.

    Args:
        places: where the features of the observations are kept.
        kept_hashes: features by place.
        kept_values: their values.
        kept_counts: how many.
        names: the names of all values of fields, in order.
        field_of: their fields.
        code_of: their codes.
        knots: the numbers that they stand for.
        is_number: whether a field holds numbers.
        cuts: where the codes of such a field meet, by field.
        codes: filled, by observation and field.
    """
    fields = codes.shape[1]
    sums, shares = np.zeros(fields), np.zeros(fields)
    for i in range(places.shape[0]):
        place = places[i]
        codes[i] = 0
        sums[:] = 0.0
        shares[:] = 0.0
        for j in range(kept_counts[place]):
            at = np.searchsorted(names, kept_hashes[place, j])
            if at >= names.shape[0] or names[at] != kept_hashes[place, j]:
                continue
            field = field_of[at]
            if is_number[field]:
                sums[field] += kept_values[place, j] * knots[at]
                shares[field] += kept_values[place, j]
            else:
                codes[i, field] = code_of[at]
        for field in range(fields):
            if is_number[field] and shares[field] > 0.0:
                number, code = sums[field] / shares[field], 1
                for cut in cuts[field]:
                    code += number >= cut
                codes[i, field] = code


@compiled
def pair_gain(
    left: Array,
    right: Array,
    ad_of: Array,
    ads: Array,
    ad_features: Array,
    table_of: Array,
    field_of: Array,
    missed: Array,
    bends: Array,
    cells: Array,
) -> float:
    """How much two fields tell together beyond each alone: in standard deviations of what chance leaves.

    Args:
        left: the codes of one field, by observation.
        right: those of the other.
        ad_of: the ads.
        ads: the table of ads.
        ad_features: their features.
        table_of: the table of each feature of ads, 0 for none.
        field_of: the field that each table belongs to; the first table is for all ads at once.
        missed: the slopes of what was observed: what the learner misses.
        bends: its curvatures.
        cells: scratch: by table, code and code: slope, curvature, square of the slopes.

    Returns:
        The best of what all ads at once and each field of ads tell.
    """
    cells[:] = 0.0
    for i in range(left.shape[0]):
        slope, bend, a, b = missed[i], bends[i], left[i], right[i]
        ad = ad_of[i]
        for k in range(-1, ads[ad, A_FEATURES]):
            table = 0 if k < 0 else table_of[ad_features[ad, k]]
            if k < 0 or table > 0:
                cells[table, a, b, 0] += slope
                cells[table, a, b, 1] += bend
                cells[table, a, b, 2] += slope * slope
    tables = field_of.shape[0]
    gains, variances = np.zeros(tables), np.zeros(tables)
    for table in range(tables):
        gain, variance = _gain_of(cells[table])
        gains[field_of[table]] += gain
        variances[field_of[table]] += variance
    best = 0.0
    for field in range(tables):
        if variances[field] > 0.0:
            best = max(best, gains[field] / math.sqrt(variances[field]))
    return best


@compiled
def _gain_of(cells: Array) -> tuple[float, float]:
    """What is left in one table when what each field alone explains is taken out, and chance's variance."""
    rows, columns = np.zeros(CODES), np.zeros(CODES)
    for _ in range(2):
        for a in range(CODES):
            slope, bend = 0.0, _SHRINK_ALONE
            for b in range(CODES):
                slope += cells[a, b, 0] - cells[a, b, 1] * columns[b]
                bend += cells[a, b, 1]
            rows[a] = slope / bend
        for b in range(CODES):
            slope, bend = 0.0, _SHRINK_ALONE
            for a in range(CODES):
                slope += cells[a, b, 0] - cells[a, b, 1] * rows[a]
                bend += cells[a, b, 1]
            columns[b] = slope / bend
    gain, variance = 0.0, 0.0
    for a in range(CODES):
        for b in range(CODES):
            square = cells[a, b, 2]
            if square > 0.0:
                left = cells[a, b, 0] - cells[a, b, 1] * (rows[a] + columns[b])
                doubt = cells[a, b, 1] + _SHRINK
                gain += (left * left - square) / doubt
                variance += 2.0 * (square / doubt) ** 2
    return gain, variance
