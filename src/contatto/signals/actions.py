"""Signals: settings, scheduling, sending, test events, erasure and counts.

A change of a lead makes a signal due at the ad account credited with the lead. An outbound request sends it
to the platform, and the response settles it.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

import sqlalchemy as sa

from contatto.ad_platforms.actions import AD_PLATFORMS, find_known_ads, load_outside_account
from contatto.ad_platforms.model import AdPlatform, OutsideAccount
from contatto.ad_platforms.rules import known_currency
from contatto.ad_platforms.store import (
    find_outside_account,
    find_outside_token,
    list_outside_accounts,
    outside_tokens,
)
from contatto.capture.model import Field
from contatto.channels.model import ChannelAccount, Platform
from contatto.channels.store import find_account, list_accounts
from contatto.crm.actions.deliveries import SignalCounts, schedule_erasure, schedule_lead, schedule_merge
from contatto.crm.store.deliveries import list_records
from contatto.forms.store import list_receipts_of_lead
from contatto.inbox.model import AdReferral, AdTapped, ConversationMarkedSpam
from contatto.inbox.store.conversations import find_conversation, list_persons
from contatto.inbox.store.messages import list_referrals
from contatto.integrations.model import (
    ALERTED,
    Alarm,
    DeliveryState,
    Denied,
    ErasureState,
    LedgerCounts,
    TrialState,
    list_ledger_alarms,
)
from contatto.kit import errors
from contatto.kit.db.tx import Instant, Tx, row_of, rows_of
from contatto.kit.errors import Refused
from contatto.kit.ids import named_id, new_id
from contatto.kit.outbound import model as outbound
from contatto.kit.outbound import queue
from contatto.kit.outbound.model import Done, Failed, NotNow, OutboundRequest, Outcome, RequestState, Step
from contatto.kit.values import MICROS, MOST_UNITS, to_micros
from contatto.leads.model import Lead
from contatto.leads.store.listing import list_outgoing_points
from contatto.leads.store.records import find_lead, find_lead_of_conversation, list_history
from contatto.signals import rules, store
from contatto.signals.connectors import CONNECTORS
from contatto.signals.model import (
    SIGNAL,
    SIGNAL_TEST,
    AdSignal,
    ConsentRule,
    MatchKeys,
    SignalEvent,
    SignalMode,
    SignalSettings,
    SignalStep,
    SignalTarget,
    SignalTest,
)
from contatto.signals.store import signal_tests

_DATASET: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,20}", re.ASCII)
_MOST_MICROS: Final = MOST_UNITS * MICROS


@dataclass(frozen=True, slots=True)
class NewSignalSettings:
    """Settings of a member; see `SignalSettings`. An empty name keeps the platform's."""

    dataset_id: str
    steps: tuple[SignalStep, ...]
    consent: ConsentRule = ConsentRule.REQUIRED
    whatsapp_id: str = ""
    currency: str = ""
    value_micros: int | None = None
    names: Mapping[SignalStep, str] = field(default_factory=dict)


