"""Changes to accounts: new businesses, members, ad accounts and tokens; signing in and out."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from contatto.accounts import rules, store
from contatto.accounts.model import (
    AdAccount,
    AdAccountId,
    ApiToken,
    Business,
    BusinessId,
    FailedTries,
    LoginAttempt,
    Member,
    MemberId,
    Role,
)
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import hash_secret, new_id, new_number, new_secret
from contatto.kit.languages import LANGUAGES
from contatto.kit.shared_limits import SharedLimit

_hasher = PasswordHasher()  # argon2id with the library's own defaults (RFC 9106, low-memory profile)
_NOBODY: Final = (
    "$argon2id$v=19$m=65536,t=3,p=4$qNUwxo0At2sPqMo2O0hO4A$I1MZ31HtE3yo3qmMTU7wTSthHwuQ9B3kawOwLDrbg1A"
)
"""What a password is held against where there is no member; made once, of a secret that nobody kept."""


@dataclass(frozen=True, slots=True)
class NewMember:
    email: str
    display_name: str
    role: Role
    password: str


@dataclass(frozen=True, slots=True)
class NewAdAccount:
    """``country`` is the registration country (ISO 3166-1 alpha-2), ``timezone`` an IANA name."""

    name: str
    country: str
    currency: str
    timezone: str


def create_business(tx: Tx, name: str) -> Business:
    business = Business(BusinessId(new_id()), name.strip(), tx.now)
    store.save_business(tx, {"id": business.id, "name": business.name, "created_at": tx.now})
    return business


def hash_password(password: str) -> str:
    """Hash a password with argon2id; it takes tens of milliseconds, so keep it out of transactions."""
    rules.check_password(password)
    return _hasher.hash(password)


def password_fits(member: Member | None, password: str) -> bool:
    """Check a password, in the same time whether the member exists or not."""
    try:
        _hasher.verify(member.password_hash if member else _NOBODY, password)
    except (VerificationError, InvalidHashError):
        return False
    return member is not None


def add_member(tx: Tx, business_id: BusinessId, new: NewMember, password_hash: str) -> Member:
    """Add a member.

    Raises:
        Refused: INVALID, when the e-mail is malformed or taken.
    """
    member = Member(
        MemberId(new_id()),
        business_id,
        rules.normal_email(new.email),
        new.display_name.strip() or new.email,
        new.role,
        password_hash,
        tx.now,
    )
    row = {name: getattr(member, name) for name in Member.__dataclass_fields__}
    if not store.save_member(tx, row):
        raise Refused(errors.INVALID, "email: a member with this address exists already.")
    return member


def choose_language(tx: Tx, business_id: BusinessId, member_id: str, language: str) -> None:
    """Let a member read the screens in one of our languages; an empty one follows the browser.

    Raises:
        Refused: INVALID, for a language that we do not have.
    """
    if language and language not in LANGUAGES:
        raise Refused(errors.INVALID, "language: choose one of %(known)s.", known=", ".join(LANGUAGES))
    store.mark_member_language(tx, business_id, member_id, language)


def add_ad_account(tx: Tx, business_id: BusinessId, new: NewAdAccount) -> AdAccount:
    """Add an ad account with a new ``advertiser_id``.

    Raises:
        Refused: INVALID, when a value is malformed or the name is taken.
    """
    rules.check_timezone(new.timezone)
    name, country, currency = new.name.strip(), new.country.strip().upper(), new.currency.strip().upper()
    if len(country) != 2 or len(currency) != 3 or not (country + currency).encode().isalpha():
        raise Refused(errors.INVALID, "country: two letters; currency: three letters.")
    if not name or any(account.name == name for account in store.list_ad_accounts(tx, business_id)):
        raise Refused(errors.INVALID, "name: give one that no other ad account of this business has.")
    account = AdAccount(
        AdAccountId(new_id()), business_id, new_number(), name, country, currency, new.timezone, tx.now
    )
    store.save_ad_account(tx, {name: getattr(account, name) for name in AdAccount.__dataclass_fields__})
    return account


def load_advertiser(tx: Tx, business_id: str, number: int) -> AdAccount:
    """An ad account by the API's ``advertiser_id``.

    Raises:
        Refused: NO_ADVERTISER.
    """
    account = store.find_ad_account_by_number(tx, BusinessId(business_id), number)
    if account is None:
        raise Refused(errors.NO_ADVERTISER)
    return account


_OF_DEVICE: Final = SharedLimit("login of device", rules.LOGIN_TRIES, rules.LOGIN_WINDOW)
_OF_NETWORK_AND_EMAIL: Final = SharedLimit("login of both", rules.LOGIN_TRIES, rules.LOGIN_WINDOW)
_OF_NETWORK: Final = SharedLimit("login of network", rules.LOGIN_TRIES_OF_NETWORK, rules.LOGIN_WINDOW)
_OF_EMAIL: Final = SharedLimit("login of e-mail", rules.LOGIN_TRIES_OF_EMAIL, rules.LOGIN_DAY)


def count_login(tx: Tx, email: str, network: str, device: str) -> LoginAttempt:
    """Count a try to log in before its password is looked at; a good one is given back.

    A browser that the member signed in with before has tries of its own, which no stranger can use up. From a
    network that is known so, the tries that strangers used up elsewhere do not count.

    Raises:
        Refused: TOO_MANY, with the seconds to wait; such a try leaves nothing behind.
    """
    member = store.find_member_by_email(tx, email)
    of_device, of_network = _device_mark(tx, device), _network_mark(tx, network)
    known = store.list_known_marks(tx, member.id if member else "", (of_device, of_network))
    attempt = LoginAttempt(email, network, device, member, of_device in known, of_network in known)
    for limit, key in _login_limits(attempt):
        limit.take(tx, key)
    store.record_login_try(tx, _email_mark(tx, email), of_device if attempt.knows_device else of_network)
    return attempt


def _login_limits(attempt: LoginAttempt) -> list[tuple[SharedLimit, str]]:
    """What a try counts for. All take the rows in one order, so that no two wait for each other."""
    if attempt.knows_device:
        return [(_OF_DEVICE, f"{attempt.device} {attempt.email}")]
    both = f"{attempt.network} {attempt.email}"
    limits = [(_OF_NETWORK_AND_EMAIL, both), (_OF_NETWORK, attempt.network)]
    return limits if attempt.knows_network else [*limits, (_OF_EMAIL, attempt.email)]


def _email_mark(tx: Tx, email: str) -> str:
    return tx.vault.blind(email, "log-ins of e-mails").hex()


def _device_mark(tx: Tx, device: str) -> str:
    return tx.vault.blind(device, "log-ins of devices").hex() if device else ""


def _network_mark(tx: Tx, network: str) -> str:
    return tx.vault.blind(network, "log-ins of networks").hex()


def start_session(
    tx: Tx, attempt: LoginAttempt, days: int, device: str
) -> tuple[Member, str, FailedTries | None]:
    """Open a session after a good password, and give its token, of which only the hash is kept.

    Args:
        tx: an open transaction.
        attempt: what was counted before the password was checked.
        days: how long the session lasts at most.
        device: what the browser is known by from now on.

    Returns:
        The member, the token, and the failed tries from elsewhere since the member signed in last.

    Raises:
        Refused: WRONG_LOGIN, when the member was changed while the password was checked.
    """
    for limit, key in _login_limits(attempt):
        limit.give_back(tx, key)
    of_network = _network_mark(tx, attempt.network)
    own = _device_mark(tx, attempt.device) if attempt.knows_device else of_network
    failed = store.delete_login_tries(tx, _email_mark(tx, attempt.email), own)
    known = attempt.member
    member = store.find_member(tx, known.business_id, known.id) if known else None
    if known is None or member is None or not _is_unchanged(member, known):
        raise Refused(errors.WRONG_LOGIN)
    store.save_known_marks(tx, member, {_device_mark(tx, device), of_network})
    token = new_secret("session")
    row = {
        "token_hash": hash_secret(token),
        "business_id": member.business_id,
        "member_id": member.id,
        "created_at": tx.now,
        "expires_at": tx.now + timedelta(days=days),
        "failed_tries": failed.count if failed else 0,
        "failed_since": failed.since if failed else None,
    }
    store.save_session(tx, row)
    return member, token, failed


def _is_unchanged(member: Member, checked: Member) -> bool:
    """Whether a member may still come in with the password that was checked."""
    return member.deactivated_at is None and member.password_hash == checked.password_hash


def end_session(tx: Tx, token: str) -> None:
    store.delete_session(tx, hash_secret(token))


def end_expired_sessions(tx: Tx) -> int:
    """Delete sessions, and what is known of tries to sign in, whose time is over; say how many."""
    failed, known = (tx.now - timedelta(days=days) for days in (rules.FAILED_TRIES_DAYS, rules.KNOWN_DAYS))
    return store.delete_expired_sessions(tx) + store.delete_old_logins(tx, failed, known)


def issue_token(tx: Tx, business_id: BusinessId, name: str, scopes: list[str]) -> tuple[ApiToken, str]:
    """Make an API token. The second value is the token itself: it is shown once and never kept.

    Raises:
        Refused: INVALID.
    """
    if not name.strip():
        raise Refused(errors.INVALID, "name: say what the token is for.")
    token = new_secret("contatto")
    kept = ApiToken(new_id(), business_id, name.strip(), rules.known_scopes(scopes), tx.now, None, None)
    row = {field: getattr(kept, field) for field in ApiToken.__dataclass_fields__}
    store.save_token(tx, row | {"token_hash": hash_secret(token)})
    return kept, token


def issue_auth_code(tx: Tx, business_id: BusinessId, name: str, scopes: list[str]) -> str:
    """Make a code that a program changes into an access token, once and within ten minutes.

    Raises:
        Refused: INVALID.
    """
    if not name.strip():
        raise Refused(errors.INVALID, "name: say which program the code is for.")
    code = new_secret("code")
    row = {
        "code_hash": hash_secret(code),
        "business_id": business_id,
        "name": name.strip(),
        "scopes": rules.known_scopes(scopes),
        "created_at": tx.now,
        "expires_at": tx.now + timedelta(seconds=rules.AUTH_CODE_S),
    }
    store.save_auth_code(tx, row)
    return code


def redeem_auth_code(tx: Tx, code: str) -> tuple[ApiToken, str]:
    """Change an auth code into a token; the code is used up. The second value is the token itself.

    Raises:
        Refused: BAD_CODE.
    """
    found = store.find_auth_code(tx, hash_secret(code))
    if found is None or not store.delete_auth_code(tx, found.code_hash):
        raise Refused(errors.BAD_CODE)
    return issue_token(tx, found.business_id, found.name, list(found.scopes))


def end_expired_codes(tx: Tx) -> int:
    """Delete auth codes whose time is over; say how many."""
    return store.delete_expired_codes(tx)


def confirm_term(tx: Tx, account: AdAccount, term_type: str) -> None:
    """Note that an ad account accepts terms."""
    row = {"business_id": account.business_id, "ad_account_id": account.id, "term_type": term_type}
    store.save_confirmed_term(tx, row | {"at": tx.now})


def revoke_token(tx: Tx, business_id: BusinessId, token_id: str) -> None:
    """End a token at once.

    Raises:
        Refused: NOT_FOUND.
    """
    if not store.mark_token_revoked(tx, business_id, token_id):
        raise Refused(errors.NOT_FOUND)
