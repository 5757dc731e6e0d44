"""Tables of businesses, members, sessions, tokens and ad accounts."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
    bindparam,
    func,
    or_,
    select,
    update,
)

from contatto.accounts.model import (
    AdAccount,
    ApiToken,
    AuthCode,
    Business,
    BusinessId,
    FailedTries,
    Member,
    Permission,
    Role,
)
from contatto.accounts.rules import is_able
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, Words, instant, key, metadata, tenant, text

businesses = Table("businesses", metadata, key(), text("name"), instant("created_at"))

members = Table(
    "members",
    metadata,
    key(),
    tenant(),
    Column("email", String(320), nullable=False, unique=True),
    text("display_name"),
    Column("role", Choice(Role), nullable=False),
    text("password_hash"),
    instant("created_at"),
    Column("language", String(16), nullable=False, server_default=""),
    instant("deactivated_at", nullable=True),
    Index("ix_members_business_id", "business_id"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    tenant(),
    Column("member_id", String(36), nullable=False),
    instant("created_at"),
    instant("expires_at"),
    Column("failed_tries", Integer, nullable=False, server_default="0"),
    instant("failed_since", nullable=True),
    Index("ix_sessions_member_id", "member_id"),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    key(),
    tenant(),
    text("name"),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("scopes", Words, nullable=False),
    instant("created_at"),
    instant("last_used_at", nullable=True),
    instant("revoked_at", nullable=True),
    Column("made_by", String(36), nullable=False, server_default=""),
    Column("ad_account_ids", Words),
    Index("ix_api_tokens_business_id", "business_id"),
)

auth_codes = Table(
    "auth_codes",
    metadata,
    Column("code_hash", String(64), primary_key=True),
    tenant(),
    text("name"),
    Column("scopes", Words, nullable=False),
    instant("created_at"),
    instant("expires_at"),
    Column("made_by", String(36), nullable=False, server_default=""),
    Column("ad_account_ids", Words),
)

confirmed_terms = Table(
    "confirmed_terms",
    metadata,
    Column("ad_account_id", String(36), primary_key=True),
    Column("term_type", String(32), primary_key=True),
    tenant(),
    instant("at"),
)

ad_accounts = Table(
    "ad_accounts",
    metadata,
    key(),
    tenant(),
    Column("number", BigInteger, nullable=False, unique=True),
    text("name"),
    Column("country", String(2), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("timezone", String(64), nullable=False),
    instant("created_at"),
    UniqueConstraint("business_id", "name"),
)


def save_business(tx: Tx, row: dict[str, Any]) -> None:
    tx.insert(businesses, row)


_OF_ID: Final = select(businesses).where(businesses.c.id == bindparam("of_business"))


def find_business(tx: Tx, business_id: BusinessId) -> Business | None:
    return tx.find(Business, _OF_ID, {"of_business": business_id})


def list_businesses(tx: Tx) -> list[Business]:
    """Every business of the installation; for the operator's commands only."""
    return tx.list(Business, select(businesses).order_by(businesses.c.created_at))


def save_member(tx: Tx, row: dict[str, Any]) -> bool:
    """Insert a member; False when the e-mail is taken."""
    return tx.insert_ignore(members, row)


def find_member_by_email(tx: Tx, email: str) -> Member | None:
    """A member who may come in, by the e-mail; it is unique in the installation."""
    live = select(members).where(members.c.email == email, members.c.deactivated_at.is_(None))
    return tx.find(Member, live)


def find_member(tx: Tx, business_id: BusinessId, member_id: str) -> Member | None:
    """A member, held until the end of the transaction: what is decided by their state stays true."""
    mine = select(members).where(members.c.business_id == business_id, members.c.id == member_id)
    return tx.find(Member, mine.with_for_update() if tx.locks_rows else mine)


def list_members(tx: Tx, business_id: BusinessId) -> list[Member]:
    statement = select(members).where(members.c.business_id == business_id).order_by(members.c.created_at)
    return tx.list(Member, statement)


def list_able_members(tx: Tx, business_id: BusinessId, permission: Permission) -> list[Member]:
    """Members who may come in and have a permission: those whom something may be given to."""
    return [each for each in list_members(tx, business_id) if is_able(each, permission)]


