"""The form of a new ad group, its live check of eligibility, and the prompt that turns capture on."""

from dataclasses import asdict, replace
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts import store as accounts
from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import AdAccount, Caller, Permission
from contatto.accounts.rules import require
from contatto.ads.actions.accounts import find_channel
from contatto.ads.actions.ad_groups import NewAdGroup, create_ad_group
from contatto.ads.actions.drafts import drop_draft
from contatto.ads.model import AdGroup, BudgetMode, Campaign, Money, NodeKind
from contatto.ads.pages.ad_group_view import (
    CAPTURE_FIELDS,
    Typed,
    capture_account,
    country_groups,
    eligibility_of,
    folded,
    load_choices,
)
from contatto.ads.pages.drafts import draft_view, open_form, owner_of
from contatto.ads.pages.views import check_choice, field_errors
from contatto.ads.rules import typed as rules
from contatto.ads.rules.markets import normal_countries
from contatto.ads.rules.settings import least_budget_micros
from contatto.ads.rules.typed import AdGroupForm
from contatto.ads.store import nodes as store
from contatto.capture import actions as capture
from contatto.capture.actions import CompanyData
from contatto.channels import store as channels
from contatto.kit import errors
from contatto.kit.api_types import number_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.faults import Faults
from contatto.kit.i18n import N_, translator_of
from contatto.measurement.model import Goal
from contatto.ui.context import context_of

router: Final = APIRouter()


@router.get("/ads/campaigns/{number}/ad-groups/new")
async def show_ad_group_form(request: Request, caller: PageCaller, number: str) -> HTMLResponse:
    require(caller, Permission.WRITE_ADS)
    return await _ad_group_form(request, caller, number, None)


@router.get("/ads/campaigns/{number}/eligibility")
async def show_eligibility(request: Request, caller: PageCaller, number: str) -> HTMLResponse:
    """The three checks for what is chosen at this moment."""
    require(caller, Permission.READ_ADS)
    context = context_of(request)
    form = rules.read_form(AdGroupForm, request.query_params.multi_items())

    def work(tx: Tx) -> dict[str, Any] | None:
        _, account = _load_campaign(tx, caller, number)
        return eligibility_of(tx, account, form)

    values = {"caller": caller, "eligibility": await context.db.read(work)}
    return context.pages.render(request, "ads/_eligibility.html", values)


@router.post("/ads/campaigns/{number}/ad-groups")
async def post_ad_group(request: Request, caller: FormCaller, number: str) -> Response:
    """Make an ad group; if its goal needs capture, offer to turn it on, and then do both in one step."""
    require(caller, Permission.WRITE_ADS)
    sent = await request.form(max_files=0)
    form = rules.read_form(AdGroupForm, sent.multi_items())
    company = {name: str(sent.get(name, "")) for name in CAPTURE_FIELDS}
    turn_on = sent.get("turn_on_capture") == "1"
    needs_review = context_of(request).settings.needs_capture_review
    words = translator_of(request)

    def apply(tx: Tx) -> None:
        channel = find_channel(tx, caller.business_id, form.channel_account_id)
        data = CompanyData(**company)
        capture.save_company_data(tx, caller.business_id, channel.id, data, needs_review=needs_review)

    def work(tx: Tx) -> AdGroup:
        campaign, account = _load_campaign(tx, caller, number)
        if turn_on:
            channel = find_channel(tx, caller.business_id, form.channel_account_id)
            switch = capture.turn_on_capture(
                tx, caller.business_id, channel.id, CompanyData(**company), needs_review=needs_review
            )
            if not switch.is_on:
                raise Refused(errors.CAPTURE_IN_REVIEW)
        made = _make_ad_group(tx, form, campaign, account, words.lang)
        drop_draft(tx, owner_of(caller), (NodeKind.AD_GROUP, campaign.number))
        return made

    try:
        made = await context_of(request).db.write(work)
    except Refused as refused:
        if refused.code is errors.NOT_FOUND:
            raise
        if refused.code is errors.CAPTURE_IN_REVIEW:
            await context_of(request).db.write(apply)  # the refusal took the application back with it
        wrong = field_errors(refused, words)
        typed = _after(refused, wrong, Typed(form, capture=company), turn_on=turn_on)
        return await _ad_group_form(request, caller, number, typed)
    return RedirectResponse(f"/ads/ad-groups/{made.number}/ads/new", 303)


