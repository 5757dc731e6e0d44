"""Charges, promises, and the balance of an ad account. Money is micros of the account's currency."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ChargedDay:
    """What the views and clicks of an ad group cost on a day (``YYYY-MM-DD``) of its ad account."""

    business_id: str
    ad_group_id: str
    day: str
    ad_account_id: str
    views: int
    clicks: int
    charged_micros: int


@dataclass(frozen=True, slots=True)
class Promise:
    """The price of the expected view (or click) of an impression; ``expires_at`` is in microseconds.

    ``viewer`` is the pseudonym of the viewer where the ad group has a frequency cap; else it is empty.
    """

    business_id: str
    nonce: int
    ad_group_id: str
    ad_account_id: str
    micros: int
    expires_at: int
    viewer: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """A part of a budget that a serving process may promise until ``expires_at`` (microseconds)."""

    business_id: str
    ad_group_id: str
    server_id: str
    ad_account_id: str
    micros: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class Balance:
    """What an ad account paid in, may owe, and was charged.

    With ``is_limited`` it is charged no more than it paid in and may owe; else its budgets alone limit it.
    """

    business_id: str
    ad_account_id: str
    is_limited: bool
    paid_in_micros: int = 0
    credit_micros: int = 0
    charged_micros: int = 0

    @property
    def left_micros(self) -> int:
        """What is left of what was paid in; less than 0 where something is owed."""
        return self.paid_in_micros - self.charged_micros

    @property
    def room_micros(self) -> int:
        """What may still be charged, where the account is limited."""
        return max(self.left_micros + self.credit_micros, 0)


@dataclass(frozen=True, slots=True)
class BalanceEntry:
    """A payment into a balance, or out of it (below 0)."""

    id: str
    business_id: str
    ad_account_id: str
    at: datetime
    day: str
    micros: int
    note: str
