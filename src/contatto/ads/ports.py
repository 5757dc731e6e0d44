"""What ads ask of the capability that keeps the ledger of charges; it is handed in."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from contatto.ads.model import Spent
from contatto.kit.db.tx import Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendPort:
    """What ad groups have spent, as it was counted with each charge: however many touches there are.

    Attributes:
        list_spent: by the ids of ad groups of a business, on a day (``YYYY-MM-DD``) of their own, and ever;
            one that never spent anything is missing.
    """

    list_spent: Callable[[Tx, str, Collection[str], str], dict[str, Spent]]
