"""Form of a new ad group: choices, eligibility panel, summaries, drafts, and the capture prompt."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from contatto.accounts import store as accounts
from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import AdAccount, Caller, Permission
from contatto.accounts.rules import require
from contatto.ads import store
from contatto.ads.actions.ad_groups import NewAdGroup, create_ad_group
from contatto.ads.actions.nodes import Owner, check_place, drop_draft, find_draft, form_of, keep_draft
from contatto.ads.actions.publishing import find_channel, load_facts
from contatto.ads.model import AdGroup, BudgetMode, Campaign, Money, NodeKind, Pacing, Place
from contatto.ads.pages.views import check_choice, field_errors, form_choices, show_check
from contatto.ads.rules import targeting
from contatto.ads.rules.goals import eligibility
from contatto.ads.rules.settings import least_budget_micros, new_form_path, tell_apart
from contatto.ads.rules.targeting import LEAD_MARKETS, countries_by_region, normal_countries
from contatto.ads.rules.typed import (
    FORMS,
    AdGroupForm,
    new_ad_group_form,
    read_form,
    read_frequency,
    read_goal,
    read_money,
    read_pacing,
    read_targeting,
    read_times,
    read_windows,
)
from contatto.audiences.model import AudienceKind
from contatto.audiences.rules import span_of
from contatto.audiences.store import count_members, list_audiences, list_lookalikes
from contatto.capture import actions as capture
from contatto.capture import store as switches
from contatto.capture.actions import CompanyData
from contatto.channels import store as channels
from contatto.kit import errors
from contatto.kit.api_types import number_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.form_fields import Faults
from contatto.kit.i18n import N_, Translator, brand_of, translator_of
from contatto.measurement.model import Goal
from contatto.ui.context import context_of

CAPTURE_FIELDS: Final = ("company_name", "company_site", "privacy_policy_url")
BUDGET_MODES: Final = {
    BudgetMode.DYNAMIC_DAY: N_("Daily, on average"),
    BudgetMode.DAY: N_("Daily maximum"),
    BudgetMode.TOTAL: N_("Lifetime"),
    BudgetMode.INFINITE: N_("No own budget"),
}
PACINGS: Final = {
    Pacing.SMOOTH: N_("Evenly over the day"),
    Pacing.FAST: N_("As fast as possible"),
}
KINDS: Final = {
    AudienceKind.CUSTOMER_FILE: N_("List of customers"),
    AudienceKind.LOOKALIKE: N_("Lookalike"),
    AudienceKind.RULE: N_("Based on activity"),
}


@dataclass(frozen=True, slots=True)
class Typed:
    """Typed form with its errors; ``prompt`` opens the dialog of capture."""

    form: AdGroupForm
    errors: Mapping[str, str] = field(default_factory=dict)
    capture: Mapping[str, str] = field(default_factory=dict)
    capture_errors: Mapping[str, str] = field(default_factory=dict)
    prompt: bool = False


def load_choices(tx: Tx, campaign: Campaign, account: AdAccount) -> dict[str, Any]:
    """All that can be chosen for an ad group of a campaign."""
    audiences = list_audiences(tx, account.business_id, account.id)
    homes = channels.list_accounts(tx, account.business_id)
    names = tell_apart(
        [(one.name, f"{brand_of(one.platform.value)} {one.handle or one.external_id}") for one in homes]
    )
    members = count_members(tx, account.business_id, [one.id for one in audiences])
    searched = list_lookalikes(tx, account.business_id, [one.id for one in audiences])
    modes = [mode for mode in BUDGET_MODES if mode is not BudgetMode.INFINITE or campaign.budget_micros]
    return {
        "campaign": {
            "id": str(campaign.number),
            "name": campaign.name,
            "ad_account_name": account.name,
            "currency": account.currency,
            "timezone": account.timezone,
            "least_micros": least_budget_micros(account.currency),
        },
        "channel_accounts": [
            {"id": one.id, "display_name": name, "country": one.registration_country}
            for one, name in zip(homes, names, strict=True)
        ],
        "forms": form_choices(tx, account.business_id),
        "audiences": [
            {
                "id": str(one.number),
                "name": one.name,
                "kind": KINDS[one.kind],
                "members": members.get(one.id, 0),
                "lift": searched[one.id].lift if one.id in searched else None,
                "span": span_of(searched.get(one.id)),
            }
            for one in audiences
        ],
        "languages": list(targeting.LANGUAGES.items()),
        "ages": [(group.value, name) for group, name in targeting.AGES.items()],
        "interests": list(targeting.INTERESTS.items()),
        "budget_modes": [(mode.value, BUDGET_MODES[mode]) for mode in modes],
        "pacings": [(mode.value, says) for mode, says in PACINGS.items()],
    }


def eligibility_of(tx: Tx, account: AdAccount, form: AdGroupForm) -> dict[str, Any] | None:
    """Return the eligibility panel of the goal Lead; None while nothing is chosen."""
    channel = channels.find_account(tx, account.business_id, form.channel_account_id)
    if channel is None or not form.countries:
        return None
    facts = load_facts(tx, account, channel, normal_countries(form.countries))
    checks = eligibility(Goal.LEAD, facts)
    return {
        "allowed": all(result.passed for result in checks),
        "checks": [show_check(result) for result in checks],
        "capture_on": facts.capture_on,
    }


def capture_account(tx: Tx, caller: Caller, typed: Typed) -> dict[str, str] | None:
    """Return the capture prompt; None keeps it shut."""
    account = channels.find_account(tx, caller.business_id, typed.form.channel_account_id)
    if account is None or not typed.prompt:
        return None
    switch = switches.find_switch(tx, caller.business_id, account.id)
    company = {name: getattr(switch, name) if switch else "" for name in CAPTURE_FIELDS}
    shown = {name: typed.capture.get(name) or company[name] for name in CAPTURE_FIELDS}
    state = "off" if switch else "not_applied"
    return {"id": account.id, "display_name": account.name, "state": state, **shown}


def country_groups(words: Translator) -> list[tuple[str, list[dict[str, Any]]]]:
    return [
        (
            region,
            [{"code": code, "name": words.country(code), "lead_ok": code in LEAD_MARKETS} for code in codes],
        )
        for region, codes in countries_by_region()
    ]


def folded(form: AdGroupForm, choices: Mapping[str, Any], words: Translator) -> dict[str, list[str]]:
    """Summarise each folded part of the form in short pieces; empty where nothing was chosen."""
    audiences = [(one["id"], one["name"]) for one in choices["audiences"]]
    interests = [(key, words.gettext(interest)) for key, interest in targeting.INTERESTS.items()]
    return {
        "people": [
            *_names(choices["languages"], form.languages),
            *_names(choices["ages"], form.age_groups),
            *_names(interests, form.interest_category_ids),
        ],
        "audiences": [
            *(f"+ {name}" for name in _names(audiences, form.audience_ids)),
            *(f"− {name}" for name in _names(audiences, form.excluded_audience_ids)),
        ],
        "schedule": [
            *_dated(words.gettext("From"), form.starts_on, form.starts_time),
            *_dated(words.gettext("Until"), form.ends_on, form.ends_time),
        ],
        "frequency": [
            *_labelled(words.gettext("Impressions per person:"), form.frequency),
            *_labelled(words.gettext("Days:"), form.frequency_schedule),
        ],
        "instant": _names(choices["forms"], (form.page_id,)),
    }


def _names(choices: Iterable[tuple[str, str]], chosen: Iterable[str]) -> list[str]:
    chosen_values = set(chosen)
    return [name for key, name in choices if key in chosen_values]


def _labelled(says: str, value: str) -> list[str]:
    return [f"{says} {value}"] if value else []


def _dated(says: str, day: str, at: str) -> list[str]:
    return [f"{says} {day} {at}".strip()] if day else []


router: Final = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Opened[F]:
    """A form as it is opened.

    Attributes:
        form: what stands in it.
        draft: what ``ads/_draft.html`` shows.
    """

    form: F
    draft: dict[str, Any]


def owner_of(caller: Caller) -> Owner:
    return caller.business_id, caller.subject_id


def open_form[F](tx: Tx, request: Request, caller: Caller, place: Place, blank: F) -> Opened[F]:
    """A form as it is opened: blank, with the offer of a draft if there is one; or the draft, if wanted."""
    draft = find_draft(tx, owner_of(caller), place)
    if draft is None:
        return Opened(blank, draft_view(place))
    goes_on = request.query_params.get("draft") == "continue"
    shown = draft_view(place, draft.saved_at, state="open" if goes_on else "offered")
    return Opened(form_of(draft) if goes_on else blank, shown)


def draft_view(place: Place, saved_at: datetime | None = None, state: str = "none") -> dict[str, Any]:
    """Return the template's values of a draft; its ``state`` is none, offered or open."""
    kind, parent = place
    return {"path": f"/ads/drafts/{kind}/{parent}", "saved_at": saved_at, "state": state}


