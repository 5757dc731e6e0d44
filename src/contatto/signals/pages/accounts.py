"""The page of an ad account's signals: what is told, a test event, the log, dead letters, and erasures."""

from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import require
from contatto.ad_platforms.actions.accounts import load_outside_account
from contatto.ad_platforms.model import AdPlatform, OutsideAccount
from contatto.kit import errors
from contatto.kit.api_types import number_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.form_fields import read_amount
from contatto.kit.i18n import translator_of
from contatto.signals.actions import settings as actions
from contatto.signals.actions.ledger import load_signal_ledger
from contatto.signals.actions.testing import ask_for_test
from contatto.signals.model.settings import ConsentRule, SignalMode, SignalSettings, Step
from contatto.signals.pages import views
from contatto.signals.registry import CONNECTORS
from contatto.signals.rules.reasons import reason_text
from contatto.signals.store.erasures import list_signal_erasures
from contatto.signals.store.settings import find_signal_settings, find_signal_test
from contatto.signals.store.signals import list_signals
from contatto.ui.context import context_of

router: Final = APIRouter(include_in_schema=False, prefix="/settings/ad-platforms/{outside_id}/signals")
MOST_SHOWN: Final = 50
NAME: Final = "name."
"""Before the steps in a form, for what the business calls them."""


class SettingsForm(BaseModel):
    """What is told; the names of steps stand behind ``name.``."""

    model_config = ConfigDict(extra="allow")

    dataset_id: Annotated[str, Field(max_length=100)] = ""
    whatsapp_id: Annotated[str, Field(max_length=100)] = ""
    steps: Annotated[list[Step], Field(max_length=len(Step))] = Field(default_factory=list)
    consent: ConsentRule = ConsentRule.GIVEN
    currency: Annotated[str, Field(max_length=8)] = ""
    value: Annotated[str, Field(max_length=40)] = ""

    @property
    def names(self) -> dict[Step, str]:
        given = self.model_extra or {}
        return {step: str(given.get(f"{NAME}{step.value}", ""))[:100] for step in Step}


def _href(outside_id: str) -> str:
    return f"/settings/ad-platforms/{outside_id}/signals"


@router.get("")
async def show_account_signals(request: Request, caller: PageCaller, outside_id: str) -> HTMLResponse:
    require(caller, Permission.ADMINISTER)
    return await _render(request, caller, outside_id)


@router.post("")
async def post_signal_settings(
    request: Request, caller: FormCaller, outside_id: str, form: Annotated[SettingsForm, Form()]
) -> Response:
    """Turn signals on, or change what is told."""
    require(caller, Permission.ADMINISTER)
    lang = translator_of(request).lang

    def save(tx: Tx) -> None:
        value = read_amount("value", form.value, form.currency.strip().upper(), lang)
        chosen = form.dataset_id, tuple(form.steps), form.consent, form.whatsapp_id
        new = actions.NewSignalSettings(*chosen, form.currency, value, form.names)
        actions.save_choices(tx, caller.business_id, outside_id, new)

    try:
        await context_of(request).db.write(save)
    except Refused as refused:
        if refused.code is not errors.INVALID:
            raise
        return await _render(request, caller, outside_id, refused, form)
    return RedirectResponse(_href(outside_id), 303)


async def _change(
    request: Request, caller: Caller, outside_id: str, change: Callable[[Tx, SignalSettings], object], at: str
) -> Response:
    """Do something with the signals of an account; where it is refused the page says why."""
    require(caller, Permission.ADMINISTER)

    def work(tx: Tx) -> None:
        change(tx, actions.load_signal_settings(tx, caller.business_id, outside_id))

    try:
        await context_of(request).db.write(work)
    except Refused as refused:
        if refused.code not in (errors.INVALID, errors.CONFLICT):
            raise
        return await _render(request, caller, outside_id, refused, at=at)
    return RedirectResponse(f"{_href(outside_id)}#{at}", 303)


@router.post("/pause")
async def post_pause_signals(request: Request, caller: FormCaller, outside_id: str) -> Response:
    """Hold signals back; none is lost."""
    return await _change(request, caller, outside_id, actions.pause_signals, "settings")


@router.post("/resume")
async def post_resume_signals(request: Request, caller: FormCaller, outside_id: str) -> Response:
    """Let signals go: those that waited go by themselves."""
    return await _change(request, caller, outside_id, actions.resume_signals, "settings")


@router.post("/stop")
async def post_stop_signals(request: Request, caller: FormCaller, outside_id: str) -> Response:
    """Tell nothing more."""
    return await _change(request, caller, outside_id, actions.stop_signals, "settings")


