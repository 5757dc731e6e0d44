"""The form of an ad group, its live check of eligibility, and the prompt that turns capture on in place."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Final

from fastapi import APIRouter
from starlette.datastructures import FormData, QueryParams
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts import store as accounts
from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import AdAccount, Caller, Permission
from contatto.accounts.rules import require
from contatto.ads.actions.accounts import find_channel, load_facts
from contatto.ads.actions.ad_groups import NewAdGroup, create_ad_group
from contatto.ads.model import AdGroup, BidType, BudgetMode, Campaign, ClickWindow, ViewWindow
from contatto.ads.pages.views import check_choice, field_errors, form_choices, show_check
from contatto.ads.rules import goals, settings
from contatto.ads.rules.countries import countries_by_region
from contatto.ads.rules.markets import LEAD_MARKETS, normal_countries
from contatto.ads.store import tree as store
from contatto.capture import actions as capture
from contatto.capture import store as switches
from contatto.capture.actions import CompanyData
from contatto.channels import store as channels
from contatto.kit import errors
from contatto.kit.context import context_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.money import to_micros
from contatto.kit.wire import number_of
from contatto.kit.words import Words, words_of
from contatto.measurement.model import Goal

router: Final = APIRouter()
_CAPTURE_FIELDS: Final = ("company_name", "company_site", "privacy_policy_url")
_CLICK: Final = {
    "1": ClickWindow.ONE_DAY,
    "7": ClickWindow.SEVEN_DAYS,
    "14": ClickWindow.FOURTEEN_DAYS,
    "28": ClickWindow.TWENTY_EIGHT_DAYS,
}
_VIEW: Final = {"0": ViewWindow.OFF, "1": ViewWindow.ONE_DAY, "7": ViewWindow.SEVEN_DAYS}
_DEFAULTS: Final = {
    "name": "",
    "channel_account_id": "",
    "goal": Goal.LEAD.value,
    "budget": "50",
    "bid": "",
    "click_window_days": "7",
    "view_window_days": "1",
    "starts_on": "",
    "ends_on": "",
    "page_id": "",
}


@dataclass(frozen=True, slots=True)
class _Typed:
    """What was typed, and what was wrong with it; ``prompt`` opens the dialog of capture."""

    form: Mapping[str, Any]
    errors: Mapping[str, str]
    capture: Mapping[str, str]
    capture_errors: Mapping[str, str]
    prompt: bool = False


@router.get("/ads/campaigns/{number}/ad-groups/new")
async def show_ad_group_form(request: Request, caller: PageCaller, number: str) -> HTMLResponse:
    require(caller, Permission.WRITE_ADS)
    typed = _Typed({**_DEFAULTS, "countries": []}, {}, {}, {})
    return await _ad_group_form(request, caller, number, typed)


@router.get("/ads/campaigns/{number}/eligibility")
async def show_eligibility(request: Request, caller: PageCaller, number: str) -> HTMLResponse:
    """The three checks for what is chosen at this moment."""
    require(caller, Permission.READ_ADS)
    context = context_of(request)
    form = _typed_form(request.query_params)

    def work(tx: Tx) -> dict[str, Any] | None:
        _, account = _load_campaign(tx, caller, number)
        return _eligibility(tx, account, form)

    values = {"caller": caller, "eligibility": await context.db.read(work)}
    return context.pages.render(request, "ads/_eligibility.html", values)


@router.post("/ads/campaigns/{number}/ad-groups")
async def post_ad_group(request: Request, caller: FormCaller, number: str) -> Response:
    """Make an ad group; if its goal needs capture, offer to turn it on, and then do both in one step."""
    require(caller, Permission.WRITE_ADS)
    sent = await request.form()
    form = _typed_form(sent)
    company = {name: str(sent.get(name, "")) for name in _CAPTURE_FIELDS}
    turn_on = sent.get("turn_on_capture") == "1"
    needs_review = context_of(request).settings.needs_capture_review

    def apply(tx: Tx) -> None:
        channel = find_channel(tx, caller.business_id, form["channel_account_id"])
        data = CompanyData(**company)
        capture.save_company_data(tx, caller.business_id, channel.id, data, needs_review=needs_review)

    def work(tx: Tx) -> AdGroup:
        campaign, account = _load_campaign(tx, caller, number)
        if turn_on:
            channel = find_channel(tx, caller.business_id, form["channel_account_id"])
            switch = capture.turn_on_capture(
                tx, caller.business_id, channel.id, CompanyData(**company), needs_review=needs_review
            )
            if not switch.is_on:
                raise Refused(errors.CAPTURE_IN_REVIEW)
        check_choice(tx, caller.business_id, form["page_id"])
        new = _new_ad_group(form, campaign, account)
        return create_ad_group(tx, caller.business_id, new)

    try:
        made = await context_of(request).db.write(work)
    except Refused as refused:
        if refused.code is errors.NOT_FOUND:
            raise
        if refused.code is errors.CAPTURE_IN_REVIEW:
            await context_of(request).db.write(apply)  # the refusal took the application back with it
        wrong = field_errors(refused, words_of(request))
        typed = _after(refused, wrong, _Typed(form, {}, company, {}), turn_on=turn_on)
        return await _ad_group_form(request, caller, number, typed)
    return RedirectResponse(f"/ads/ad-groups/{made.number}/ads/new", 303)


def _after(refused: Refused, wrong: dict[str, str], typed: _Typed, *, turn_on: bool) -> _Typed:
    """What the form shows after a refusal: the prompt, a mistake in it, or a mistake in the form itself."""
    if refused.code is errors.CAPTURE_OFF:
        return replace(typed, prompt=True)
    if turn_on and set(wrong) <= set(_CAPTURE_FIELDS):
        return replace(typed, capture_errors=wrong, prompt=True)
    return replace(typed, errors=wrong)


def _typed_form(sent: FormData | QueryParams) -> dict[str, Any]:
    typed: dict[str, Any] = {name: str(sent.get(name, usual)) for name, usual in _DEFAULTS.items()}
    return typed | {"countries": [str(code) for code in sent.getlist("country")]}


def _load_campaign(tx: Tx, caller: Caller, number: str) -> tuple[Campaign, AdAccount]:
    campaign = store.find_campaign_by_number(tx, caller.business_id, number_of(number))
    if campaign is None:
        raise Refused(errors.NOT_FOUND)
    account = accounts.find_ad_account(tx, caller.business_id, campaign.ad_account_id)
    if account is None:
        raise Refused(errors.NO_ADVERTISER)
    return campaign, account


def _new_ad_group(form: dict[str, Any], campaign: Campaign, account: AdAccount) -> NewAdGroup:
    bid = _amount("bid", form["bid"])
    first, last = _day("starts_on", form["starts_on"]), _day("ends_on", form["ends_on"])
    goal = form["goal"]
    if goal not in list(Goal):
        raise Refused(errors.INVALID, "goal: choose Conversation or Lead.")
    return NewAdGroup(
        campaign_id=campaign.id,
        name=form["name"],
        goal=Goal(goal),
        countries=normal_countries(form["countries"]),
        channel_account_id=form["channel_account_id"] or None,
        budget_mode=BudgetMode.DYNAMIC_DAY,
        budget_micros=_amount("budget", form["budget"]),
        bid_type=BidType.NO_BID if bid is None else BidType.CUSTOM,
        bid_micros=bid,
        starts_at=settings.local_midnight(first, account.timezone) if first else None,
        ends_at=settings.local_midnight(last + timedelta(days=1), account.timezone) if last else None,
        click_window=_CLICK.get(form["click_window_days"]),
        view_window=_VIEW.get(form["view_window_days"]),
        page_id=form["page_id"],
    )


def _amount(field: str, text: str) -> int | None:
    try:
        return to_micros(text.strip().replace(",", "")) if text.strip() else None
    except ValueError as error:
        raise Refused(errors.INVALID, "%(field)s: write a number, such as 12.50.", field=field) from error


def _day(field: str, text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise Refused(errors.INVALID, "%(field)s: write a day as YYYY-MM-DD.", field=field) from error


def _eligibility(tx: Tx, account: AdAccount, form: dict[str, Any]) -> dict[str, Any] | None:
    """What the panel shows of the goal Lead; None while nothing is chosen."""
    channel = channels.find_account(tx, account.business_id, form["channel_account_id"])
    if channel is None or not form["countries"]:
        return None
    facts = load_facts(tx, account, channel, normal_countries(form["countries"]))
    checks = goals.eligibility(Goal.LEAD, facts)
    return {
        "allowed": all(result.passed for result in checks),
        "checks": [show_check(result) for result in checks],
        "capture_on": facts.capture_on,
    }


async def _ad_group_form(request: Request, caller: Caller, number: str, typed: _Typed) -> HTMLResponse:
    context = context_of(request)

    def work(tx: Tx) -> dict[str, Any]:
        campaign, account = _load_campaign(tx, caller, number)
        known = channels.list_accounts(tx, caller.business_id)
        form = dict(typed.form)
        if not form["channel_account_id"] and known:
            form["channel_account_id"] = known[0].id
        return {
            "campaign": {
                "id": str(campaign.number),
                "name": campaign.name,
                "ad_account_name": account.name,
                "currency": account.currency,
            },
            "form": form,
            "channel_accounts": [
                {"id": one.id, "display_name": one.name, "country": one.registration_country} for one in known
            ],
            "forms": form_choices(tx, caller.business_id),
            "eligibility": _eligibility(tx, account, form),
            "capture_account": _capture_account(tx, caller, form, typed),
        }

    values = {
        "caller": caller,
        "errors": typed.errors,
        "capture_errors": typed.capture_errors,
        "country_groups": _country_groups(words_of(request)),
        **await context.db.read(work),
    }
    wrong = bool(typed.errors or typed.prompt)
    return context.pages.render(request, "ads/ad_group_new.html", values, 422 if wrong else 200)


def _capture_account(tx: Tx, caller: Caller, form: dict[str, Any], typed: _Typed) -> dict[str, str] | None:
    """What the prompt of capture shows; None keeps it shut."""
    account = channels.find_account(tx, caller.business_id, form["channel_account_id"])
    if account is None or not typed.prompt:
        return None
    switch = switches.find_switch(tx, caller.business_id, account.id)
    known = {name: getattr(switch, name) if switch else "" for name in _CAPTURE_FIELDS}
    shown = {name: typed.capture.get(name) or known[name] for name in _CAPTURE_FIELDS}
    state = "off" if switch else "not_applied"
    return {"id": account.id, "display_name": account.name, "state": state, **shown}


def _country_groups(words: Words) -> list[tuple[str, list[dict[str, Any]]]]:
    return [
        (
            region,
            [{"code": code, "name": words.country(code), "lead_ok": code in LEAD_MARKETS} for code in codes],
        )
        for region, codes in countries_by_region()
    ]