def count_owners(tx: Tx, business_id: BusinessId) -> int:
    """How many owners may come in."""
    mine = select(func.count()).where(
        members.c.business_id == business_id,
        members.c.role == Role.OWNER,
        members.c.deactivated_at.is_(None),
    )
    return int(tx.scalar(mine))


def record_member(tx: Tx, business_id: BusinessId, member_id: str, **values: Any) -> None:
    """Change what is kept of a member."""
    mine = update(members).where(members.c.business_id == business_id, members.c.id == member_id)
    tx.execute(mine.values(**values))


def mark_member_language(tx: Tx, business_id: BusinessId, member_id: str, language: str) -> None:
    mine = update(members).where(members.c.business_id == business_id, members.c.id == member_id)
    tx.execute(mine.values(language=language))


def save_session(tx: Tx, row: dict[str, Any]) -> None:
    tx.insert(sessions, row)


_OF_SESSION: Final = (
    select(members)
    .join(sessions, sessions.c.member_id == members.c.id)
    .where(
        sessions.c.token_hash == bindparam("of_token"),
        sessions.c.expires_at > bindparam("at"),
        members.c.deactivated_at.is_(None),
    )
)
"""Made once and kept, as that of businesses: every page asks for them."""


def find_session_member(tx: Tx, token_hash: str) -> tuple[Member, Business] | None:
    """The member of a session that has not expired."""
    member = tx.find(Member, _OF_SESSION, {"of_token": token_hash, "at": tx.now})
    business = find_business(tx, member.business_id) if member else None
    return (member, business) if member and business else None


def list_session_roles(tx: Tx, token_hashes: Collection[str]) -> dict[str, Role]:
    """The roles of the members whose sessions last; a session that is over is left out."""
    mine = select(sessions.c.token_hash, members.c.role).join(members, sessions.c.member_id == members.c.id)
    live = mine.where(
        sessions.c.token_hash.in_(token_hashes),
        sessions.c.expires_at > tx.now,
        members.c.deactivated_at.is_(None),
    )
    return {row.token_hash: row.role for row in tx.execute(live)}


def count_sessions(tx: Tx, business_id: BusinessId) -> dict[str, int]:
    """How many sessions each member has."""
    mine = select(sessions.c.member_id, func.count().label("n")).where(
        sessions.c.business_id == business_id, sessions.c.expires_at > tx.now
    )
    return {row.member_id: row.n for row in tx.execute(mine.group_by(sessions.c.member_id))}


def delete_member_sessions(tx: Tx, business_id: BusinessId, member_id: str, but: str = "") -> int:
    """End the sessions of a member, all but one if its hash is given; say how many."""
    mine = sessions.delete().where(
        sessions.c.business_id == business_id, sessions.c.member_id == member_id, sessions.c.token_hash != but
    )
    return tx.execute(mine).rowcount


def find_failed_tries(tx: Tx, business_id: BusinessId, token_hash: str) -> FailedTries | None:
    """What a session was told of failed tries when it began."""
    mine = select(sessions.c.failed_tries.label("count"), sessions.c.failed_since.label("since"))
    told = mine.where(
        sessions.c.business_id == business_id,
        sessions.c.token_hash == token_hash,
        sessions.c.failed_tries > 0,
    )
    return tx.find(FailedTries, told)


def delete_session(tx: Tx, token_hash: str) -> None:
    tx.execute(sessions.delete().where(sessions.c.token_hash == token_hash))


def delete_expired_sessions(tx: Tx) -> int:
    return tx.execute(sessions.delete().where(sessions.c.expires_at <= tx.now)).rowcount


def save_token(tx: Tx, row: dict[str, Any]) -> None:
    tx.insert(api_tokens, row)


def find_token(tx: Tx, token_hash: str) -> tuple[ApiToken, Business] | None:
    """A token that was not revoked, and its business."""
    live = select(api_tokens).where(api_tokens.c.token_hash == token_hash, api_tokens.c.revoked_at.is_(None))
    token = tx.find(ApiToken, live)
    business = find_business(tx, token.business_id) if token else None
    return (token, business) if token and business else None


def save_auth_code(tx: Tx, row: dict[str, Any]) -> None:
    tx.insert(auth_codes, row)


