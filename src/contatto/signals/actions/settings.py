"""Turning signals to an ad account on and off, holding them back, and sending dead letters again."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from contatto.ad_platforms.actions.accounts import load_outside_account
from contatto.ad_platforms.model import OutsideAccount
from contatto.ad_platforms.rules.pulling import known_currency
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.numbers import MICROS, MOST_UNITS
from contatto.kit.outbound.store import mark_requests_done
from contatto.signals.actions.scheduling import make_signal_due
from contatto.signals.actions.sending import check_resendable
from contatto.signals.model.events import SIGNAL, AdSignal, SignalState
from contatto.signals.model.settings import ConsentRule, SignalMode, SignalSettings, Step
from contatto.signals.registry import CONNECTORS
from contatto.signals.rules import reasons
from contatto.signals.rules.steps import NAME
from contatto.signals.store import settings as store
from contatto.signals.store import signals as signals_store

AT_ONCE: Final = 500
_DATASET: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,20}", re.ASCII)
_MOST_MICROS: Final = MOST_UNITS * MICROS


@dataclass(frozen=True, slots=True)
class NewSignalSettings:
    """What a member chose; see `SignalSettings`. An empty name leaves the platform's."""

    dataset_id: str
    steps: tuple[Step, ...]
    consent: ConsentRule = ConsentRule.GIVEN
    whatsapp_id: str = ""
    currency: str = ""
    value_micros: int | None = None
    names: Mapping[Step, str] = field(default_factory=dict)


def save_choices(tx: Tx, business_id: str, account_id: str, new: NewSignalSettings) -> SignalSettings:
    """Tell an ad account what becomes of its leads from now on, or change what it is told.

    One that a member holds back stays so; one that was shut out is tried again.

    Raises:
        Refused: NOT_FOUND; INVALID, naming the field.
    """
    account = load_outside_account(tx, business_id, account_id)
    signal_settings = store.find_signal_settings(tx, business_id, account.id)
    is_new = signal_settings is None or signal_settings.mode is SignalMode.OFF
    is_paused = signal_settings is not None and signal_settings.mode is SignalMode.PAUSED
    settings = SignalSettings(
        outside_account_id=account.id,
        business_id=business_id,
        mode=SignalMode.PAUSED if is_paused else SignalMode.ACTIVE,
        reason=reasons.PAUSED if is_paused else "",
        dataset_id=_dataset(new.dataset_id),
        whatsapp_id=_whatsapp(new.whatsapp_id),
        steps=_steps(account, new.steps),
        consent=new.consent,
        currency=_currency(new),
        value_micros=_value(new.value_micros),
        started_at=tx.now if signal_settings is None or is_new else signal_settings.started_at,
        changed_at=tx.now,
        arrived_at=signal_settings.arrived_at if signal_settings else None,
        names=_names(account, new.names),
    )
    store.save_signal_settings(tx, settings)
    return settings


def _dataset(text: str) -> str:
    kept = text.strip()
    if not _DATASET.fullmatch(kept):
        raise Refused(errors.INVALID, "dataset_id: Paste the ID shown in the platform's Events Manager.")
    return kept


def _whatsapp(text: str) -> str:
    kept = text.strip()
    if kept and not _NUMBER.fullmatch(kept):
        raise Refused(errors.INVALID, "whatsapp_id: Enter the account ID, which is a number.")
    return kept


