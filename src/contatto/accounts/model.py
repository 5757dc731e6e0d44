"""Businesses, members, ad accounts, tokens, and the caller of a request."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, NewType

from contatto.kit.values import SealedIn

BusinessId = NewType("BusinessId", str)
UserId = NewType("UserId", str)
MemberId = NewType("MemberId", str)
AdAccountId = NewType("AdAccountId", str)


class Role(StrEnum):
    OWNER = "owner"
    ADMIN = "admin"
    MANAGER = "manager"
    AGENT = "agent"
    ANALYST = "analyst"


class Permission(StrEnum):
    """Permission of a role or token; scopes of tokens are a subset of these."""

    READ_INBOX = "inbox.read"
    WRITE_INBOX = "inbox.write"
    READ_LEADS = "leads.read"
    WRITE_LEADS = "leads.write"
    EXPORT_LEADS = "leads.export"
    ERASE_LEADS = "leads.erase"
    READ_ADS = "ads.read"
    WRITE_ADS = "ads.write"
    READ_REPORTS = "reports.read"
    ADMINISTER = "settings.write"


class Credential(StrEnum):
    """Proof by which a route identifies its caller."""

    MEMBER = "member"
    """A session cookie; requests that change something carry the CSRF token of a form too."""
    PROGRAM = "program"
    """An access token in the header."""
    APP = "app"
    """The secret of an app in the request, or an access token."""
    VISITOR = "visitor"
    """The token of a visitor of a chat page, in a cookie or in the address of an embedded page."""
    ADDRESS = "address"
    """An unguessable address: signed, or with the hash of its content."""
    PLATFORM = "platform"
    """The signature of a platform over the raw body."""
    ANYBODY = "anybody"


@dataclass(frozen=True, slots=True)
class Access:
    """Access rule of a route. Without a permission, the credential suffices."""

    credential: Credential
    permission: Permission | None = None


class ReadAudit(StrEnum):
    """Logging mode for reads of contact data through a route."""

    EACH = "each"
    """Log every read."""
    FOLDED = "folded"
    """Log the first of repeated reads: open pages fetch their lists again and again."""


@dataclass(frozen=True, slots=True)
class Business:
    """A tenant: a business that advertises, or the operator of a marketplace."""

    id: BusinessId
    name: str
    created_at: datetime
    is_operator: bool = False


@dataclass(frozen=True, slots=True)
class User:
    """A person's account, for all their businesses; each membership has its own role."""

    id: UserId
    email: str
    password_hash: str
    created_at: datetime
    language: str = ""
    """Language tag; empty to follow the browser."""
    timezone: str = ""
    """An IANA name; empty to follow the browser."""
    vouched_by: str = ""
    """The only business that vouches for the address; empty once the address is confirmed."""
    access_revision: int = 0
    """Rises with each change of memberships, password or e-mail; ends links to reset a password."""


@dataclass(frozen=True, slots=True)
class Member:
    """Membership of a person in a business, with the person's data."""

    id: MemberId
    business_id: BusinessId
    user_id: UserId
    email: str
    display_name: str
    role: Role
    password_hash: str
    created_at: datetime
    language: str = ""
    timezone: str = ""
    last_login_at: datetime | None = None
    deactivated_at: datetime | None = None
    """Time from which the member may not sign in here; their messages keep the name."""
    vouched_by: str = ""
    access_revision: int = 0
    """Both as in ``User``."""
    memberships: int = 1
    session_used_at: datetime | None = None
    """Set for a signed-in member: number of active memberships, and last recorded use of the session."""


@dataclass(frozen=True, slots=True)
class Session:
    """Session of a member; ``browser`` comes from its user agent."""

    id: str
    business_id: BusinessId
    token_hash: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    browser: str


@dataclass(frozen=True, slots=True)
class Workplace:
    """A person's active membership; ``name`` is the business's."""

    id: MemberId
    business_id: BusinessId
    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class FailedTries:
    """Failed log-ins with a member's e-mail, from elsewhere, since their last log-in."""

    count: int
    since: datetime


@dataclass(frozen=True, slots=True)
class AdAccount:
    """An ad account; ``number`` is the API's ``advertiser_id``, ``country`` its registration country."""

    id: AdAccountId
    business_id: BusinessId
    number: int
    name: str
    country: str
    currency: str
    timezone: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ApiToken:
    """Data of an access token, without the token or its hash."""

    id: str
    business_id: BusinessId
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None
    made_by: str = ""
    """Id of the member who made it; empty for the operator."""
    ad_account_ids: tuple[str, ...] | None = None
    """The only ad accounts that it may be used for; None for all, also later ones."""


@dataclass(frozen=True, slots=True)
class AuthCode:
    """One-time code that a program exchanges for an access token; saved as a hash."""

    code_hash: str
    business_id: BusinessId
    name: str
    scopes: tuple[str, ...]
    made_by: str = ""
    ad_account_ids: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """Number of sessions and access tokens that an action ended."""

    sessions: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Caller:
    """Authenticated caller of a request: a member's session or an API token.

    ``ad_account_ids`` are the only ad accounts of a token that is limited to some; None for all.
    """

    business_id: BusinessId
    business_name: str
    subject_id: str
    display_name: str
    email: str
    role: Role | None
    permissions: frozenset[Permission]
    language: str = ""
    timezone: str = ""
    user_id: str = ""
    memberships: int = 1
    ad_account_ids: frozenset[str] | None = None
    is_operator: bool = False
    """The tenant runs a marketplace, and does not advertise."""


@dataclass(frozen=True, slots=True)
class KeptPage:
    """Saved response to a form, which the session gets after a redirect.

    Attributes:
        id: hash of the token in its address.
        role: role of the member at that time; after a change the page is not shown any more.
        is_once: delete the page after it was shown.
        look: audit record of a read of it, as act, object and ids; empty without contact data.
    """

    id: str
    business_id: str
    member_id: str
    session_hash: str
    role: str
    status: int
    page: Annotated[str, SealedIn("kept_pages.page")] = field(repr=False)
    is_once: bool
    look: tuple[str, ...]
    kept_at: datetime