def _after(refused: Refused, wrong: dict[str, str], typed: Typed, *, turn_on: bool) -> Typed:
    """What the form shows after a refusal: the prompt, a mistake in it, or a mistake in the form itself."""
    if refused.code is errors.CAPTURE_OFF:
        return replace(typed, prompt=True)
    if any(other.code is errors.CAPTURE_OFF for other in refused.others):
        wrong = {field: says for field, says in wrong.items() if field}  # its prompt comes when the rest fits
    if turn_on and set(wrong) <= set(CAPTURE_FIELDS):
        return replace(typed, capture_errors=wrong, prompt=True)
    return replace(typed, errors=wrong)


def _load_campaign(tx: Tx, caller: Caller, number: str) -> tuple[Campaign, AdAccount]:
    campaign = store.find_campaign_by_number(tx, caller.business_id, number_of(number))
    if campaign is None:
        raise Refused(errors.NOT_FOUND)
    account = accounts.find_ad_account(tx, caller.business_id, campaign.ad_account_id)
    if account is None:
        raise Refused(errors.NO_ADVERTISER)
    return campaign, account


def _make_ad_group(tx: Tx, form: AdGroupForm, campaign: Campaign, account: AdAccount, lang: str) -> AdGroup:
    """Make the ad group of a form, or tell all that is wrong with it.

    Raises:
        Refused: NOT_FOUND, INVALID, NOT_ELIGIBLE, CAPTURE_OFF.
    """
    faults = Faults()
    faults.read(lambda: check_choice(tx, account.business_id, form.page_id), "")
    new = _new_ad_group(form, campaign, account, lang, faults)
    return faults.finish(lambda: create_ad_group(tx, account.business_id, new))


def _new_ad_group(
    form: AdGroupForm, campaign: Campaign, account: AdAccount, lang: str, faults: Faults
) -> NewAdGroup:
    """The ad group of a form; what cannot be read is among the faults and has its usual value."""
    usual = NewAdGroup(campaign.id, form.name, Goal.CONVERSATION, ())
    usual_money = Money(usual.budget_mode, least_budget_micros(account.currency), usual.bid_type, None)
    money = faults.read(lambda: rules.read_money(form, account.currency, lang), usual_money)
    if money.budget_mode is BudgetMode.INFINITE and campaign.budget_micros is None:
        says = N_("budget_mode: the campaign has no budget, so this ad group needs one.")
        faults.note(Refused(errors.INVALID, says))
    starts_at, ends_at = faults.read(lambda: rules.read_times(form, account.timezone), (None, None))
    frequency, schedule = faults.read(lambda: rules.read_frequency(form, lang), (None, None))
    click, view = faults.read(lambda: rules.read_windows(form), (None, None))
    return replace(
        usual,
        goal=faults.read(lambda: rules.read_goal(form), usual.goal),
        countries=normal_countries(form.countries),
        channel_account_id=form.channel_account_id or None,
        budget_mode=money.budget_mode,
        budget_micros=money.budget_micros,
        bid_type=money.bid_type,
        bid_micros=money.bid_micros,
        pacing=faults.read(lambda: rules.read_pacing(form), usual.pacing),
        starts_at=starts_at,
        ends_at=ends_at,
        click_window=click,
        view_window=view,
        page_id=form.page_id,
        targeting=rules.read_targeting(form),
        frequency=frequency,
        frequency_schedule=schedule,
    )


async def _ad_group_form(request: Request, caller: Caller, number: str, typed: Typed | None) -> HTMLResponse:
    """The form with what was typed, or as it is opened first."""
    context = context_of(request)
    words = translator_of(request)

    def work(tx: Tx) -> dict[str, Any]:
        campaign, account = _load_campaign(tx, caller, number)
        place = (NodeKind.AD_GROUP, campaign.number)
        opened = open_form(tx, request, caller, place, rules.new_ad_group_form(account.currency, words.lang))
        shown = typed or Typed(opened.form)
        known = channels.list_accounts(tx, caller.business_id)
        if not shown.form.channel_account_id and known:
            shown = replace(shown, form=replace(shown.form, channel_account_id=known[0].id))
        choices = load_choices(tx, campaign, account)
        return choices | {
            "form": asdict(shown.form),
            "draft": draft_view(place) if typed else opened.draft,
            "folded": folded(shown.form, choices, words),
            "errors": shown.errors,
            "capture_errors": shown.capture_errors,
            "eligibility": eligibility_of(tx, account, shown.form),
            "capture_account": capture_account(tx, caller, shown),
        }

    values = {
        "caller": caller,
        "country_groups": country_groups(words),
        "edited": None,
        "leaps": {},
        **await context.db.read(work),
    }
    wrong = typed is not None and bool(typed.errors or typed.prompt)
    return context.pages.render(request, "ads/ad_group_form.html", values, 422 if wrong else 200)
