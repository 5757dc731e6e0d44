"""Actions on businesses, members and their roles, sessions, tokens, and ad accounts."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Final

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from contatto.accounts import rules, store
from contatto.accounts.model import AdAccount, AdAccountId, ApiToken, AuthCode, Business, BusinessId, Caller

# isort: split
from contatto.accounts.model import Ended, FailedTries, Member, Permission, Role, User, UserId, Workplace
from contatto.accounts.rules import ROLE_PERMISSIONS
from contatto.kit import errors
from contatto.kit.db.tx import Tx, purging, row_of, rows_of
from contatto.kit.errors import Refused, check_found
from contatto.kit.ids import hash_secret, new_id, new_number, new_secret
from contatto.kit.languages import LANGUAGES

_hasher = PasswordHasher()  # argon2id with the library's own defaults (RFC 9106, low-memory profile)
_DUMMY_HASH: Final = (
    "$argon2id$v=19$m=65536,t=3,p=4$qNUwxo0At2sPqMo2O0hO4A$I1MZ31HtE3yo3qmMTU7wTSthHwuQ9B3kawOwLDrbg1A"
)
"""Hash that no password fits: the check takes as long for a missing account."""


@dataclass(frozen=True, slots=True)
class NewMember:
    email: str
    display_name: str
    role: Role


@dataclass(frozen=True, slots=True)
class NewAdAccount:
    """``country`` is the registration country (ISO 3166-1 alpha-2), ``timezone`` an IANA name."""

    name: str
    country: str
    currency: str
    timezone: str


def create_business(tx: Tx, name: str, *, is_operator: bool = False) -> Business:
    business = Business(BusinessId(new_id()), name.strip(), tx.now, is_operator)
    tx.insert(store.businesses, row_of(business))
    return business


def hash_password(password: str) -> str:
    """Hash a password with argon2id; it takes tens of milliseconds, so keep it out of transactions."""
    rules.check_password(password)
    return _hasher.hash(password)


def match_password(accounts: Sequence[Member], password: str) -> Member | None:
    """Return the first account with this password among those of an e-mail address.

    Without a confirmed account it checks a dummy hash too, so the time reveals nothing.
    """
    candidates: list[Member | None] = list(accounts)
    if all(account.vouched_by for account in accounts):
        candidates.append(None)
    return next((account for account in candidates if password_fits(account, password)), None)


def password_fits(who: Member | User | None, password: str) -> bool:
    """Check a password; a missing person takes the same time."""
    try:
        _hasher.verify(who.password_hash if who else _DUMMY_HASH, password)
    except (VerificationError, InvalidHashError):
        return False
    return who is not None


def add_member(
    tx: Tx, business_id: BusinessId, new: NewMember, password_hash: str, *, is_confirmed: bool = True
) -> Member:
    """Add a member with a new account. Raises INVALID, when the e-mail is malformed or taken.

    Unless ``is_confirmed``, the business alone vouches for the address. The transaction must have no tenant
    restriction.
    """
    vouched_by = "" if is_confirmed else business_id
    email = rules.normal_email(new.email)
    user = User(UserId(new_id()), email, password_hash, tx.now, vouched_by=vouched_by)
    if not tx.insert_ignore(store.users, row_of(user)):
        raise Refused(errors.INVALID, "email: a member with this address exists already.")
    return join_business(tx, business_id, user, new.display_name, new.role)


def join_business(tx: Tx, business_id: BusinessId, user: User, display_name: str, role: Role) -> Member:
    """Add a person with an account to a business, and return the new member.

    Raises INVALID, when the address is taken there; FORBIDDEN, when another business vouches for it.
    """
    if user.vouched_by not in ("", business_id):
        raise Refused(errors.FORBIDDEN)
    store.record_access_changed(tx, user.id)
    if store.find_member_of_email(tx, business_id, user.email) is not None:
        raise Refused(errors.INVALID, "email: a member with this address exists already.")
    member_id = new_id()
    row = {
        "id": member_id,
        "business_id": business_id,
        "user_id": user.id,
        "display_name": display_name.strip() or user.email,
        "role": role,
        "created_at": tx.now,
    }
    if not tx.insert_ignore(store.members, row):
        raise Refused(errors.INVALID, "email: a member with this address exists already.")
    return load_member(tx, business_id, member_id)


def load_member(tx: Tx, business_id: BusinessId, member_id: str) -> Member:
    """Load a member of a business, with a row lock until the end of the transaction. Raises NOT_FOUND."""
    return check_found(store.find_member(tx, business_id, member_id), "Member not found.")


def change_password(
    tx: Tx, member: Member, password_hash: str, keep_session: str = "", *, keep_tokens: bool = False
) -> Ended:
    """Set a new password, and end the person's sessions and tokens in all their businesses.

    The transaction must have no tenant restriction. The session with the token ``keep_session`` continues.
    With ``keep_tokens`` their access tokens and auth codes continue too.
    """
    store.record_access_changed(tx, member.user_id, password_hash=password_hash)
    workplaces = store.list_workplaces(tx, member.user_id)
    ended = [_end_access(tx, membership, keep_session, keep_tokens=keep_tokens) for membership in workplaces]
    return Ended(sum(end.sessions for end in ended), sum(end.tokens for end in ended))


def confirm_email(tx: Tx, member: Member) -> None:
    """Mark a member's address as confirmed, unless another account has confirmed it."""
    if member.vouched_by and store.find_user_by_email(tx, member.email) is None:
        store.record_access_changed(tx, member.user_id, vouched_by="")


