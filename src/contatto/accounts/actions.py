"""Changes to accounts: new businesses, members, ad accounts and tokens; signing in and out."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from contatto.accounts import rules, store
from contatto.accounts.model import (
    AdAccount,
    AdAccountId,
    ApiToken,
    Business,
    BusinessId,
    Member,
    MemberId,
    Role,
)
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import hash_secret, new_id, new_number, new_secret
from contatto.kit.languages import LANGUAGES

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
    except (VerifyMismatchError, InvalidHashError):
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


def check_login_rate(tx: Tx, email: str, address: str) -> None:
    """Refuse further tries after too many failures.

    Raises:
        Refused: TOO_MANY, with the seconds to wait.
    """
    since = tx.now - timedelta(seconds=rules.LOGIN_WINDOW_S)
    if store.count_failed_logins(tx, hash_secret(email), address, since) >= rules.LOGIN_TRIES:
        raise Refused(errors.TOO_MANY, "Too many failed log-ins.", retry_after_s=rules.LOGIN_WINDOW_S)


def note_failed_login(tx: Tx, email: str, address: str) -> None:
    row = {"id": new_id(), "email_hash": hash_secret(email), "address": address, "at": tx.now}
    store.record_failed_login(tx, row)


def start_session(tx: Tx, member: Member, days: int) -> str:
    """Open a session and give its token, of which only the hash is kept."""
    token = new_secret("session")
    store.delete_failed_logins(tx, hash_secret(member.email))
    row = {
        "token_hash": hash_secret(token),
        "business_id": member.business_id,
        "member_id": member.id,
        "created_at": tx.now,
        "expires_at": tx.now + timedelta(days=days),
    }
    store.save_session(tx, row)
    return token


def end_session(tx: Tx, token: str) -> None:
    store.delete_session(tx, hash_secret(token))


def end_expired_sessions(tx: Tx) -> int:
    """Delete sessions, and failures to sign in, whose time is over; say how many."""
    since = tx.now - timedelta(seconds=rules.LOGIN_WINDOW_S)
    return store.delete_expired_sessions(tx) + store.delete_old_failed_logins(tx, since)


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
