"""The tree of the Ads Manager with its figures: what matches, in which order, and what is shown of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from contatto.ads.model import AdGroup
from contatto.ads.rules.goals import Delivering, Node
from contatto.measurement.model import Goal
from contatto.reports.model import Counts, Figures, Metric, Value
from contatto.reports.rules.ads_manager import TreeLook, state_of

FEW: Final = 60
"""So many rows are all shown at once."""
_NOTHING: Final = Figures(Counts(), frozenset())
_STATES: Final = tuple(Delivering)
"""In the order of an ad that is shown to one that has no budget left."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A node with its figures and the branches under it that match."""

    node: Node
    figures: Figures
    under: "tuple[Branch, ...]" = ()

    @property
    def number(self) -> int:
        return self.node.item.number

    @property
    def size(self) -> int:
        return 1 + sum(branch.size for branch in self.under)


def grow(nodes: Sequence[Node], figures: Mapping[str, Figures]) -> tuple[Branch, ...]:
    """The nodes with their figures, by the ids of what they stand for."""
    return tuple(
        Branch(node, figures.get(node.item.id, _NOTHING), grow(node.under, figures)) for node in nodes
    )


def together(branches: Sequence[Branch]) -> Figures:
    """All branches together; over unlike goals it keeps their mixture in mind."""
    counts, goals = Counts(), frozenset[Goal]()
    for branch in branches:
        counts, goals = counts + branch.figures.counts, goals | branch.figures.goals
    return Figures(counts, goals)


def prune(branches: Sequence[Branch], look: TreeLook) -> tuple[Branch, ...]:
    """What matches, with what is above it. A name that matches brings along all that is under it."""
    if not look.is_narrow:
        return tuple(branches)
    found = (_pruned(branch, look, frozenset(), inside=False) for branch in branches)
    return tuple(branch for branch in found if branch)


def _pruned(branch: Branch, look: TreeLook, goals: frozenset[Goal], *, inside: bool) -> Branch | None:
    mine = _goals_of(branch.node) or goals
    inside = inside or _is_named(branch.node, look.text)
    under = tuple(
        kept for each in branch.under if (kept := _pruned(each, look, mine, inside=inside)) is not None
    )
    fits_goal = not look.goals or not mine.isdisjoint(look.goals)
    fits_state = not look.states or state_of(branch.node.state) in look.states
    return replace(branch, under=under) if under or (inside and fits_goal and fits_state) else None


def _goals_of(node: Node) -> frozenset[Goal]:
    items = (each.item for each in node.walk())
    return frozenset(item.goal for item in items if isinstance(item, AdGroup))


def _is_named(node: Node, text: str) -> bool:
    return text.casefold() in node.item.name.casefold() or text == str(node.item.number)


def order(branches: Sequence[Branch], look: TreeLook, metrics: Mapping[str, Metric]) -> list[Branch]:
    """Each level in the order that is asked for; what has no value comes last, either way."""
    ordered = [replace(branch, under=tuple(order(branch.under, look, metrics))) for branch in branches]
    name, is_down = look.sort.removeprefix("-"), look.sort.startswith("-")
    if not name:
        return ordered
    if name == "name":
        return sorted(ordered, key=lambda branch: branch.node.item.name.casefold(), reverse=is_down)
    known = [(value, branch) for branch in ordered if (value := _value(branch, name, metrics)) is not None]
    unknown = [branch for branch in ordered if _value(branch, name, metrics) is None]
    known.sort(key=lambda pair: pair[0], reverse=is_down)
    return [branch for _, branch in known] + unknown


def _value(branch: Branch, name: str, metrics: Mapping[str, Metric]) -> Value:
    if name == "status":
        return _STATES.index(branch.node.state)
    if name in ("budget", "bid"):
        amount: int | None = getattr(branch.node.item, f"{name}_micros", None)
        return amount
    return metrics[name].value(branch.figures)


def unfold(branches: Sequence[Branch], look: TreeLook, *, usual: bool) -> Iterator[tuple[Branch, bool]]:
    """The rows to show, each with whether what is under it follows; ``usual`` is for those nobody touched."""
    for branch in branches:
        is_open = bool(branch.under) and look.is_open(branch.number, usual=usual)
        yield branch, is_open
        if is_open:
            yield from unfold(branch.under, look, usual=usual)


def is_few(branches: Sequence[Branch]) -> bool:
    """Return whether all rows may be open at once."""
    return sum(branch.size for branch in branches) <= FEW
