"""Apps in memory, as every webhook asks for its app's secret, and accounts of chat pages, read together."""

import time
from collections.abc import Sequence
from typing import Final

from contatto.channels.model import ChannelAccount, ChannelApp
from contatto.channels.store import list_apps_named, list_public_accounts
from contatto.kit.db.database import Database
from contatto.kit.db.gathered import GatheredWork
from contatto.kit.db.tx import Tx

KEEP_S: Final = 0.5
"""Seconds until an app is read again: for so long a secret that was taken away may still be used."""
_MOST: Final = 1_000


class GatheredAccounts:
    """The accounts of chat pages, by their ids alone; those asked for at the same time are read together."""

    def __init__(self, db: Database) -> None:
        self.accounts: Final = GatheredWork(db.read, _list_public)


def _list_public(tx: Tx, account_ids: Sequence[str]) -> Sequence[ChannelAccount | None]:
    known = {account.id: account for account in list_public_accounts(tx, account_ids)}
    return [known.get(account_id) for account_id in account_ids]


class AppIndex:
    """A small cache of the apps of an id. Unknown ids are not kept, so strangers cannot fill it."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: dict[str, tuple[float, list[ChannelApp]]] = {}

    async def list_named(self, app_id: str) -> list[ChannelApp]:
        """The apps of this id, of all businesses."""
        known = self._known.get(app_id)
        if known is not None and time.monotonic() - known[0] < KEEP_S:
            return known[1]
        if known is not None:  # others go on with it while this one reads
            self._known[app_id] = (time.monotonic(), known[1])
        apps = await self._db.read(lambda tx: list_apps_named(tx, app_id))
        if not apps:
            self._known.pop(app_id, None)
        else:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[app_id] = (time.monotonic(), apps)
        return apps
