"""An invitation, and who joins by it."""

from dataclasses import dataclass, field
from datetime import datetime

from contatto.accounts.model import BusinessId, Role


@dataclass(frozen=True, slots=True)
class Invitation:
    """A place in a business that waits for its person; the link to it is signed, and not kept.

    ``email`` is empty where whoever has the link may take the place. ``made_by`` is the member who invited,
    empty for the operator.
    """

    id: str
    business_id: BusinessId
    email: str
    role: Role
    made_by: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class OpenedInvitation:
    """An invitation that holds, with the names that its page shows.

    ``email`` is the address to sign in with, empty as long as the invitation names none. ``is_confirmed``:
    the link went to this address, or the operator handed it out.
    """

    invitation: Invitation
    business_name: str
    invited_by: str
    email: str
    is_confirmed: bool


@dataclass(frozen=True, slots=True)
class ResetLink:
    """The content of a link to a new password: the account, its state, and the member who handed it out.

    ``handed_by`` is empty for the operator, and for a link that went to the address itself.
    """

    user_id: str
    fingerprint: str
    handed_by: str


@dataclass(frozen=True, slots=True)
class Newcomer:
    """The name and the password of somebody who takes an invitation."""

    display_name: str
    password_hash: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Profile:
    """Own profile of a member."""

    display_name: str
    language: str
    timezone: str
