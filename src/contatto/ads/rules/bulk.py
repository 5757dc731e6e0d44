"""Work on many rows of the tree at once: which act fits which level, and in which order rows are taken."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from contatto.ads.model import NodeKind, NodeStatus, Place
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_
from contatto.kit.numbers import read_number


class Act(StrEnum):
    """What is done to each of the chosen rows; the values are the words of our addresses."""

    PAUSE = "pause"
    START = "start"
    DELETE = "delete"
    BUDGET = "budget"
    BID = "bid"


STATUS_AFTER: Final = {
    Act.PAUSE: NodeStatus.PAUSED,
    Act.START: NodeStatus.ACTIVE,
    Act.DELETE: NodeStatus.DELETED,
}
DONE: Final = {
    Act.PAUSE: N_("Paused"),
    Act.START: N_("Turned on"),
    Act.DELETE: N_("Deleted"),
    Act.BUDGET: N_("Budget changed"),
    Act.BID: N_("Bid changed"),
}
"""What a row says when it is done."""
MOST_ROWS: Final = 200
"""Rows of one request: more than a page of the tree usually shows."""
_DEPTH: Final = {NodeKind.AD: 0, NodeKind.AD_GROUP: 1, NodeKind.CAMPAIGN: 2}


def read_places(values: Iterable[str]) -> tuple[Place, ...]:
    """The chosen rows, each once and those furthest down first: what is above may take them along.

    Args:
        values: level and number of each row, such as ``ad-groups-17``.

    Raises:
        Refused: INVALID, for no row, too many, or what is no row.
    """
    places = list(dict.fromkeys(_place(value) for value in values))
    if not places:
        raise Refused(errors.INVALID, "Choose at least one row.")
    if len(places) > MOST_ROWS:
        raise Refused(errors.INVALID, "Choose at most %(most)s rows.", most=MOST_ROWS)
    return tuple(sorted(places, key=lambda place: _DEPTH[place[0]]))


def _place(value: str) -> Place:
    kind, _, number = value.rpartition("-")
    read = read_number(number)
    if kind not in set(NodeKind) or read is None:
        raise Refused(errors.INVALID, "A selected row is no longer in the table. Reload the page.")
    return NodeKind(kind), read


def check_fits(act: Act, kind: NodeKind) -> None:
    """Refuse a budget or a bid where there is none.

    Raises:
        Refused: INVALID.
    """
    if act is Act.BUDGET and kind is NodeKind.AD:
        raise Refused(errors.INVALID, "An ad has no budget of its own. It uses the budget of its ad group.")
    if act is Act.BID and kind is not NodeKind.AD_GROUP:
        raise Refused(errors.INVALID, "Only an ad group has a bid.")