def find_auth_code(tx: Tx, code_hash: str) -> AuthCode | None:
    """A code that has not expired; a used one is gone."""
    live = select(auth_codes).where(auth_codes.c.code_hash == code_hash, auth_codes.c.expires_at > tx.now)
    return tx.find(AuthCode, live)


def delete_auth_code(tx: Tx, code_hash: str) -> bool:
    """Take a code away; say whether it was there, which only one of two at once is told."""
    return tx.execute(auth_codes.delete().where(auth_codes.c.code_hash == code_hash)).rowcount == 1


def delete_expired_codes(tx: Tx) -> int:
    return tx.execute(auth_codes.delete().where(auth_codes.c.expires_at <= tx.now)).rowcount


def save_confirmed_term(tx: Tx, row: dict[str, Any]) -> None:
    """Note that the terms were accepted; the first time counts."""
    tx.insert_ignore(confirmed_terms, row)


def has_confirmed_term(tx: Tx, business_id: BusinessId, ad_account_id: str, term_type: str) -> bool:
    mine = select(confirmed_terms.c.at).where(
        confirmed_terms.c.business_id == business_id,
        confirmed_terms.c.ad_account_id == ad_account_id,
        confirmed_terms.c.term_type == term_type,
    )
    return tx.execute(mine).first() is not None


def list_tokens(tx: Tx, business_id: BusinessId) -> list[ApiToken]:
    statement = select(api_tokens).where(api_tokens.c.business_id == business_id)
    return tx.list(ApiToken, statement.order_by(api_tokens.c.created_at.desc()))


def is_token_live(tx: Tx, business_id: BusinessId, token_id: str) -> bool:
    """Whether a token was not revoked."""
    mine = api_tokens.c.business_id == business_id, api_tokens.c.id == token_id
    live = select(api_tokens.c.id).where(*mine, api_tokens.c.revoked_at.is_(None))
    return tx.execute(live).first() is not None


def mark_token_used(tx: Tx, token_id: str, before: datetime) -> None:
    """Note the use of a token, at most once in a while: a write for each request would be waste."""
    stale = or_(api_tokens.c.last_used_at.is_(None), api_tokens.c.last_used_at < before)
    tx.execute(update(api_tokens).where(api_tokens.c.id == token_id, stale).values(last_used_at=tx.now))


def mark_token_revoked(tx: Tx, business_id: BusinessId, token_id: str) -> bool:
    mine = update(api_tokens).where(
        api_tokens.c.business_id == business_id,
        api_tokens.c.id == token_id,
        api_tokens.c.revoked_at.is_(None),
    )
    return tx.execute(mine.values(revoked_at=tx.now)).rowcount == 1


def record_tokens_ended(tx: Tx, business_id: BusinessId, member_id: str) -> int:
    """Revoke the tokens that a member made, and delete their auth codes; say how many tokens that were."""
    codes = auth_codes.c.business_id == business_id, auth_codes.c.made_by == member_id
    tx.execute(auth_codes.delete().where(*codes))
    mine = update(api_tokens).where(
        api_tokens.c.business_id == business_id,
        api_tokens.c.made_by == member_id,
        api_tokens.c.revoked_at.is_(None),
    )
    return tx.execute(mine.values(revoked_at=tx.now)).rowcount


def save_ad_account(tx: Tx, row: dict[str, Any]) -> None:
    tx.insert(ad_accounts, row)


def list_ad_accounts(tx: Tx, business_id: BusinessId) -> list[AdAccount]:
    mine = select(ad_accounts).where(ad_accounts.c.business_id == business_id)
    return tx.list(AdAccount, mine.order_by(ad_accounts.c.created_at))


def find_ad_account(tx: Tx, business_id: BusinessId, ad_account_id: str) -> AdAccount | None:
    mine = ad_accounts.c.business_id == business_id
    return tx.find(AdAccount, select(ad_accounts).where(mine, ad_accounts.c.id == ad_account_id))


def find_ad_account_by_number(tx: Tx, business_id: BusinessId, number: int) -> AdAccount | None:
    """An ad account by the API's ``advertiser_id``."""
    mine = ad_accounts.c.business_id == business_id
    return tx.find(AdAccount, select(ad_accounts).where(mine, ad_accounts.c.number == number))