def change_signal_settings(
    tx: Tx, business_id: str, account_id: str, new: NewSignalSettings
) -> SignalSettings:
    """Turn on signals of an ad account, or change them.

    Paused signals stay paused; blocked ones are tried again.

    Raises NOT_FOUND; INVALID, naming the field.
    """
    account = load_outside_account(tx, business_id, account_id)
    current = store.find_signal_settings(tx, business_id, account.id)
    is_paused = current is not None and current.mode is SignalMode.PAUSED
    dataset_id, whatsapp_id = new.dataset_id.strip(), new.whatsapp_id.strip()
    if not _DATASET.fullmatch(dataset_id):
        raise Refused(errors.INVALID, "dataset_id: Paste the ID shown in the platform's Events Manager.")
    if whatsapp_id and not _NUMBER.fullmatch(whatsapp_id):
        raise Refused(errors.INVALID, "whatsapp_id: Enter the account ID, which is a number.")
    connector = CONNECTORS[account.platform]
    own_names: dict[SignalStep, str] = {}
    for step, text in new.names.items() if connector.takes_any_name else ():
        name = text.strip()
        if name and not rules.EVENT_NAME.fullmatch(name):
            raise Refused(errors.INVALID, "names: Use up to 50 letters, digits and underscores.")
        if name and name != connector.names.get(step):
            own_names[step] = name
    steps = tuple(step for step in SignalStep if step in new.steps and step in connector.names)
    if not steps:
        raise Refused(errors.INVALID, "steps: Choose at least one lead stage.")
    settings = SignalSettings(
        outside_account_id=account.id,
        business_id=business_id,
        mode=SignalMode.PAUSED if is_paused else SignalMode.ACTIVE,
        reason=rules.PAUSED if is_paused else "",
        dataset_id=dataset_id,
        whatsapp_id=whatsapp_id,
        steps=steps,
        consent=new.consent,
        currency=_check_amount(new.value_micros, new.currency),
        value_micros=new.value_micros,
        started_at=tx.now if current is None or current.mode is SignalMode.OFF else current.started_at,
        changed_at=tx.now,
        arrived_at=current.arrived_at if current else None,
        names=own_names,
    )
    tx.save(store.signal_settings, row_of(settings))
    return settings


def _check_amount(value_micros: int | None, text: str) -> str:
    """Check an optional amount and its currency; return the currency, or "" for none."""
    currency = known_currency(text)
    if text.strip() and not currency:
        raise Refused(errors.INVALID, "currency: Enter three letters, such as EUR.")
    if value_micros is not None and not currency:
        raise Refused(errors.INVALID, "currency: Enter the currency of the amount.")
    if value_micros is not None and not 0 < value_micros <= _MOST_MICROS:
        raise Refused(errors.INVALID, "value: Enter an amount above 0.")
    return currency


def change_signal_mode(tx: Tx, settings: SignalSettings, mode: SignalMode) -> None:
    """Pause, resume or turn off signals; turning them off withholds those that are due."""
    if settings.mode is SignalMode.OFF:
        return
    reason = rules.PAUSED if mode is SignalMode.PAUSED else ""
    store.record_signal_settings(tx, settings, mode=mode, reason=reason, changed_at=tx.now)
    if mode is not SignalMode.OFF:
        return
    own = {"outside_account_id": settings.outside_account_id, "state": DeliveryState.DUE}
    withhold = sa.update(store.ad_signals).where(*rows_of(store.ad_signals, settings.business_id, **own))
    values = {"state": DeliveryState.WITHHELD, "reason": rules.NOT_WANTED, "settled_at": tx.now}
    tx.execute(withhold.values(**values))


def resume_renewed(tx: Tx) -> int:
    """Resume blocked signals of accounts with a new token; return the number of accounts."""
    blocked, tokens = store.signal_settings.c, outside_tokens.c
    is_renewed = (
        blocked.mode == SignalMode.SHUT_OUT,
        tokens.business_id == blocked.business_id,
        tokens.outside_account_id == blocked.outside_account_id,
        tokens.changed_at > blocked.changed_at,
    )
    query = sa.select(store.signal_settings).where(*is_renewed).limit(SIGNALS_PER_RUN)
    renewed = tx.list(SignalSettings, query)
    for settings in renewed:
        store.record_signal_settings(tx, settings, mode=SignalMode.ACTIVE, reason="", changed_at=tx.now)
    return len(renewed)


_PHONES: Final = (Field.PHONE, Field.WHATSAPP)


@dataclass(frozen=True, slots=True)
class CreditedTap:
    """Tap of a lead, with its channel and the signal settings of the ad's account."""

    settings: SignalSettings
    channel: ChannelAccount
    tap: AdReferral


