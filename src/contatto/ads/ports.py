"""Port of ads to the ledger of charges."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from contatto.ads.model import Spent
from contatto.kit.db.tx import Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendPort:
    """Return the spend of ad groups from counters that each charge updates.

    Attributes:
        list_spent: by the ids of ad groups of a business, on a day (``YYYY-MM-DD``) of their own, and ever;
            one that never spent anything is missing.
    """

    list_spent: Callable[[Tx, str, Collection[str], str], dict[str, Spent]]
