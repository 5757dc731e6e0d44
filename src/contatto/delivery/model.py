"""Requests for ads, candidates, charges, balances, trials and files of decisions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from contatto.ads.model import AdGroup, FrequencyCap, LiveAd
from contatto.audiences.model import Fingerprint
from contatto.learning.lines import AdGroupLine, AdLine
from contatto.learning.model import GroupState

type Member = Fingerprint | str
"""A customer of a list, or a person by their id."""
type Home = tuple[str, bool]
"""A channel account that ads lead to, and if that is our own chat page."""


@dataclass(frozen=True, slots=True)
class AdRequest:
    """A place for an ad: the publisher's id of the viewer, the country, and the account where one is set.

    The rest is what the publisher knows of the viewer, if anything: the language (ISO 639), the age, the
    interests, and fingerprints of e-mail or phone. What it does not know (None) rules nothing out.
    ``ad_account_ids`` are the only ad accounts that the caller may use; None for all.

    ``has_consent`` says that the viewer agreed to ads that are chosen by what is known of them. Without it
    ``features``, language, age, interests and all that was seen of the viewer before stay out of the
    estimates; where the ad stands (``placement``) does not. ``floor_micros`` is the least price of a
    thousand views that wins the place.
    """

    viewer_id: str
    country: str
    channel_account_id: str | None = None
    language: str | None = None
    age: int | None = None
    interest_category_ids: frozenset[str] | None = None
    prints: frozenset[Fingerprint] = frozenset()
    ad_account_ids: frozenset[str] | None = None
    placement: str = ""
    device: str = ""
    features: Mapping[str, Any] = field(default_factory=dict)
    has_consent: bool = False
    floor_micros: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """An ad that may serve, with what the index knows of it.

    ``may_serve`` is False for an ad of the goal Lead while a country check fails or capture is off.
    ``own_chat`` tells that its tap leads to our own chat page, where no publisher names the people.
    ``homes`` are those of all ads that its ad group ever had, if that has a frequency cap.
    """

    live: LiveAd
    may_serve: bool
    timezone: str
    own_chat: bool = False
    currency: str = ""
    homes: tuple[Home, ...] = ()

    @property
    def ad_group(self) -> AdGroup:
        return self.live.ad_group


@dataclass(frozen=True, slots=True)
class Bidder:
    """The ads of one ad group that lead to one account, by their numbers, and one of them for all.

    Bidders with the same number of ``terms`` are compared with a request alike (`rules.targeting.terms_of`).
    """

    candidate: Candidate
    ads: tuple[int, ...]
    ad_group_id: str
    ad_group_number: int
    terms: int = 0
    cap: FrequencyCap | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The live ads of a business as they were read at a time, and what the learner said of them.

    ``members`` are those of the audiences that its ad groups choose, by their numbers: fingerprints of
    customers, or ids of persons. ``lines`` are the ads as the marketplace knows them, each after its group.
    ``version`` is the newest published model, 0 for none.
    """

    business_id: str
    business_name: str
    read_at: datetime
    candidates: tuple[Candidate, ...]
    members: Mapping[str, frozenset[Member]] = field(default_factory=dict)
    lines: tuple[AdGroupLine | AdLine, ...] = ()
    states: tuple[GroupState, ...] = ()
    version: int = 0


@dataclass(frozen=True, slots=True)
class Price:
    """What is charged with a view and with a click, in micros."""

    view_micros: int
    click_micros: int


@dataclass(frozen=True, slots=True)
class Served:
    """An ad as the publisher shows it; the links are signed for this one impression."""

    ad_id: str
    ad_name: str
    headline: str
    text: str
    business_name: str
    view_url: str
    click_url: str
    decision_id: str


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


@dataclass(frozen=True, slots=True)
class DecisionFile:
    """A Parquet file of entries that one business's log got on one day (UTC), as it was when it was written.

    ``name`` is its path below ``folder``; it depends on the business, the day and the first entry alone.
    """

    business_id: str
    name: str
    folder: str
    day: str
    first_seq: int
    last_seq: int
    entries: int
    size: int
    sha256: str


class Stage(StrEnum):
    """How far learning again is, or how it ended."""

    JUDGING = "judging"
    """Days are learned without the newest ones, which then judge."""
    LEARNING = "learning"
    """It was good enough, so all days are learned."""
    PUBLISHED = "published"
    KEPT = "kept"
    """It foretold worse than what serves, so that stays."""
    TOO_LITTLE = "too_little"
    """Too little came in the days that judge."""
    BROKEN = "broken"
    """The computing ended before its end: memory, time, a file."""
    OVERTAKEN = "overtaken"
    """Another model was published at the same moment; the next night tries again."""


ENDED = frozenset(Stage) - {Stage.JUDGING, Stage.LEARNING}


class Compared(msgspec.Struct, array_like=True, frozen=True):
    """A question in the days that judged: the mean log loss of what was learned again, and of what served."""

    question: str
    asked: int
    came: int
    loss: float
    served: float


@dataclass(frozen=True, slots=True)
class Relearning:
    """The last time that files of a business were learned again; ``version`` is 0 if none was published."""

    business_id: str
    started_at: datetime
    told_at: datetime
    stage: Stage
    views: int
    version: int
    compared: tuple[Compared, ...]


@dataclass(frozen=True, slots=True)
class TrialDay:
    """What an ad group showed to one group of viewers on a day, and what came of it.

    ``trial`` is the group of viewers (see `rules/trials`), ``day`` is the ad account's (``YYYY-MM-DD``): of
    the touch that is charged, or that earned the conversation or the lead. Money is micros.
    """

    business_id: str
    ad_group_id: str
    day: str
    trial: int
    views: int = 0
    clicks: int = 0
    charged_micros: int = 0
    conversations: int = 0
    leads: int = 0
