"""Brings signals to ad platforms: what is told, and what came of it."""

from contatto.ad_platforms.model import OutsideAccount
from contatto.ad_platforms.store import find_outside_account, find_outside_token
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.outbound.model import (
    Ask,
    Done,
    Failed,
    HttpAnswer,
    NotNow,
    OutboundRequest,
    Outcome,
    RequestState,
    Step,
)
from contatto.kit.outbound.steps import OutboundKind
from contatto.kit.outbound.store import hasten_requests
from contatto.leads.model import Lead
from contatto.leads.store.records import find_lead
from contatto.signals.actions.lookup import find_earned, find_whom, find_worth, has_agreed
from contatto.signals.actions.scheduling import destination_of_signals
from contatto.signals.model.events import SIGNAL, AdSignal, Feed, ShutOut, SignalEvent, SignalState
from contatto.signals.model.settings import SignalMode, SignalSettings
from contatto.signals.model.settings import Step as LeadStep
from contatto.signals.registry import CONNECTORS
from contatto.signals.rules import reasons
from contatto.signals.rules.plans import SIGNAL_PLAN, cannot_be_sent, is_sure
from contatto.signals.rules.sources import still_stands
from contatto.signals.rules.steps import name_of
from contatto.signals.store import settings as settings_store
from contatto.signals.store import signals as store


def signal_kind() -> OutboundKind:
    """Return how signals are brought to ad platforms."""
    return OutboundKind(SIGNAL, begin_signal, read_signal_answer, settle_signal, SIGNAL_PLAN, ready_signal)


def begin_signal(tx: Tx, request: OutboundRequest) -> Step:
    """The request of a signal that may leave; else it is withheld, or waits for its account."""
    signal = _due(tx, request)
    if signal is None:
        return Done()
    settings = settings_store.find_signal_settings(tx, signal.business_id, signal.outside_account_id)
    account = find_outside_account(tx, signal.business_id, signal.outside_account_id)
    if settings is None or account is None or settings.mode is SignalMode.OFF:
        return _withhold(tx, signal, reasons.NOT_WANTED)
    if not settings.is_active:
        return _hold(tx, signal, settings)
    return _begin_live(tx, account, settings, signal)


def _begin_live(tx: Tx, account: OutsideAccount, settings: SignalSettings, signal: AdSignal) -> Step:
    token = find_outside_token(tx, account)
    if token is None:
        return _shut_out(tx, signal, settings, reasons.TOKEN_MISSING)
    if reason := cannot_be_sent(signal, tx.now):
        return Failed(reason)
    event = _event(tx, account, settings, signal)
    if not isinstance(event, SignalEvent):
        return _withhold(tx, signal, event)
    store.record_signal_asked(tx, signal)
    feed = Feed(account.base_url, settings.dataset_id, token)
    return Ask(CONNECTORS[account.platform].ask(feed, event))


def _due(tx: Tx, request: OutboundRequest) -> AdSignal | None:
    signal = store.find_signal(tx, request.business_id, int(request.subject))
    return signal if signal is not None and signal.state is SignalState.DUE else None


def _withhold(tx: Tx, signal: AdSignal, reason: str) -> Done:
    store.record_signal_state(tx, signal, SignalState.WITHHELD, reason)
    return Done()


def _hold(tx: Tx, signal: AdSignal, settings: SignalSettings) -> Done:
    store.record_signal_due(tx, signal, signal.occurred_at, is_queued=False)
    store.record_signal_refused(tx, signal, settings.reason or reasons.PAUSED, is_sure=False)
    return Done()


def _shut_out(tx: Tx, signal: AdSignal, settings: SignalSettings, reason: str) -> Done:
    """Nothing more goes there until a person has changed something; what is due waits, and none is lost."""
    changes = {"mode": SignalMode.SHUT_OUT, "reason": reason, "changed_at": tx.now}
    return _hold(tx, signal, settings_store.record_signal_settings(tx, settings, **changes))


def _event(tx: Tx, account: OutsideAccount, settings: SignalSettings, signal: AdSignal) -> SignalEvent | str:
    """What is told of a signal; or why it may not leave now."""
    connector = CONNECTORS[account.platform]
    lead = find_lead(tx, signal.business_id, signal.lead_id)
    if lead is None or lead.hidden_at is not None:
        return reasons.LEAD_GONE
    name = name_of(settings, connector.names, signal.step)
    if signal.step not in settings.steps or not name:
        return reasons.NOT_WANTED
    if not still_stands(signal.step, lead.status):
        return reasons.TAKEN_BACK
    if not has_agreed(tx, settings, lead):
        return reasons.NO_CONSENT
    earned = find_earned(tx, lead, [settings])
    if earned is None:
        return reasons.NOT_WANTED
    whom = find_whom(tx, earned, lead)
    value = _value(tx, settings, signal, lead)
    currency = (signal.currency or settings.currency) if value is not None else ""
    event = SignalEvent(signal.event_id, name, signal.occurred_at, lead.number, whom, value, currency)
    return connector.lacks(event) or event


def _value(tx: Tx, settings: SignalSettings, signal: AdSignal, lead: Lead) -> int | None:
    if signal.step is not LeadStep.CONVERTED or not (signal.currency or settings.currency):
        return None
    return find_worth(tx, settings, lead) if signal.value_micros is None else signal.value_micros


def read_signal_answer(tx: Tx, request: OutboundRequest, answer: HttpAnswer) -> Step:
    """What the platform's answer means."""
    signal = _due(tx, request)
    account = find_outside_account(tx, request.business_id, signal.outside_account_id) if signal else None
    if signal is None or account is None:
        return Done()
    outcome = CONNECTORS[account.platform].read(answer)
    settings = settings_store.find_signal_settings(tx, signal.business_id, account.id)
    if isinstance(outcome, ShutOut):
        store.record_signal_refused(tx, signal, outcome.reason, is_sure=True)
        if settings is None:
            return Failed(outcome.reason)
        return _shut_out(tx, signal, settings, outcome.reason)
    if isinstance(outcome, Done):
        store.record_signal_state(tx, signal, SignalState.SENT)
        if settings is not None:
            settings_store.record_signal_settings(tx, settings, arrived_at=tx.now)
        if request.failed_at is not None:  # it is there again: the others need not wait for hours
            hasten_requests(tx, request.business_id, SIGNAL, destination_of_signals(account), tx.now)
    return outcome


def settle_signal(tx: Tx, request: OutboundRequest, outcome: Outcome, state: RequestState) -> None:
    """Show what came of a try that brought nothing."""
    signal = _due(tx, request)
    if signal is None or not isinstance(outcome, NotNow | Failed):
        return
    store.record_signal_refused(tx, signal, outcome.reason, is_sure=is_sure(outcome.reason))
    if state is not RequestState.DUE:
        store.record_signal_state(tx, signal, SignalState.DEAD, outcome.reason)


def ready_signal(tx: Tx, request: OutboundRequest) -> None:
    """Make a dead letter ready to be sent again.

    Raises:
        Refused: CONFLICT, where the platform might count it twice.
    """
    signal = store.find_signal(tx, request.business_id, int(request.subject))
    if signal is None or signal.state is not SignalState.DEAD:
        return
    check_resendable(tx, signal)
    store.record_signal_due(tx, signal, signal.occurred_at, is_queued=True)


def check_resendable(tx: Tx, signal: AdSignal) -> None:
    """Refuse what no platform would count, or might count twice.

    Raises:
        Refused: CONFLICT.
    """
    if reason := cannot_be_sent(signal, tx.now):
        raise Refused(errors.CONFLICT, reasons.REASONS[reason])
