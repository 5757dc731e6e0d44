"""What becomes of leads, learned: logistic regression and trees, mixed by what held on other leads.

Trees find what says something only together, but need hundreds of outcomes; logistic regression does with
dozens. How much of each is taken, and how many trees, is what three quarters of the leads say of the fourth.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final

import msgspec
import numpy as np

from contatto.leads.engines.trees import ROUNDS, NoTrees, Trees, can_grow_trees, grow_trees, read_trees
from contatto.leads.model.scores import HeldOut
from contatto.leads.rules.features import Columns, Described, Floats, choose_columns, fill_table
from contatto.leads.rules.held import tell_held, weigh_signs
from contatto.leads.rules.linear import Linear, chance_at, fit_linear

_DIGEST_SIZE: Final = 16
_PARTS: Final = 4
_GROWN: Final = (10, 20, 40, 60, 80, ROUNDS)
_SHARES: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
"""How much of the log-odds may come from trees."""
_FEW: Final = 100
"""With fewer outcomes trees are not tried: no leaf of theirs would have enough rows."""


class Kept(msgspec.Struct, frozen=True):
    """A model as it is kept: plain values, and the text of the trees."""

    columns: Columns
    linear: Linear
    share: float
    rounds: int
    loss: float
    trees: str


@dataclass(frozen=True, slots=True)
class Quality:
    """A model of what becomes of leads.

    ``share`` is how much of the log-odds comes from ``rounds`` trees, the rest from logistic regression.
    ``loss`` is the mean log loss on leads that were not learned from; ``held`` tells more of these, where the
    model was learned just now.
    """

    columns: Columns
    linear: Linear
    trees: Trees | None
    share: float
    rounds: int
    loss: float
    held: HeldOut | None = None

    def log_odds(self, some: Sequence[Described]) -> Floats:
        """What leads are expected to become."""
        table = fill_table(self.columns, some)
        return self._mix(self.linear.log_odds(table), self.trees.log_odds(table) if self.trees else None)

    def parts(self, some: Sequence[Described]) -> Floats:
        """What each column adds to the log-odds of each lead."""
        table = fill_table(self.columns, some)
        return self._mix(self.linear.parts(table), self.trees.parts(table) if self.trees else None)

    def _mix(self, linear: Floats, trees: Floats | None) -> Floats:
        return linear if trees is None else np.asarray((1.0 - self.share) * linear + self.share * trees)

    def to_bytes(self) -> bytes:
        """The model as it is kept: a digest and JSON."""
        text = self.trees.text() if self.trees else ""
        kept = Kept(self.columns, self.linear, self.share, self.rounds, self.loss, text)
        raw = msgspec.json.encode(kept)
        return _digest(raw) + raw


def read_quality(raw: bytes) -> Quality:
    """A kept model.

    Raises:
        NoTrees: when it is not whole, or the library of its trees is not there.
    """
    digest, body = raw[:_DIGEST_SIZE], raw[_DIGEST_SIZE:]
    if digest != _digest(body):  # the library ends the process on half a text
        raise NoTrees("the kept model is not whole")
    kept = msgspec.json.decode(body, type=Kept)
    trees = read_trees(kept.trees) if kept.trees else None
    return Quality(kept.columns, kept.linear, trees, kept.share, kept.rounds, kept.loss)


def _digest(raw: bytes) -> bytes:
    return blake2b(raw, digest_size=_DIGEST_SIZE).digest()


def learn_quality(some: Sequence[Described], came: Sequence[bool]) -> Quality:
    """Learn from leads of which it is known what they became; the same model from the same leads.

    Args:
        some: what is known of each lead.
        came: whether it became good; some did, some did not.
    """
    columns, good = choose_columns(some), np.array(came, np.float64)
    table = fill_table(columns, some)
    tries_trees = len(good) >= _FEW and table.shape[1] > 0 and can_grow_trees()
    best = _compare(table, good, len(columns.words), tries_trees=tries_trees)
    trees = grow_trees(table, good, best.rounds) if best.share else None
    linear = fit_linear(table, good, len(columns.words))
    made = Quality(columns, linear, trees, best.share, best.rounds, log_loss(best.log_odds, good))
    signs = weigh_signs(columns.letters(), made.parts(some))
    return replace(made, held=tell_held(chance_at(best.log_odds), good, signs))


@dataclass(frozen=True, slots=True)
class _Choice:
    """A way to mix, and the log-odds that it gives leads that were not learned from."""

    share: float
    rounds: int
    log_odds: Floats


def _compare(table: Floats, good: Floats, words: int, *, tries_trees: bool) -> _Choice:
    """The share and number of trees that lose least on parts that were not learned from."""
    linear, grown = np.zeros(len(good)), np.zeros((len(_GROWN), len(good)))
    part_of = _parts_of(good)
    for part in range(_PARTS):
        held = part_of == part
        learned, came = table[~held], good[~held]
        linear[held] = fit_linear(learned, came, words).log_odds(table[held])
        if tries_trees:
            trees = grow_trees(learned, came, ROUNDS)
            for place, rounds in enumerate(_GROWN):
                grown[place, held] = trees.log_odds(table[held], rounds)
    shares = _SHARES if tries_trees else (0.0,)
    tried = (
        _Choice(share, rounds if share else 0, np.asarray((1.0 - share) * linear + share * trees))
        for share in shares
        for rounds, trees in zip(_GROWN, grown, strict=True)
    )
    return min(tried, key=lambda each: (log_loss(each.log_odds, good), each.share, each.rounds))


def _parts_of(good: Floats) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """A part for each lead by lot, the good ones and the others shared out alike."""
    lots = np.random.default_rng(0).permutation(len(good))
    order, part_of = np.lexsort((lots, good)), np.zeros(len(good), np.int64)
    part_of[order] = np.arange(len(good)) % _PARTS
    return part_of


def log_loss(log_odds: Floats, good: Floats) -> float:
    """The mean log loss of what was expected."""
    chance = chance_at(log_odds)
    return float(-np.mean(good * np.log(chance) + (1.0 - good) * np.log(1.0 - chance)))
