"""Invitations, password-reset links, and the words of roles."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from contatto.accounts.model import BusinessId, Member, Role
from contatto.accounts.rules import may_appoint
from contatto.kit.i18n import N_
from contatto.kit.languages import Translator


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


INVITED_FOR: Final = timedelta(days=7)
RESET_FOR: Final = timedelta(hours=1)
"""Lifetime of a password-reset link that the person requested."""
HANDED_FOR: Final = timedelta(hours=24)
"""Lifetime of a password-reset link that an owner, an admin or the operator hands over."""
MOST_INVITATIONS: Final = 100
"""Open invitations of a business."""

INVITATION_KEY: Final = "invitation"
RESET_KEY: Final = "password reset"
"""Purposes of the vault's signers of links."""

ROLE_NAMES: Final = {
    Role.OWNER: N_("Owner"),
    Role.ADMIN: N_("Admin"),
    Role.MANAGER: N_("Manager"),
    Role.AGENT: N_("Agent"),
    Role.ANALYST: N_("Analyst"),
}
ROLE_TEXTS: Final = {
    Role.OWNER: N_("Can do everything, including adding and removing owners."),
    Role.ADMIN: N_("Can do everything except add and remove owners."),
    Role.MANAGER: N_(
        "Replies to chats, works on leads and exports them, creates ads and forms, reads reports."
    ),
    Role.AGENT: N_("Replies to chats and works on leads."),
    Role.ANALYST: N_("Reads ads and reports; sees no chats and no leads."),
}
"""What each role may do, in words."""


def may_reset(own: Role, member: Member, memberships: int) -> bool:
    """Report whether a member with the role ``own`` may hand out a password-reset link for another.

    ``memberships`` is the number of businesses of that person, deactivated memberships included, since the
    link would open all of them.
    """
    return may_appoint(own, member.role) and member.deactivated_at is None and memberships == 1


def changed_mail(words: Translator) -> tuple[str, str]:
    """Return subject and text of the mail after a change of the password."""
    says = words.gettext("Your Contatto password was changed, and all your sessions were ended.")
    rest = words.gettext("If this was not you, contact an owner of your business now.")
    return words.gettext("Your password was changed"), f"{says}\n\n{rest}\n"