def vouch_for_email(tx: Tx, member: Member) -> None:
    """Mark an address as unconfirmed, so that only the member's business accepts the account."""
    store.record_access_changed(tx, member.user_id, vouched_by=member.business_id)


def set_member_role(tx: Tx, member: Member, role: Role, caller: Caller | None = None) -> Ended:
    """Change a member's role, and end their sessions; with fewer permissions also their tokens.

    Raises FORBIDDEN, when the caller may not; CONFLICT, when no owner would be left.
    """
    _check_appointment(caller, member.role, role)
    if role is member.role:
        return Ended(0, 0)
    _keep_an_owner(tx, member, role)
    tx.change(store.members, member.business_id, member.id, role=role)
    store.record_access_changed(tx, member.user_id)
    keeps_access = ROLE_PERMISSIONS[role] >= ROLE_PERMISSIONS[member.role]
    return _end_access(tx, member, keep_tokens=keeps_access)


def deactivate_member(tx: Tx, member: Member, caller: Caller | None = None) -> Ended:
    """Deactivate a member, and end their sessions and tokens; their messages keep their name.

    Raises FORBIDDEN, when the caller may not; CONFLICT, when no owner would be left.
    """
    _check_appointment(caller, member.role, member.role)
    _keep_an_owner(tx, member, None)
    if member.deactivated_at is None:
        tx.change(store.members, member.business_id, member.id, deactivated_at=tx.now)
        store.record_access_changed(tx, member.user_id)
    return _end_access(tx, member)


def reactivate_member(tx: Tx, member: Member, caller: Caller | None = None) -> None:
    """Reactivate a member, with the same password and role. Raises FORBIDDEN, when the caller may not."""
    _check_appointment(caller, member.role, member.role)
    tx.change(store.members, member.business_id, member.id, deactivated_at=None)
    store.record_access_changed(tx, member.user_id)


def end_member_sessions(tx: Tx, who: Member | Workplace, keep_session: str = "", only: str = "") -> int:
    """End a member's sessions, and return their number.

    The session with the token ``keep_session`` continues. ``only`` is the id of the only session to end.
    """
    kept_hash = hash_secret(keep_session) if keep_session else ""
    chosen = {"member_id": who.id, "id": only} if only else {"member_id": who.id}
    own = rows_of(store.sessions, who.business_id, **chosen)
    return tx.execute(store.sessions.delete().where(*own, store.sessions.c.token_hash != kept_hash)).rowcount


def _end_access(
    tx: Tx, who: Member | Workplace, keep_session: str = "", *, keep_tokens: bool = False
) -> Ended:
    tokens = 0
    if not keep_tokens:
        tx.delete(store.auth_codes, who.business_id, made_by=who.id)
        own = rows_of(store.api_tokens, who.business_id, made_by=who.id)
        live = store.api_tokens.update().where(*own, store.api_tokens.c.revoked_at.is_(None))
        tokens = tx.execute(live.values(revoked_at=tx.now)).rowcount
    return Ended(end_member_sessions(tx, who, keep_session), tokens)


def _check_appointment(caller: Caller | None, before: Role, after: Role) -> None:
    """Refuse a change of role that the caller may not make; the operator (None) may make all."""
    if caller is None:
        return
    if caller.role is None or not (
        rules.may_appoint(caller.role, before) and rules.may_appoint(caller.role, after)
    ):
        raise Refused(errors.FORBIDDEN)


