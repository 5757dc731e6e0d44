"""Boosted trees (LightGBM): the one place that knows the library, which is loaded when it is first needed.

A model is kept as the library's own text, which is numbers and names: reading it runs nothing.
"""

from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import numpy as np

from contatto.leads.rules.features import Floats

ROUNDS: Final = 100
"""So many trees are grown at most."""
_SETTINGS: Final = {
    "objective": "binary",
    "num_leaves": 31,
    "learning_rate": 0.05,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "seed": 1,
    "verbosity": -1,
}
"""Sizes from the literature; few threads, and the same trees from the same rows on every run."""


class NoTrees(Exception):
    """The library cannot be loaded here, or a kept model is not whole."""


@dataclass(frozen=True, slots=True)
class Trees:
    """A forest that was grown."""

    _forest: Any

    def log_odds(self, table: Floats, rounds: int = 0) -> Floats:
        """What each row is expected to become, by the first trees or by all."""
        return np.asarray(self._forest.predict(table, raw_score=True, num_iteration=rounds or None))

    def parts(self, table: Floats) -> Floats:
        """What each column adds to the log-odds of each row (Shapley values)."""
        return np.asarray(self._forest.predict(table, pred_contrib=True))[:, :-1]

    def text(self) -> str:
        """The model as a text of the library."""
        return str(self._forest.model_to_string())


def prepare_trees() -> None:
    """Use the library once, if it is there: it loads parts of itself, from files, when first needed."""
    with suppress(NoTrees):
        table, came = np.arange(80.0)[:, None], np.arange(80.0) % 2.0
        trees = read_trees(grow_trees(table, came, 2).text())
        trees.log_odds(table, 1)
        trees.parts(table)


def can_grow_trees() -> bool:
    """Whether the library can be loaded here: its binary needs the system's OpenMP (libgomp)."""
    with suppress(NoTrees):
        return bool(_library())
    return False


def grow_trees(table: Floats, came: Floats, rounds: int) -> Trees:
    """Grow so many trees on rows of which it is known what they became.

    Raises:
        NoTrees: where the library is not there.
    """
    library = _library()
    rows = library.Dataset(table, came, params={"verbosity": -1})
    return Trees(library.train(_SETTINGS, rows, rounds))


def read_trees(text: str) -> Trees:
    """A forest from its text, which is to be whole: the library ends the process on one that is not.

    Raises:
        NoTrees: where the library is not there.
    """
    return Trees(_library().Booster(model_str=text))


def _library() -> ModuleType:
    try:
        import lightgbm  # noqa: PLC0415 — takes a second and a hundred megabytes, of the process that learns alone
    except (ImportError, OSError) as error:
        raise NoTrees("LightGBM cannot be loaded") from error
    found: ModuleType = lightgbm
    return found
