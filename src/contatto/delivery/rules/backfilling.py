"""What observations that are kept tell of a feature that they get only now.

Theory. Each observation holds the amount by which it moves its weights (see `relearning`): a weight is the
sum of these amounts, times the values of its feature, times the variance that was expected of it (of
amounts of other questions: the covariance). So a
feature that is added later has its weights at once. What the observations tell of them (the curvature of
their likelihood) says how sure these are.
"""

import numpy as np

from contatto.delivery.rules.columns import (
    A_FEATURES,
    F_ASKED,
    F_ASKED_AD,
    F_ASKED_FEATURE,
    FIRST_AGAIN,
    HEADS_AGAIN,
)
from contatto.delivery.rules.hashing import crossed, slot_beside, slot_of
from contatto.kit.kernels import Array, compiled


@compiled
def backfill(
    samples: Array,
    came: Array,
    estimated: Array,
    kept_hashes: Array,
    kept_values: Array,
    kept_counts: Array,
    held: Array,
    shares: Array,
    stands_for: Array,
    ads: Array,
    ad_features: Array,
    ad_values: Array,
    feature_hashes: Array,
    crosses: Array,
    shift: np.uint64,
    alike: Array,
    means: Array,
    family_of: Array,
    information: Array,
) -> None:
    """Make the weights of the last feature of each observation: its own, with its ad, with the ad's features.

    Args:
        samples: see `learn_again`.
        came: see `learn_again`.
        estimated: see `learn_again`.
        kept_hashes: see `learn_again`.
        kept_values: see `learn_again`.
        kept_counts: see `learn_again`.
        held: see `learn_again`.
        shares: see `learn_again`.
        stands_for: see `learn_again`.
        ads: see `hold_auction`.
        ad_features: see `hold_auction`.
        ad_values: see `hold_auction`.
        feature_hashes: see `hold_auction`.
        crosses: see `hold_auction`.
        shift: see `slot_of`.
        alike: see `learn_again`.
        means: the weights, by head; added to.
        family_of: the families of the weights; filled.
        information: what is told of each weight, by head; added to.
    """  # fmt: skip
    for i in range(samples.shape[0]):
        place, ad = samples[i, 0], samples[i, 1]
        last = kept_counts[place] - 1
        hashed, value = kept_hashes[place, last], float(kept_values[place, last])
        for m in range(-2, ads[ad, A_FEATURES]):
            x, family = value, F_ASKED
            if m == -2:
                slot = slot_of(hashed, shift)
            elif m == -1:
                slot, family = slot_beside(hashed, ad, shift), F_ASKED_AD
            else:
                feature = ad_features[ad, m]
                if crosses[feature] == 0:
                    continue
                slot, family = slot_of(crossed(hashed, feature_hashes[feature]), shift), F_ASKED_FEATURE
                x *= ad_values[ad, m]
            family_of[slot] = family
            for k in range(HEADS_AGAIN):
                if came[i, k] == 0.0:
                    continue
                head, share = FIRST_AGAIN + k, float(shares[place])
                move = x * float(held[place, k]) * share
                for other in range(HEADS_AGAIN):
                    means[slot, other] += move * alike[family, k, other]
                p = estimated[i, head]
                bend = p * (1.0 - p) * min(abs(came[i, k]), 1.0) * share
                information[slot, k] += x * x * bend * (float(stands_for[place]) if k == 0 else 1.0)
