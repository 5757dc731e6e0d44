"""Pages of signals: settings, test event and log of an ad account, and the signals of a lead."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Annotated, Any, Final

from fastapi import Form, Request
from pydantic import BaseModel, ConfigDict, Field

from contatto.accounts.auth import may, page_routes
from contatto.accounts.model import Caller, Permission
from contatto.ad_platforms.actions import load_outside_account
from contatto.ad_platforms.model import AdPlatform
from contatto.ad_platforms.store import list_outside_accounts
from contatto.crm.store.deliveries import list_lead_numbers
from contatto.integrations.model import Alarm, DeliveryState, ErasureState, TrialState
from contatto.kit import errors
from contatto.kit.api_types import number_of
from contatto.kit.db.tx import Tx, row_of
from contatto.kit.errors import check_found
from contatto.kit.form_fields import read_amount, typed_amount
from contatto.kit.i18n import N_
from contatto.leads.store.records import find_lead
from contatto.signals import actions, store
from contatto.signals.connectors import CONNECTORS
from contatto.signals.model import AdSignal, ConsentRule, SignalMode, SignalSettings, SignalStep
from contatto.signals.rules import cannot_be_sent, reason_text
from contatto.ui.render import translator_of

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


@router.page(ACCOUNT_PATH, Permission.ADMINISTER, "signals/signals.html")
def show_account_signals(
    tx: Tx, request: Request, caller: Caller, outside_id: str, *, form: SignalSettingsForm | None = None
) -> dict[str, Any]:
    """Show the signals of an ad account; after a refusal with the entries."""
    account = load_outside_account(tx, caller.business_id, outside_id)
    settings = store.find_signal_settings(tx, caller.business_id, account.id)
    mode = settings.mode if settings else SignalMode.OFF
    mode_title, mode_tone = MODES[mode]
    ledgers = actions.load_signal_ledger(tx, account.business_id)
    ledger = next((ledger for ledger in ledgers if ledger.account.id == account.id), None)
    key = account.business_id, account.id
    names: Mapping[SignalStep, str] = {}
    chosen_steps: Iterable[SignalStep] = SignalStep
    if form is not None:
        form_values, chosen_steps, names = form.model_dump(), form.steps, form.names
    elif settings is not None:
        value = typed_amount(settings.value_micros, settings.currency, translator_of(request).lang)
        form_values, chosen_steps, names = row_of(settings), settings.steps, settings.names
        form_values |= {"value": value}
    else:
        form_values = SignalSettingsForm(currency=account.currency).model_dump()
    chosen_steps, defaults = set(chosen_steps), CONNECTORS[account.platform].names
    steps = [
        {
            "value": step.value,
            "label": label,
            "default": defaults[step],
            "name": names.get(step, ""),
            "is_chosen": step in chosen_steps,
        }
        for step, label in STEPS.items()
        if step in defaults
    ]
    test_view: dict[str, Any] | None = None
    if test := store.find_signal_test(tx, *key):
        state, tone = TESTS[test.state]
        test_view = {
            "code": test.code,
            "step": STEPS[test.step],
            "state": state,
            "tone": tone,
            "why": reason_text(test.reason) if test.reason else "",
            "answer": test.answer,
            "at": test.settled_at or test.created_at,
            "is_pending": test.state is TrialState.PENDING,
        }
    return {
        "most": MOST_SHOWN,
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
        "form": form_values | {"steps": steps},
        "rows": _signal_rows(tx, account.business_id, store.ledger.list_entries(tx, *key, limit=MOST_SHOWN)),
        "test": test_view,
        "erasures": [
            {"state": state, "tone": tone, "sent": erasure.sent, "at": erasure.created_at}
            for erasure in store.list_signal_erasures(tx, *key)
            for state, tone in (ERASURES[erasure.state],)
        ],
    }


def _signal_rows(tx: Tx, business_id: str, signals: list[AdSignal]) -> list[dict[str, Any]]:
    """Return the values that pages show of signals; ``why`` is the reason of a failure."""
    numbers = list_lead_numbers(tx, business_id, {signal.lead_id for signal in signals})
    rows: list[dict[str, Any]] = []
    for signal in signals:
        state, tone = STATES[signal.state]
        is_dead = signal.state is DeliveryState.DEAD
        row = {
            "id": signal.id,
            "lead_id": signal.lead_id,
            "lead_number": numbers.get(signal.lead_id, 0),
            "step": STEPS[signal.step],
            "state": state,
            "tone": tone,
            "why": reason_text(signal.reason) if signal.reason else "",
            "at": signal.settled_at or signal.asked_at or signal.created_at,
            "can_be_sent": is_dead and not cannot_be_sent(signal, tx.now),
            "has_value": signal.step is SignalStep.CONVERTED,
        }
        rows.append(row)
    return rows


@router.form(ACCOUNT_PATH, Permission.ADMINISTER, show_account_signals, errors.INVALID, at="settings")
def post_signal_settings(
    tx: Tx, request: Request, caller: Caller, outside_id: str, form: Annotated[SignalSettingsForm, Form()]
) -> str:
    """Turn signals on, or change their settings."""
    lang = translator_of(request).lang
    value = read_amount("value", form.value, form.currency.strip().upper(), lang)
    choices = form.dataset_id, tuple(form.steps), form.consent, form.whatsapp_id
    new = actions.NewSignalSettings(*choices, form.currency, value, form.names)
    actions.change_signal_settings(tx, caller.business_id, outside_id, new)
    return ACCOUNT_PATH.format(outside_id=outside_id)


def _load_settings(tx: Tx, caller: Caller, outside_id: str) -> SignalSettings:
    account = load_outside_account(tx, caller.business_id, outside_id)
    settings = store.find_signal_settings(tx, caller.business_id, account.id)
    return check_found(settings, "Signals are off for this ad account. Turn them on first.")


REFUSALS: Final = (errors.INVALID, errors.CONFLICT)


CHANGES: Final[Mapping[str, tuple[str, Callable[[Tx, SignalSettings], object]]]] = {
    "pause": ("settings", partial(actions.change_signal_mode, mode=SignalMode.PAUSED)),
    "resume": ("settings", partial(actions.change_signal_mode, mode=SignalMode.ACTIVE)),
    "stop": ("settings", partial(actions.change_signal_mode, mode=SignalMode.OFF)),
    "resend": ("log", actions.resend_dead_signals),
}
"""Changes without a form, by the ends of their paths, with the sections that show their refusals."""


def post_change(tx: Tx, request: Request, caller: Caller, outside_id: str) -> str:
    section, change = CHANGES[request.url.path.rpartition("/")[2]]
    change(tx, _load_settings(tx, caller, outside_id))
    return f"{ACCOUNT_PATH.format(outside_id=outside_id)}#{section}"


for name, (section, _) in CHANGES.items():
    path = f"{ACCOUNT_PATH}/{name}"
    router.form(path, Permission.ADMINISTER, show_account_signals, *REFUSALS, at=section)(post_change)


@router.form(f"{ACCOUNT_PATH}/test", Permission.ADMINISTER, show_account_signals, *REFUSALS, at="test")
def post_signal_test(
    tx: Tx,
    request: Request,
    caller: Caller,
    outside_id: str,
    step: Annotated[SignalStep, Form()] = SignalStep.CAPTURED,
    code: Annotated[str, Form(max_length=100)] = "",
) -> str:
    """Send a test event with made-up contact details."""
    actions.queue_signal_test(tx, _load_settings(tx, caller, outside_id), step, code)
    return f"{ACCOUNT_PATH.format(outside_id=outside_id)}#test"


@router.form(
    f"{ACCOUNT_PATH}/{{signal_id}}/resend", Permission.ADMINISTER, show_account_signals, *REFUSALS, at="log"
)
def post_resend_signal(
    tx: Tx,
    request: Request,
    caller: Caller,
    outside_id: str,
    signal_id: str,
    amounts: Annotated[SignalAmountForm, Form()],
) -> str:
    """Send a failed signal again, optionally with another amount."""
    text = str((amounts.model_extra or {}).get(f"amount-{signal_id}", ""))[:100]
    settings = _load_settings(tx, caller, outside_id)
    account = settings.business_id, settings.outside_account_id
    signal = store.ledger.find(tx, account[0], number_of(signal_id), account[1])
    amount = read_amount("value", text, settings.currency, translator_of(request).lang)
    actions.resend_signal(tx, settings, check_found(signal, "Signal not found."), amount)
    return f"{ACCOUNT_PATH.format(outside_id=outside_id)}#log"


@router.page("/leads/{lead_id}/signals", Permission.READ_LEADS, "signals/_lead.html")
def show_signals_of_lead(tx: Tx, request: Request, caller: Caller, lead_id: str) -> dict[str, Any]:
    """Show the signals of a lead as a part of its page."""
    check_found(find_lead(tx, caller.business_id, lead_id), "Lead not found.")
    signals = store.list_signals_of_leads(tx, caller.business_id, {lead_id})
    groups: list[dict[str, Any]] = []
    for account in list_outside_accounts(tx, caller.business_id) if signals else []:
        account_signals = [signal for signal in signals if signal.outside_account_id == account.id]
        if account_signals:
            group = {
                "name": account.name or account.external_id,
                "platform": PLATFORMS[account.platform],
                "page": ACCOUNT_PATH.format(outside_id=account.id),
                "signals": _signal_rows(tx, caller.business_id, account_signals),
            }
            groups.append(group)
    return {"lead_id": lead_id, "groups": groups, "can_manage": may(caller, Permission.ADMINISTER)}
