"""Mirrored ad accounts, campaigns and costs, and the pulls that read them."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from contatto.channels.model import ChannelApp
from contatto.kit.outbound.model import Failed, HttpAnswer, HttpRequest, NotNow

PULL: Final = "ad_pull"
"""Kind of the outbound requests that read an ad account; rows contain it, so it never changes."""


class AdPlatform(StrEnum):
    TIKTOK = "tiktok"
    META = "meta"


class PullState(StrEnum):
    NEW = "new"
    """Nothing was read yet."""
    READY = "ready"
    RETRYING = "retrying"
    STOPPED = "stopped"
    """A person has to add a token, or to start it again."""
    UPLOADS = "uploads"
    """Not connected; its figures come only from uploaded files."""


@dataclass(frozen=True, slots=True)
class OutsideAccount:
    """An ad account of another platform. ``currency`` and ``timezone`` are empty before the first pull.

    ``pulled_through`` is the last day with figures, in the account's zone. On ``deep_day`` the last pull read
    all days that a platform still corrects. ``left_out`` counts unreadable rows of the last pull.
    """

    id: str
    business_id: str
    platform: AdPlatform
    external_id: str
    name: str
    base_url: str
    currency: str
    timezone: str
    state: PullState
    reason: str
    backfill_days: int
    pulled_at: datetime | None
    pulled_through: str
    deep_day: str
    left_out: int
    created_at: datetime


class NodeLevel(StrEnum):
    CAMPAIGN = "campaign"
    AD_GROUP = "ad_group"
    AD = "ad"


class OutsideStatus(StrEnum):
    ACTIVE = "active"
    PAUSED = "paused"
    DELETED = "deleted"
    """Deleted on the platform; its costs stay."""


@dataclass(frozen=True, slots=True)
class OutsideNode:
    """A campaign, ad group or ad as its platform describes it.

    ``number`` is the platform's id, ``parent`` the id of its campaign or ad group (0 for campaigns). ``goal``
    is the platform's optimisation goal of an ad group. A window of None means that such touches never count.
    """

    level: NodeLevel
    number: int
    parent: int
    name: str
    status: OutsideStatus = OutsideStatus.ACTIVE
    goal: str = ""
    click_window_s: int | None = 7 * 86_400
    view_window_s: int | None = 86_400


@dataclass(frozen=True, slots=True)
class AdDay:
    """Cost and results of an ad on a day (``YYYY-MM-DD``) of its account's zone."""

    ad_number: int
    day: str
    spend_micros: int
    impressions: int
    clicks: int


class Part(StrEnum):
    """Parts of an account, in the order of a pull."""

    ACCOUNT = "account"
    CAMPAIGNS = "campaigns"
    AD_GROUPS = "ad_groups"
    ADS = "ads"
    SPEND = "spend"


LEVEL_OF: Final = {
    Part.CAMPAIGNS: NodeLevel.CAMPAIGN,
    Part.AD_GROUPS: NodeLevel.AD_GROUP,
    Part.ADS: NodeLevel.AD,
}


@dataclass(frozen=True, slots=True)
class Walk:
    """Position of a pull and its next request, stored encrypted between its steps.

    ``cursor`` is empty at the beginning of a part; ``first`` and ``last`` are the days of a chunk of costs.
    ``mark`` distinguishes rows of this pull from older ones, ``left_out`` counts unreadable rows. ``anchor``,
    ``steps`` and ``reach`` find a cycle among the cursors. ``through`` is the last day to read.
    ``code`` has to be exchanged for a token first, with the redirect address ``back``.

    Source: R. P. Brent, "An improved Monte Carlo factorization algorithm", BIT 20 (1980): finding cycles.
    """

    part: Part = Part.ACCOUNT
    cursor: str = ""
    first: str = ""
    last: str = ""
    through: str = ""
    mark: int = 0
    left_out: int = 0
    anchor: str = ""
    steps: int = 0
    reach: int = 1
    code: str = ""
    back: str = ""
    app_id: str = ""


@dataclass(frozen=True, slots=True)
class PullAccess:
    base_url: str
    external_id: str
    access_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AccountFacts:
    name: str
    currency: str
    timezone: str


@dataclass(frozen=True, slots=True)
class RowPage:
    """A page of nodes or of days; ``cursor`` is empty at the end, ``left_out`` counts unreadable rows."""

    nodes: tuple[OutsideNode, ...] = ()
    days: tuple[AdDay, ...] = ()
    cursor: str = ""
    left_out: int = 0


type PullPage = AccountFacts | RowPage
type PullFailure = NotNow | Failed


class PlatformConnector(Protocol):
    """One ad platform: values to requests, and answers to values. Pure; never raises on hostile bytes."""

    platform: AdPlatform
    base_url: str
    """The address of the platform's API, without a final slash."""
    lead_goals: frozenset[str]
    """The platform's optimisation goals for leads; all others are for conversations."""

    def ask(self, access: PullAccess, walk: Walk) -> HttpRequest:
        """Return the request for the page at a position."""
        ...

    def read(self, access: PullAccess, walk: Walk, answer: HttpAnswer) -> PullPage | PullFailure:
        """Return the page of a response, or the reason to retry or to stop."""
        ...

    def authorize_url(self, app_id: str, state: str, back: str) -> str:
        """Return the platform's consent page, which redirects to ``back`` with the state and a code."""
        ...

    def exchange(self, base_url: str, app: ChannelApp, code: str, back: str) -> HttpRequest:
        """Return the request that exchanges a code for an access token."""
        ...

    def read_token(self, answer: HttpAnswer) -> str | PullFailure:
        """Return the access token of an exchange."""
        ...


@dataclass(frozen=True, slots=True)
class OutsideAdsMirrored:
    """Event: ads were mirrored, so chats that named these ``ad_numbers`` can be credited."""

    business_id: str
    account_id: str
    ad_numbers: tuple[str, ...]
