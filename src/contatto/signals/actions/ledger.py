"""The ledger of signals: how many each ad account was told, and what wants somebody's attention."""

from dataclasses import dataclass

from contatto.ad_platforms.model import OutsideAccount
from contatto.ad_platforms.store import list_outside_accounts
from contatto.crm.registry import ToldPlatform
from contatto.crm.rules.reasons import TOLD, Alarm
from contatto.kit.db.tx import Tx
from contatto.signals.model.events import SignalState
from contatto.signals.model.settings import SignalMode, SignalSettings
from contatto.signals.rules.standing import SignalStanding, find_signal_alarms
from contatto.signals.store.settings import find_signal_settings, list_told_businesses
from contatto.signals.store.signals import count_all_signals, count_signals, find_oldest_due


@dataclass(frozen=True, slots=True)
class SignalLedger:
    """One ad account: what it is told, how its signals stand, and what is wrong with it."""

    account: OutsideAccount
    settings: SignalSettings
    standing: SignalStanding
    alarms: tuple[Alarm, ...]


def load_signal_ledger(tx: Tx, business_id: str) -> list[SignalLedger]:
    """All ad accounts that are, or were, told of leads; read in one transaction."""
    states, totals = count_signals(tx, business_id), count_all_signals(tx, business_id)
    signal_ledger = []
    for account in list_outside_accounts(tx, business_id):
        settings = find_signal_settings(tx, business_id, account.id)
        if settings is None:
            continue
        has = states.get(account.id, {})
        standing = SignalStanding(
            signals=totals.get(account.id, 0),
            due=has.get(SignalState.DUE, 0),
            sent=has.get(SignalState.SENT, 0),
            withheld=has.get(SignalState.WITHHELD, 0),
            dead=has.get(SignalState.DEAD, 0),
            due_since=find_oldest_due(tx, business_id, account.id),
        )
        signal_ledger.append(
            SignalLedger(account, settings, standing, find_signal_alarms(settings, standing, tx.now))
        )
    return signal_ledger


def list_signal_alarms(tx: Tx) -> list[tuple[str, str, Alarm]]:
    """The alarms of all businesses that are worth telling somebody: business, ad account, and which."""
    return [
        (business_id, row.account.id, alarm)
        for business_id in list_told_businesses(tx)
        for row in load_signal_ledger(tx, business_id)
        if row.settings.mode is not SignalMode.OFF
        for alarm in row.alarms
        if alarm in TOLD
    ]


def has_signal_alarm(tx: Tx) -> bool:
    """Return whether the signals to any ad account of any business want attention."""
    return bool(list_signal_alarms(tx))


def list_told_platforms(tx: Tx, business_id: str) -> list[ToldPlatform]:
    """Return how the signals stand, for the ledger of the CRMs; a port."""
    told_platforms = []
    for row in load_signal_ledger(tx, business_id):
        has, account = row.standing, row.account
        href = f"/settings/ad-platforms/{account.id}/signals"
        counts = has.signals, has.due, has.sent, has.withheld, has.dead
        told_platforms.append(ToldPlatform(account.name or account.external_id, href, *counts, has.adds_up))
    return told_platforms
