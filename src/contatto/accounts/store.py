"""Tables of businesses, users, members, sessions, tokens, ad accounts and saved pages."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from contatto.accounts.model import AdAccount, ApiToken, Business, BusinessId, FailedTries

# isort: split
from contatto.accounts.model import KeptPage, Member, Permission, Role, Session, User, Workplace
from contatto.accounts.rules import MOST_KEPT_PAGES, ROLE_PERMISSIONS
from contatto.kit.db.statements import PreparedQuery
from contatto.kit.db.tx import Choice, Tx, Words, instant, key, metadata, rows_of, sealed, tenant, text

businesses = sa.Table(
    "businesses",
    metadata,
    key(),
    text("name"),
    instant("created_at"),
    sa.Column("is_operator", sa.Boolean, nullable=False, server_default=sa.false()),
)

users = sa.Table(
    "users",
    metadata,
    key(),
    sa.Column("email", sa.String(320), nullable=False),
    text("password_hash"),
    instant("created_at"),
    sa.Column("language", sa.String(16), nullable=False, server_default=""),
    sa.Column("timezone", sa.String(64), nullable=False, server_default=""),
    sa.Column("vouched_by", sa.String(36), nullable=False, server_default=""),
    sa.Column("access_revision", sa.Integer, nullable=False, server_default="0"),
    sa.UniqueConstraint("email", "vouched_by"),
)
"""People who sign in. They belong to no business: a person may work in several.

An address is confirmed once in an installation (``vouched_by`` is empty). Besides, each business may have one
account under an address that it vouches for; such an account belongs to that business alone.
"""

members = sa.Table(
    "members",
    metadata,
    key(),
    tenant(),
    sa.Column("user_id", sa.String(36), nullable=False),
    text("display_name"),
    sa.Column("role", Choice(Role), nullable=False),
    instant("created_at"),
    instant("last_login_at", nullable=True),
    instant("deactivated_at", nullable=True),
    sa.UniqueConstraint("business_id", "user_id"),
    sa.Index("ix_members_user_id", "user_id"),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("token_hash", sa.String(64), primary_key=True),
    sa.Column("id", sa.String(36), nullable=False),
    tenant(),
    sa.Column("member_id", sa.String(36), nullable=False),
    instant("created_at"),
    instant("last_used_at"),
    instant("expires_at"),
    sa.Column("browser", sa.String(80), nullable=False, server_default=""),
    sa.Column("failed_tries", sa.Integer, nullable=False, server_default="0"),
    instant("failed_since", nullable=True),
    sa.Index("ix_sessions_member_id", "member_id"),
)

api_tokens = sa.Table(
    "api_tokens",
    metadata,
    key(),
    tenant(),
    text("name"),
    sa.Column("token_hash", sa.String(64), nullable=False, unique=True),
    sa.Column("scopes", Words, nullable=False),
    instant("created_at"),
    instant("last_used_at", nullable=True),
    instant("revoked_at", nullable=True),
    sa.Column("made_by", sa.String(36), nullable=False, server_default=""),
    sa.Column("ad_account_ids", Words),
    sa.Index("ix_api_tokens_business_id", "business_id"),
)

auth_codes = sa.Table(
    "auth_codes",
    metadata,
    sa.Column("code_hash", sa.String(64), primary_key=True),
    tenant(),
    text("name"),
    sa.Column("scopes", Words, nullable=False),
    instant("created_at"),
    instant("expires_at"),
    sa.Column("made_by", sa.String(36), nullable=False, server_default=""),
    sa.Column("ad_account_ids", Words),
)

confirmed_terms = sa.Table(
    "confirmed_terms",
    metadata,
    sa.Column("ad_account_id", sa.String(36), primary_key=True),
    sa.Column("term_type", sa.String(32), primary_key=True),
    tenant(),
    instant("at"),
)
"""Terms of lead ads that a business accepted for an ad account."""

ad_accounts = sa.Table(
    "ad_accounts",
    metadata,
    key(),
    tenant(),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),
    text("name"),
    sa.Column("country", sa.String(2), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("timezone", sa.String(64), nullable=False),
    instant("created_at"),
    sa.UniqueConstraint("business_id", "name"),
)

kept_pages = sa.Table(
    "kept_pages",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    tenant(),
    sa.Column("member_id", sa.String(36), nullable=False),
    sa.Column("session_hash", sa.String(64), nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sealed("page"),
    sa.Column("is_once", sa.Boolean, nullable=False),
    sa.Column("look", Words, nullable=False),
    instant("kept_at"),
    sa.Index("ix_kept_pages_member", "business_id", "member_id", "kept_at"),
    sa.Index("ix_kept_pages_kept_at", "kept_at"),
)


_BUSINESS_BY_ID: Final = PreparedQuery(
    Business, sa.select(businesses).where(businesses.c.id == sa.bindparam("of"))
)


def find_business(tx: Tx, business_id: BusinessId) -> Business | None:
    return next(iter(_BUSINESS_BY_ID.list(tx, {"of": business_id})), None)


def list_businesses(tx: Tx) -> list[Business]:
    return tx.list(Business, sa.select(businesses).order_by(businesses.c.created_at))


_MEMBERS: Final = sa.select(
    members,
    users.c.email,
    users.c.password_hash,
    users.c.language,
    users.c.timezone,
    users.c.vouched_by,
    users.c.access_revision,
).join(users, users.c.id == members.c.user_id)


def find_user_by_email(tx: Tx, email: str) -> User | None:
    """Find the account of a confirmed address, with a row lock until the end of the transaction."""
    confirmed = sa.select(users).where(users.c.email == email, users.c.vouched_by == "")
    return tx.find(User, confirmed.with_for_update())


def record_access_changed(tx: Tx, user_id: str, **values: Any) -> None:
    """Update a person, and raise the access revision, which invalidates password-reset links."""
    values["access_revision"] = users.c.access_revision + 1
    tx.execute(sa.update(users).where(users.c.id == user_id).values(**values))


def list_members_by_email(tx: Tx, email: str) -> list[Member]:
    """List the accounts that may log in with an e-mail, each as its membership of the last log-in.

    Accounts that a business vouches for come first.
    """
    live = _MEMBERS.where(users.c.email == email, members.c.deactivated_at.is_(None))
    latest = members.c.last_login_at.desc().nulls_last(), members.c.created_at
    accounts: dict[str, Member] = {}
    for member in tx.list(Member, live.order_by(users.c.vouched_by.desc(), *latest)):
        accounts.setdefault(member.user_id, member)
    return list(accounts.values())


def find_member(tx: Tx, business_id: BusinessId, member_id: str) -> Member | None:
    """Load a member with a row lock until the end of the transaction."""
    statement = _MEMBERS.where(members.c.business_id == business_id, members.c.id == member_id)
    return tx.find(Member, statement.with_for_update())


def find_member_of_email(tx: Tx, business_id: BusinessId, email: str) -> Member | None:
    """Find the member with an e-mail in a business, deactivated or not."""
    return tx.find(Member, _MEMBERS.where(members.c.business_id == business_id, users.c.email == email))


def count_memberships(tx: Tx, user_id: str) -> int:
    """Count a person's memberships, deactivated too; the transaction must have no tenant restriction."""
    return int(tx.scalar(sa.select(sa.func.count()).where(members.c.user_id == user_id)))


