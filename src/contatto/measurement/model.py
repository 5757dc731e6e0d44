"""Touches, conversions, tracking links, and the fields of ads that attribution needs."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LONGEST_VIEW_S: Final = 7 * 86_400
"""The longest window of a view, in seconds.

Source: TikTok, attribution settings at the ad group level: off, 1 day or 7 days.
"""


class Goal(StrEnum):
    """Optimisation goal of an ad group, which decides the conversions that count."""

    LEAD = "lead"
    CONVERSATION = "conversation"


class TouchKind(StrEnum):
    VIEW = "view"
    CLICK = "click"


class ConversionKind(StrEnum):
    CONVERSATION = "conversation"
    LEAD = "lead"


class AttributionPolicy(StrEnum):
    """Policy of attribution: clicks before views, or simply the latest touch."""

    CLICK_FIRST = "click_first"
    LAST_TOUCH = "last_touch"


@dataclass(frozen=True, slots=True)
class MeasuredAd:
    """Ad for attribution; the package ``ads`` publishes it after each change.

    The ``…_number`` fields are the API's ids. Windows are in seconds; None means that such touches never
    count. ``landing_path`` is the target of a tap. ``page_id`` is the instant form that the chat offers, or
    empty. ``welcome`` is the first message of the chat, empty for the account's own. ``questions`` are
    suggestions with their answers.
    """

    ad_id: str
    ad_number: int
    ad_name: str
    ad_group_id: str
    ad_group_number: int
    ad_group_name: str
    campaign_id: str
    campaign_number: int
    campaign_name: str
    business_id: str
    ad_account_id: str
    channel_account_id: str
    goal: Goal
    click_window_s: int | None
    view_window_s: int | None
    timezone: str
    currency: str
    landing_path: str
    headline: str
    text: str
    page_id: str = ""
    welcome: str = ""
    questions: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    platform: str = ""
    """The outside platform that shows the ad, and counts its cost and views; empty for our own ads."""

    @property
    def opens_own_chat(self) -> bool:
        """Report whether a tap leads to our own chat page, where people have identities that we made."""
        return self.landing_path.startswith("/")


@dataclass(frozen=True, slots=True)
class Touch:
    """View or click of an ad by a person.

    ``person_id`` is a person of the ad's account; in views of ads that open our own chat it is a viewer of a
    publisher, who may be linked to persons.
    ``ts`` and ``expires_ts`` are microseconds since 1970 (UTC); ``day`` is the date in the ad account's zone.
    ``country`` is that of the viewer, as the publisher reported it, or empty.
    """

    touch_id: int
    business_id: str
    person_id: str
    ad_id: str
    ad_group_id: str
    ad_account_id: str
    kind: TouchKind
    ts: int
    expires_ts: int
    day: str
    cost_micros: int
    country: str = ""


@dataclass(frozen=True, slots=True)
class Impression:
    """View or click of an ad that delivery chose: its priced touch and its link.

    ``placement`` is the operator's placement in which it was shown, empty for the business's own places.
    ``trial`` is the viewer's group in the experiment (below 0 in the random arm), 0 for none.
    """

    touch: Touch
    nonce: int
    placement: str = ""
    trial: int = 0


@dataclass(frozen=True, slots=True)
class Tap:
    """Click with the viewer of its link; without an impression the nonce is 0."""

    impression: Impression
    viewer_id: str | None = None


@dataclass(frozen=True, slots=True)
class Conversion:
    """A conversation started or a lead captured; ``subject_id`` is that conversation or lead."""

    conversion_id: int
    business_id: str
    person_id: str
    kind: ConversionKind
    subject_id: str
    ts: int


@dataclass(frozen=True, slots=True)
class Attribution(Conversion):
    """A conversion and the touch that won it (all None when there was none).

    ``via`` and ``day`` are the touch's kind and day, ``rt_day`` ("real-time") is the conversion's day.
    """

    touch_id: int | None
    ad_id: str | None
    ad_group_id: str | None
    ad_account_id: str | None
    via: TouchKind | None
    touch_ts: int | None
    day: str | None
    rt_day: str | None


@dataclass(frozen=True, slots=True)
class SealedFile:
    """Immutable Parquet file with one day's touches of all businesses.

    ``name`` is its path below ``folder``; it depends on the day and the number of the part alone. The
    database has deleted ``dropped`` of its views: those with an id up to ``dropped_through``.
    """

    name: str
    folder: str
    day: str
    part: int
    touches: int
    size: int
    sha256: str
    dropped_through: int = -1
    dropped: int = 0


class TicketKind(StrEnum):
    """Purpose of a tracking link; it is signed, so that a link works at its own endpoint only."""

    VIEW = "view"
    """The view of one impression."""
    CLICK = "click"
    """The tap on one impression."""
    CHAT = "chat"
    """A tap on the permanent link of an ad, which anybody may post anywhere."""


@dataclass(frozen=True, slots=True)
class TrackingTicket:
    """Content of a signed tracking link.

    ``nonce`` is the impression; its view and its tap count once each. It is 0 for a chat link. ``viewer`` is
    the publisher's id of the person. ``cost_micros`` is the charge when the link counts, in micros of the
    account's currency. ``country`` is that of the viewer, or empty.
    """

    kind: TicketKind
    business_id: str
    ad_id: str
    nonce: int = 0
    viewer: str = ""
    cost_micros: int = 0
    country: str = ""
    placement: str = ""
    """The operator's placement in which the ad was shown; empty for the business's own places."""
    trial: int = 0
    """The viewer's group in the experiment, below 0 in the random arm; 0 for none."""


class CountedEvent(StrEnum):
    """Kind of event that a report counts: touches and conversions."""

    TOUCH = "touch"
    CONVERSION = "conversion"


@dataclass(frozen=True, slots=True)
class ChangedDay:
    """Day of an ad account to count again, since a late event changed it."""

    id: str
    business_id: str
    ad_account_id: str
    day: str
    source: CountedEvent