def find_credited_tap(tx: Tx, lead: Lead, candidates: Sequence[SignalSettings]) -> CreditedTap | None:
    """Return the last tap before the lead, as in reports, if its ad is of one of these accounts."""
    taps = list_referrals(tx, lead.business_id, lead.conversation_id)
    earlier_taps = [tap for tap in taps if tap.at <= lead.created_at]
    channel = find_account(tx, lead.business_id, lead.channel_account_id)
    if not earlier_taps or channel is None:
        return None
    tap, platform = earlier_taps[-1], AD_PLATFORMS.get(channel.platform)
    by_account = {settings.outside_account_id: settings for settings in candidates}
    external_ids = {
        account.id: account.external_id
        for account in list_outside_accounts(tx, lead.business_id)
        if account.id in by_account and account.platform is platform
    }
    ad = find_known_ads(tx, lead.business_id, {tap.ad_number}).find(platform, tap.ad_number, tap.advertiser)
    account_id = rules.credited_account(tap.advertiser, ad.ad_account_id if ad else "", external_ids)
    return CreditedTap(by_account[account_id], channel, tap) if account_id in by_account else None


SIGNALS_PER_RUN: Final = 200


def schedule_signals(tx: Tx, business_id: str, /, *lead_ids: str) -> None:
    """Make steps of leads due at the ad accounts credited with them; `carry_change` calls it.

    Signals of an inactive account wait until it is active again.
    """
    all_settings = store.list_signal_settings(tx, business_id)
    for lead_id in lead_ids if all_settings else ():
        lead = find_lead(tx, business_id, lead_id)
        if lead is not None:
            _schedule_steps(tx, lead, all_settings)


def signal_conversation(tx: Tx, event: AdTapped | ConversationMarkedSpam) -> None:
    """Schedule signals of a conversation's lead after spam or a tap; an event handler.

    A platform may report a tap later than the lead.
    """
    business_id = event.business_id
    all_settings = store.list_signal_settings(tx, business_id)
    chat = find_conversation(tx, business_id, event.conversation_id) if all_settings else None
    lead = find_lead_of_conversation(tx, business_id, chat.person_id, chat.id) if chat else None
    if lead is not None:
        _schedule_steps(tx, lead, all_settings, is_spam=isinstance(event, ConversationMarkedSpam))


def _schedule_steps(
    tx: Tx, lead: Lead, candidates: Sequence[SignalSettings], *, is_spam: bool = False
) -> None:
    """Make the steps that a lead reached due at its credited account; for spam, that step only."""
    credited = None if lead.hidden_at is not None or lead.is_test else find_credited_tap(tx, lead, candidates)
    if credited is None:
        return
    reached = {SignalStep.SPAM: tx.now} if is_spam else {SignalStep.CAPTURED: lead.created_at}
    if not is_spam and lead.status in rules.STEP_OF:
        history = list_history(tx, lead.business_id, lead.id)
        reached[rules.STEP_OF[lead.status]] = rules.reached_at(lead.status, history, lead.created_at)
    settings = credited.settings
    account = find_outside_account(tx, lead.business_id, settings.outside_account_id)
    due = rules.steps_due(settings, CONNECTORS[account.platform].names, reached) if account else {}
    if account is None or not due:
        return
    receipts = list_receipts_of_lead(tx, lead.business_id, lead.id)
    agreed = rules.has_consent(settings.consent, receipts)
    signals = {
        signal.step: signal
        for signal in store.list_signals_of_leads(tx, lead.business_id, {lead.id})
        if signal.outside_account_id == account.id
    }
    for step, at in due.items():
        if step in signals:
            if signals[step].state is DeliveryState.WITHHELD and agreed:
                make_signal_due(tx, account, settings, signals[step], at)
            continue
        is_queued = settings.is_active and agreed
        row = {
            "business_id": lead.business_id,
            "outside_account_id": account.id,
            "lead_id": lead.id,
            "step": step,
            # Always the same, so that a platform counts an event once.
            # Source: TikTok and Meta leave out an event with the same id and name for 48 hours.
            "event_id": named_id(account.id, f"signal:{lead.id}:{step}"),
            "state": DeliveryState.DUE if agreed else DeliveryState.WITHHELD,
            "is_queued": is_queued,
            "reason": "" if agreed else rules.NO_CONSENT,
            "currency": "",
            "occurred_at": at,
            "created_at": tx.now,
            "settled_at": None if agreed else tx.now,
        }
        insert = tx.upsert(store.ad_signals).values(**row).on_conflict_do_nothing()
        signal_id = tx.execute(insert.returning(store.ad_signals.c.id)).scalar()
        if signal_id is not None and is_queued:
            queue.queue_request(tx, signal_request(account, signal_id, lead.id), rules.SIGNAL_PLAN)