@router.put("/ads/drafts/{kind}/{parent}")
async def put_draft(request: Request, caller: FormCaller, kind: NodeKind, parent: str) -> JSONResponse:
    """Keep what stands in a form; often, and for its writer alone, so the audit log has nothing of it."""
    require(caller, Permission.WRITE_ADS)
    place = (kind, number_of(parent))
    form = read_form(FORMS[kind], (await request.form(max_files=0)).multi_items())
    draft = await context_of(request).db.write(lambda tx: keep_draft(tx, owner_of(caller), place, form))
    return JSONResponse({"saved_at": draft.saved_at.isoformat()})


@router.post("/ads/drafts/{kind}/{parent}/discard")
async def post_draft_away(
    request: Request,
    caller: FormCaller,
    kind: NodeKind,
    parent: str,
    back: Annotated[Literal["form", "list"], Form()] = "form",
) -> RedirectResponse:
    """Throw a draft away and show the blank form, or the list where it stood."""
    require(caller, Permission.WRITE_ADS)
    place = (kind, number_of(parent))

    def work(tx: Tx) -> None:
        check_place(tx, owner_of(caller), place)
        drop_draft(tx, owner_of(caller), place)

    await context_of(request).db.write(work)
    return RedirectResponse("/ads" if back == "list" else new_form_path(*place), 303)