@router.post("/test")
async def post_signal_test(
    request: Request,
    caller: FormCaller,
    outside_id: str,
    step: Annotated[Step, Form()] = Step.CAPTURED,
    code: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """Send a test event about nobody."""

    def ask(tx: Tx, settings: SignalSettings) -> None:
        ask_for_test(tx, settings, step, code)

    return await _change(request, caller, outside_id, ask, "test")


@router.post("/resend")
async def post_resend_signals(request: Request, caller: FormCaller, outside_id: str) -> Response:
    """Send all dead letters again that count once, 500 at a time."""
    return await _change(request, caller, outside_id, actions.resend_dead_signals, "log")


class AmountForm(BaseModel):
    """Another amount, named by its signal behind ``amount-``."""

    model_config = ConfigDict(extra="allow")

    def amount_of(self, signal_id: str) -> str:
        return str((self.model_extra or {}).get(f"amount-{signal_id}", ""))[:100]


@router.post("/{signal_id}/resend")
async def post_resend_signal(
    request: Request,
    caller: FormCaller,
    outside_id: str,
    signal_id: str,
    form: Annotated[AmountForm, Form()],
) -> Response:
    """Send one dead letter again, with another amount if one was typed."""
    lang = translator_of(request).lang

    def resend(tx: Tx, settings: SignalSettings) -> None:
        signal = actions.load_signal(tx, settings, number_of(signal_id))
        amount = read_amount("value", form.amount_of(signal_id), settings.currency, lang)
        actions.resend_signal(tx, settings, signal, amount)

    return await _change(request, caller, outside_id, resend, "log")


async def _render(
    request: Request,
    caller: Caller,
    outside_id: str,
    refused: Refused | None = None,
    typed: SettingsForm | None = None,
    at: str = "settings",
) -> HTMLResponse:
    """The page; after a refusal with what was typed, ``at`` says in which part."""
    context = context_of(request)
    lang = translator_of(request).lang

    def load(tx: Tx) -> dict[str, Any]:
        account = load_outside_account(tx, caller.business_id, outside_id)
        settings = find_signal_settings(tx, caller.business_id, account.id)
        return _facts(tx, account, settings, typed, lang) | _log(tx, account)

    values = await context.db.read(load)
    values |= {
        "caller": caller,
        "at": at,
        "error": refused.detail_in(translator_of(request)) if refused else "",
        "most": MOST_SHOWN,
    }
    status = refused.code.http_status if refused else 200
    return context.pages.render(request, "signals/signals.html", values, status)


def _facts(
    tx: Tx, account: OutsideAccount, settings: SignalSettings | None, typed: SettingsForm | None, lang: str
) -> dict[str, Any]:
    mode = settings.mode if settings else SignalMode.OFF
    title, tone = views.MODES[mode]
    ledger = load_signal_ledger(tx, account.business_id)
    row = next((each for each in ledger if each.account.id == account.id), None)
    return {
        "href": _href(account.id),
        "account_href": f"/settings/ad-platforms/{account.id}",
        "account_title": views.title_of(account),
        "platform": views.platform_of(account),
        "is_meta": account.platform is AdPlatform.META,
        "takes_names": CONNECTORS[account.platform].takes_any_name,
        "mode": mode.value,
        "mode_title": title,
        "mode_tone": tone,
        "why": reason_text(settings.reason) if settings and mode is SignalMode.SHUT_OUT else "",
        "is_on": mode is not SignalMode.OFF,
        "standing": row.standing if row else None,
        "alarms": [views.ALARMS[alarm] for alarm in row.alarms] if row else [],
        "arrived_at": settings.arrived_at if settings else None,
        "form": _typed(account, typed) if typed else views.show_form(account, settings, lang),
    }


def _typed(account: OutsideAccount, typed: SettingsForm) -> views.SignalForm:
    steps = views.show_steps(account, {step.value for step in typed.steps}, typed.names)
    return views.SignalForm(
        typed.dataset_id, typed.whatsapp_id, typed.consent.value, typed.currency, typed.value, steps
    )


def _log(tx: Tx, account: OutsideAccount) -> dict[str, Any]:
    where = account.business_id, account.id
    return {
        "rows": views.show_signals(tx, account.business_id, list_signals(tx, *where, limit=MOST_SHOWN)),
        "test": views.show_test(find_signal_test(tx, *where)),
        "erasures": [
            views.show_erasure(signal_erasure) for signal_erasure in list_signal_erasures(tx, *where)
        ],
    }
