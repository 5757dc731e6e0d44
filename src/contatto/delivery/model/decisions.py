"""What is asked of delivery, what competes, and what is decided."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from contatto.ads.model import AdGroup, LiveAd
from contatto.audiences.model import Fingerprint

type Member = Fingerprint | str
"""A customer of a list, or a person by their id."""


@dataclass(frozen=True, slots=True)
class AdRequest:
    """A place for an ad: the publisher's id of the viewer, the country, and the account where one is set.

    The rest is what the publisher knows of the viewer, if anything: the language (ISO 639), the age, the
    interests, and fingerprints of e-mail or phone. What it does not know (None) rules nothing out.
    ``ad_account_ids`` are the only ad accounts that the caller may use; None for all.
    """

    viewer_id: str
    country: str
    channel_account_id: str | None = None
    language: str | None = None
    age: int | None = None
    interest_category_ids: frozenset[str] | None = None
    prints: frozenset[Fingerprint] = frozenset()
    ad_account_ids: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """An ad that may serve, with what the index knows of it.

    ``may_serve`` is False for an ad of the goal Lead while a country check fails or capture is off.
    ``own_chat`` tells that its tap leads to our own chat page, where no publisher names the people.
    """

    live: LiveAd
    may_serve: bool
    timezone: str
    own_chat: bool = False

    @property
    def ad_group(self) -> AdGroup:
        return self.live.ad_group


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The live ads of a business as they were read at a time; ``spent_micros`` is of its ad accounts' day.

    Spend is by ad group; ``spent_ever_micros`` is known where the budget is a total. ``members`` are those of
    the audiences that its ad groups choose, by their numbers: fingerprints of customers, or ids of persons.
    """

    business_id: str
    business_name: str
    read_at: datetime
    candidates: tuple[Candidate, ...]
    spent_micros: Mapping[str, int] = field(default_factory=dict)
    spent_ever_micros: Mapping[str, int] = field(default_factory=dict)
    members: Mapping[str, frozenset[Member]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The ad that won, and what is charged with its view and with its click, in micros."""

    candidate: Candidate
    view_cost_micros: int
    click_cost_micros: int


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
