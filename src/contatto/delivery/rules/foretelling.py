"""Counting estimates beside what came, and making curves of the counts: pure functions.

Theory. An estimate is judged by what came of it alone, after it was told (prequentially). Chances are counted
in narrow steps of their log-odds, so a day takes some dozen numbers however many were told, and any days can
be added up. Ten bins that hold about as many each are made of these steps afterwards.

Source: Dawid 1984 (prequential).
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final

from contatto.delivery.model.foretold import Bin, Cell, Curve, LossOfDay, Question, Tally, ToldDay
from contatto.delivery.rules.evaluating import LEAST_CHANCE
from contatto.kit.numbers import interval_of, loss_of_rate

BINS: Final = 10
CELLS_A_UNIT: Final = 20
"""Steps of chances in one unit of log-odds: within one, chances differ by a twentieth at most."""
FARTHEST: Final = 12.0
"""Log-odds beyond this are taken for this."""


def cell_of(chance: float) -> int:
    """The step that a chance lies in."""
    p = _bounded(chance)
    odds = min(max(math.log(p) - math.log1p(-p), -FARTHEST), FARTHEST)
    return math.floor(odds * CELLS_A_UNIT)


def _bounded(chance: float) -> float:
    return min(max(chance, LEAST_CHANCE), 1.0 - LEAST_CHANCE)


def tell_chance(tally: Tally, chance: float) -> None:
    """Count an estimate, of which nothing came so far."""
    cell = tally.cells.setdefault(cell_of(chance), Cell())
    cell.asked += 1
    cell.expected += chance
    tally.loss -= math.log1p(-_bounded(chance))


def note_came(tally: Tally, chance: float) -> None:
    """Count that what was told with a chance came after all."""
    p = _bounded(chance)
    tally.cells.setdefault(cell_of(chance), Cell()).came += 1
    tally.loss += math.log1p(-p) - math.log(p)


def add_tallies(tallies: Iterable[Tally]) -> Tally:
    """All of them together."""
    whole = Tally()
    for tally in tallies:
        whole.loss += tally.loss
        for number, cell in tally.cells.items():
            into = whole.cells.setdefault(number, Cell())
            into.asked += cell.asked
            into.came += cell.came
            into.expected += cell.expected
    return whole


def bins_of(tally: Tally, count: int = BINS) -> tuple[Bin, ...]:
    """Bins that hold about as many estimates each, from the least likely on; fewer where steps hold more."""
    total = sum(cell.asked for cell in tally.cells.values())
    filled: dict[int, Cell] = {}
    before = 0
    for _, cell in sorted(tally.cells.items()):
        if not cell.asked:
            continue
        place = min(count * (2 * before + cell.asked) // (2 * total), count - 1)
        before += cell.asked
        into = filled.setdefault(place, Cell())
        into.asked += cell.asked
        into.came += cell.came
        into.expected += cell.expected
    return tuple(_bin_of(cell) for cell in filled.values())


def _bin_of(cell: Cell) -> Bin:
    came = min(cell.came, cell.asked)
    low, high = interval_of(came, cell.asked)
    return Bin(cell.asked, came, cell.expected / cell.asked, came / cell.asked, low, high)


def curve_of(question: Question, days: Sequence[ToldDay]) -> Curve | None:
    """How the estimates of a question did, over some days of any ad accounts; None where none was told."""
    by_day: dict[str, list[Tally]] = {}
    for each in days:
        if each.question is question:
            by_day.setdefault(each.day, []).append(each.tally)
    whole = add_tallies(tally for some in by_day.values() for tally in some)
    bins = bins_of(whole)
    asked, came = sum(each.asked for each in bins), sum(each.came for each in bins)
    if not asked:
        return None
    rate = came / asked
    losses = (_loss_of(day, add_tallies(some), rate) for day, some in sorted(by_day.items()))
    distance = sum(each.asked * abs(each.told - each.share) for each in bins) / asked
    return Curve(
        question, asked, came, sum(each.asked * each.told for each in bins), whole.loss / asked,
        loss_of_rate(came, asked, rate), distance, bins, tuple(loss for loss in losses if loss.asked),
    )  # fmt: skip


def _loss_of(day: str, tally: Tally, rate: float) -> LossOfDay:
    asked = sum(cell.asked for cell in tally.cells.values())
    came = sum(each.came for each in tally.cells.values())
    of_rate = loss_of_rate(min(came, asked), asked, rate)
    return LossOfDay(day, asked, came, tally.loss / asked if asked else 0.0, of_rate)
