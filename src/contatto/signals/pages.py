"""Pages of signals: settings, test event and log of an ad account, and the signals of a lead."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import Form, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.auth import FormCaller, PageCaller, page_routes
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import may, require
from contatto.ad_platforms.actions import load_outside_account
from contatto.ad_platforms.model import AdPlatform, OutsideAccount
from contatto.ad_platforms.store import list_outside_accounts
from contatto.crm.store.deliveries import list_lead_numbers
from contatto.integrations.model import Alarm, DeliveryState, ErasureState, TrialState
from contatto.kit import errors
from contatto.kit.api_types import number_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.form_fields import read_amount, typed_amount
from contatto.kit.i18n import N_, LazyText, translator_of
from contatto.leads.store.records import find_lead
from contatto.signals import actions, store
from contatto.signals.connectors import CONNECTORS
from contatto.signals.model import AdSignal, ConsentRule, SignalMode, SignalSettings, SignalStep
from contatto.signals.rules import cannot_be_sent, reason_text
from contatto.signals.store import (
    find_signal_settings,
    find_signal_test,
    list_signal_erasures,
    list_signals_of_leads,
)
from contatto.ui.context import context_of

router: Final = page_routes()
ACCOUNT_PATH: Final = "/settings/ad-platforms/{outside_id}/signals"
MOST_SHOWN: Final = 50
NAME_PREFIX: Final = "name."
"""The prefix of the form fields for event names of the business."""
PLATFORMS: Final = {AdPlatform.TIKTOK: N_("TikTok Ads"), AdPlatform.META: N_("Meta Ads")}
STEPS: Final[Mapping[SignalStep, str]] = {
    SignalStep.CAPTURED: N_("Lead captured"),
    SignalStep.QUALIFIED: N_("Qualified"),
    SignalStep.CONVERTED: N_("Converted, with its value"),
    SignalStep.DISQUALIFIED: N_("Unqualified"),
    SignalStep.SPAM: N_("Marked as spam"),
}
MODES: Final[Mapping[SignalMode, tuple[str, str]]] = {
    SignalMode.OFF: (N_("Off"), "off"),
    SignalMode.ACTIVE: (N_("On"), "on"),
    SignalMode.PAUSED: (N_("Paused"), "review"),
    SignalMode.SHUT_OUT: (N_("Stopped"), "failed"),
}
STATES: Final[Mapping[DeliveryState, tuple[str, str]]] = {
    DeliveryState.DUE: (N_("To send"), "review"),
    DeliveryState.SENT: (N_("Sent"), "on"),
    DeliveryState.WITHHELD: (N_("Not sent"), "off"),
    DeliveryState.DEAD: (N_("Failed"), "failed"),
}
TESTS: Final[Mapping[TrialState, tuple[str, str]]] = {
    TrialState.PENDING: (N_("On its way"), "review"),
    TrialState.DONE: (N_("Accepted"), "on"),
    TrialState.FAILED: (N_("Rejected"), "failed"),
}
ERASURES: Final[Mapping[ErasureState, tuple[str, str]]] = {
    ErasureState.FINISHED: (N_("Nothing was sent"), "on"),
    ErasureState.UNSUPPORTED: (N_("The platform cannot delete the event"), "review"),
}
ALARMS: Final[Mapping[Alarm, str]] = {
    Alarm.SHUT_OUT: N_("Signals are kept here and sent automatically once the problem is fixed."),
    Alarm.NONE_ARRIVES: N_("No signal has arrived for five minutes. We keep trying."),
    Alarm.DEAD: N_("Some signals failed. Fix the cause, then send them again."),
    Alarm.MISCOUNTED: N_("These counts do not add up. Contact the operator of this installation."),
}


class SignalSettingsForm(BaseModel):
    """Form of the settings; extra fields named ``name.STEP`` are event names."""

    model_config = ConfigDict(extra="allow")

    dataset_id: Annotated[str, Field(max_length=100)] = ""
    whatsapp_id: Annotated[str, Field(max_length=100)] = ""
    steps: Annotated[list[SignalStep], Field(max_length=len(SignalStep))] = Field(default_factory=list)
    consent: ConsentRule = ConsentRule.REQUIRED
    currency: Annotated[str, Field(max_length=8)] = ""
    value: Annotated[str, Field(max_length=40)] = ""

    @property
    def names(self) -> dict[SignalStep, str]:
        fields = self.model_extra or {}
        return {step: str(fields.get(f"{NAME_PREFIX}{step.value}", ""))[:100] for step in SignalStep}


class SignalAmountForm(BaseModel):
    """Form with another amount of a signal, in the field ``amount-ID``."""

    model_config = ConfigDict(extra="allow")

    def amount_of(self, signal_id: str) -> str:
        return str((self.model_extra or {}).get(f"amount-{signal_id}", ""))[:100]


@dataclass(frozen=True, slots=True)
class SignalStepChoice:
    """Step to choose; ``default`` is the platform's event name, ``name`` the business's own."""

    value: str
    label: str
    default: str
    name: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class SignalForm:
    """Values of the settings form: saved ones, or those of a refused form."""

    dataset_id: str
    whatsapp_id: str
    consent: str
    currency: str
    value: str
    steps: list[SignalStepChoice]

    @classmethod
    def saved(cls, account: OutsideAccount, settings: SignalSettings | None, lang: str) -> "SignalForm":
        if settings is None:
            steps = _step_choices(account, SignalStep, {})
            return cls("", "", ConsentRule.REQUIRED.value, account.currency, "", steps)
        return cls(
            settings.dataset_id,
            settings.whatsapp_id,
            settings.consent.value,
            settings.currency,
            typed_amount(settings.value_micros, settings.currency, lang),
            _step_choices(account, settings.steps, settings.names),
        )

    @classmethod
    def refused(cls, account: OutsideAccount, form: SignalSettingsForm) -> "SignalForm":
        steps = _step_choices(account, form.steps, form.names)
        return cls(form.dataset_id, form.whatsapp_id, form.consent.value, form.currency, form.value, steps)


@dataclass(frozen=True, slots=True)
class SignalRow:
    """Signal of the log; ``why`` is the reason of a failure."""

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
class SignalTestView:
    """Last test event, with the response of the platform."""

    code: str
    step: str
    state: str
    tone: str
    why: LazyText | str
    answer: str
    at: datetime
    is_pending: bool


@dataclass(frozen=True, slots=True)
class SignalErasureRow:
    """Erasure of a person, with the number of signals already sent."""

    state: str
    tone: str
    sent: int
    at: datetime


@router.get(ACCOUNT_PATH, Permission.ADMINISTER)
async def show_account_signals(request: Request, caller: PageCaller, outside_id: str) -> HTMLResponse:
    return await _render(request, caller, outside_id)


async def _render(
    request: Request,
    caller: Caller,
    outside_id: str,
    refused: Refused | None = None,
    form: SignalSettingsForm | None = None,
    section: str = "settings",
) -> HTMLResponse:
    """Render the page; after a refusal with the error in its section, and with the refused form."""
    context = context_of(request)
    translator = translator_of(request)

    def load(tx: Tx) -> dict[str, Any]:
        account = load_outside_account(tx, caller.business_id, outside_id)
        settings = find_signal_settings(tx, caller.business_id, account.id)
        mode = settings.mode if settings else SignalMode.OFF
        mode_title, mode_tone = MODES[mode]
        ledgers = actions.load_signal_ledger(tx, account.business_id)
        ledger = next((ledger for ledger in ledgers if ledger.account.id == account.id), None)
        key = account.business_id, account.id
        test_view: SignalTestView | None = None
        if test := find_signal_test(tx, *key):
            state, tone = TESTS[test.state]
            why = reason_text(test.reason) if test.reason else ""
            at = test.settled_at or test.created_at
            is_pending = test.state is TrialState.PENDING
            test_view = SignalTestView(
                test.code, STEPS[test.step], state, tone, why, test.answer, at, is_pending
            )
        return {
            "href": ACCOUNT_PATH.format(outside_id=account.id),
            "account_href": f"/settings/ad-platforms/{account.id}",
            "account_title": account.name or account.external_id,
            "platform": PLATFORMS[account.platform],
            "is_meta": account.platform is AdPlatform.META,
            "takes_names": CONNECTORS[account.platform].takes_any_name,
            "mode": mode.value,
            "mode_title": mode_title,
            "mode_tone": mode_tone,
            "why": reason_text(settings.reason) if settings and mode is SignalMode.SHUT_OUT else "",
            "is_on": mode is not SignalMode.OFF,
            "standing": ledger.counts if ledger else None,
            "alarms": [ALARMS[alarm] for alarm in ledger.alarms] if ledger else [],
            "arrived_at": settings.arrived_at if settings else None,
            "form": SignalForm.refused(account, form)
            if form
            else SignalForm.saved(account, settings, translator.lang),
            "rows": _signal_rows(
                tx, account.business_id, store.ledger.list_entries(tx, *key, limit=MOST_SHOWN)
            ),
            "test": test_view,
            "erasures": [
                SignalErasureRow(*ERASURES[erasure.state], erasure.sent, erasure.created_at)
                for erasure in list_signal_erasures(tx, *key)
            ],
        }

    values = await context.db.read(load)
    values |= {
        "caller": caller,
        "at": section,
        "error": refused.detail_in(translator) if refused else "",
        "most": MOST_SHOWN,
    }
    return context.pages.render(request, "signals/signals.html", values, refused=refused)


def _step_choices(
    account: OutsideAccount, chosen: Iterable[SignalStep], names: Mapping[SignalStep, str]
) -> list[SignalStepChoice]:
    """Return the steps with an event name at the platform."""
    defaults, chosen_steps = CONNECTORS[account.platform].names, set(chosen)
    return [
        SignalStepChoice(step.value, label, defaults[step], names.get(step, ""), step in chosen_steps)
        for step, label in STEPS.items()
        if step in defaults
    ]


def _signal_rows(tx: Tx, business_id: str, signals: list[AdSignal]) -> list[SignalRow]:
    numbers = list_lead_numbers(tx, business_id, {signal.lead_id for signal in signals})
    rows: list[SignalRow] = []
    for signal in signals:
        state, tone = STATES[signal.state]
        is_dead = signal.state is DeliveryState.DEAD
        rows.append(
            SignalRow(
                id=signal.id,
                lead_id=signal.lead_id,
                lead_number=numbers.get(signal.lead_id, 0),
                step=STEPS[signal.step],
                state=state,
                tone=tone,
                why=reason_text(signal.reason) if signal.reason else "",
                at=signal.settled_at or signal.asked_at or signal.created_at,
                can_be_sent=is_dead and not cannot_be_sent(signal, tx.now),
                has_value=signal.step is SignalStep.CONVERTED,
            )
        )
    return rows


@router.post(ACCOUNT_PATH, Permission.ADMINISTER)
async def post_signal_settings(
    request: Request, caller: FormCaller, outside_id: str, form: Annotated[SignalSettingsForm, Form()]
) -> Response:
    """Turn signals on, or change their settings."""
    lang = translator_of(request).lang

    def save(tx: Tx) -> None:
        value = read_amount("value", form.value, form.currency.strip().upper(), lang)
        choices = form.dataset_id, tuple(form.steps), form.consent, form.whatsapp_id
        new = actions.NewSignalSettings(*choices, form.currency, value, form.names)
        actions.change_signal_settings(tx, caller.business_id, outside_id, new)

    try:
        await context_of(request).db.write(save)
    except Refused as refused:
        if refused.code is not errors.INVALID:
            raise
        return await _render(request, caller, outside_id, refused, form)
    return RedirectResponse(ACCOUNT_PATH.format(outside_id=outside_id), 303)


async def _change_signals(
    request: Request,
    caller: Caller,
    outside_id: str,
    change: Callable[[Tx, SignalSettings], object],
    section: str,
) -> Response:
    """Change signals of an account; after a refusal the section of the page shows the error."""
    require(caller, Permission.ADMINISTER)

    def work(tx: Tx) -> None:
        change(tx, actions.load_signal_settings(tx, caller.business_id, outside_id))

    try:
        await context_of(request).db.write(work)
    except Refused as refused:
        if refused.code not in (errors.INVALID, errors.CONFLICT):
            raise
        return await _render(request, caller, outside_id, refused, section=section)
    return RedirectResponse(f"{ACCOUNT_PATH.format(outside_id=outside_id)}#{section}", 303)


@router.post(f"{ACCOUNT_PATH}/pause", Permission.ADMINISTER)
async def post_pause_signals(request: Request, caller: FormCaller, outside_id: str) -> Response:
    """Pause signals; none is lost."""
    return await _change_signals(request, caller, outside_id, actions.pause_signals, "settings")


@router.post(f"{ACCOUNT_PATH}/resume", Permission.ADMINISTER)
async def post_resume_signals(request: Request, caller: FormCaller, outside_id: str) -> Response:
    """Resume signals; waiting ones are sent automatically."""
    return await _change_signals(request, caller, outside_id, actions.resume_signals, "settings")


@router.post(f"{ACCOUNT_PATH}/stop", Permission.ADMINISTER)
async def post_stop_signals(request: Request, caller: FormCaller, outside_id: str) -> Response:
    """Turn signals off."""
    return await _change_signals(request, caller, outside_id, actions.stop_signals, "settings")


@router.post(f"{ACCOUNT_PATH}/test", Permission.ADMINISTER)
async def post_signal_test(
    request: Request,
    caller: FormCaller,
    outside_id: str,
    step: Annotated[SignalStep, Form()] = SignalStep.CAPTURED,
    code: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """Send a test event with made-up contact details."""

    def queue(tx: Tx, settings: SignalSettings) -> None:
        actions.queue_signal_test(tx, settings, step, code)

    return await _change_signals(request, caller, outside_id, queue, "test")


@router.post(f"{ACCOUNT_PATH}/resend", Permission.ADMINISTER)
async def post_resend_signals(request: Request, caller: FormCaller, outside_id: str) -> Response:
    """Send failed signals again, up to 500 at once."""
    return await _change_signals(request, caller, outside_id, actions.resend_dead_signals, "log")


@router.post(f"{ACCOUNT_PATH}/{{signal_id}}/resend", Permission.ADMINISTER)
async def post_resend_signal(
    request: Request,
    caller: FormCaller,
    outside_id: str,
    signal_id: str,
    form: Annotated[SignalAmountForm, Form()],
) -> Response:
    """Send a failed signal again, optionally with another amount."""
    lang = translator_of(request).lang

    def resend(tx: Tx, settings: SignalSettings) -> None:
        signal = actions.load_signal(tx, settings, number_of(signal_id))
        amount = read_amount("value", form.amount_of(signal_id), settings.currency, lang)
        actions.resend_signal(tx, settings, signal, amount)

    return await _change_signals(request, caller, outside_id, resend, "log")


@dataclass(frozen=True, slots=True)
class LeadSignals:
    """Signals of a lead to one ad account, the first step first; ``page`` is the account's page."""

    name: str
    platform: str
    page: str
    signals: list[SignalRow]


@router.get("/leads/{lead_id}/signals", Permission.READ_LEADS)
async def show_signals_of_lead(request: Request, caller: PageCaller, lead_id: str) -> HTMLResponse:
    """Show the signals of a lead as a part of its page."""
    context = context_of(request)

    def load(tx: Tx) -> list[LeadSignals]:
        if find_lead(tx, caller.business_id, lead_id) is None:
            raise Refused(errors.NOT_FOUND, "Lead not found.")
        signals = list_signals_of_leads(tx, caller.business_id, {lead_id})
        groups: list[LeadSignals] = []
        for account in list_outside_accounts(tx, caller.business_id) if signals else []:
            account_signals = [signal for signal in signals if signal.outside_account_id == account.id]
            if account_signals:
                page = ACCOUNT_PATH.format(outside_id=account.id)
                rows = _signal_rows(tx, caller.business_id, account_signals)
                name = account.name or account.external_id
                groups.append(LeadSignals(name, PLATFORMS[account.platform], page, rows))
        return groups

    values = {
        "caller": caller,
        "lead_id": lead_id,
        "groups": await context.db.read(load),
        "can_manage": may(caller, Permission.ADMINISTER),
    }
    return context.pages.render(request, "signals/_lead.html", values)