def make_signal_due(
    tx: Tx, account: OutsideAccount, settings: SignalSettings, signal: AdSignal, occurred_at: datetime
) -> None:
    is_queued = settings.is_active
    store.ledger.record(tx, signal, DeliveryState.DUE, is_queued=is_queued, occurred_at=occurred_at)
    if settings.is_active:
        queue.queue_request(tx, signal_request(account, signal.id, signal.lead_id), rules.SIGNAL_PLAN)


def signal_request(account: OutsideAccount, signal_id: int, lead_id: str) -> outbound.NewRequest:
    """Return the request of a signal; those of one lead run one after the other."""
    return outbound.NewRequest(
        account.business_id, SIGNAL, str(signal_id), destination_of_signals(account), lead_id
    )


def destination_of_signals(account: OutsideAccount) -> str:
    """Return the destination of requests: one per account, so that none waits for another."""
    return f"signals-{account.id}-{urlsplit(account.base_url).netloc.lower()}"[:300]


def release_signals(tx: Tx) -> int:
    """Queue some waiting signals of active accounts; return their number."""
    count = 0
    for signal in store.ledger.release(tx, SIGNALS_PER_RUN):
        count += 1
        account = find_outside_account(tx, signal.business_id, signal.outside_account_id)
        if account is not None:
            queue.queue_request(tx, signal_request(account, signal.id, signal.lead_id), rules.SIGNAL_PLAN)
    return count


def begin_signal(tx: Tx, request: OutboundRequest) -> Step:
    """Return the request of a signal, or withhold it, or let it wait for its account."""
    signal = store.ledger.find_open(tx, request)
    if signal is None:
        return Done()
    settings = store.find_signal_settings(tx, signal.business_id, signal.outside_account_id)
    account = find_outside_account(tx, signal.business_id, signal.outside_account_id)
    if settings is None or account is None or settings.mode is SignalMode.OFF:
        store.ledger.record(tx, signal, DeliveryState.WITHHELD, rules.NOT_WANTED)
        return Done()
    token = find_outside_token(tx, account)
    if settings.is_active and token is None:
        blocked = {"mode": SignalMode.SHUT_OUT, "reason": rules.TOKEN_MISSING, "changed_at": tx.now}
        settings = store.record_signal_settings(tx, settings, **blocked)
    if not settings.is_active or token is None:  # the signal waits for its account
        reason = settings.reason or rules.PAUSED
        store.ledger.record(tx, signal, DeliveryState.DUE, reason, is_queued=False)
        return Done()
    if reason := rules.cannot_be_sent(signal, tx.now):
        return Failed(reason)
    event = _load_event(tx, account, settings, signal)
    if not isinstance(event, SignalEvent):
        store.ledger.record(tx, signal, DeliveryState.WITHHELD, event)
        return Done()
    # From the first try on the platform may have the event.
    unsure_at = sa.func.coalesce(store.ad_signals.c.unsure_at, sa.literal(tx.now, Instant))
    tx.execute(store.ledger.change(signal).values(asked_at=tx.now, unsure_at=unsure_at))
    target = SignalTarget(account.base_url, settings.dataset_id, token)
    return outbound.Ask(CONNECTORS[account.platform].ask(target, event))


