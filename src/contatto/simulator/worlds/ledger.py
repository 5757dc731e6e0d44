"""Whether a player keeps the rules: prices within bounds, only ads that may run, no budget overspent."""

from collections import Counter
from typing import Any, Final

from contatto.simulator.worlds.model import World
from contatto.simulator.worlds.setup import Spans, Standings

_DAY_LIMIT: Final = 1.25
_PER_VIEW: Final = 1_000
"""Prices are of a thousand views."""
RULES: Final = (
    "price below floor",
    "price above offer",
    "ad may not run",
    "day over 125 %",
    "total over budget",
    "report is not the ledger",
    "answer makes no sense",
)


class Ledger:
    """What each ad group was charged, and every rule that was broken; money in micros of a thousand views."""

    def __init__(self, world: World, standings: Standings) -> None:
        self.world, self.standings = world, standings
        self.faults: Counter[str] = Counter()
        self.charged = [0] * len(world.groups)
        self._spans = Spans(world)
        self._span: list[tuple[int, int]] = [(0, 0)] * len(world.groups)
        self._spent = [0] * len(world.groups)
        self._limit: list[float] = [0.0] * len(world.groups)
        self._aims = [frozenset(group.countries) for group in world.groups]

    def check_answer(self, group: int, ts: int, country: str, floor: int, answer: dict[str, Any]) -> None:
        """Whether this ad could be shown, at this price."""
        price, offer = answer["price_micros"], answer["offer_micros"]
        if price < floor:
            self.faults["price below floor"] += 1
        if price > offer:
            self.faults["price above offer"] += 1
        if country not in self._aims[group] or not self.standings.groups[group].runs(ts):
            self.faults["ad may not run"] += 1
        chances = (answer["p_click"], answer["p_conversation"], answer["p_spam"], answer["p_lead"])
        if not all(0 <= chance <= 1 for chance in chances) or not 0 < answer["propensity"] <= 1:
            self.faults["answer makes no sense"] += 1

    def charge(self, group: int, ts: int, price: int) -> None:
        """A view came: it costs a thousandth of the price of a thousand."""
        self.charged[group] += price
        budget = self.standings.groups[group].group
        if budget.budget_mode == "infinite":
            return
        if not self._span[group][0] <= ts < self._span[group][1]:
            self._span[group], self._spent[group] = self._spans.at(budget, ts), 0
            self._limit[group] = self._allowed(group)
        self._spent[group] += price
        if self._spent[group] > self._limit[group]:
            day = budget.budget_mode == "day"
            self.faults["day over 125 %" if day else "total over budget"] += 1

    def change(self, group: int, promised: int) -> None:
        """Its budget may have changed: what was spent or promised before may stay, and no more."""
        begun = self._spent[group] + promised
        self._limit[group] = max(self._allowed(group), begun if begun <= self._limit[group] else 0.0)

    def check_report(self, report: dict[str, Any], views: list[int]) -> None:
        """Whether what it says was spent is what it cost, to a micro a view."""
        told = {row["adgroup_id"]: row["spend_micros"] for row in report["adgroups"]}
        for number, group in enumerate(self.world.groups):
            off = abs(told.get(group.id, 0) - self.charged[number] / _PER_VIEW)
            if off > views[number] + 1:
                self.faults["report is not the ledger"] += 1

    def _allowed(self, group: int) -> float:
        budget = self.standings.groups[group].group
        return budget.budget_micros * _PER_VIEW * (_DAY_LIMIT if budget.budget_mode == "day" else 1.0)
