"""How serving processes share what is left of budgets, as pure functions. Money is micros.

Theory. Each process promises ads by itself, out of a part of the budget that was granted to it for some
seconds. What is left to grant is the limit less what was charged, what is promised and what others hold. A
process gets what it may need until it asks again, at most an even share; near the end, when an even share
pays for no view, the one who asks gets all of the rest, so that no budget ends in pieces too small to use.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Want:
    """What a process would like to hold of a budget; ``left`` is None where there is no limit.

    ``purses`` are those that pay too, and that others share: the ad account, the campaign with a budget.
    ``least`` is what one view costs: less is of no use.
    """

    ad_group_id: str
    purses: tuple[str, ...]
    left: int | None
    wanted: int
    least: int


def share_budgets(
    wants: Sequence[Want], held_or_promised: Mapping[str, int], purses: Mapping[str, int], others: int
) -> dict[str, int]:
    """What a process is granted of each budget.

    Args:
        wants: what it would like.
        held_or_promised: by ad group, what others hold and what is promised.
        purses: what is left to grant of those that are limited.
        others: how many other processes serve.
    """
    rooms = dict(purses)
    granted: dict[str, int] = {}
    for want in wants:
        amount = want.wanted
        if want.left is not None:
            free = max(want.left - held_or_promised.get(want.ad_group_id, 0), 0)
            amount = _share(free, want, others)
        limited = [name for name in want.purses if name in rooms]
        for name in limited:
            amount = min(amount, _share(rooms[name], want, others))
        for name in limited:
            rooms[name] -= amount
        granted[want.ad_group_id] = amount
    return granted


def _share(free: int, want: Want, others: int) -> int:
    if free < want.least:
        return 0
    share = free // (others + 1)
    return min(want.wanted, free if share < want.least else share)
