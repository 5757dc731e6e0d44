"""Frequency caps: places for the views of one person, claimed in the database before an ad is shown.

Views come from touches. A decision without its view is a promise with the pseudonym of the viewer. So
simultaneous decisions of all serving processes count each other.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from contatto.ads.model import AdGroup, FrequencyCap
from contatto.delivery.actions.budgeting import PROMISE_US
from contatto.delivery.model.ledger import Promise
from contatto.delivery.store import ledger
from contatto.kit.db.database import Database, acting
from contatto.kit.db.tx import Tx
from contatto.kit.timestamps import micros
from contatto.measurement.store import list_view_times

DAY_US: Final = 86_400_000_000
MOST_FULL: Final = 100_000
"""So many viewers with a reached cap are remembered for each business."""


@dataclass(frozen=True, slots=True)
class ViewClaim:
    """A view of a capped ad group that a decision is about to promise.

    ``viewer`` is the pseudonym for delivery; ``persons`` are the ids of the same viewer in touches.
    """

    nonce: int
    ad_group: AdGroup
    cap: FrequencyCap
    viewer: str
    persons: tuple[str, ...]


@dataclass(slots=True)
class Claims:
    """The claims of one decision: the ad group that has a place, and those that must stay out."""

    granted: int = 0
    refused: set[int] = field(default_factory=set)


def claim_view(tx: Tx, claim: ViewClaim) -> tuple[bool, int]:
    """Keep a place under a frequency cap for a view.

    Returns:
        False if the cap is reached; and until when it is reached now (microseconds), 0 if it is not.
    """
    group, ts = claim.ad_group, micros(tx.now)
    tx.hold_key("frequency", group.id, claim.viewer)
    # Claims are read before views: a view that comes in between counts twice, never not at all.
    ends = ledger.list_claims(tx, group.business_id, group.id, claim.viewer)
    period = claim.cap.days * DAY_US
    views = list_view_times(tx, group.business_id, group.id, claim.persons, ts - period)
    ends += [at + period for at in views]
    is_granted = len(ends) < claim.cap.views
    if is_granted:
        until = ts + PROMISE_US
        ends.append(until)
        place = (group.business_id, claim.nonce, group.id, group.ad_account_id)
        ledger.save_claim(tx, Promise(*place, 0, until, claim.viewer))
    return is_granted, _full_until(ends, claim.cap.views)


def _full_until(ends: list[int], most: int) -> int:
    """Return the time from which one more view is within the cap; 0 if it is now."""
    return sorted(ends)[len(ends) - most] if len(ends) >= most else 0


class FrequencyCaps:
    """The frequency caps of a business in one serving process.

    It remembers viewers with a reached cap, so that only an ad that may be shown costs a claim.
    """

    def __init__(self, db: Database, business_id: str) -> None:
        self._db = db
        self._business_id = business_id
        self._full: OrderedDict[tuple[str, int], tuple[FrequencyCap, int]] = OrderedDict()

    def is_reached(self, viewer: str, ad_group: int, cap: FrequencyCap, ts: int) -> bool:
        """Report whether this process knows that a viewer has reached the cap of an ad group."""
        full_cap, until = self._full.get((viewer, ad_group), (cap, 0))
        return full_cap == cap and until > ts

    def give_back(self, viewer: str, ad_group: int) -> None:
        """Forget that a cap is reached, because a claim is given back."""
        self._full.pop((viewer, ad_group), None)

    async def claim(self, claim: ViewClaim) -> bool:
        """Keep a place for a view; False if the cap is reached."""
        with acting(self._business_id):
            is_granted, full_until = await self._db.write(lambda tx: claim_view(tx, claim))
        key = (claim.viewer, claim.ad_group.number)
        self._full.pop(key, None)
        if full_until:
            self._full[key] = (claim.cap, full_until)
            if len(self._full) > MOST_FULL:
                self._full.popitem(last=False)
        return is_granted
