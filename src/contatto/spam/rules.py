"""Spam rules: features of a chat, and logistic regression on the chats that members marked."""

import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contatto.spam.model import Chat, Rate, Sign

type Places = NDArray[np.int64]
type Floats = NDArray[np.float64]
_BIAS_SPREAD: Final = 10.0
"""Prior variance of the bias."""
_HALVINGS: Final = 14
"""Steps of the bisection for a dual variable."""


def chance_of(log_odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(min(log_odds, 30.0), -30.0)))


BITS: Final = 18
"""Bits of a hashed feature index."""
SPREAD: Final = 10.0
"""Prior variance of a weight."""
ROUNDS: Final = 12
"""Passes over all marked chats."""
LONGEST: Final = 4_000
"""Characters of a chat that are read."""
_LENGTHS: Final = (1, 2, 3, 4, 5)
_MASK: Final = (1 << BITS) - 1
_LINK: Final = re.compile(r"https?:|www\.|\.(?:com|net|org|co|ru|xyz|top)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SpamWeights:
    """Bias, weights and inverse document frequencies of hashed n-grams, learned from marked chats."""

    bias: float
    weights: NDArray[np.float32]
    rarity: NDArray[np.float32]


def hash_ngrams(text: str) -> tuple[Places, Floats]:
    """Return the hashed n-grams of a text, and their term frequencies before the rarity weights."""
    counts: dict[int, int] = {}
    beginning = text[:LONGEST]
    for word in beginning.lower().split():
        padded = f" {word} "
        for length in _LENGTHS:
            for start in range(max(len(padded) - length + 1, 1)):
                place = zlib.crc32(padded[start : start + length].encode("utf-8", "surrogatepass")) & _MASK
                counts[place] = counts.get(place, 0) + 1
    letters = max(len(beginning), 1)
    digits = sum(letter.isdigit() for letter in beginning)
    capitals = sum(letter.isupper() for letter in beginning)
    names = [f"digits {digits.bit_length()}", f"length {letters.bit_length()}"]
    names.append(f"capitals {int(8 * capitals / letters)}")
    if _LINK.search(beginning):
        names.append("link")
    for name in names:
        counts[zlib.crc32(f"\0{name}".encode()) & _MASK] = 1
    places = np.fromiter(counts.keys(), np.int64, len(counts))
    return places, 1.0 + np.log(np.fromiter(counts.values(), np.float64, len(counts)))


def fit_weights(texts: Sequence[tuple[Places, Floats]], is_spam: Sequence[bool]) -> SpamWeights:
    """Fit weights to n-grams of marked chats: logistic regression by deterministic dual coordinate ascent."""
    text_counts = np.zeros(1 << BITS)
    for places, _ in texts:
        text_counts[places] += 1.0
    rarity = (1.0 + np.log((1.0 + len(texts)) / (1.0 + text_counts))).astype(np.float32)
    rows = [_weight_by_rarity(row, rarity) for row in texts]
    weights, bias = np.zeros(1 << BITS), 0.0
    duals = np.zeros(len(rows))
    order = np.random.default_rng(0).permutation(len(rows)).tolist()
    totals = [_BIAS_SPREAD + SPREAD * float(values @ values) for _, values in rows]
    for _ in range(ROUNDS):
        for row in order:
            places, values = rows[row]
            before = float(duals[row])
            score = bias + float(values @ weights[places])
            # Find the best dual variable of the row by bisection, given those of all other rows.
            low, high = (0.0, 1.0) if is_spam[row] else (-1.0, 0.0)
            for _ in range(_HALVINGS):
                middle = 0.5 * (low + high)
                if is_spam[row] - chance_of(score + totals[row] * (middle - before)) > middle:
                    low = middle
                else:
                    high = middle
            duals[row] = 0.5 * (low + high)
            step = float(duals[row]) - before
            bias += _BIAS_SPREAD * step
            weights[places] += SPREAD * step * values
    return SpamWeights(bias, weights.astype(np.float32), rarity)


def score_text(fitted: SpamWeights, text: tuple[Places, Floats]) -> float:
    """Return the log-odds that a chat is spam, by its n-grams alone."""
    places, values = _weight_by_rarity(text, fitted.rarity)
    return fitted.bias + float(values @ fitted.weights[places])


def _weight_by_rarity(text: tuple[Places, Floats], rarity: NDArray[np.float32]) -> tuple[Places, Floats]:
    places, values = text
    weighted = values * rarity[places]
    return places, weighted / max(float(np.sqrt(weighted @ weighted)), 1e-9)


MANY_TAPS: Final = 10
"""Clicks on ads in a day that exceed genuine interest."""
ENOUGH_MARKED: Final = 20
"""Chats that members must mark as spam, and as fine, before words are learned."""
_SIGN_LOG_ODDS: Final = {Sign.PERSON: 2.5, Sign.TAPS: 2.0}
"""Log-odds that a sign adds."""
_NOTABLE_ACCOUNT_LOG_ODDS: Final = 0.7
"""Log-odds of an account above those of the business from which they are a sign."""
_MAX_ACCOUNT_LOG_ODDS: Final = 1.5
_PRIOR: Final = Rate(1, 20)
"""Prior rate of spam, in pseudo-counts."""


def judge_chat(
    chat: Chat, words: float | None, account: Rate, business: Rate
) -> tuple[float, tuple[Sign, ...]]:
    """Return the probability that a chat is spam, and the signs for it.

    ``words`` are the log-odds by its words; None while too few chats are marked. The rates of spam are those
    of its channel account and of all accounts of the business.
    """
    log_odds = _log_odds(business) if words is None else words
    signs = [Sign.WORDS] if words is not None and words > 0.0 else []
    for sign, is_present in ((Sign.PERSON, chat.has_marked), (Sign.TAPS, chat.taps >= MANY_TAPS)):
        if is_present:
            signs.append(sign)
            log_odds += _SIGN_LOG_ODDS[sign]
    difference = min(
        max(_log_odds(account) - _log_odds(business), -_MAX_ACCOUNT_LOG_ODDS), _MAX_ACCOUNT_LOG_ODDS
    )
    if difference > _NOTABLE_ACCOUNT_LOG_ODDS:
        signs.append(Sign.ACCOUNT)
    return chance_of(log_odds + difference), tuple(signs)


def _log_odds(rate: Rate) -> float:
    spam, chats = rate.spam + _PRIOR.spam, rate.chats + _PRIOR.chats
    return math.log(spam / max(chats - spam, 1))
