"""Counting tries to log in, and opening a session after a good one."""

from collections.abc import Collection
from datetime import timedelta
from typing import Final

from contatto.accounts import store as accounts
from contatto.accounts.actions import open_session
from contatto.accounts.model import FailedTries, Member
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.shared_limits import SharedLimit
from contatto.logins import rules, store
from contatto.logins.model import LoginAttempt

_OF_DEVICE: Final = SharedLimit("login of device", rules.TRIES, rules.WINDOW)
_OF_NETWORK_AND_EMAIL: Final = SharedLimit("login of both", rules.TRIES, rules.WINDOW)
_OF_NETWORK: Final = SharedLimit("login of network", rules.TRIES_OF_NETWORK, rules.WINDOW)
_OF_EMAIL: Final = SharedLimit("login of e-mail", rules.TRIES_OF_EMAIL, rules.DAY)


def count_login(tx: Tx, email: str, network: str, device: str) -> LoginAttempt:
    """Count a try to log in before its password is looked at; a good one is given back.

    A browser that the member signed in with before has tries of its own, which no stranger can use up. From a
    network that is known so, the tries that strangers used up elsewhere do not count.

    Raises:
        Refused: TOO_MANY, with the seconds to wait; such a try leaves nothing behind.
    """
    candidates = tuple(accounts.list_members_by_email(tx, email))
    knows_device, knows_network = _knows(tx, candidates, network, device)
    attempt = LoginAttempt(email, network, device, candidates, knows_device, knows_network)
    for limit, key in _limits(attempt):
        limit.take(tx, key)
    store.record_login_try(tx, _mark(tx, "e-mail", email), _place(tx, attempt))
    return attempt


def _limits(attempt: LoginAttempt) -> list[tuple[SharedLimit, str]]:
    """What a try counts for. All take the rows in one order, so that no two wait for each other."""
    if attempt.knows_device:
        return [(_OF_DEVICE, f"{attempt.device} {attempt.email}")]
    both = f"{attempt.network} {attempt.email}"
    limits = [(_OF_NETWORK_AND_EMAIL, both), (_OF_NETWORK, attempt.network)]
    return limits if attempt.knows_network else [*limits, (_OF_EMAIL, attempt.email)]


def is_known_place(tx: Tx, email: str, network: str, device: str) -> bool:
    """Report whether somebody signed in with an e-mail from this browser or network before."""
    return any(_knows(tx, accounts.list_members_by_email(tx, email), network, device))


def _knows(tx: Tx, members: Collection[Member], network: str, device: str) -> tuple[bool, bool]:
    """Report whether one of the members signed in from a browser, and from a network.

    An unknown e-mail costs the same statements.
    """
    knows_device = knows_network = False
    for member in members or (None,):
        of_device, of_network = _known_marks(tx, member, network, device)
        user_id = member.user_id if member else ""
        known_marks = store.list_known_marks(tx, user_id, (of_device, of_network))
        knows_device |= bool(device) and of_device in known_marks
        knows_network |= of_network in known_marks
    return knows_device, knows_network


def _known_marks(tx: Tx, member: Member | None, network: str, device: str) -> tuple[str, str]:
    """What a browser and a network are known by to a member; a new password makes all of them unknown."""
    secret = member.password_hash if member else ""
    return _mark(tx, "device", secret, device), _mark(tx, "network", secret, network)


def _place(tx: Tx, attempt: LoginAttempt) -> str:
    """Where a try came from."""
    kind = ("device", attempt.device) if attempt.knows_device else ("network", attempt.network)
    return _mark(tx, *kind)


def _mark(tx: Tx, *parts: str) -> str:
    return tx.vault.blind("\0".join(parts), "log-ins").hex()


def start_session(
    tx: Tx, attempt: LoginAttempt, checked: Member, days: int, device: str, browser: str = ""
) -> tuple[Member, str, FailedTries | None]:
    """Open a session after a good password, and give its token, of which only the hash is kept.

    Args:
        tx: an open transaction.
        attempt: what was counted before the password was checked.
        checked: the member with the right password.
        days: how long the session lasts at most.
        device: what the browser is known by from now on.
        browser: what it says of itself.

    Returns:
        The member, the token, and the failed tries from elsewhere since the member signed in last.

    Raises:
        Refused: WRONG_LOGIN, when the member was changed while the password was checked.
    """
    give_login_back(tx, attempt)
    failed = store.delete_login_tries(tx, _mark(tx, "e-mail", attempt.email), _place(tx, attempt))
    member = accounts.find_member(tx, checked.business_id, checked.id)
    if member is None or not _is_unchanged(member, checked):
        raise Refused(errors.WRONG_LOGIN)
    store.save_known_marks(tx, member, _known_marks(tx, member, attempt.network, device))
    return member, open_session(tx, member, days, failed, browser), failed


def give_login_back(tx: Tx, attempt: LoginAttempt) -> None:
    """Take the count of a try back: its password was right."""
    for limit, key in _limits(attempt):
        limit.give_back(tx, key)


def _is_unchanged(member: Member, checked: Member) -> bool:
    """Whether a member may still come in with the password that was checked."""
    return member.deactivated_at is None and member.password_hash == checked.password_hash


def purge_logins(tx: Tx) -> int:
    """Delete what is known of tries to log in, and of places, for too long; say how many rows."""
    failed, known = (tx.now - timedelta(days=days) for days in (rules.FAILED_TRIES_DAYS, rules.KNOWN_DAYS))
    return store.delete_old_logins(tx, failed, known)
