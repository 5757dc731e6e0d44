"""Requests for ads, candidates, charges, balances, trials and files of decisions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from contatto.ads.model import AdGroup, FrequencyCap, LiveAd
from contatto.audiences.model import Fingerprint
from contatto.learning.model import AdGroupLine, AdLine, EntryKind, GroupState

type Member = Fingerprint | str
"""A fingerprint of a customer on a list, or the id of a person."""
type AdDestination = tuple[str, bool]
"""A channel account that ads lead to, and whether it is our own chat page."""


@dataclass(frozen=True, slots=True)
class AdRequest:
    """Request for an ad: the viewer, the place, and what the publisher knows of the viewer.

    ``viewer_id`` is the publisher's. ``language`` (ISO 639), ``age``, interests and fingerprints of e-mail or
    phone may be unknown (None), and then exclude no ad. ``ad_account_ids`` limits the caller to some ad
    accounts; None allows all. ``floor_micros`` is the lowest price of a thousand views that wins the place.

    ``has_consent`` allows personalized ads. Without it predictions use only the place (``placement``), not
    the viewer's ``features``, language, age, interests or history.
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
    """Ad that may serve, as the snapshot has it.

    ``may_serve`` is False for an ad of the goal Lead while a country check fails or capture is off. With
    ``own_chat`` a click leads to our own chat page, which has its own person ids. ``destinations`` are those
    of all ads that the ad group ever had, if it has a frequency cap.
    """

    live: LiveAd
    may_serve: bool
    timezone: str
    own_chat: bool = False
    currency: str = ""
    destinations: tuple[AdDestination, ...] = ()

    @property
    def ad_group(self) -> AdGroup:
        return self.live.ad_group


@dataclass(frozen=True, slots=True)
class Bidder:
    """Ads of one ad group that lead to one account, by number, and one of them as an example.

    Bidders with equal ``terms`` share one result of `rules.compare_terms`.
    """

    candidate: Candidate
    ads: tuple[int, ...]
    ad_group_id: str
    ad_group_number: int
    terms: int = 0
    cap: FrequencyCap | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Live ads of a business, with their latest states in the learner.

    ``members`` are those of the chosen audiences, by audience number. ``lines`` are the ads in the form of
    the marketplace, each after its ad group. ``version`` is the newest published model, 0 for none.
    """

    business_id: str
    business_name: str
    candidates: tuple[Candidate, ...]
    members: Mapping[str, frozenset[Member]] = field(default_factory=dict)
    lines: tuple[AdGroupLine | AdLine, ...] = ()
    states: tuple[GroupState, ...] = ()
    version: int = 0


@dataclass(frozen=True, slots=True)
class ServedAd:
    """Ad as the publisher shows it; its links are signed for one impression."""

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
    """Views, clicks and charges of an ad group on a day (``YYYY-MM-DD``) of its ad account."""

    business_id: str
    ad_group_id: str
    day: str
    ad_account_id: str
    views: int
    clicks: int
    charged_micros: int


@dataclass(frozen=True, slots=True)
class Promise:
    """Budget reserved for the expected view or click of an impression, until ``expires_at`` (microseconds).

    ``viewer`` is the pseudonym of the viewer if the ad group has a frequency cap, else empty.
    """

    business_id: str
    nonce: int
    ad_group_id: str
    ad_account_id: str
    micros: int
    expires_at: int
    viewer: str = ""


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """Part of a budget that an ad server may promise until ``expires_at`` (microseconds)."""

    business_id: str
    ad_group_id: str
    server_id: str
    ad_account_id: str
    micros: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class DecisionFile:
    """A Parquet file with log entries of one business and one day (UTC).

    ``name`` is its path below ``folder``; it depends only on the business, the day and the first entry.
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
    """Stage or result of a relearning run."""

    JUDGING = "judging"
    """The candidate learns without the newest days, which then test it."""
    LEARNING = "learning"
    """The candidate passed the test and learns all days."""
    PUBLISHED = "published"
    KEPT = "kept"
    """The candidate predicts worse, so the current model stays."""
    TOO_LITTLE = "too_little"
    """The test days have too few outcomes."""
    BROKEN = "broken"
    """The computation failed: memory, time, or a file."""
    OVERTAKEN = "overtaken"
    """Another model was published meanwhile; the next night tries again."""


class LossComparison(msgspec.Struct, array_like=True, frozen=True):
    """Mean log loss of one question on the test days: of the candidate, and of the current model."""

    question: str
    cases: int
    positives: int
    loss: float
    current_loss: float


@dataclass(frozen=True, slots=True)
class Relearning:
    """Last relearning run of a business; ``version`` is 0 without a published model."""

    business_id: str
    started_at: datetime
    told_at: datetime
    stage: Stage
    views: int
    version: int
    compared: tuple[LossComparison, ...]


@dataclass(frozen=True, slots=True)
class TrialDay:
    """Views, charges and conversions of an ad group in one group of viewers on a day.

    ``trial`` is the group of viewers (see `rules.trial_of`). ``day`` is the ad account's
    (``YYYY-MM-DD``): of the charged touch, or of the touch that earned the conversation or lead.
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


@dataclass(frozen=True, slots=True)
class Stream:
    """Log of a business, with the progress of its learner."""

    business_id: str
    last_seq: int
    trained_seq: int
    published_seq: int
    published_at: int
    lease_by: str
    lease_until: int
    sealed_seq: int


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An entry without its number in the log."""

    kind: EntryKind
    ts: int
    nonce: int = 0
    ad_id: str = ""
    touch_id: int | None = None
    person_id: str | None = None
    body: bytes = b""