def _load_event(
    tx: Tx, account: OutsideAccount, settings: SignalSettings, signal: AdSignal
) -> SignalEvent | str:
    """Return the event of a signal, or the reason to withhold it."""
    connector = CONNECTORS[account.platform]
    lead = find_lead(tx, signal.business_id, signal.lead_id)
    if lead is None or lead.hidden_at is not None:
        return rules.LEAD_GONE
    name = rules.name_of(settings, connector.names, signal.step)
    if signal.step not in settings.steps or not name:
        return rules.NOT_WANTED
    if lead.status not in rules.VALID_IN.get(signal.step, (lead.status,)):
        return rules.TAKEN_BACK
    receipts = list_receipts_of_lead(tx, lead.business_id, lead.id)
    if not rules.has_consent(settings.consent, receipts):
        return rules.NO_CONSENT
    credited = find_credited_tap(tx, lead, [settings])
    if credited is None:
        return rules.NOT_WANTED
    value, currency = signal.value_micros, signal.currency or settings.currency
    if signal.step is not SignalStep.CONVERTED or not currency:
        value = None
    elif value is None:
        # The value of a converted lead is the latest of a CRM, or that of the settings.
        amounts: list[tuple[datetime, int]] = []
        for record in list_records(tx, lead.business_id, lead_id=lead.id):
            with suppress(ValueError):
                amount = to_micros(record.value.strip())
                if record.told_at is not None and amount > 0:
                    amounts.append((record.told_at, amount))
        value = max(amounts)[1] if amounts else settings.value_micros
    points = list_outgoing_points(tx, lead.business_id, {lead.id})[lead.id]
    person = list_persons(tx, lead.business_id, {lead.person_id}).get(lead.person_id)
    is_whatsapp = credited.channel.platform is Platform.WHATSAPP
    match_keys = MatchKeys(
        external_id=lead.person_id,
        emails=tuple(point.value for point in points if point.field is Field.EMAIL),
        phones=tuple(point.value for point in points if point.field in _PHONES),
        click_id=credited.tap.click_id,
        channel=credited.channel.platform,
        business_id=credited.settings.whatsapp_id if is_whatsapp else credited.channel.external_id,
        scoped_id=person.external_id if person else "",
    )
    event = SignalEvent(
        signal.event_id,
        name,
        signal.occurred_at,
        lead.number,
        match_keys,
        value,
        currency if value is not None else "",
    )
    return connector.find_gap(event) or event


def read_signal_answer(tx: Tx, request: OutboundRequest, answer: outbound.HttpAnswer) -> Step:
    """Settle a signal by the platform's response, or block its account."""
    signal = store.ledger.find_open(tx, request)
    account = find_outside_account(tx, request.business_id, signal.outside_account_id) if signal else None
    if signal is None or account is None:
        return Done()
    outcome = CONNECTORS[account.platform].read(answer)
    settings = store.find_signal_settings(tx, signal.business_id, account.id)
    if isinstance(outcome, Denied):
        _record_failure(tx, signal, outcome.reason)
        if settings is None:
            return Failed(outcome.reason)
        blocked = {"mode": SignalMode.SHUT_OUT, "reason": outcome.reason, "changed_at": tx.now}
        store.record_signal_settings(tx, settings, **blocked)
        store.ledger.record(tx, signal, DeliveryState.DUE, outcome.reason, is_queued=False)
        return Done()
    if isinstance(outcome, Done):
        store.ledger.record(tx, signal, DeliveryState.SENT)
        if settings is not None:
            store.record_signal_settings(tx, settings, arrived_at=tx.now)
        if request.failed_at is not None:  # the platform is back, so the others need not wait for hours
            queue.hasten_requests(tx, request.business_id, SIGNAL, destination_of_signals(account), tx.now)
    return outcome


def _record_failure(tx: Tx, signal: AdSignal, reason: str) -> None:
    """Record the reason of a failed try, and whether the platform may have counted the event in it."""
    store.ledger.record(tx, signal, DeliveryState.DUE, reason)
    if reason not in rules.UNSURE and not reason.startswith(("http_5", "http_408")):
        is_first = store.ad_signals.c.unsure_at == store.ad_signals.c.asked_at
        tx.execute(store.ledger.change(signal).where(is_first).values(unsure_at=None))


