"""Rate limits of login attempts, and sessions after correct passwords."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from contatto.accounts import store as accounts
from contatto.accounts.actions import open_session
from contatto.accounts.model import FailedTries, Member
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.rate_limits import SharedLimit
from contatto.logins import store

TRIES: Final = 10
"""Attempts with one e-mail from one network; also those of a browser that a member used before."""
TRIES_OF_NETWORK: Final = 60
"""Attempts from one network with any e-mail; both limits apply to the window."""
WINDOW: Final = timedelta(minutes=15)
TRIES_OF_EMAIL: Final = 100
"""Attempts in a day with one e-mail, from all networks without an earlier log-in."""
DAY: Final = timedelta(days=1)
FAILED_TRIES_DAYS: Final = 90
"""Days for which failed attempts are saved, to report them to the member."""
KNOWN_DAYS: Final = 365
"""Days for which a browser or network is recognized after a log-in."""


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """Counted log-in attempt, before its password is checked.

    ``device`` is the token of a browser that signed in here before, else empty. ``candidates`` are the
    members with this e-mail; the password decides between them. ``knows_device`` and ``knows_network``:
    one of them signed in from there before.
    """

    email: str
    network: str
    device: str
    candidates: tuple[Member, ...]
    knows_device: bool
    knows_network: bool


_OF_DEVICE: Final = SharedLimit("login of device", TRIES, WINDOW)
_OF_NETWORK_AND_EMAIL: Final = SharedLimit("login of both", TRIES, WINDOW)
_OF_NETWORK: Final = SharedLimit("login of network", TRIES_OF_NETWORK, WINDOW)
_OF_EMAIL: Final = SharedLimit("login of e-mail", TRIES_OF_EMAIL, DAY)


def count_login(tx: Tx, email: str, network: str, device: str) -> LoginAttempt:
    """Count a log-in attempt before its password is checked; a correct password refunds it.

    A browser that the member used before has its own limit, which strangers cannot use up. On a network
    that the member used before, attempts from elsewhere do not count.

    Raises:
        Refused: TOO_MANY, with the seconds to wait; such an attempt saves nothing.
    """
    candidates = tuple(accounts.list_members_by_email(tx, email))
    knows_device, knows_network = _knows(tx, candidates, network, device)
    attempt = LoginAttempt(email, network, device, candidates, knows_device, knows_network)
    for limit, key in _limits(attempt):
        limit.take(tx, key)
    store.record_login_try(tx, _mark(tx, "e-mail", email), _place(tx, attempt))
    return attempt


def _limits(attempt: LoginAttempt) -> list[tuple[SharedLimit, str]]:
    """Return the limits of an attempt, always in one order to prevent deadlocks."""
    if attempt.knows_device:
        return [(_OF_DEVICE, f"{attempt.device} {attempt.email}")]
    network_and_email = f"{attempt.network} {attempt.email}"
    limits = [(_OF_NETWORK_AND_EMAIL, network_and_email), (_OF_NETWORK, attempt.network)]
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
    """Return the fingerprints of a browser and a network; a new password invalidates them."""
    secret = member.password_hash if member else ""
    return _mark(tx, "device", secret, device), _mark(tx, "network", secret, network)


def _place(tx: Tx, attempt: LoginAttempt) -> str:
    """Return the fingerprint of the origin of an attempt."""
    kind = ("device", attempt.device) if attempt.knows_device else ("network", attempt.network)
    return _mark(tx, *kind)


def _mark(tx: Tx, *parts: str) -> str:
    return tx.vault.blind("\0".join(parts), "log-ins").hex()


def start_session(
    tx: Tx, attempt: LoginAttempt, checked: Member, days: int, device: str, browser: str = ""
) -> tuple[Member, str, FailedTries | None]:
    """Open a session after a correct password, and return its token; only the hash is saved.

    Args:
        tx: an open transaction.
        attempt: the counted attempt.
        checked: the member with the right password.
        days: how long the session lasts at most.
        device: token by which the browser is recognized from now on.
        browser: its user agent.

    Returns:
        The member, the token, and the failed tries from elsewhere since the member signed in last.

    Raises:
        Refused: WRONG_LOGIN, when the member was changed while the password was checked.
    """
    give_login_back(tx, attempt)
    failed = store.delete_login_tries(tx, _mark(tx, "e-mail", attempt.email), _place(tx, attempt))
    member = accounts.find_member(tx, checked.business_id, checked.id)
    is_active = member is not None and member.deactivated_at is None
    if member is None or not is_active or member.password_hash != checked.password_hash:
        raise Refused(errors.WRONG_LOGIN)
    store.save_known_marks(tx, member, _known_marks(tx, member, attempt.network, device))
    return member, open_session(tx, member, days, failed, browser), failed


def give_login_back(tx: Tx, attempt: LoginAttempt) -> None:
    """Refund an attempt with a correct password to its limits."""
    for limit, key in _limits(attempt):
        limit.give_back(tx, key)


def purge_logins(tx: Tx) -> int:
    """Delete expired attempts and fingerprints; return the number of rows."""
    failed_before, known_before = (tx.now - timedelta(days=days) for days in (FAILED_TRIES_DAYS, KNOWN_DAYS))
    return store.delete_old_logins(tx, failed_before, known_before)
