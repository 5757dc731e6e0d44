"""What is asked of delivery, what competes, and what is decided."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from contatto.ads.model import AdGroup, FrequencyCap, LiveAd
from contatto.audiences.model import Fingerprint
from contatto.delivery.model.lines import AdGroupLine, AdLine
from contatto.delivery.model.phases import GroupState

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