def _keep_an_owner(tx: Tx, member: Member, role: Role | None) -> None:
    """Refuse to remove the last owner; a lock serializes two owners who remove each other."""
    if member.role is not Role.OWNER or role is Role.OWNER or member.deactivated_at is not None:
        return
    tx.hold_key("owners", member.business_id)
    colleagues = store.list_members(tx, member.business_id)
    owners = [owner for owner in colleagues if owner.role is Role.OWNER and not owner.deactivated_at]
    if len(owners) < 2:
        raise Refused(errors.CONFLICT, "This is the last owner. Make another member an owner first.")


def change_profile(tx: Tx, caller: Caller, name: str, language: str, timezone: str) -> None:
    """Change a member's name in this business, and their language and time zone in all of theirs.

    An empty language or time zone follows the browser. Raises INVALID.
    """
    if language and language not in LANGUAGES:
        raise Refused(errors.INVALID, "language: choose one of %(known)s.", known=", ".join(LANGUAGES))
    name = " ".join(name.split())
    if not 0 < len(name) <= rules.NAME_LIMIT:
        raise Refused(errors.INVALID, "display_name: enter a name of at most 100 characters.")
    if timezone:
        rules.check_timezone(timezone)
    own = store.users.update().where(store.users.c.id == caller.user_id)
    tx.execute(own.values(language=language, timezone=timezone))
    tx.change(store.members, caller.business_id, caller.subject_id, display_name=name)


def add_ad_account(tx: Tx, business_id: BusinessId, new: NewAdAccount) -> AdAccount:
    """Add an ad account. Raises INVALID, when a value is malformed or the name is taken."""
    tx.hold_key("ad accounts", business_id)
    accounts = store.list_ad_accounts(tx, business_id)
    checked = rules.checked_ad_account(**asdict(new), other_names=[row.name for row in accounts])
    if len(accounts) >= rules.MOST_AD_ACCOUNTS:
        raise Refused(errors.INVALID, "name: this business has reached its limit of ad accounts.")
    account = AdAccount(AdAccountId(new_id()), business_id, new_number(), **checked, created_at=tx.now)
    tx.insert(store.ad_accounts, row_of(account))
    return account


def correct_ad_account(tx: Tx, account: AdAccount, new: NewAdAccount) -> None:
    """Update an ad account; INVALID as for a new one."""
    tx.hold_key("ad accounts", account.business_id)
    accounts = store.list_ad_accounts(tx, account.business_id)
    other_names = [row.name for row in accounts if row.id != account.id]
    checked = rules.checked_ad_account(**asdict(new), other_names=other_names, before=account)
    tx.change(store.ad_accounts, account.business_id, account.id, **checked)


def open_session(
    tx: Tx, member: Member, days: int, failed: FailedTries | None = None, browser: str = ""
) -> str:
    """Open a session, and return its token; only the hash is saved.

    ``failed`` are failed log-ins from elsewhere to report to the member, ``browser`` is the user agent.
    """
    token = new_secret("session")
    tx.change(store.members, member.business_id, member.id, last_login_at=tx.now)
    row = {
        "token_hash": hash_secret(token),
        "id": new_id(),
        "last_used_at": tx.now,
        "browser": rules.browser_name(browser),
        "business_id": member.business_id,
        "member_id": member.id,
        "created_at": tx.now,
        "expires_at": tx.now + timedelta(days=days),
        "failed_tries": failed.count if failed else 0,
        "failed_since": failed.since if failed else None,
    }
    tx.insert(store.sessions, row)
    return token


def end_session(tx: Tx, token: str) -> None:
    tx.execute(store.sessions.delete().where(store.sessions.c.token_hash == hash_secret(token)))


purge_sessions: Final = purging(store.sessions.c.expires_at)


def issue_token(
    tx: Tx,
    business_id: BusinessId,
    name: str,
    scopes: Collection[str],
    made_by: str = "",
    ad_account_ids: Collection[str] | None = None,
) -> tuple[ApiToken, str]:
    """Make an API token; return its data, and the token itself, which is shown once and never saved.

    The token ends with the access of its creator ``made_by``, empty for the operator. Without
    ``ad_account_ids`` it may be used for all. Raises INVALID; FORBIDDEN, when the creator may not make
    such a token.
    """
    if not name.strip():
        raise Refused(errors.INVALID, "name: enter a name for the token.")
    valid_scopes, limits = _allowed(tx, business_id, scopes, made_by, ad_account_ids)
    token = new_secret("contatto")
    api_token = ApiToken(
        new_id(), business_id, name.strip(), valid_scopes, tx.now, None, None, made_by, limits
    )
    tx.insert(store.api_tokens, row_of(api_token) | {"token_hash": hash_secret(token)})
    return api_token, token


