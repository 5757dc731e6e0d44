"""Latent classes of viewers: kinds of people that show alike, found without any label.

Theory. What a request shows is a bag of words (a value of a field, an item of a list, the nearest knot of
a number). Each viewer belongs to one of some hidden classes, and each class shows each word with a chance of
its own; the classes are fitted by expectation maximization. Where people come in kinds, what a viewer does
follows from the kind, and many weak words tell it together long before the weight of each is learned from
rare labels. Whether there are kinds at all is told by viewers that were held out.

Source: Lazarsfeld and Henry 1968 (latent class analysis); Nigam et al. 2000 (mixtures of multinomials).
"""

import math

import numpy as np

from contatto.delivery.rules.columns import ASKED
from contatto.delivery.rules.hashing import chance
from contatto.kit.kernels import Array, compiled

_SMOOTHING = 20.0
"""So many words of the usual kind are believed in each class."""


@compiled
def weigh_classes(scores: Array, prior: Array, bag: Array, size: int, into: Array) -> float:
    """The chance of each class given the words of a bag; how likely the bag was comes back, as a logarithm.

    Args:
        scores: logarithms of the chances of words (rows) in classes (columns).
        prior: logarithms of the shares of the classes.
        bag: numbers of words; those beyond ``scores`` say nothing.
        size: how many there are.
        into: filled with the chances.
    """
    classes = prior.shape[0]
    for k in range(classes):
        into[k] = prior[k]
    for i in range(size):
        word = bag[i]
        if word < scores.shape[0]:
            for k in range(classes):
                into[k] += scores[word, k]
    most = into[0]
    for k in range(1, classes):
        most = max(most, into[k])
    total = 0.0
    for k in range(classes):
        into[k] = math.exp(into[k] - most)
        total += into[k]
    for k in range(classes):
        into[k] /= total
    return float(most + math.log(total))


@compiled
def begin_classes(seed: np.uint64, shares: Array) -> None:
    """Put each viewer into a class by lot, to begin with."""
    classes = shares.shape[1]
    for i in range(shares.shape[0]):
        for k in range(classes):
            shares[i, k] = 0.1 / classes
        shares[i, int(chance(seed, np.uint64(i + 1)) * classes)] += 0.9


@compiled
def fit_classes(
    bags: Array, sizes: Array, begins: int, ends: int, rounds: int, shares: Array, scores: Array, prior: Array
) -> float:
    """Fit the classes to some viewers, from the shares that they have in the classes.

    Args:
        bags: numbers of the words of each viewer.
        sizes: how many there are.
        begins: the first viewer that is learned from.
        ends: the first one after the last.
        rounds: how often expectation and maximization take turns.
        shares: the chances of the classes of each viewer; left as they are at the end.
        scores: filled with logarithms of the chances of words in classes.
        prior: filled with logarithms of the shares of the classes.

    Returns:
        The mean logarithm of how likely the viewers are.
    """  # fmt: skip
    words, classes = scores.shape
    totals = np.zeros(classes)
    found = 0.0
    for _ in range(rounds):
        scores[:] = 0.0
        prior[:] = 1.0
        for i in range(begins, ends):
            for k in range(classes):
                prior[k] += shares[i, k]
            for j in range(sizes[i]):
                for k in range(classes):
                    scores[bags[i, j], k] += shares[i, k]
        totals[:] = 0.0
        for word in range(words):
            for k in range(classes):
                totals[k] += scores[word, k]
        everything = 0.01 * words
        for k in range(classes):
            prior[k] = math.log(prior[k] / (ends - begins + classes))
            everything += totals[k]
        for word in range(words):
            usual = 0.01
            for k in range(classes):
                usual += scores[word, k]
            usual /= everything
            for k in range(classes):
                share = (scores[word, k] + _SMOOTHING * usual) / (totals[k] + _SMOOTHING)
                scores[word, k] = math.log(share)
        found = 0.0
        for i in range(begins, ends):
            found += weigh_classes(scores, prior, bags[i], sizes[i], shares[i])
    return found / max(ends - begins, 1)


@compiled
def judge_classes(
    bags: Array, sizes: Array, begins: int, ends: int, total: int, scores: Array, prior: Array, scratch: Array
) -> float:
    """How much likelier the classes make viewers that were held out than no classes do, as a mean logarithm.

    Args:
        bags: numbers of the words of each viewer.
        sizes: how many there are.
        begins: the first viewer that was held out.
        ends: the first one after the last.
        total: how many viewers there are.
        scores: see `fit_classes`.
        prior: see `fit_classes`.
        scratch: as long as there are words, and at least as classes.
    """  # fmt: skip
    words = scores.shape[0]
    scratch[:] = 0.01
    everything = 0.01 * words
    for i in range(total):
        if begins <= i < ends:
            continue
        for j in range(sizes[i]):
            scratch[bags[i, j]] += 1.0
            everything += 1.0
    alone = 0.0
    for i in range(begins, ends):
        for j in range(sizes[i]):
            alone += math.log(scratch[bags[i, j]] / everything)
    together = 0.0
    for i in range(begins, ends):
        together += weigh_classes(scores, prior, bags[i], sizes[i], scratch)
    return (together - alone) / max(ends - begins, 1)


@compiled
def add_classes(
    chances: Array, named: Array, most: int, strength: float, hashes: Array, values: Array, kinds: Array,
    count: int,
) -> int:  # fmt: skip
    """Add the likeliest classes of a viewer to the features of a request; their chances are used up.

    Args:
        chances: of the classes.
        named: hashes of the classes.
        most: how many are added.
        strength: the value of a class that is certain.
        hashes: names of features; filled from ``count`` on.
        values: their values.
        kinds: their kinds.
        count: how many there are already.

    Returns:
        How many there are now.
    """
    for _ in range(most):
        best = 0
        for k in range(1, chances.shape[0]):
            if chances[k] > chances[best]:
                best = k
        hashes[count] = named[best]
        values[count] = strength * chances[best]
        kinds[count] = ASKED
        count += 1
        chances[best] = -1.0
    return count