def settle_signal(tx: Tx, request: OutboundRequest, outcome: Outcome, state: RequestState) -> None:
    """Record a failed try; after the last one the signal is dead."""
    signal = store.ledger.find_open(tx, request)
    if signal is not None and isinstance(outcome, NotNow | Failed):
        _record_failure(tx, signal, outcome.reason)
        if state is not RequestState.DUE:
            store.ledger.record(tx, signal, DeliveryState.DEAD, outcome.reason)


def ready_signal(tx: Tx, request: OutboundRequest) -> None:
    """Make a dead signal due before a member replays its request.

    Raises CONFLICT, if the platform might count it twice.
    """
    signal = store.ledger.find(tx, request.business_id, int(request.subject))
    if signal is not None and signal.state is DeliveryState.DEAD:
        if reason := rules.cannot_be_sent(signal, tx.now):
            raise Refused(errors.CONFLICT, rules.REASONS[reason])
        store.ledger.record(tx, signal, DeliveryState.DUE, is_queued=True)


RESENDS_PER_REQUEST: Final = 500


def resend_signal(
    tx: Tx, settings: SignalSettings, signal: AdSignal, value_micros: int | None = None
) -> None:
    """Send a dead signal again with the same event id, optionally with another amount.

    Raises CONFLICT if it is not dead, or might be counted twice; INVALID.
    """
    if signal.state is not DeliveryState.DEAD:
        raise Refused(errors.CONFLICT, "This delivery is already on its way or has arrived.")
    if reason := rules.cannot_be_sent(signal, tx.now):
        raise Refused(errors.CONFLICT, rules.REASONS[reason])
    if value_micros is not None:
        currency = _check_amount(value_micros, settings.currency)
        tx.execute(store.ledger.change(signal).values(value_micros=value_micros, currency=currency))
    queue.mark_requests_done(tx, signal.business_id, SIGNAL, str(signal.id))
    account = load_outside_account(tx, settings.business_id, settings.outside_account_id)
    make_signal_due(tx, account, settings, signal, signal.occurred_at)


def resend_dead_signals(tx: Tx, settings: SignalSettings) -> int:
    """Send again all dead signals that the platform counts once; return their number."""
    count = 0
    account = settings.business_id, settings.outside_account_id
    for signal in store.ledger.list_entries(tx, *account, (DeliveryState.DEAD,), RESENDS_PER_REQUEST):
        try:
            resend_signal(tx, settings, signal)
        except Refused:
            continue
        count += 1
    return count


ANSWER_LIMIT: Final = 500
"""Characters of the platform's response that are kept."""
_CODE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_TEST_EMAIL: Final = "nobody@example.com"
_TEST_PHONE: Final = "+15005550006"
_TEST_ID: Final = "contatto-test"


def queue_signal_test(tx: Tx, settings: SignalSettings, step: SignalStep, code: str) -> None:
    """Queue a test event with the platform's test code.

    Raises INVALID, naming the field; CONFLICT, if the account has no token.
    """
    code = code.strip()
    if not _CODE.fullmatch(code):
        raise Refused(errors.INVALID, "code: Paste the test code shown in the platform's Events Manager.")
    account = find_outside_account(tx, settings.business_id, settings.outside_account_id)
    if account is None or find_outside_token(tx, account) is None:
        raise Refused(errors.CONFLICT, "This account is not connected. Add an access token first.")
    if not rules.name_of(settings, CONNECTORS[account.platform].names, step):
        raise Refused(errors.INVALID, "steps: The platform has no event for this stage.")
    key = account.id, account.business_id
    tx.delete(signal_tests, account.business_id, outside_account_id=account.id)
    test = SignalTest(*key, step, code, TrialState.PENDING, "", "", tx.now, None)
    tx.insert(signal_tests, row_of(test))
    queue.delete_requests_of(tx, account.business_id, SIGNAL_TEST, [account.id])
    request = outbound.NewRequest(
        account.business_id, SIGNAL_TEST, account.id, destination_of_signals(account), account.id
    )
    queue.queue_request(tx, request, rules.TEST_PLAN)