def _steps(account: OutsideAccount, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    names = CONNECTORS[account.platform].names
    chosen = tuple(step for step in Step if step in steps and step in names)
    if not chosen:
        raise Refused(errors.INVALID, "steps: Choose at least one lead stage.")
    return chosen


def _currency(new: NewSignalSettings) -> str:
    currency = known_currency(new.currency)
    if new.currency.strip() and not currency:
        raise Refused(errors.INVALID, "currency: Enter three letters, such as EUR.")
    if new.value_micros is not None and not currency:
        raise Refused(errors.INVALID, "currency: Enter the currency of the amount.")
    return currency


def _value(value_micros: int | None) -> int | None:
    if value_micros is not None and not 0 < value_micros <= _MOST_MICROS:
        raise Refused(errors.INVALID, "value: Enter an amount above 0.")
    return value_micros


def _names(account: OutsideAccount, names: Mapping[Step, str]) -> dict[Step, str]:
    connector = CONNECTORS[account.platform]
    if not connector.takes_any_name:
        return {}
    kept: dict[Step, str] = {}
    for step, name in names.items():
        text = name.strip()
        if text and not NAME.fullmatch(text):
            raise Refused(errors.INVALID, "names: Use up to 50 letters, digits and underscores.")
        if text and text != connector.names.get(step):
            kept[step] = text
    return kept


def load_signal_settings(tx: Tx, business_id: str, account_id: str) -> SignalSettings:
    """What an ad account is told.

    Raises:
        Refused: NOT_FOUND, also where nothing was ever chosen.
    """
    account = load_outside_account(tx, business_id, account_id)
    settings = store.find_signal_settings(tx, business_id, account.id)
    if settings is None:
        raise Refused(errors.NOT_FOUND, "Signals are off for this ad account. Turn them on first.")
    return settings


def pause_signals(tx: Tx, settings: SignalSettings) -> None:
    """Hold signals back until a member lets them go."""
    if settings.mode is not SignalMode.OFF:
        _set_mode(tx, settings, SignalMode.PAUSED, reasons.PAUSED)


def resume_signals(tx: Tx, settings: SignalSettings) -> None:
    """Let signals go; those that waited are queued by the worker."""
    if settings.mode is not SignalMode.OFF:
        _set_mode(tx, settings, SignalMode.ACTIVE, "")


def stop_signals(tx: Tx, settings: SignalSettings) -> None:
    """Tell an ad account nothing more, not even what was due."""
    _set_mode(tx, settings, SignalMode.OFF, "")
    signals_store.record_due_withheld(tx, settings, reasons.NOT_WANTED)


def _set_mode(tx: Tx, settings: SignalSettings, mode: SignalMode, reason: str) -> None:
    store.record_signal_settings(tx, settings, mode=mode, reason=reason, changed_at=tx.now)


def load_signal(tx: Tx, settings: SignalSettings, signal_id: int) -> AdSignal:
    """A signal of an account.

    Raises:
        Refused: NOT_FOUND.
    """
    signal = signals_store.find_signal(tx, settings.business_id, signal_id)
    if signal is None or signal.outside_account_id != settings.outside_account_id:
        raise Refused(errors.NOT_FOUND, "Signal not found.")
    return signal


def resend_signal(
    tx: Tx, settings: SignalSettings, signal: AdSignal, value_micros: int | None = None, currency: str = ""
) -> None:
    """Send a dead letter again, under the same event id; with another amount, if one is given.

    Raises:
        Refused: CONFLICT when it is no dead letter, or might be counted twice; INVALID.
    """
    if signal.state is not SignalState.DEAD:
        raise Refused(errors.CONFLICT, "This delivery is already on its way or has arrived.")
    check_resendable(tx, signal)
    if value_micros is not None:
        mended = NewSignalSettings("", (), currency=currency or settings.currency, value_micros=value_micros)
        signals_store.record_signal_value(tx, signal, _value(value_micros), _currency(mended))
    mark_requests_done(tx, signal.business_id, SIGNAL, str(signal.id))
    account = load_outside_account(tx, settings.business_id, settings.outside_account_id)
    make_signal_due(tx, account, settings, signal, signal.occurred_at)


def resend_dead_signals(tx: Tx, settings: SignalSettings) -> int:
    """Send again all dead letters that the platform would count, and count once; say how many."""
    count = 0
    where = settings.business_id, settings.outside_account_id
    for signal in signals_store.list_signals(tx, *where, (SignalState.DEAD,), AT_ONCE):
        try:
            resend_signal(tx, settings, signal)
        except Refused:
            continue
        count += 1
    return count