def issue_auth_code(
    tx: Tx,
    business_id: BusinessId,
    name: str,
    scopes: Collection[str],
    made_by: str = "",
    ad_account_ids: Collection[str] | None = None,
) -> str:
    """Make a code that a program exchanges for an access token, once and within ten minutes."""
    if not name.strip():
        raise Refused(errors.INVALID, "name: enter the name of the program that uses the code.")
    valid_scopes, limits = _allowed(tx, business_id, scopes, made_by, ad_account_ids)
    code = new_secret("code")
    row = {
        "code_hash": hash_secret(code),
        "business_id": business_id,
        "name": name.strip(),
        "scopes": valid_scopes,
        "created_at": tx.now,
        "expires_at": tx.now + timedelta(seconds=rules.AUTH_CODE_S),
        "made_by": made_by,
        "ad_account_ids": limits,
    }
    tx.insert(store.auth_codes, row)
    return code


def _allowed(
    tx: Tx,
    business_id: BusinessId,
    scopes: Collection[str],
    made_by: str,
    ad_account_ids: Collection[str] | None,
) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """Return the checked scopes and ad accounts of a new token, with a row lock on its creator."""
    allowed = [permission.value for permission in Permission]
    if not scopes or not set(scopes) <= set(allowed):
        raise Refused(errors.INVALID, "scopes: choose some of %(scopes)s.", scopes=", ".join(allowed))
    valid_scopes = tuple(scope for scope in allowed if scope in scopes)
    if made_by:
        creator = store.find_member(tx, business_id, made_by)
        needed = {Permission.ADMINISTER, *map(Permission, valid_scopes)}
        if creator is None or not all(rules.is_able(creator, permission) for permission in needed):
            raise Refused(errors.FORBIDDEN)
    if ad_account_ids is None:
        return valid_scopes, None
    account_ids: set[str] = {account.id for account in store.list_ad_accounts(tx, business_id)}
    if not ad_account_ids or not set(ad_account_ids) <= account_ids:
        raise Refused(errors.INVALID, "ad_accounts: choose some of the ad accounts of this business.")
    beyond = [scope for scope in valid_scopes if scope not in rules.LIMITABLE]
    if beyond:
        raise Refused(
            errors.INVALID,
            "scopes: a token for some ad accounts cannot have %(scopes)s, because they apply "
            "to the whole business.",
            scopes=", ".join(beyond),
        )
    return valid_scopes, tuple(sorted(set(ad_account_ids)))


def redeem_auth_code(tx: Tx, code: str) -> tuple[ApiToken, str]:
    """Exchange an auth code, once, for the data of a token and the token itself. Raises BAD_CODE."""
    codes = store.auth_codes
    is_live = codes.c.code_hash == hash_secret(code), codes.c.expires_at > tx.now
    auth_code = tx.find(AuthCode, sa.select(codes).where(*is_live))
    # Only one of two concurrent calls deletes the code.
    if auth_code is None or not tx.delete(codes, auth_code.business_id, code_hash=auth_code.code_hash):
        raise Refused(errors.BAD_CODE)
    try:
        return issue_token(
            tx,
            auth_code.business_id,
            auth_code.name,
            auth_code.scopes,
            auth_code.made_by,
            auth_code.ad_account_ids,
        )
    except Refused as refused:
        raise Refused(errors.BAD_CODE) from refused


purge_codes: Final = purging(store.auth_codes.c.expires_at)


def confirm_term(tx: Tx, account: AdAccount, term_type: str) -> None:
    row = {"business_id": account.business_id, "ad_account_id": account.id, "term_type": term_type}
    tx.insert_ignore(store.confirmed_terms, row | {"at": tx.now})


def revoke_token(tx: Tx, business_id: BusinessId, token_id: str) -> None:
    """End a token at once; NOT_FOUND if there is none."""
    if not tx.change(
        store.api_tokens, business_id, token_id, store.api_tokens.c.revoked_at.is_(None), revoked_at=tx.now
    ):
        raise Refused(errors.NOT_FOUND)


def forget_kept_pages(tx: Tx, business_id: str) -> None:
    """Delete all saved form responses of a business: they may contain a person who is erased."""
    tx.delete(store.kept_pages, business_id)


purge_kept_pages: Final = purging(store.kept_pages.c.kept_at, rules.KEEP_PAGES)