def begin_signal_test(tx: Tx, request: OutboundRequest) -> Step:
    test = store.find_signal_test(tx, request.business_id, request.subject)
    settings = store.find_signal_settings(tx, request.business_id, request.subject)
    account = find_outside_account(tx, request.business_id, request.subject)
    if test is None or settings is None or account is None:
        return Done()
    token = find_outside_token(tx, account)
    if token is None:
        return Failed(rules.TOKEN_MISSING)
    connector = CONNECTORS[account.platform]
    name = rules.name_of(settings, connector.names, test.step)
    keys = MatchKeys(_TEST_ID, (_TEST_EMAIL,), (_TEST_PHONE,))
    if account.platform is AdPlatform.META:  # made-up contact details, but the business's own channel
        pages = [
            channel
            for channel in list_accounts(tx, account.business_id)
            if AD_PLATFORMS.get(channel.platform) is account.platform
            and channel.platform is not Platform.WHATSAPP
        ]
        if settings.whatsapp_id or not pages:
            channel, business_id = Platform.WHATSAPP, settings.whatsapp_id or "0"
            keys = replace(keys, click_id=_TEST_ID, channel=channel, business_id=business_id, scoped_id="0")
        else:
            channel, business_id = pages[0].platform, pages[0].external_id
            keys = replace(keys, channel=channel, business_id=business_id, scoped_id="0")
    amount = (1_000_000, settings.currency or "USD") if test.step is SignalStep.CONVERTED else (None, "")
    event = SignalEvent(new_id(), name, test.created_at, 1, keys, *amount)
    target = SignalTarget(account.base_url, settings.dataset_id, token, test.code)
    return outbound.Ask(connector.ask(target, event))


def read_signal_test(tx: Tx, request: OutboundRequest, answer: outbound.HttpAnswer) -> Step:
    """Keep the platform's response to a test event, and its outcome."""
    test = store.find_signal_test(tx, request.business_id, request.subject)
    account = find_outside_account(tx, request.business_id, request.subject)
    if test is None or account is None:
        return Done()
    text = answer.body[: 4 * ANSWER_LIMIT].decode("utf-8", "replace").replace("\0", "")[:ANSWER_LIMIT]
    store.record_signal_test(tx, test, answer=text)
    outcome = CONNECTORS[account.platform].read(answer)
    if isinstance(outcome, Denied):
        return Failed(outcome.reason)
    if isinstance(outcome, Done):
        store.record_signal_test(tx, test, state=TrialState.DONE, reason="", settled_at=tx.now)
    return outcome


def settle_signal_test(tx: Tx, request: OutboundRequest, outcome: Outcome, state: RequestState) -> None:
    """Record the reason of a failed try; after the last one the test has failed."""
    test = store.find_signal_test(tx, request.business_id, request.subject)
    if test is not None and isinstance(outcome, NotNow | Failed):
        is_last = state is not RequestState.DUE
        changes = {"state": TrialState.FAILED, "settled_at": tx.now} if is_last else {}
        store.record_signal_test(tx, test, reason=outcome.reason[:64], **changes)


SIGNAL_KINDS: Final = (
    queue.OutboundKind(
        SIGNAL, begin_signal, read_signal_answer, settle_signal, rules.SIGNAL_PLAN, ready_signal
    ),
    queue.OutboundKind(SIGNAL_TEST, begin_signal_test, read_signal_test, settle_signal_test, rules.TEST_PLAN),
)


def carry_change(tx: Tx, business_id: str, /, *lead_ids: str) -> None:
    """Schedule changes of leads for CRMs and ad platforms; a port of leads."""
    schedule_lead(tx, business_id, *lead_ids)
    schedule_signals(tx, business_id, *lead_ids)


