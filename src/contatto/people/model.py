"""Invitations to businesses."""

from dataclasses import dataclass
from datetime import datetime

from contatto.accounts.model import BusinessId, Role


@dataclass(frozen=True, slots=True)
class Invitation:
    """Open invitation to a business; its link is signed, and not saved.

    With an empty ``email`` anybody with the link may accept it. ``made_by`` is the inviting member, empty for
    the operator.
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
    """Valid invitation of an opened link, with the names that its page shows.

    ``email`` is the address to sign in with, empty if neither link nor invitation has one. ``is_confirmed``:
    the link was mailed to this address, or the operator handed it out.
    """

    invitation: Invitation
    business_name: str
    invited_by: str
    email: str
    is_confirmed: bool
