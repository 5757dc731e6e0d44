"""Connectors by platform, caches of apps and chat accounts, and landing pages of ads."""

import time
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

from contatto.channels.connectors.messenger import Instagram, Messenger
from contatto.channels.connectors.tiktok import TikTok
from contatto.channels.connectors.webchat import Webchat
from contatto.channels.connectors.whatsapp import WhatsApp
from contatto.channels.model import ChannelAccount, ChannelApp, Connector, Platform
from contatto.channels.store import list_apps_named, list_public_accounts
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.db.write_queue import WorkBatcher

CONNECTORS: Final[Mapping[Platform, Connector]] = {
    Platform.TIKTOK: TikTok(),
    Platform.WEBCHAT: Webchat(),
    Platform.WHATSAPP: WhatsApp(),
    Platform.MESSENGER: Messenger(),
    Platform.INSTAGRAM: Instagram(),
}

_PROFILES: Final = {
    Platform.TIKTOK: "https://www.tiktok.com/@",
    Platform.WHATSAPP: "https://wa.me/",
    Platform.MESSENGER: "https://m.me/",
    Platform.INSTAGRAM: "https://ig.me/m/",
}


def landing_path(account: ChannelAccount) -> str:
    """Return the landing page of a tap: the web chat, or the account's profile on its platform."""
    profile = _PROFILES.get(account.platform)
    return f"{profile}{quote(account.handle)}" if profile else f"/chat/{account.id}"


KEEP_S: Final = 0.5
"""Seconds for which an app is cached, and a revoked secret may still be used."""
_MOST: Final = 1_000


class GatheredAccounts:
    """Batching reader of web chat accounts: concurrent requests share one query."""

    def __init__(self, db: Database) -> None:
        def load(tx: Tx, account_ids: Sequence[str]) -> Sequence[ChannelAccount | None]:
            accounts = {account.id: account for account in list_public_accounts(tx, account_ids)}
            return [accounts.get(account_id) for account_id in account_ids]

        self.accounts: Final = WorkBatcher(db.read, load)


class AppIndex:
    """Small cache of apps by id. It does not cache unknown ids, so strangers cannot fill it."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: dict[str, tuple[float, list[ChannelApp]]] = {}

    async def list_named(self, app_id: str) -> list[ChannelApp]:
        """Return the apps of this id, of all businesses."""
        cached = self._known.get(app_id)
        if cached is not None and time.monotonic() - cached[0] < KEEP_S:
            return cached[1]
        if cached is not None:  # others go on with it while this one reads
            self._known[app_id] = (time.monotonic(), cached[1])
        apps = await self._db.read(lambda tx: list_apps_named(tx, app_id))
        if not apps:
            self._known.pop(app_id, None)
        else:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[app_id] = (time.monotonic(), apps)
        return apps