def carry_merge(tx: Tx, business_id: str, kept_id: str, merged_id: str, *, is_undone: bool) -> None:
    """Schedule a merge of leads for CRMs and ad platforms; a port of leads.

    `begin_signal` withholds the due signals of the merged lead.
    """
    schedule_merge(tx, business_id, kept_id, merged_id, is_undone=is_undone)
    schedule_signals(tx, business_id, kept_id)
    if is_undone:
        schedule_signals(tx, business_id, merged_id)


def carry_erasure(tx: Tx, business_id: str, lead_ids: Collection[str]) -> None:
    """Schedule an erasure for CRMs, and erase signals; a port of leads.

    TikTok and Meta have no request to delete an event. So the signals that they may have are counted, for
    the business to inform the person.
    """
    schedule_erasure(tx, business_id, lead_ids)
    signals = store.list_signals_of_leads(tx, business_id, lead_ids)
    sent = Counter(
        (signal.outside_account_id, signal.lead_id)
        for signal in signals
        if signal.state is DeliveryState.SENT or signal.unsure_at is not None
    )
    for account_id, lead_id in sorted({(signal.outside_account_id, signal.lead_id) for signal in signals}):
        count = sent[account_id, lead_id]
        erasure = {
            "business_id": business_id,
            "outside_account_id": account_id,
            "lead_id": lead_id,
            "state": ErasureState.UNSUPPORTED if count else ErasureState.FINISHED,
            "sent": count,
            "created_at": tx.now,
        }
        tx.insert_ignore(store.signal_erasures, erasure)
    tx.delete(store.ad_signals, business_id, lead_id=sorted(lead_ids))
    queue.delete_requests_of(tx, business_id, SIGNAL, [str(signal.id) for signal in signals])


@dataclass(frozen=True, slots=True)
class SignalLedger:
    """Settings, counts and alarms of an ad account."""

    account: OutsideAccount
    settings: SignalSettings
    counts: LedgerCounts
    alarms: tuple[Alarm, ...]


def load_signal_ledger(tx: Tx, business_id: str) -> list[SignalLedger]:
    """Load the ledgers of all ad accounts with signal settings, in one transaction."""
    states_by_account = store.ledger.count_states(tx, business_id)
    # The total is counted apart, as a check of the counts by state.
    of_account = store.ad_signals.c.outside_account_id
    count_all = sa.select(of_account, sa.func.count().label("count")).group_by(of_account)
    counted = tx.execute(count_all.where(store.ad_signals.c.business_id == business_id)).mappings()
    totals = {row["outside_account_id"]: row["count"] for row in counted}
    ledgers: list[SignalLedger] = []
    for account in list_outside_accounts(tx, business_id):
        settings = store.find_signal_settings(tx, business_id, account.id)
        if settings is None:
            continue
        due_since = store.ledger.find_oldest_due(tx, business_id, account.id)
        states = states_by_account.get(account.id, {})
        counts = LedgerCounts(totals.get(account.id, 0), due_since=due_since, **states)
        is_shut_out = settings.mode is SignalMode.SHUT_OUT
        alarms = list_ledger_alarms(
            counts, tx.now, settings.arrived_at, is_active=settings.is_active, is_shut_out=is_shut_out
        )
        ledgers.append(SignalLedger(account, settings, counts, alarms))
    return ledgers


def list_signal_alarms(tx: Tx) -> list[tuple[str, str, Alarm]]:
    """Return business, ad account and kind of the alarms to notify members of, for all businesses."""
    return [
        (business_id, ledger.account.id, alarm)
        for business_id in store.list_signal_businesses(tx)
        for ledger in load_signal_ledger(tx, business_id)
        if ledger.settings.mode is not SignalMode.OFF
        for alarm in ledger.alarms
        if alarm in ALERTED
    ]


def list_platform_counts(tx: Tx, business_id: str) -> list[SignalCounts]:
    """Return counts of signals for the ledger of the CRMs; a port."""
    return [
        SignalCounts(
            ledger.account.name or ledger.account.external_id,
            f"/settings/ad-platforms/{ledger.account.id}/signals",
            ledger.counts,
        )
        for ledger in load_signal_ledger(tx, business_id)
    ]
