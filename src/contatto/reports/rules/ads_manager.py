"""What the table of the Ads Manager is asked: a closed grammar, read from an address and written into one.

An address holds pairs of a known word and a value; what is not known is left out. The order of pairs matters
for what is open: ``tree`` opens or closes all, and ``open`` and ``shut`` after it name single rows by their
numbers, where the last one that names a row is right. So a button only has to add its own pair to the others.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import urlencode

from contatto.ads.rules.goals import PROBLEMS, Delivering, is_showing
from contatto.kit.numbers import read_number
from contatto.measurement.model import Goal
from contatto.reports.model import Span

FIGURES: Final = (
    "spend", "impressions", "clicks", "ctr", "conversations", "leads", "conversion", "cost_per_conversion",
    "qualified_leads", "cost_per_qualified_lead",
)  # fmt: skip
"""Metrics that a column can show."""
COLUMNS: Final = ("status", "budget", "bid", "places", *FIGURES)
"""The columns after the name, which is always there, in their order."""
_ON_WISH: Final = frozenset({"bid", "places", "ctr", "qualified_leads", "cost_per_qualified_lead"})
USUAL_COLUMNS: Final = tuple(name for name in COLUMNS if name not in _ON_WISH)
SORTS: Final = ("name", "status", "budget", "bid", *FIGURES)
TEXT_LIMIT: Final = 200
MOST_PAIRS: Final = 400
"""Pairs of an address that are read; what stands behind them is left out."""


class Days(StrEnum):
    """Days that move with the calendar of the ad account."""

    TODAY = "today"
    YESTERDAY = "yesterday"
    LAST_7 = "last_7"
    LAST_28 = "last_28"


class RowState(StrEnum):
    """Delivery statuses, gathered into what one looks for."""

    SHOWING = "showing"
    NOT_SHOWING = "not_showing"
    IN_REVIEW = "in_review"
    PROBLEM = "problem"


class Fold(StrEnum):
    """Whether rows show what is under them; ``USUAL`` ones do where few match."""

    USUAL = ""
    OPEN = "open"
    SHUT = "shut"


type Pairs = list[tuple[str, str]]

_LENGTH: Final = {Days.LAST_7: 7, Days.LAST_28: 28}


@dataclass(frozen=True, slots=True)
class TreeLook:
    """A question of the Ads Manager; ``sort`` is empty for the newest first. ``folds`` names single rows."""

    advertiser: int = 0
    text: str = ""
    states: tuple[RowState, ...] = ()
    goals: tuple[Goal, ...] = ()
    days: Days = Days.LAST_7
    sort: str = ""
    columns: tuple[str, ...] = USUAL_COLUMNS
    tree: Fold = Fold.USUAL
    folds: dict[int, bool] = field(default_factory=dict)

    @property
    def is_narrow(self) -> bool:
        """Return whether something is looked for, so that not everything is shown."""
        return bool(self.text or self.states or self.goals)

    def is_open(self, number: int, *, usual: bool) -> bool:
        """Return whether a row shows what is under it."""
        whole = usual if self.tree is Fold.USUAL else self.tree is Fold.OPEN
        return self.folds.get(number, whole)

    def is_asked(self, number: int) -> bool:
        """Return whether somebody said what of a row is to be shown, or looks for something."""
        return self.is_narrow or self.tree is not Fold.USUAL or number in self.folds

    def fold_pairs(self) -> Pairs:
        tree = [("tree", self.tree.value)] if self.tree is not Fold.USUAL else []
        return tree + [("open" if shown else "shut", str(number)) for number, shown in self.folds.items()]

    def pairs(self) -> Pairs:
        """What an address must say to ask this again; what is usual stays away."""
        words = {
            "account": str(self.advertiser or ""),
            "q": self.text,
            "days": "" if self.days is Days.LAST_7 else self.days.value,
            "sort": self.sort,
        }
        found = [(name, value) for name, value in words.items() if value]
        found += [("status", state.value) for state in self.states]
        found += [("goal", goal.value) for goal in self.goals]
        found += [("column", name) for name in self.columns] if self.columns != USUAL_COLUMNS else []
        return found + self.fold_pairs()

    @property
    def query(self) -> str:
        return urlencode(self.pairs())

    def href(self, **more: str) -> str:
        """The address that asks this, with more pairs at its end."""
        query = urlencode(self.pairs() + list(more.items()))
        return f"/ads?{query}" if query else "/ads"


def read_tree(pairs: Iterable[tuple[str, str]]) -> TreeLook:
    """Read an address."""
    given = list(pairs)[:MOST_PAIRS]
    words = dict(given)
    tree, folds = _folds(given)
    sort = words.get("sort", "")
    return TreeLook(
        advertiser=read_number(words.get("account", "")) or 0,
        text="".join(filter(str.isprintable, words.get("q", "").strip()))[:TEXT_LIMIT],
        states=_members(RowState, given, "status"),
        goals=_members(Goal, given, "goal"),
        days=Days(words["days"]) if words.get("days") in set(Days) else Days.LAST_7,
        sort=sort if sort.removeprefix("-") in SORTS else "",
        columns=_columns(given),
        tree=tree,
        folds=folds,
    )


def _folds(pairs: Pairs) -> tuple[Fold, dict[int, bool]]:
    tree, folds = Fold.USUAL, dict[int, bool]()
    for word, value in pairs:
        if word == "tree" and value in set(Fold):
            tree, folds = Fold(value), {}
        elif word in (Fold.OPEN, Fold.SHUT) and (number := read_number(value)):
            folds[number] = word == Fold.OPEN
    return tree, folds


def _columns(pairs: Pairs) -> tuple[str, ...]:
    wanted = {value for word, value in pairs if word == "column"}
    return tuple(name for name in COLUMNS if name in wanted) or USUAL_COLUMNS


def _members[E: StrEnum](kind: type[E], pairs: Pairs, word: str) -> tuple[E, ...]:
    wanted = {value for name, value in pairs if name == word}
    return tuple(member for member in kind if member.value in wanted)


def state_of(found: Delivering) -> RowState:
    if is_showing(found):
        return RowState.SHOWING
    if found is Delivering.IN_REVIEW:
        return RowState.IN_REVIEW
    return RowState.PROBLEM if found in PROBLEMS else RowState.NOT_SHOWING


def span_of_days(days: Days, today: date) -> Span:
    """The days that are asked for, in the calendar of the account."""
    if days is Days.YESTERDAY:
        today -= timedelta(days=1)
    first = today - timedelta(days=_LENGTH.get(days, 1) - 1)
    return Span(first.isoformat(), today.isoformat())
