"""Log-ins, invitations, password resets, own profiles and sessions, and switching between businesses."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import sqlalchemy as sa
from itsdangerous import BadSignature

from contatto.accounts import actions as accounts
from contatto.accounts import store as accounts_store
from contatto.accounts.actions import NewMember, open_session
from contatto.accounts.model import BusinessId, Caller, FailedTries, Member, Role, User
from contatto.accounts.rules import may_appoint, normal_email
from contatto.kit import errors
from contatto.kit.db.tx import Tx, row_of
from contatto.kit.errors import Refused, check_found
from contatto.kit.ids import new_id
from contatto.kit.languages import Translator
from contatto.kit.rate_limits import SharedLimit
from contatto.kit.values import MICROS, micros
from contatto.mail import NewMail, queue_mail
from contatto.people import rules, store
from contatto.people.rules import Invitation, OpenedInvitation
from contatto.people.store import failed_logins, known_logins

TRIES: Final = 10
"""Attempts with one e-mail from one network; also those of a browser that a member used before."""
TRIES_OF_NETWORK: Final = 60
"""Attempts from one network with any e-mail; both limits apply to the window."""
WINDOW: Final = timedelta(minutes=15)
TRIES_OF_EMAIL: Final = 100
"""Attempts in a day with one e-mail, from all networks without an earlier log-in."""
DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """Counted log-in attempt, before its password is checked.

    ``candidates`` are the members with this e-mail; the password decides between them. ``origin_mark`` is the
    fingerprint of the browser or network, and ``limits`` are those that count the attempt, with their keys.
    """

    email: str
    network: str
    candidates: tuple[Member, ...]
    origin_mark: str
    limits: tuple[tuple[SharedLimit, str], ...]


_OF_DEVICE: Final = SharedLimit("login of device", TRIES, WINDOW)
_OF_NETWORK_AND_EMAIL: Final = SharedLimit("login of both", TRIES, WINDOW)
_OF_NETWORK: Final = SharedLimit("login of network", TRIES_OF_NETWORK, WINDOW)
_OF_EMAIL: Final = SharedLimit("login of e-mail", TRIES_OF_EMAIL, DAY)


def count_login(tx: Tx, email: str, network: str, device: str) -> LoginAttempt:
    """Count a log-in attempt before its password is checked; a correct password refunds it.

    ``device`` is the token of a browser that signed in here before, else empty. A browser that the member
    used before has its own limit, which strangers cannot use up. On a network that the member used before,
    the limit per e-mail does not apply.

    Raises TOO_MANY, with the seconds to wait; such an attempt saves nothing.
    """
    candidates = tuple(accounts_store.list_members_by_email(tx, email))
    knows_device, knows_network = _knows(tx, candidates, network, device)
    # always in one order, to prevent deadlocks
    limits = [(_OF_NETWORK_AND_EMAIL, f"{network} {email}"), (_OF_NETWORK, network)]
    if knows_device:
        limits = [(_OF_DEVICE, f"{device} {email}")]
    elif not knows_network:
        limits.append((_OF_EMAIL, email))
    origin = ("device", device) if knows_device else ("network", network)
    attempt = LoginAttempt(email, network, candidates, _mark(tx, *origin), tuple(limits))
    for limit, key in limits:
        limit.take(tx, key)
    marks = {"email_mark": _mark(tx, "e-mail", email), "mark": attempt.origin_mark}
    row = marks | {"count": 1, "since": tx.now, "last_at": tx.now}
    changes = {"count": failed_logins.c.count + 1, "last_at": tx.now}
    insert = tx.upsert(failed_logins).values(row)
    tx.execute(insert.on_conflict_do_update(index_elements=list(marks), set_=changes))
    return attempt


def _knows(tx: Tx, members: Collection[Member], network: str, device: str) -> tuple[bool, bool]:
    """Report whether one of the members signed in from a browser, and from a network.

    An unknown e-mail runs the same statements, so that the response time reveals nothing.
    """
    knows_device = knows_network = False
    for member in members or (None,):
        of_device, of_network = _known_marks(tx, member, network, device)
        user_id = member.user_id if member else ""
        is_own = known_logins.c.user_id == user_id, known_logins.c.mark.in_((of_device, of_network))
        known_marks = set(tx.execute(sa.select(known_logins.c.mark).where(*is_own)).scalars())
        knows_device |= bool(device) and of_device in known_marks
        knows_network |= of_network in known_marks
    return knows_device, knows_network


def _known_marks(tx: Tx, member: Member | None, network: str, device: str) -> tuple[str, str]:
    """Return the fingerprints of a browser and a network; a new password invalidates them."""
    secret = member.password_hash if member else ""
    return _mark(tx, "device", secret, device), _mark(tx, "network", secret, network)


def _mark(tx: Tx, *parts: str) -> str:
    """Return a keyed fingerprint, which reveals nothing without the vault."""
    return tx.vault.blind("\0".join(parts), "log-ins").hex()


def start_session(
    tx: Tx, attempt: LoginAttempt, checked: Member, days: int, device: str, browser: str = ""
) -> tuple[Member, str, FailedTries | None]:
    """Open a session; return the member, its token, and the failed tries from elsewhere.

    ``checked`` is the member with the right password, ``device`` the token that recognizes the browser from
    now on. Raises WRONG_LOGIN, when the member was changed while the password was checked.
    """
    give_login_back(tx, attempt)
    # Report the attempts that came from elsewhere, and delete all.
    of_email = failed_logins.delete().where(failed_logins.c.email_mark == _mark(tx, "e-mail", attempt.email))
    deleted = tx.execute(of_email.returning(failed_logins)).mappings().all()
    tries = [entry for entry in deleted if entry["mark"] != attempt.origin_mark]
    failed = None
    if tries:
        failed = FailedTries(sum(entry["count"] for entry in tries), min(entry["since"] for entry in tries))
    member = accounts_store.find_member(tx, checked.business_id, checked.id)
    is_active = member is not None and member.deactivated_at is None
    if member is None or not is_active or member.password_hash != checked.password_hash:
        raise Refused(errors.WRONG_LOGIN)
    marks = _known_marks(tx, member, attempt.network, device)
    row = {"user_id": member.user_id, "last_at": tx.now}
    tx.save(known_logins, [row | {"mark": mark} for mark in sorted(marks)])
    return member, open_session(tx, member, days, failed, browser), failed


def give_login_back(tx: Tx, attempt: LoginAttempt) -> None:
    """Refund an attempt with a correct password to its limits."""
    for limit, key in attempt.limits:
        limit.give_back(tx, key)


_INVITED: Final = SharedLimit("invitations", 100, DAY)
_MAILS_OF_INVITATION: Final = SharedLimit("mails of an invitation", 10, DAY)
_MAILS_OF_NETWORK: Final = SharedLimit("invitation mails of network", 30, timedelta(hours=1))
_RESETS_OF_NETWORK_AND_EMAIL: Final = SharedLimit("resets of both", 5, timedelta(hours=1))
_RESETS_OF_EMAIL: Final = SharedLimit("resets of e-mail", 50, DAY)
_RESETS_OF_NETWORK: Final = SharedLimit("resets of network", 30, timedelta(hours=1))
_OWN_TRIES: Final = SharedLimit("tries of the own password", 10, timedelta(minutes=15))


def invite_member(
    tx: Tx,
    business_id: BusinessId,
    email: str,
    role: Role,
    inviter: Caller | None = None,
    *,
    sends_mail: bool = False,
) -> Invitation:
    """Invite a person to a business; an earlier invitation to the same e-mail ends.

    With a mail server the e-mail may be empty, as a mail confirms it later. The operator is no ``inviter``.
    Raises INVALID; FORBIDDEN, when the inviter may not give this role; TOO_MANY.
    """
    if inviter is not None and (inviter.role is None or not may_appoint(inviter.role, role)):
        raise Refused(errors.FORBIDDEN)
    address = normal_email(email) if email.strip() else ""
    if not address and not sends_mail:
        raise Refused(
            errors.INVALID, "email: enter an address. Without a mail server, you confirm that it is right."
        )
    if inviter is not None:
        _INVITED.take(tx, business_id)
    tx.hold_key("invitations", business_id)
    if address:
        member = accounts_store.find_member_of_email(tx, business_id, address)
        if member is not None and member.deactivated_at is not None:
            raise Refused(errors.INVALID, "email: this member was deactivated. Reactivate them instead.")
        if member is not None:
            raise Refused(errors.INVALID, "email: a member with this address exists already.")
        tx.delete(store.invitations, business_id, email=address)
    if len(store.list_invitations(tx, business_id)) >= rules.MOST_INVITATIONS:
        raise Refused(errors.INVALID, "email: too many open invitations. Cancel one first.")
    until = tx.now + rules.INVITED_FOR
    inviter_id = inviter.subject_id if inviter else ""
    invitation = Invitation(new_id(), business_id, address, role, inviter_id, tx.now, until)
    tx.insert(store.invitations, row_of(invitation))
    return invitation


def invitation_path(tx: Tx, invitation: Invitation, confirms: str = "") -> str:
    """Return the path of the link to an invitation.

    ``confirms`` is the address that the link confirms: it is mailed there, or the operator hands it out.
    """
    payload = f"{invitation.id}.{confirms}" if confirms else invitation.id
    return f"/invitations/{tx.vault.signer(rules.INVITATION_KEY).sign(payload).decode()}"


def open_invitation(tx: Tx, token: str) -> OpenedInvitation:
    """Return the invitation of a link, as long as the inviter may still give its role. Raises LINK_OVER."""
    invitation_id, _, confirmed = _open_link(tx, rules.INVITATION_KEY, token).partition(".")
    rows = store.invitations.c
    live = sa.select(store.invitations).where(rows.id == invitation_id, rows.expires_at > tx.now)
    invitation = tx.find(Invitation, live)
    business = accounts_store.find_business(tx, invitation.business_id) if invitation else None
    if invitation is None or business is None:
        raise Refused(errors.LINK_OVER)
    address = confirmed or invitation.email, bool(confirmed)
    if not invitation.made_by:
        return OpenedInvitation(invitation, business.name, business.name, *address)
    inviter = accounts_store.find_member(tx, invitation.business_id, invitation.made_by)
    if inviter is None or inviter.deactivated_at or not may_appoint(inviter.role, invitation.role):
        raise Refused(errors.LINK_OVER)
    return OpenedInvitation(invitation, business.name, inviter.display_name, *address)


def mail_invitation(
    tx: Tx, token: str, email: str, network: str, base_url: str, words: Translator
) -> OpenedInvitation:
    """Mail an address the link that confirms it and accepts the invitation.

    ``email`` counts where the invitation names none. Raises LINK_OVER; INVALID; TOO_MANY, the same
    for every address.
    """
    opened = open_invitation(tx, token)
    address = opened.email or normal_email(email)
    _MAILS_OF_NETWORK.take(tx, network)
    _MAILS_OF_INVITATION.take(tx, opened.invitation.id)
    names = opened.business_name, opened.invited_by
    queue_invitation_mail(tx, opened.invitation, names, address, base_url, words)
    return opened


def queue_invitation_mail(
    tx: Tx, invitation: Invitation, names: tuple[str, str], address: str, base_url: str, words: Translator
) -> None:
    """Queue the mail with the link that confirms an address; names: business and inviter."""
    link = base_url + invitation_path(tx, invitation, address)
    role = words.gettext(rules.ROLE_NAMES[invitation.role])
    business, inviter = names
    subject = words.gettext("%(inviter)s invites you to %(business)s", inviter=inviter, business=business)
    says = words.gettext(
        "%(inviter)s invites you to work in %(business)s on Contatto. Your role: %(role)s.",
        inviter=inviter, business=business, role=role,
    )  # fmt: skip
    rest = words.gettext(
        "The link works once, within seven days. If you did not expect an invitation, ignore this e-mail."
    )
    queue_mail(tx, NewMail(invitation.business_id, address, subject, f"{says}\n\n{link}\n\n{rest}\n"))


def accept_invitation(
    tx: Tx, token: str, name: str, password_hash: str, checked: User | None, *, sends_mail: bool = False
) -> Member:
    """Accept an invitation, which uses up its link; return the new member.

    ``checked`` is an existing account after a correct password; without it, ``password_hash`` is for a new
    account. Unless the link confirms the address, only this business accepts the new account. With a mail
    server, the link must confirm the address.
    Raises LINK_OVER; WRONG_LOGIN after a change of the password; INVALID for a member.
    """
    opened = open_invitation(tx, token)
    invitation = opened.invitation
    if not opened.email or (sends_mail and not opened.is_confirmed):
        raise Refused(errors.LINK_OVER)
    if not tx.delete(store.invitations, invitation.business_id, id=invitation.id):
        raise Refused(errors.LINK_OVER)
    if checked is None:
        new = NewMember(opened.email, name, invitation.role)
        return accounts.add_member(
            tx, invitation.business_id, new, password_hash, is_confirmed=opened.is_confirmed
        )
    user = accounts_store.find_user_by_email(tx, opened.email)
    if user is None or user.password_hash != checked.password_hash:
        raise Refused(errors.WRONG_LOGIN)
    return accounts.join_business(tx, invitation.business_id, user, name, invitation.role)


def ask_for_reset(tx: Tx, email: str, network: str, base_url: str, words: Translator) -> None:
    """Mail password-reset links to an address, one for each account.

    The limit per e-mail, which strangers can use up, does not apply on networks where the person signed in
    before. Raises TOO_MANY, the same for every e-mail.
    """
    _RESETS_OF_NETWORK.take(tx, network)
    _RESETS_OF_NETWORK_AND_EMAIL.take(tx, f"{network} {email}")
    if not any(_knows(tx, accounts_store.list_members_by_email(tx, email), network, "")):
        _RESETS_OF_EMAIL.take(tx, email)
    for member in accounts_store.list_members_by_email(tx, email):
        business = accounts_store.find_business(tx, member.business_id)
        link = base_url + reset_path(tx, member, rules.RESET_FOR)
        says = words.gettext(
            "Somebody asked for a new password for your Contatto account at %(business)s. Choose it here:",
            business=business.name if business else "",
        )
        rest = words.gettext(
            "The link works once, within an hour. If this was not you, ignore this e-mail. "
            "Your password stays as it is."
        )
        subject, text = words.gettext("Your new password for Contatto"), f"{says}\n\n{link}\n\n{rest}\n"
        queue_mail(tx, NewMail(member.business_id, member.email, subject, text))


def reset_path(tx: Tx, member: Member, lasts: timedelta, handed_by: str = "") -> str:
    """Return the path of a password-reset link.

    It ends after the time, and with any change of the person's memberships, password or e-mail. Without
    ``handed_by``, the id of a member, its use also confirms the address.
    """
    until_s = micros(tx.now + lasts) // MICROS
    payload = f"{member.user_id}.{until_s}.{_fingerprint(tx, member)}.{handed_by}"
    return f"/password/reset/{tx.vault.signer(rules.RESET_KEY).sign(payload).decode()}"


def hand_out_reset(tx: Tx, business_id: BusinessId, member_id: str, caller: Caller) -> str:
    """Return the path of a password-reset link, to hand over. Raises NOT_FOUND; FORBIDDEN.

    The transaction must have no tenant restriction: it counts the memberships in all businesses.
    """
    member = accounts.load_member(tx, business_id, member_id)
    if caller.role is None or not rules.may_reset(
        caller.role, member, accounts_store.count_memberships(tx, member.user_id)
    ):
        raise Refused(errors.FORBIDDEN, "You cannot give this member a new password. Ask the operator.")
    return reset_path(tx, member, rules.HANDED_FOR, caller.subject_id)


def open_reset(tx: Tx, token: str) -> tuple[Member, str]:
    """Return the member of a link, with a row lock, and the id of who handed it out. Raises LINK_OVER."""
    user_id, until_s, fingerprint, handed_by = _open_link(tx, rules.RESET_KEY, token).split(".")
    workplaces = accounts_store.list_workplaces(tx, user_id) if micros(tx.now) < int(until_s) * MICROS else []
    membership = workplaces[0] if workplaces else None
    member = accounts_store.find_member(tx, membership.business_id, membership.id) if membership else None
    if member is None or _fingerprint(tx, member) != fingerprint:
        raise Refused(errors.LINK_OVER)
    if handed_by:  # the member who handed it out must still be allowed to
        issuer = accounts_store.find_member(tx, member.business_id, handed_by)
        memberships = accounts_store.count_memberships(tx, member.user_id)
        if issuer is None or issuer.deactivated_at or not rules.may_reset(issuer.role, member, memberships):
            raise Refused(errors.LINK_OVER)
    return member, handed_by


def _open_link(tx: Tx, purpose: str, token: str) -> str:
    """Return the payload of a signed link. Raises Refused: LINK_OVER."""
    try:
        return tx.vault.signer(purpose).unsign(token).decode()
    except BadSignature:
        raise Refused(errors.LINK_OVER) from None


def reset_password(tx: Tx, token: str, password_hash: str) -> Member:
    """Set a new password by a link, and end the person's sessions and tokens. Raises LINK_OVER.

    A colleague who handed out the link may know the password, so only their business accepts the account.
    """
    member, handed_by = open_reset(tx, token)
    accounts.change_password(tx, member, password_hash)
    if handed_by:
        accounts.vouch_for_email(tx, member)
    else:
        accounts.confirm_email(tx, member)
    return member


def _fingerprint(tx: Tx, member: Member) -> str:
    state = "\0".join((member.password_hash, member.email, str(member.access_revision)))
    return tx.vault.blind(state, "password resets").hex()


def count_password_try(tx: Tx, caller: Caller) -> Member:
    """Count an attempt at the caller's password before its check; return the member. Raises TOO_MANY."""
    _OWN_TRIES.take(tx, caller.user_id)
    return accounts.load_member(tx, caller.business_id, caller.subject_id)