def list_members(tx: Tx, business_id: BusinessId) -> list[Member]:
    statement = _MEMBERS.where(members.c.business_id == business_id)
    return tx.list(Member, statement.order_by(members.c.created_at))


def list_workplaces(tx: Tx, user_id: str) -> list[Workplace]:
    """List a person's active memberships, by name of the business."""
    of_member = members.c.id, members.c.business_id, members.c.role
    own = businesses.c.id == members.c.business_id
    memberships = sa.select(*of_member, businesses.c.name).join(businesses, own)
    live = memberships.where(members.c.user_id == user_id, members.c.deactivated_at.is_(None))
    return tx.list(Workplace, live.order_by(businesses.c.name, businesses.c.id))


def list_able_members(tx: Tx, business_id: BusinessId, permission: Permission) -> list[Member]:
    """List the active members with a permission, such as for an assignment."""
    roles = [role for role, permissions in ROLE_PERMISSIONS.items() if permission in permissions]
    everyone = list_members(tx, business_id)
    return [member for member in everyone if member.deactivated_at is None and member.role in roles]


_memberships = members.alias("other")
_SESSION_MEMBER: Final = (
    _MEMBERS.add_columns(
        sa.select(sa.func.count())
        .where(_memberships.c.user_id == members.c.user_id, _memberships.c.deactivated_at.is_(None))
        .scalar_subquery()
        .label("memberships"),
        sessions.c.last_used_at.label("session_used_at"),
    )
    .join(sessions, sessions.c.member_id == members.c.id)
    .where(
        sessions.c.token_hash == sa.bindparam("of_token"),
        sessions.c.expires_at > sa.bindparam("at"),
        members.c.deactivated_at.is_(None),
    )
)
"""Query for the member of a session; every page runs it."""


def find_session_member(tx: Tx, token_hash: str) -> tuple[Member, Business] | None:
    """Find the member of a session that has not expired."""
    member = tx.find(Member, _SESSION_MEMBER, {"of_token": token_hash, "at": tx.now})
    business = find_business(tx, member.business_id) if member else None
    return (member, business) if member and business else None


def count_sessions(tx: Tx, business_id: BusinessId) -> dict[str, int]:
    statement = sa.select(sessions.c.member_id, sa.func.count().label("n")).where(
        sessions.c.business_id == business_id, sessions.c.expires_at > tx.now
    )
    return {row.member_id: row.n for row in tx.execute(statement.group_by(sessions.c.member_id))}