@router.get("/ads/campaigns/{number}/ad-groups/new")
async def show_ad_group_form(request: Request, caller: PageCaller, number: str) -> HTMLResponse:
    require(caller, Permission.WRITE_ADS)
    return await _ad_group_form(request, caller, number, None)


@router.get("/ads/campaigns/{number}/eligibility")
async def show_eligibility(request: Request, caller: PageCaller, number: str) -> HTMLResponse:
    """The three checks for what is chosen at this moment."""
    require(caller, Permission.READ_ADS)
    context = context_of(request)
    form = read_form(AdGroupForm, request.query_params.multi_items())

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
    form = read_form(AdGroupForm, sent.multi_items())
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
        ad_group = _make_ad_group(tx, form, campaign, account, words.lang)
        drop_draft(tx, owner_of(caller), (NodeKind.AD_GROUP, campaign.number))
        return ad_group

    try:
        new_group = await context_of(request).db.write(work)
    except Refused as refused:
        if refused.code is errors.NOT_FOUND:
            raise
        if refused.code is errors.CAPTURE_IN_REVIEW:
            await context_of(request).db.write(apply)  # the refusal took the application back with it
        wrong = field_errors(refused, words)
        typed = _after(refused, wrong, Typed(form, capture=company), turn_on=turn_on)
        return await _ad_group_form(request, caller, number, typed)
    return RedirectResponse(f"/ads/ad-groups/{new_group.number}/ads/new", 303)


def _after(refused: Refused, wrong: dict[str, str], typed: Typed, *, turn_on: bool) -> Typed:
    """Return the form after a refusal: with the prompt, an error in it, or an error in the form."""
    if refused.code is errors.CAPTURE_OFF:
        return replace(typed, prompt=True)
    if any(problem.code is errors.CAPTURE_OFF for problem in refused.others):
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
    money = faults.read(lambda: read_money(form, account.currency, lang), usual_money)
    if money.budget_mode is BudgetMode.INFINITE and campaign.budget_micros is None:
        says = N_("budget_mode: the campaign has no budget, so this ad group needs one.")
        faults.note(Refused(errors.INVALID, says))
    starts_at, ends_at = faults.read(lambda: read_times(form, account.timezone), (None, None))
    frequency, schedule = faults.read(lambda: read_frequency(form, lang), (None, None))
    click, view = faults.read(lambda: read_windows(form), (None, None))
    return replace(
        usual,
        goal=faults.read(lambda: read_goal(form), usual.goal),
        countries=normal_countries(form.countries),
        channel_account_id=form.channel_account_id or None,
        budget_mode=money.budget_mode,
        budget_micros=money.budget_micros,
        bid_type=money.bid_type,
        bid_micros=money.bid_micros,
        pacing=faults.read(lambda: read_pacing(form), usual.pacing),
        starts_at=starts_at,
        ends_at=ends_at,
        click_window=click,
        view_window=view,
        page_id=form.page_id,
        targeting=read_targeting(form),
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
        opened = open_form(tx, request, caller, place, new_ad_group_form(account.currency, words.lang))
        shown = typed or Typed(opened.form)
        accounts = channels.list_accounts(tx, caller.business_id)
        if not shown.form.channel_account_id and accounts:
            shown = replace(shown, form=replace(shown.form, channel_account_id=accounts[0].id))
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
