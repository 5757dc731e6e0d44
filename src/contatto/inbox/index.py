"""The accounts that deliveries are for, read once for many of them."""

from dataclasses import dataclass

from contatto.capture.store import CaptureSwitch, find_switch
from contatto.channels.model import ChannelAccount
from contatto.channels.store import find_account_by_external
from contatto.inbox.model import Receipt
from contatto.kit.db.tx import Tx


@dataclass(frozen=True, slots=True)
class AccountSwitch:
    """A channel account with its switch of capture."""

    account: ChannelAccount
    switch: CaptureSwitch | None


class AccountSwitches:
    """The account_switches of one transaction; nothing in it changes them, so each is read once."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self._known: dict[tuple[str, str, str], AccountSwitch | None] = {}

    def find(self, receipt: Receipt) -> AccountSwitch | None:
        """The account_switch that a delivery came to, or None when the business has no such account."""
        key = (receipt.business_id, receipt.platform.value, receipt.account)
        if key not in self._known:
            self._known[key] = self._read(receipt)
        return self._known[key]

    def _read(self, receipt: Receipt) -> AccountSwitch | None:
        account = find_account_by_external(self._tx, receipt.business_id, receipt.platform, receipt.account)
        if account is None:
            return None
        return AccountSwitch(account, find_switch(self._tx, account.business_id, account.id))
