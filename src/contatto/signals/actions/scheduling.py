"""Scheduling signals: in the transaction that changed a lead, and later for those that waited."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from contatto.ad_platforms.model import OutsideAccount
from contatto.ad_platforms.store import find_outside_account
from contatto.inbox.model import AdTapped, ConversationMarkedSpam
from contatto.inbox.store.conversations import find_conversation
from contatto.kit.clock import in_time
from contatto.kit.db.tx import Tx
from contatto.kit.ids import named_id
from contatto.kit.outbound.model import NewRequest
from contatto.kit.outbound.store import queue_request
from contatto.leads.model import Lead
from contatto.leads.store.records import find_lead, find_lead_of_conversation, list_history
from contatto.signals.actions.lookup import find_earned, has_agreed
from contatto.signals.model.events import SIGNAL, AdSignal, SignalState
from contatto.signals.model.settings import SignalMode, SignalSettings, Step
from contatto.signals.registry import CONNECTORS
from contatto.signals.rules.plans import SIGNAL_PLAN
from contatto.signals.rules.reasons import NO_CONSENT
from contatto.signals.rules.steps import STEP_OF, reached_at, steps_due
from contatto.signals.store import settings as settings_store
from contatto.signals.store import signals as store

AT_ONCE: Final = 200


def schedule_signals(tx: Tx, business_id: str, /, *lead_ids: str) -> None:
    """Make due what became of leads, each at the ad account that earned it; part of a port of leads.

    An account that is not active keeps what is due, and is told of it when it is active again.
    """
    signal_settings = settings_store.list_signal_settings(tx, business_id)
    for lead_id in lead_ids if signal_settings else ():
        lead = find_lead(tx, business_id, lead_id)
        if lead is not None:
            _schedule(tx, lead, signal_settings, _reached(tx, lead))


def signal_tap(tx: Tx, event: AdTapped) -> None:
    """A platform told of a tap, maybe after its lead was there; a handler of the outbox."""
    _of_conversation(tx, event.business_id, event.conversation_id, is_spam=False)


def signal_spam(tx: Tx, event: ConversationMarkedSpam) -> None:
    """A member found that a conversation is spam; a handler of the outbox."""
    _of_conversation(tx, event.business_id, event.conversation_id, is_spam=True)


def _of_conversation(tx: Tx, business_id: str, conversation_id: str, *, is_spam: bool) -> None:
    signal_settings = settings_store.list_signal_settings(tx, business_id)
    chat = find_conversation(tx, business_id, conversation_id) if signal_settings else None
    lead = find_lead_of_conversation(tx, business_id, chat.person_id, chat.id) if chat else None
    if lead is not None:
        _schedule(tx, lead, signal_settings, {Step.SPAM: tx.now} if is_spam else _reached(tx, lead))


def _reached(tx: Tx, lead: Lead) -> dict[Step, datetime]:
    """What became of a lead, and when."""
    reached = {Step.CAPTURED: lead.created_at}
    if lead.status in STEP_OF:
        history = list_history(tx, lead.business_id, lead.id)
        reached[STEP_OF[lead.status]] = reached_at(lead.status, history, lead.created_at)
    return reached


def _schedule(tx: Tx, lead: Lead, wanted: Sequence[SignalSettings], reached: dict[Step, datetime]) -> None:
    if lead.hidden_at is not None or lead.is_test:
        return
    earned = find_earned(tx, lead, wanted)
    if earned is None:
        return
    settings = earned.settings
    account = find_outside_account(tx, lead.business_id, settings.outside_account_id)
    if account is None:
        return
    due = steps_due(settings, CONNECTORS[account.platform].names, reached)
    if not due:
        return
    agreed = has_agreed(tx, settings, lead)
    known = {
        signal.step: signal
        for signal in store.list_signals_of_leads(tx, lead.business_id, {lead.id})
        if signal.outside_account_id == account.id
    }
    for step, at in due.items():
        if step not in known:
            _append(tx, account, settings, _new_signal(tx, account, lead, step, at, is_due=agreed))
        elif known[step].state is SignalState.WITHHELD and agreed:
            make_signal_due(tx, account, settings, known[step], at)


def _new_signal(
    tx: Tx, account: OutsideAccount, lead: Lead, step: Step, at: datetime, *, is_due: bool
) -> AdSignal:
    return AdSignal(
        id=0,
        business_id=lead.business_id,
        outside_account_id=account.id,
        lead_id=lead.id,
        step=step,
        event_id=name_event(account.id, lead.id, step),
        state=SignalState.DUE if is_due else SignalState.WITHHELD,
        reason="" if is_due else NO_CONSENT,
        value_micros=None,
        currency="",
        occurred_at=at,
        created_at=tx.now,
        asked_at=None,
        unsure_at=None,
        settled_at=None if is_due else tx.now,
    )


def name_event(outside_account_id: str, lead_id: str, step: Step) -> str:
    """The id of a signal's event: the same whenever it is made, so a platform counts it once.

    Source: TikTok and Meta leave out an event whose id and name they had within 48 hours.
    """
    return named_id(outside_account_id, f"signal:{lead_id}:{step}")


def _append(tx: Tx, account: OutsideAccount, settings: SignalSettings, signal: AdSignal) -> None:
    is_queued = settings.is_active and signal.state is SignalState.DUE
    made = store.append_signal(tx, signal, is_queued=is_queued)
    if made is not None and is_queued:
        queue_request(tx, signal_request(account, made, signal.lead_id), SIGNAL_PLAN)


def make_signal_due(
    tx: Tx, account: OutsideAccount, settings: SignalSettings, signal: AdSignal, occurred_at: datetime
) -> None:
    """Make a signal due that was withheld or given up."""
    store.record_signal_due(tx, signal, occurred_at, is_queued=settings.is_active)
    if settings.is_active:
        queue_request(tx, signal_request(account, signal.id, signal.lead_id), SIGNAL_PLAN)


def signal_request(account: OutsideAccount, signal_id: int, lead_id: str) -> NewRequest:
    """The request that brings a signal; those of one lead go one after the other."""
    return NewRequest(account.business_id, SIGNAL, str(signal_id), destination_of_signals(account), lead_id)


def destination_of_signals(account: OutsideAccount) -> str:
    """What may be slow or down as a whole: one account, so that no other waits for it."""
    return f"signals-{account.id}-{urlsplit(account.base_url).netloc.lower()}"[:300]


def signals_merged(tx: Tx, business_id: str, kept_id: str, merged_id: str, *, is_undone: bool) -> None:
    """Take note that two leads became one, or two again; part of a port of leads.

    What is due of a lead that was merged away is withheld when its turn comes.
    """
    schedule_signals(tx, business_id, kept_id)
    if is_undone:
        schedule_signals(tx, business_id, merged_id)


def release_signals(tx: Tx) -> int:
    """Queue some signals that waited for their account to be active again; say how many."""
    count = 0
    for signal in in_time(store.list_held_signals(tx, AT_ONCE)):
        account = find_outside_account(tx, signal.business_id, signal.outside_account_id)
        if account is not None:
            queue_request(tx, signal_request(account, signal.id, signal.lead_id), SIGNAL_PLAN)
        store.mark_signal_queued(tx, signal)
        count += 1
    return count


def resume_renewed(tx: Tx) -> int:
    """Let signals go again to accounts that have a new token since they were shut out; say how many."""
    renewed_settings = settings_store.list_renewed_settings(tx, AT_ONCE)
    for settings in renewed_settings:
        changes = {"mode": SignalMode.ACTIVE, "reason": "", "changed_at": tx.now}
        settings_store.record_signal_settings(tx, settings, **changes)
    return len(renewed_settings)
