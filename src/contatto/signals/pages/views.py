"""What the page of an ad account's signals shows, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from contatto.ad_platforms.model import AdPlatform, OutsideAccount
from contatto.crm.rules.reasons import Alarm
from contatto.crm.store.deliveries import list_lead_numbers
from contatto.kit.db.tx import Tx
from contatto.kit.form_fields import typed_amount
from contatto.kit.i18n import N_, LazyText
from contatto.signals.model.events import (
    AdSignal,
    SignalErasure,
    SignalErasureState,
    SignalState,
    SignalTest,
    SignalTestState,
)
from contatto.signals.model.settings import ConsentRule, SignalMode, SignalSettings, Step
from contatto.signals.registry import CONNECTORS
from contatto.signals.rules.plans import cannot_be_sent
from contatto.signals.rules.reasons import reason_text

PLATFORMS: Final = {AdPlatform.TIKTOK: N_("TikTok Ads"), AdPlatform.META: N_("Meta Ads")}
STEPS: Final[Mapping[Step, str]] = {
    Step.CAPTURED: N_("Lead captured"),
    Step.QUALIFIED: N_("Qualified"),
    Step.CONVERTED: N_("Converted, with its value"),
    Step.DISQUALIFIED: N_("Unqualified"),
    Step.SPAM: N_("Marked as spam"),
}
MODES: Final[Mapping[SignalMode, tuple[str, str]]] = {
    SignalMode.OFF: (N_("Off"), "off"),
    SignalMode.ACTIVE: (N_("On"), "on"),
    SignalMode.PAUSED: (N_("Paused"), "review"),
    SignalMode.SHUT_OUT: (N_("Stopped"), "failed"),
}
STATES: Final[Mapping[SignalState, tuple[str, str]]] = {
    SignalState.DUE: (N_("To send"), "review"),
    SignalState.SENT: (N_("Sent"), "on"),
    SignalState.WITHHELD: (N_("Not sent"), "off"),
    SignalState.DEAD: (N_("Failed"), "failed"),
}
TESTS: Final[Mapping[SignalTestState, tuple[str, str]]] = {
    SignalTestState.ASKED: (N_("On its way"), "review"),
    SignalTestState.TAKEN: (N_("Accepted"), "on"),
    SignalTestState.FAILED: (N_("Rejected"), "failed"),
}
ERASURES: Final[Mapping[SignalErasureState, tuple[str, str]]] = {
    SignalErasureState.FINISHED: (N_("Nothing was sent"), "on"),
    SignalErasureState.UNSUPPORTED: (N_("The platform cannot delete the event"), "review"),
}
ALARMS: Final[Mapping[Alarm, str]] = {
    Alarm.SHUT_OUT: N_("Signals are kept here and sent automatically once the problem is fixed."),
    Alarm.NONE_ARRIVES: N_("No signal has arrived for five minutes. We keep trying."),
    Alarm.DEAD: N_("Some signals failed. Fix the cause, then send them again."),
    Alarm.MISCOUNTED: N_("These counts do not add up. Contact the operator of this installation."),
}


@dataclass(frozen=True, slots=True)
class StepChoice:
    """A step that can be chosen; ``default`` is the platform's name, ``name`` the business's own."""

    value: str
    label: str
    default: str
    name: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class SignalForm:
    """What stands in the form of the settings: what is kept, or what was typed."""

    dataset_id: str
    whatsapp_id: str
    consent: str
    currency: str
    value: str
    steps: list[StepChoice]


@dataclass(frozen=True, slots=True)
class SignalRow:
    """One signal of the log; ``why`` says why it was not sent. A dead one can be sent, unless it is late."""

    id: int
    lead_id: str
    lead_number: int
    step: str
    state: str
    tone: str
    why: LazyText | str
    at: datetime
    can_be_sent: bool
    has_value: bool


@dataclass(frozen=True, slots=True)
class ShownTest:
    code: str
    step: str
    state: str
    tone: str
    why: LazyText | str
    answer: str
    at: datetime
    is_asked: bool


@dataclass(frozen=True, slots=True)
class ErasureRow:
    state: str
    tone: str
    sent: int
    at: datetime


def show_form(account: OutsideAccount, settings: SignalSettings | None, lang: str) -> SignalForm:
    """The form as the settings are; as a business begins where there are none."""
    if settings is None:
        steps = show_steps(account, None, {})
        return SignalForm("", "", ConsentRule.GIVEN.value, account.currency, "", steps)
    value = typed_amount(settings.value_micros, settings.currency, lang)
    chosen = show_steps(account, {step.value for step in settings.steps}, settings.names)
    return SignalForm(
        settings.dataset_id,
        settings.whatsapp_id,
        settings.consent.value,
        settings.currency,
        value,
        chosen,
    )


def show_steps(
    account: OutsideAccount, chosen: set[str] | None, names: Mapping[Step, str]
) -> list[StepChoice]:
    """The steps that the platform has a name for; all of them are chosen at first."""
    defaults = CONNECTORS[account.platform].names
    return [
        StepChoice(
            step.value, label, defaults[step], names.get(step, ""), chosen is None or step.value in chosen
        )
        for step, label in STEPS.items()
        if step in defaults
    ]


def show_signals(tx: Tx, business_id: str, signals: list[AdSignal]) -> list[SignalRow]:
    numbers = list_lead_numbers(tx, business_id, {each.lead_id for each in signals})
    return [_signal(signal, numbers.get(signal.lead_id, 0), tx.now) for signal in signals]


def _signal(signal: AdSignal, number: int, now: datetime) -> SignalRow:
    state, tone = STATES[signal.state]
    is_dead = signal.state is SignalState.DEAD
    return SignalRow(
        id=signal.id,
        lead_id=signal.lead_id,
        lead_number=number,
        step=STEPS[signal.step],
        state=state,
        tone=tone,
        why=reason_text(signal.reason) if signal.reason else "",
        at=signal.settled_at or signal.asked_at or signal.created_at,
        can_be_sent=is_dead and not cannot_be_sent(signal, now),
        has_value=signal.step is Step.CONVERTED,
    )


def show_test(test: SignalTest | None) -> ShownTest | None:
    if test is None:
        return None
    state, tone = TESTS[test.state]
    why = reason_text(test.reason) if test.reason else ""
    at = test.settled_at or test.created_at
    is_asked = test.state is SignalTestState.ASKED
    return ShownTest(test.code, STEPS[test.step], state, tone, why, test.answer, at, is_asked)


def show_erasure(erasure: SignalErasure) -> ErasureRow:
    state, tone = ERASURES[erasure.state]
    return ErasureRow(state, tone, erasure.sent, erasure.created_at)


def title_of(account: OutsideAccount) -> str:
    return account.name or account.external_id


def platform_of(account: OutsideAccount) -> str:
    return PLATFORMS[account.platform]
