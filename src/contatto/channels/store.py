"""Tables of channel accounts and apps, caches of them, and their connectors."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import sqlalchemy as sa

from contatto.channels import model
from contatto.channels.connectors.meta import MetaMessaging, WhatsApp
from contatto.channels.connectors.tiktok import TikTok
from contatto.channels.connectors.webchat import Webchat
from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.statements import PreparedQuery, WorkBatcher
from contatto.kit.db.tx import Choice, Tx, Words, instant, key, metadata, sealed, tenant, text, within
from contatto.kit.errors import Refused

MOST_NAMED: Final = 100
"""Most businesses with the same app id among which a webhook finds its sender."""

channel_accounts = sa.Table(
    "channel_accounts",
    metadata,
    key(),
    tenant(),
    sa.Column("platform", Choice(model.Platform), nullable=False),
    sa.Column("external_id", sa.String(128), nullable=False),
    text("name"),
    text("handle"),
    sa.Column("registration_country", sa.String(2), nullable=False),
    instant("created_at"),
    sa.UniqueConstraint("business_id", "platform", "external_id"),
)

channel_apps = sa.Table(
    "channel_apps",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    sa.Column("app_id", sa.String(64), primary_key=True),
    sa.Column("platform", Choice(model.Platform), nullable=False),
    sealed("secret"),
    instant("created_at"),
    sa.Index("ix_channel_apps_app_id", "app_id", "created_at"),
)
"""Several businesses may register the same app id of a platform."""


chat_embeds = sa.Table(
    "chat_embeds",
    metadata,
    sa.Column("channel_account_id", sa.String(36), primary_key=True),
    tenant(),
    sa.Column("origins", Words, nullable=False),
    instant("changed_at"),
)

channel_tokens = sa.Table(
    "channel_tokens",
    metadata,
    sa.Column("channel_account_id", sa.String(36), primary_key=True),
    tenant(),
    sealed("access_token"),
    instant("changed_at"),
    sa.Column(
        "check_state", Choice(model.CheckState), nullable=False, server_default=model.CheckState.UNTRIED.value
    ),
    text("check_reason", default=""),
    text("platform_name", default=""),
    text("platform_handle", default=""),
    instant("checked_at", nullable=True),
)


def find_account(tx: Tx, business_id: str, account_id: str) -> model.ChannelAccount | None:
    in_business = channel_accounts.c.business_id == business_id
    return tx.find(
        model.ChannelAccount,
        sa.select(channel_accounts).where(in_business, channel_accounts.c.id == account_id),
    )


_BY_IDS: Final = PreparedQuery(
    model.ChannelAccount, sa.select(channel_accounts).where(within(channel_accounts.c.id, "ids"))
)


def list_registration_countries(tx: Tx) -> list[str]:
    """List the countries of all tenants' accounts, each once."""
    countries = sa.select(channel_accounts.c.registration_country).distinct()
    return sorted(tx.execute(countries).scalars())


def list_public_accounts(tx: Tx, account_ids: Sequence[str]) -> list[model.ChannelAccount | None]:
    """Return accounts of any business in the order of the ids, None for an unknown one.

    The address of a public chat page contains only the id of an account.
    """
    accounts = {account.id: account for account in _BY_IDS.list(tx, {"ids": account_ids})}
    return [accounts.get(account_id) for account_id in account_ids]


_BY_EXTERNAL: Final = PreparedQuery(
    model.ChannelAccount,
    sa.select(channel_accounts).where(
        channel_accounts.c.business_id == sa.bindparam("of"),
        channel_accounts.c.platform == sa.bindparam("on"),
        channel_accounts.c.external_id == sa.bindparam("named"),
    ),
)


def find_account_by_external(
    tx: Tx, business_id: str, platform: model.Platform, external_id: str
) -> model.ChannelAccount | None:
    accounts = _BY_EXTERNAL.list(tx, {"of": business_id, "on": platform, "named": external_id})
    return accounts[0] if accounts else None


_OF_BUSINESS: Final = PreparedQuery(
    model.ChannelAccount,
    sa.select(channel_accounts)
    .where(channel_accounts.c.business_id == sa.bindparam("of"))
    .order_by(channel_accounts.c.created_at),
)


def list_accounts(tx: Tx, business_id: str) -> list[model.ChannelAccount]:
    return _OF_BUSINESS.list(tx, {"of": business_id})


def find_token(tx: Tx, business_id: str, account_id: str) -> str | None:
    conditions = (
        channel_tokens.c.business_id == business_id,
        channel_tokens.c.channel_account_id == account_id,
    )
    token = tx.scalar(sa.select(channel_tokens.c.access_token).where(*conditions))
    place = business_id, "channel_tokens.access_token", account_id
    return None if token is None else tx.vault.open(token, *place)


def list_token_checks(tx: Tx, business_id: str) -> dict[str, model.TokenCheck]:
    statement = sa.select(channel_tokens).where(channel_tokens.c.business_id == business_id)
    return {
        row["channel_account_id"]: model.TokenCheck(
            row["changed_at"],
            row["check_state"],
            row["check_reason"],
            row["checked_at"],
            row["platform_name"],
            row["platform_handle"],
        )
        for row in tx.execute(statement).mappings()
    }