def list_sessions(tx: Tx, business_id: BusinessId, member_id: str) -> list[Session]:
    """List a member's sessions that have not expired, the latest used first."""
    conditions = sessions.c.business_id == business_id, sessions.c.member_id == member_id
    live = sa.select(sessions).where(*conditions, sessions.c.expires_at > tx.now)
    return tx.list(Session, live.order_by(sessions.c.last_used_at.desc(), sessions.c.id))


def mark_used(tx: Tx, table: sa.Table, token_hash: str, before: datetime) -> None:
    """Record the use of a session or token, if the last recorded one is older than ``before``."""
    is_stale = sa.or_(table.c.last_used_at.is_(None), table.c.last_used_at < before)
    used = sa.update(table).where(table.c.token_hash == token_hash, is_stale)
    tx.execute(used.values(last_used_at=tx.now))


def list_session_rights(tx: Tx, token_hashes: Collection[str]) -> dict[str, frozenset[Permission]]:
    """Return the permissions of those sessions that are live, by token hash."""
    statement = sa.select(sessions.c.token_hash, members.c.role).join(
        members, sessions.c.member_id == members.c.id
    )
    live = statement.where(
        sessions.c.token_hash.in_(token_hashes),
        sessions.c.expires_at > tx.now,
        members.c.deactivated_at.is_(None),
    )
    return {row.token_hash: ROLE_PERMISSIONS[row.role] for row in tx.execute(live)}


def find_failed_tries(tx: Tx, business_id: BusinessId, token_hash: str) -> FailedTries | None:
    """Return the failed log-ins that were counted when a session began; None for none."""
    statement = sa.select(sessions.c.failed_tries.label("count"), sessions.c.failed_since.label("since"))
    own = sessions.c.business_id == business_id, sessions.c.token_hash == token_hash
    return tx.find(FailedTries, statement.where(*own, sessions.c.failed_tries > 0))


def find_token(tx: Tx, token_hash: str) -> tuple[ApiToken, Business] | None:
    """Find a token that was not revoked, and its business."""
    live = sa.select(api_tokens).where(
        api_tokens.c.token_hash == token_hash, api_tokens.c.revoked_at.is_(None)
    )
    token = tx.find(ApiToken, live)
    business = find_business(tx, token.business_id) if token else None
    return (token, business) if token and business else None


def has_confirmed_term(tx: Tx, business_id: BusinessId, ad_account_id: str, term_type: str) -> bool:
    term = rows_of(confirmed_terms, business_id, ad_account_id=ad_account_id, term_type=term_type)
    return tx.execute(sa.select(confirmed_terms.c.at).where(*term)).first() is not None


def list_tokens(tx: Tx, business_id: BusinessId) -> list[ApiToken]:
    statement = sa.select(api_tokens).where(api_tokens.c.business_id == business_id)
    return tx.list(ApiToken, statement.order_by(api_tokens.c.created_at.desc()))


def is_token_live(tx: Tx, business_id: BusinessId, token_id: str) -> bool:
    """Report whether a token exists and is not revoked."""
    conditions = api_tokens.c.business_id == business_id, api_tokens.c.id == token_id
    live = sa.select(api_tokens.c.id).where(*conditions, api_tokens.c.revoked_at.is_(None))
    return tx.execute(live).first() is not None


_OF_BUSINESS: Final = sa.select(ad_accounts).where(ad_accounts.c.business_id == sa.bindparam("of"))
_AD_ACCOUNTS: Final = PreparedQuery(AdAccount, _OF_BUSINESS.order_by(ad_accounts.c.created_at))


def list_ad_accounts(tx: Tx, business_id: BusinessId) -> list[AdAccount]:
    return _AD_ACCOUNTS.list(tx, {"of": business_id})


def find_ad_account(tx: Tx, business_id: BusinessId, **key: str | int) -> AdAccount | None:
    """Find an ad account by its ``id``, or by its ``number`` in the API."""
    return tx.find(AdAccount, sa.select(ad_accounts).where(*rows_of(ad_accounts, business_id, **key)))


def save_kept_page(tx: Tx, page: KeptPage) -> None:
    """Save a form response, sealed, and delete the member's oldest ones beyond the limit."""
    tx.insert(kept_pages, tx.sealed_row(page))
    own = rows_of(kept_pages, page.business_id, member_id=page.member_id)
    latest = sa.select(kept_pages.c.id).where(*own).order_by(kept_pages.c.kept_at.desc(), kept_pages.c.id)
    ids = list(tx.execute(latest.offset(MOST_KEPT_PAGES).limit(1_000)).scalars())
    if ids:
        tx.delete(kept_pages, page.business_id, id=ids)
