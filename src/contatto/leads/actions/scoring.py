"""Scoring the leads of all businesses, once a night."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Final

from contatto.accounts.store import list_businesses
from contatto.kit.db.tx import Tx
from contatto.leads.model.scores import LeadScore
from contatto.leads.rules.scoring import score_leads
from contatto.leads.store.scores import list_leads_to_score, save_scores

_LOOK_BACK: Final = timedelta(days=180)
_MOST: Final = 5_000
"""So many leads of a business are scored, the newest."""


class LeadScorer:
    """Goes through the businesses one by one: learns what became of their leads, and scores them."""

    def __init__(self) -> None:
        self._turns: Iterator[str] = iter(())
        self._is_begun = False

    def start_over(self) -> None:
        """Begin a round."""
        self._is_begun = False

    def read_next(self, tx: Tx) -> Callable[[Tx], None] | None:
        """Score the leads of the next business; what keeps the scores comes back, None at the end."""
        if not self._is_begun:
            self._turns, self._is_begun = iter([str(each.id) for each in list_businesses(tx)]), True
        for business_id in self._turns:
            found = score_leads(list_leads_to_score(tx, business_id, tx.now - _LOOK_BACK, _MOST))
            if found:
                scores = [LeadScore(business_id, name, *each, tx.now) for name, each in found.items()]
                return partial(save_scores, scores=scores)
        return None