def record_token_check(
    tx: Tx,
    business_id: str,
    account_id: str,
    state: model.CheckState,
    reason: str = "",
    account: model.AccountSeen | None = None,
) -> None:
    """Record the check of a token, and the platform's name of the account, if any."""
    new: dict[str, Any] = {"check_state": state, "check_reason": reason}
    if state is not model.CheckState.ASKED:
        new["checked_at"] = tx.now
    if account is not None:
        new |= {"platform_name": account.name[:200], "platform_handle": account.handle[:200]}
    conditions = (
        channel_tokens.c.business_id == business_id,
        channel_tokens.c.channel_account_id == account_id,
    )
    tx.execute(channel_tokens.update().where(*conditions).values(**new))


def list_embed_origins(tx: Tx, business_id: str) -> dict[str, tuple[str, ...]]:
    statement = sa.select(chat_embeds).where(chat_embeds.c.business_id == business_id)
    return {row["channel_account_id"]: row["origins"] for row in tx.execute(statement).mappings()}


def list_apps(tx: Tx, business_id: str) -> list[model.ChannelApp]:
    """Return the apps of a business, without their secrets."""
    statement = sa.select(channel_apps).where(channel_apps.c.business_id == business_id)
    rows = tx.execute(statement.order_by(channel_apps.c.created_at)).mappings()
    return [model.ChannelApp(row["app_id"], business_id, row["platform"], "") for row in rows]


def find_app(tx: Tx, business_id: str, app_id: str) -> model.ChannelApp | None:
    conditions = channel_apps.c.business_id == business_id, channel_apps.c.app_id == app_id
    return next(iter(_list_unsealed(tx, sa.select(channel_apps).where(*conditions))), None)


def list_apps_named(tx: Tx, app_id: str) -> list[model.ChannelApp]:
    """Return the apps with this id of all businesses, oldest first, at most MOST_NAMED.

    The caller selects one by the secret that fits a signature.
    """
    named = sa.select(channel_apps).where(channel_apps.c.app_id == app_id)
    return _list_unsealed(
        tx, named.order_by(channel_apps.c.created_at, channel_apps.c.business_id).limit(MOST_NAMED)
    )


def _list_unsealed(tx: Tx, statement: sa.Select[Any]) -> list[model.ChannelApp]:
    return [
        model.ChannelApp(
            row["app_id"],
            row["business_id"],
            row["platform"],
            tx.vault.open(row["secret"], row["business_id"], "channel_apps.secret", row["app_id"]),
        )
        for row in tx.execute(statement).mappings()
    ]


def load_channel(
    tx: Tx, business_id: str, account_id: str, field: str = "business_id"
) -> model.ChannelAccount:
    """Return a channel account by our id or by the platform's.

    Raises NOT_FOUND, with ``field`` as the name of the wrong field: the API calls the account a business.
    """
    exact_match = find_account(tx, business_id, account_id)
    if exact_match is not None:
        return exact_match
    for account in list_accounts(tx, business_id):
        if account_id and account.external_id == account_id:
            return account
    raise Refused(errors.NOT_FOUND, "%(field)s: channel account not found.", field=field)


CONNECTORS: Final[Mapping[model.Platform, model.Connector]] = {
    model.Platform.TIKTOK: TikTok(),
    model.Platform.WEBCHAT: Webchat(),
    model.Platform.WHATSAPP: WhatsApp(),
    model.Platform.MESSENGER: MetaMessaging(model.Platform.MESSENGER, "page", 2_000),
    model.Platform.INSTAGRAM: MetaMessaging(model.Platform.INSTAGRAM, "instagram", 1_000),
}

_PROFILES: Final = {
    model.Platform.TIKTOK: "https://www.tiktok.com/@",
    model.Platform.WHATSAPP: "https://wa.me/",
    model.Platform.MESSENGER: "https://m.me/",
    model.Platform.INSTAGRAM: "https://ig.me/m/",
}


def landing_path(account: model.ChannelAccount) -> str:
    """Return the address that a click on an ad opens: the web chat, or the profile on the platform."""
    profile = _PROFILES.get(account.platform)
    return f"{profile}{quote(account.handle)}" if profile else f"/chat/{account.id}"


KEEP_S: Final = 0.5
"""Seconds for which an app is cached, and a revoked secret may still be used."""
_MOST: Final = 1_000


class AccountBatcher(WorkBatcher[str, model.ChannelAccount | None]):
    """Batching reader of web chat accounts: concurrent requests share one query."""


@dataclass(eq=False)
class AppIndex:
    """Small cache of apps by id. It does not cache unknown ids, so strangers cannot fill it."""

    db: Database
    _apps_by_id: dict[str, tuple[float, list[model.ChannelApp]]] = field(default_factory=dict)

    async def list_named(self, app_id: str) -> list[model.ChannelApp]:
        cached = self._apps_by_id.get(app_id)
        if cached is not None and time.monotonic() - cached[0] < KEEP_S:
            return cached[1]
        if cached is not None:  # other requests use the cached apps while this one reads
            self._apps_by_id[app_id] = (time.monotonic(), cached[1])
        apps = await self.db.read(lambda tx: list_apps_named(tx, app_id))
        if not apps:
            self._apps_by_id.pop(app_id, None)
        else:
            if len(self._apps_by_id) >= _MOST:
                self._apps_by_id.clear()
            self._apps_by_id[app_id] = (time.monotonic(), apps)
        return apps