def change_own_password(
    tx: Tx, checked: Member, password_hash: str, session: str, words: Translator | None, *, keep_tokens: bool
) -> None:
    """Replace the caller's password, and end other sessions. Raises WRONG_LOGIN after another change.

    A mail in the language of ``words`` tells the member; None without a mail server.
    """
    _OWN_TRIES.give_back(tx, checked.user_id)
    member = accounts.load_member(tx, checked.business_id, checked.id)
    if member.password_hash != checked.password_hash:
        raise Refused(errors.WRONG_LOGIN)
    accounts.change_password(tx, member, password_hash, session, keep_tokens=keep_tokens)
    if words is not None:
        queue_mail(tx, NewMail(member.business_id, member.email, *rules.changed_mail(words)))


def end_own_sessions(tx: Tx, user_id: str, keep_session: str = "", only: str = "") -> int:
    """End sessions of a person in all their businesses, as in `accounts.actions.end_member_sessions`."""
    workplaces = accounts_store.list_workplaces(tx, user_id)
    return sum(accounts.end_member_sessions(tx, membership, keep_session, only) for membership in workplaces)


def switch_business(tx: Tx, caller: Caller, business_id: str, session: str, days: int, browser: str) -> str:
    """End this session, and open one in another business of the person; return its token.

    Open pages carry the CSRF token of the ended session, so none of them acts in the wrong business.
    Raises NOT_FOUND, without an active membership there.
    """
    if business_id == caller.business_id:
        return session
    workplaces = accounts_store.list_workplaces(tx, caller.user_id)
    membership = check_found(
        next((membership for membership in workplaces if membership.business_id == business_id), None),
        "You are not a member of this business.",
    )
    member = accounts.load_member(tx, membership.business_id, membership.id)
    if member.deactivated_at is not None:
        raise Refused(errors.NOT_FOUND, "You are not a member of this business.")
    accounts.end_session(tx, session)
    return accounts.open_session(tx, member, days, browser=browser)
