"""Frequency caps over lines: how often viewers saw the ads of an ad group lately."""

from typing import Any, Final

from contatto.delivery.model.lines import AdGroupLine
from contatto.delivery.predict.records import Records, Shown
from contatto.delivery.rules.budgets import SECOND

_DAY: Final = 86_400 * SECOND
_REMEMBERED: Final = 31 * _DAY
"""For so long a view is remembered at least: a cap of fewer days may be made longer."""

type Pair = tuple[int, int]
"""The rows of an ad group and of a viewer."""


class FrequencyCaps:
    """The caps of ad groups, and the views that count under them.

    A view counts from its decision on. One that does not come is given up with its place in the budget.
    """

    def __init__(self) -> None:
        self.caps: dict[int, tuple[int, int]] = {}
        """Views and microseconds, by the row of the ad group."""
        self.views: dict[Pair, list[int]] = {}
        """Times of views."""
        self.waiting: dict[Pair, dict[str, int]] = {}
        """Times of decisions without a view, by request."""
        self._dropped_at = 0

    def set_cap(self, line: AdGroupLine, group: int, records: Records) -> None:
        """Take the cap of an ad group; a new one counts the views that are still remembered."""
        had = self.caps.pop(group, None)
        if line.frequency and line.frequency_schedule:
            self.caps[group] = (line.frequency, line.frequency_schedule * _DAY)
        if had is not None and group in self.caps:
            return
        self.views = {pair: times for pair, times in self.views.items() if pair[0] != group}
        self.waiting = {pair: requests for pair, requests in self.waiting.items() if pair[0] != group}
        for shown in records.shown.values() if group in self.caps else ():
            if shown is not None and shown.group == group:
                (self.note_view if shown.viewed_at else self.note_decision)(shown)

    def list_reached(self, viewer: int, ts: int, wait: int) -> list[int]:
        """List the ad groups that a viewer may not see now; a decision counts for ``wait`` microseconds."""
        return [group for group in self.caps if self._is_reached((group, viewer), ts, wait)]

    def _is_reached(self, pair: Pair, ts: int, wait: int) -> bool:
        most, period = self.caps[pair[0]]
        count = sum(at > ts - period for at in self.views.get(pair, ()))
        return count + sum(at > ts - wait for at in self.waiting.get(pair, {}).values()) >= most

    def note_decision(self, shown: Shown) -> None:
        """Count an ad that was chosen, until its view comes or is given up."""
        if shown.group in self.caps:
            self.waiting.setdefault((shown.group, shown.viewer), {})[shown.request_id] = shown.asked_at

    def note_view(self, shown: Shown) -> None:
        """Count a view."""
        if shown.group in self.caps:
            pair = shown.group, shown.viewer
            self.waiting.get(pair, {}).pop(shown.request_id, None)
            self.views.setdefault(pair, []).append(shown.viewed_at)

    def drop_old(self, ts: int, wait: int) -> None:
        """Forget once a day what no longer counts."""
        if not self.caps or ts - self._dropped_at < _DAY:
            return
        self._dropped_at = ts
        for pair, times in list(self.views.items()):
            period = max(self.caps[pair[0]][1], _REMEMBERED)
            self.views[pair] = [at for at in times if at > ts - period]
        for pair, requests in list(self.waiting.items()):
            self.waiting[pair] = {name: at for name, at in requests.items() if at > ts - wait}
        self.views = {pair: times for pair, times in self.views.items() if times}
        self.waiting = {pair: requests for pair, requests in self.waiting.items() if requests}

    def state(self) -> list[Any]:
        """Return all of it for `restore`."""
        return [
            [[group, *cap] for group, cap in self.caps.items()],
            [[*pair, times] for pair, times in self.views.items()],
            [[*pair, requests] for pair, requests in self.waiting.items()],
            self._dropped_at,
        ]

    def restore(self, state: list[Any]) -> None:
        """Go on from what `state` gave."""
        caps, views, waiting, self._dropped_at = state
        self.caps = {group: (most, period) for group, most, period in caps}
        self.views = {(group, viewer): times for group, viewer, times in views}
        self.waiting = {(group, viewer): requests for group, viewer, requests in waiting}
