"""Forms of campaigns, ad groups and ads, and their drafts."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

from fastapi import Form
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from contatto.accounts import store as accounts
from contatto.accounts.auth import FormCaller, load_advertiser, page_routes
from contatto.accounts.model import AdAccount, Caller, Permission
from contatto.ads import store
from contatto.ads.actions import campaigns as actions
from contatto.ads.actions.edits import Owner, check_place, choose_first_message, form_of, keep_draft
from contatto.ads.model import Ad, AdGroup, BudgetMode, Campaign, Money, NodeKind, Pacing, Place, targeting_of
from contatto.ads.rules import settings, tree
from contatto.audiences.model import AudienceKind
from contatto.audiences.rules import span_of
from contatto.audiences.store import count_members, list_audiences, list_lookalikes
from contatto.capture import actions as capture
from contatto.capture import store as switches
from contatto.capture.actions import CompanyData
from contatto.channels import store as channels
from contatto.channels.model import ChannelAccount
from contatto.forms.store import list_versions
from contatto.kit import errors
from contatto.kit.api_types import number_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused, check_found
from contatto.kit.form_fields import Faults, Leap, Typist, split_fault
from contatto.kit.i18n import N_
from contatto.kit.languages import Translator
from contatto.kit.values import brand_of, read_pairs
from contatto.measurement.model import Goal
from contatto.ui.render import translator_of
from contatto.ui.requests import context_of

MOST_PAIRS: Final = 400
"""Query parameters that a link back to the list of campaigns keeps."""
AUDIT_KEYS: Final = {NodeKind.CAMPAIGN: "campaign_id", NodeKind.AD_GROUP: "adgroup_id", NodeKind.AD: "ad_id"}
"""Names of the ids of each level in the audit log."""
_FORM_FIELDS: Final = {
    "campaign_name": "name",
    "custom_audience_name": "name",
    "adgroup_name": "name",
    "ad_name": "name",
    "identity_id": "channel_account_id",
    "location_ids": "countries",
    "conversion_bid_price": "bid",
    "schedule_start_time": "starts_on",
    "schedule_end_time": "ends_on",
    "click_attribution_window": "click_window_days",
    "view_attribution_window": "view_window_days",
}


def tree_href(query: str, kind: NodeKind | None = None, number: int = 0) -> str:
    """Return the address of the list of campaigns with its filter, at the changed row if there is one."""
    pairs = read_pairs(query, MOST_PAIRS)
    return ("/ads?" + urlencode(pairs) if pairs else "/ads") + (f"#{kind}-{number}" if kind else "")


def form_choices(tx: Tx, business_id: str) -> list[tuple[str, str]]:
    """List published forms to choose for an ad, by ``page_id``; those published last come first."""
    return [
        (str(version.number), f"{version.name} · version {version.version}")
        for version in list_versions(tx, business_id)
    ]


def field_errors(refused: Refused, words: Translator) -> dict[str, str]:
    """Map a refusal to errors by form field; the key ``""`` has the error of the whole form."""
    errors_by_field: dict[str, str] = {}
    for problem in (refused, *refused.others):
        if problem.code is errors.NOT_ELIGIBLE:
            says = words.gettext("The goal Lead is not available with these choices. See which check fails.")
            errors_by_field.setdefault("goal", says)
            continue
        field, says = split_fault(problem, words)
        errors_by_field.setdefault(_FORM_FIELDS.get(field, field), says)
    return errors_by_field


def leaps_of(refused: Refused) -> dict[str, str]:
    """Return the ``sure`` values that confirm refused tenfold changes of amounts, by field."""
    problems = (refused, *refused.others)
    return {_FORM_FIELDS.get(leap.field, leap.field): leap.key for leap in problems if isinstance(leap, Leap)}


def typist_of(request: Request, sent: FormData) -> Typist:
    """Return the language of a form's numbers, and the tenfold changes of amounts that it confirms."""
    sure = frozenset(str(value) for value in sent.getlist("sure"))
    return Typist(translator_of(request), sure)


CAPTURE_FIELDS: Final = ("company_name", "company_site", "privacy_policy_url")
BUDGET_MODES: Final = {
    BudgetMode.DYNAMIC_DAY: N_("Daily, on average"),
    BudgetMode.DAY: N_("Daily maximum"),
    BudgetMode.TOTAL: N_("Lifetime"),
    BudgetMode.INFINITE: N_("No own budget"),
}
PACINGS: Final = {Pacing.SMOOTH: N_("Evenly over the day"), Pacing.FAST: N_("As fast as possible")}
KINDS: Final = {
    AudienceKind.CUSTOMER_FILE: N_("List of customers"),
    AudienceKind.LOOKALIKE: N_("Lookalike"),
    AudienceKind.RULE: N_("Based on activity"),
}


@dataclass(frozen=True, slots=True)
class Typed:
    """Submitted ad group form with its errors; ``prompt`` opens the dialog of capture."""

    form: tree.AdGroupForm
    errors: Mapping[str, str] = field(default_factory=dict)
    capture: Mapping[str, str] = field(default_factory=dict)
    capture_errors: Mapping[str, str] = field(default_factory=dict)
    prompt: bool = False


def ad_group_form_values(
    tx: Tx, campaign: Campaign, account: AdAccount, form: tree.AdGroupForm, words: Translator
) -> dict[str, Any]:
    """Return the values and the choices of an ad group's form."""
    audiences = list_audiences(tx, account.business_id, account.id)
    channel_accounts = channels.list_accounts(tx, account.business_id)
    names = tree.distinguish_names(
        [
            (channel.name, f"{brand_of(channel.platform.value)} {channel.handle or channel.external_id}")
            for channel in channel_accounts
        ]
    )
    members = count_members(tx, account.business_id, [audience.id for audience in audiences])
    searched = list_lookalikes(tx, account.business_id, [audience.id for audience in audiences])
    modes = [mode for mode in BUDGET_MODES if mode is not BudgetMode.INFINITE or campaign.budget_micros]
    choices: dict[str, Any] = {
        "campaign": {
            "id": str(campaign.number),
            "name": campaign.name,
            "ad_account_name": account.name,
            "currency": account.currency,
            "timezone": account.timezone,
            "least_micros": settings.least_budget_micros(account.currency),
        },
        "channel_accounts": [
            {"id": channel.id, "display_name": name, "country": channel.registration_country}
            for channel, name in zip(channel_accounts, names, strict=True)
        ],
        "forms": form_choices(tx, account.business_id),
        "audiences": [
            {
                "id": str(audience.number),
                "name": audience.name,
                "kind": KINDS[audience.kind],
                "members": members.get(audience.id, 0),
                "lift": searched[audience.id].lift if audience.id in searched else None,
                "span": span_of(searched.get(audience.id)),
            }
            for audience in audiences
        ],
        "languages": list(settings.LANGUAGES.items()),
        "ages": [(group.value, name) for group, name in settings.AGES.items()],
        "interests": list(settings.INTERESTS.items()),
        "budget_modes": [(mode.value, BUDGET_MODES[mode]) for mode in modes],
        "pacings": [(mode.value, says) for mode, says in PACINGS.items()],
    }
    named_audiences = [(audience["id"], audience["name"]) for audience in choices["audiences"]]
    interests = [(key, words.gettext(interest)) for key, interest in settings.INTERESTS.items()]
    # summaries of the collapsed sections
    folded = {
        "people": [
            *_names(choices["languages"], form.languages),
            *_names(choices["ages"], form.age_groups),
            *_names(interests, form.interest_category_ids),
        ],
        "audiences": [
            *(f"+ {name}" for name in _names(named_audiences, form.audience_ids)),
            *(f"− {name}" for name in _names(named_audiences, form.excluded_audience_ids)),
        ],
        "schedule": [
            f"{says} {day} {at}".strip()
            for says, day, at in (
                (words.gettext("From"), form.starts_on, form.starts_time),
                (words.gettext("Until"), form.ends_on, form.ends_time),
            )
            if day
        ],
        "frequency": [
            f"{says} {value}"
            for says, value in (
                (words.gettext("Impressions per person:"), form.frequency),
                (words.gettext("Days:"), form.frequency_schedule),
            )
            if value
        ],
        "instant": _names(choices["forms"], (form.page_id,)),
    }
    return choices | {
        "form": asdict(form),
        "country_groups": settings.countries_by_region(),
        "lead_markets": settings.LEAD_MARKETS,
        "folded": folded,
        "eligibility": eligibility_of(tx, account, form),
    }


def eligibility_of(tx: Tx, account: AdAccount, form: tree.AdGroupForm) -> dict[str, Any] | None:
    """Return the eligibility panel of the goal Lead; None while nothing is chosen."""
    channel = channels.find_account(tx, account.business_id, form.channel_account_id)
    if channel is None or not form.countries:
        return None
    facts = actions.load_facts(tx, account, channel, settings.normal_countries(form.countries))
    checks = settings.eligibility(Goal.LEAD, facts)
    return {
        "allowed": not any(result.failing for result in checks),
        "checks": [
            {
                "key": result.check,
                "ok": not result.failing,
                "countries": list(result.countries),
                "failing": list(result.failing),
            }
            for result in checks
        ],
        "capture_on": facts.capture_on,
    }


def _names(choices: Iterable[tuple[str, str]], chosen: Iterable[str]) -> list[str]:
    chosen_values = set(chosen)
    return [name for key, name in choices if key in chosen_values]


router: Final = page_routes()


def owner_of(caller: Caller) -> Owner:
    return caller.business_id, caller.subject_id


def open_form[F](
    tx: Tx, request: Request, caller: Caller, place: Place, blank: F, typed: F | None = None
) -> tuple[F, dict[str, Any]]:
    """Return the form to show, and the state of its draft for ``ads/_draft.html``.

    The form has the submitted values ``typed``; else those of the draft, if requested; else it is ``blank``.
    """
    kind, parent = place
    draft = store.find_draft(tx, *owner_of(caller), place) if typed is None else None
    is_open = draft is not None and request.query_params.get("draft") == "continue"
    form = form_of(draft) if draft and is_open else typed or blank
    shown_draft = {
        "path": f"/ads/drafts/{kind}/{parent}",
        "saved_at": draft and draft.saved_at,
        "state": "none" if draft is None else "open" if is_open else "offered",
    }
    return form, shown_draft


async def put_draft(request: Request, caller: FormCaller, kind: NodeKind, parent: str) -> JSONResponse:
    """Save the values of a form as a draft; browsers do so often, so the audit log omits it."""
    place = (kind, number_of(parent))
    form = tree.read_form(tree.FORMS[kind], (await request.form(max_files=0)).multi_items())
    draft = await context_of(request).db.write(lambda tx: keep_draft(tx, owner_of(caller), place, form))
    return JSONResponse({"saved_at": draft.saved_at.isoformat()})


router.add("PUT", "/ads/drafts/{kind}/{parent}", put_draft, Permission.WRITE_ADS)


@router.form("/ads/drafts/{kind}/{parent}/discard", Permission.WRITE_ADS)
def post_draft_away(
    tx: Tx,
    request: Request,
    caller: Caller,
    kind: NodeKind,
    parent: str,
    back: Annotated[Literal["form", "list"], Form()] = "form",
) -> str:
    """Delete a draft, and redirect to the blank form or to the list of campaigns."""
    place = (kind, number_of(parent))
    check_place(tx, owner_of(caller), place)
    store.delete_draft(tx, *owner_of(caller), place)
    return "/ads" if back == "list" else tree.NEW_FORM_PATHS[kind].format(place[1])


@router.page("/ads/campaigns/{number}/eligibility", Permission.READ_ADS, "ads/_eligibility.html")
def show_eligibility(tx: Tx, request: Request, caller: Caller, number: str) -> dict[str, Any]:
    """Return the three checks for the chosen countries and account."""
    form = tree.read_form(tree.AdGroupForm, request.query_params.multi_items())
    return {"eligibility": eligibility_of(tx, _load_campaign(tx, caller, number)[1], form)}


@router.post("/ads/campaigns/{number}/ad-groups", Permission.WRITE_ADS)
async def post_ad_group(request: Request, caller: FormCaller, number: str) -> Response:
    """Make an ad group; if its goal needs capture, offer to turn it on, and then do both in one step."""
    sent = await request.form(max_files=0)
    form = tree.read_form(tree.AdGroupForm, sent.multi_items())
    company = {name: str(sent.get(name, "")) for name in CAPTURE_FIELDS}
    turn_on = sent.get("turn_on_capture") == "1"
    needs_review = context_of(request).settings.capture_review == "operator"
    words = translator_of(request)

    def work(tx: Tx) -> AdGroup:
        campaign, account = _load_campaign(tx, caller, number)
        if turn_on:
            channel = actions.find_channel(tx, caller.business_id, form.channel_account_id)
            switch = capture.turn_on_capture(
                tx, caller.business_id, channel.id, CompanyData(**company), needs_review=needs_review
            )
            if not switch.is_on:
                raise Refused(errors.CAPTURE_IN_REVIEW)
        faults = Faults()
        # An unreadable field is among the faults and gets its default value.
        defaults = actions.NewAdGroup(campaign.id, form.name, Goal.CONVERSATION, ())
        least_micros = settings.least_budget_micros(account.currency)
        default_money = Money(defaults.budget_mode, least_micros, defaults.bid_type, None)
        money = faults.read(lambda: tree.read_money(form, account.currency, words.lang), default_money)
        if money.budget_mode is BudgetMode.INFINITE and campaign.budget_micros is None:
            problem = N_("budget_mode: the campaign has no budget, so this ad group needs one.")
            faults.note(Refused(errors.INVALID, problem))
        starts_at, ends_at = faults.read(lambda: tree.read_times(form, account.timezone), (None, None))
        frequency, schedule = faults.read(lambda: tree.read_frequency(form, words.lang), (None, None))
        click = faults.read(lambda: tree.read_choice(form, "click_window_days"), None)
        view = faults.read(lambda: tree.read_choice(form, "view_window_days"), None)
        new = replace(
            defaults,
            goal=faults.read(lambda: tree.read_goal(form), defaults.goal),
            countries=settings.normal_countries(form.countries),
            channel_account_id=form.channel_account_id or None,
            budget_mode=money.budget_mode,
            budget_micros=money.budget_micros,
            bid_type=money.bid_type,
            bid_micros=money.bid_micros,
            pacing=faults.read(lambda: tree.read_choice(form, "pacing"), defaults.pacing),
            starts_at=starts_at,
            ends_at=ends_at,
            click_window=click,
            view_window=view,
            page_id=form.page_id,
            targeting=targeting_of(form),
            frequency=frequency,
            frequency_schedule=schedule,
        )
        ad_group = faults.finish(lambda: actions.create_ad_group(tx, account.business_id, new))
        store.delete_draft(tx, *owner_of(caller), (NodeKind.AD_GROUP, campaign.number))
        return ad_group

    try:
        new_group = await context_of(request).db.write(work)
    except Refused as refused:
        if refused.code is errors.NOT_FOUND:
            raise
        if refused.code is errors.CAPTURE_IN_REVIEW:
            # the refusal rolled the application back
            await context_of(request).db.write(
                lambda tx: capture.save_company_data(
                    tx,
                    caller.business_id,
                    actions.find_channel(tx, caller.business_id, form.channel_account_id).id,
                    CompanyData(**company),
                    needs_review=needs_review,
                )
            )
        wrong = field_errors(refused, words)
        if any(problem.code is errors.CAPTURE_OFF for problem in refused.others):
            wrong.pop("", None)  # its prompt comes when the rest fits
        typed = Typed(form, wrong, company)
        if refused.code is errors.CAPTURE_OFF:
            typed = Typed(form, capture=company, prompt=True)
        elif turn_on and set(wrong) <= set(CAPTURE_FIELDS):
            typed = Typed(form, capture=company, capture_errors=wrong, prompt=True)
        status = WRONG if typed.errors or typed.prompt else 200
        return await show_ad_group_form.show(request, caller, status=status, number=number, typed=typed)
    return RedirectResponse(f"/ads/ad-groups/{new_group.number}/ads/new", 303)


def _load_campaign(tx: Tx, caller: Caller, number: str) -> tuple[Campaign, AdAccount]:
    campaign = check_found(store.find_node(tx, Campaign, caller.business_id, number=number_of(number)))
    return campaign, actions.load_ad_account(tx, caller.business_id, campaign.ad_account_id)


@router.page("/ads/campaigns/{number}/ad-groups/new", Permission.WRITE_ADS, "ads/ad_group_form.html")
def show_ad_group_form(
    tx: Tx, request: Request, caller: Caller, number: str, *, typed: Typed | None = None
) -> dict[str, Any]:
    """Render the form with the submitted values, those of a draft, or the defaults."""
    words = translator_of(request)
    campaign, account = _load_campaign(tx, caller, number)
    place = (NodeKind.AD_GROUP, campaign.number)
    blank = tree.new_ad_group_form(account.currency, words.lang)
    form, draft = open_form(tx, request, caller, place, blank, typed.form if typed else None)
    shown = typed or Typed(form)
    channel_accounts = channels.list_accounts(tx, caller.business_id)
    if not shown.form.channel_account_id and channel_accounts:
        shown = replace(shown, form=replace(shown.form, channel_account_id=channel_accounts[0].id))
    # the dialog that turns capture on; None keeps it closed
    channel = channels.find_account(tx, caller.business_id, shown.form.channel_account_id)
    capture_account = None
    if channel is not None and shown.prompt:
        switch = switches.find_switch(tx, caller.business_id, channel.id)
        state = "off" if switch else "not_applied"
        capture_account = {"id": channel.id, "display_name": channel.name, "state": state}
        for name in CAPTURE_FIELDS:
            capture_account[name] = shown.capture.get(name) or (getattr(switch, name) if switch else "")
    return ad_group_form_values(tx, campaign, account, shown.form, words) | {
        "edited": None,
        "leaps": {},
        "draft": draft,
        "errors": shown.errors,
        "capture_errors": shown.capture_errors,
        "capture_account": capture_account,
    }


type Text = Annotated[str, Form()]
WRONG: Final = 422
NEW_CAMPAIGN: Final = (NodeKind.CAMPAIGN, 0)
"""Key of the draft of a new campaign."""


@router.post("/ads/campaigns", Permission.WRITE_ADS)
async def post_campaign(
    request: Request, caller: FormCaller, advertiser_id: Text = "", name: Text = ""
) -> Response:
    """Make a campaign and go on to its first ad group."""

    def work(tx: Tx) -> Campaign:
        account = load_advertiser(tx, caller, number_of(advertiser_id))
        store.delete_draft(tx, *owner_of(caller), NEW_CAMPAIGN)
        return actions.create_campaign(tx, caller.business_id, actions.NewCampaign(account.id, name))

    try:
        campaign = await context_of(request).db.write(work)
    except Refused as refused:
        typed = tree.CampaignForm(advertiser_id, name)
        wrong = field_errors(refused, translator_of(request))
        return await show_campaign_form.show(request, caller, status=WRONG, typed=typed, wrong=wrong)
    return RedirectResponse(f"/ads/campaigns/{campaign.number}/ad-groups/new", 303)


@router.page("/ads/campaigns/new", Permission.WRITE_ADS, "ads/campaign_new.html")
def show_campaign_form(
    tx: Tx,
    request: Request,
    caller: Caller,
    *,
    typed: tree.CampaignForm | None = None,
    wrong: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    ad_accounts = accounts.list_ad_accounts(tx, caller.business_id)
    form, draft = open_form(tx, request, caller, NEW_CAMPAIGN, tree.CampaignForm(), typed)
    return {
        "errors": wrong or {},
        "form": asdict(form),
        "draft": draft,
        "ad_accounts": [
            {
                "advertiser_id": str(account.number),
                "name": account.name,
                "country": account.country,
                "currency": account.currency,
            }
            for account in ad_accounts
        ],
    }


@router.post("/ads/ad-groups/{number}/ads", Permission.WRITE_ADS)
async def post_ad(request: Request, caller: FormCaller, number: str) -> Response:
    """Make an ad and show it as a feed would."""
    needs_review = context_of(request).settings.needs_ad_review
    typed = tree.read_form(tree.AdForm, (await request.form(max_files=0)).multi_items())

    def work(tx: Tx) -> Ad:
        group = check_found(store.find_node(tx, AdGroup, caller.business_id, number=number_of(number)))
        faults = Faults()
        headline = faults.read(lambda: tree.need_headline(typed), "")
        faults.read(lambda: actions.check_form(tx, caller.business_id, typed.page_id), None)
        account = actions.load_ad_account(tx, caller.business_id, group.ad_account_id)
        first = faults.read(lambda: choose_first_message(tx, account, typed), "")
        new = actions.NewAd(
            group.id, typed.name, typed.body, headline, page_id=typed.page_id, auto_message_id=first
        )
        ad = faults.finish(lambda: actions.create_ad(tx, caller.business_id, new, needs_review=needs_review))
        store.delete_draft(tx, *owner_of(caller), (NodeKind.AD, group.number))
        return ad

    try:
        ad = await context_of(request).db.write(work)
    except Refused as refused:
        if refused.code is errors.NOT_FOUND:
            raise
        wrong = field_errors(refused, translator_of(request))
        form: dict[str, Any] = {"number": number, "typed": typed, "wrong": wrong}
        return await show_ad_form.show(request, caller, status=WRONG, **form)
    return RedirectResponse(f"/ads/{ad.number}/preview", 303)


@router.page("/ads/ad-groups/{number}/ads/new", Permission.WRITE_ADS, "ads/ad_new.html")
def show_ad_form(
    tx: Tx,
    request: Request,
    caller: Caller,
    number: str,
    *,
    typed: tree.AdForm | None = None,
    wrong: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    group = check_found(store.find_node(tx, AdGroup, caller.business_id, number=number_of(number)))
    channel = actions.find_channel(tx, caller.business_id, group.channel_account_id)
    form, draft = open_form(tx, request, caller, (NodeKind.AD, group.number), tree.AdForm(), typed)
    values = {"errors": wrong or {}, "edited": None, "form": asdict(form), "draft": draft}
    return ad_form_values(tx, group, channel) | values


def ad_form_values(tx: Tx, group: AdGroup, channel: ChannelAccount) -> dict[str, Any]:
    """Return the ad group, the channel account and the choices of an ad's form."""
    campaign = store.load_nodes(tx, Campaign, group.business_id, {group.campaign_id})[group.campaign_id]
    forms = form_choices(tx, group.business_id)
    messages = store.list_welcome_messages(tx, group.business_id, group.ad_account_id)
    return {
        "ad_group": {
            "id": str(group.number),
            "name": group.name,
            "goal": group.goal,
            "campaign_name": campaign.name,
            "channel_account_id": channel.id,
            "channel_account_name": channel.name,
            "form": dict(forms).get(group.page_id, ""),
        },
        "forms": forms,
        "messages": [
            {
                "id": str(message.number),
                "title": message.title or message.content,
                "content": message.content,
                "questions": list(message.questions),
            }
            for message in messages
        ],
        "most_questions": settings.MOST_QUESTIONS,
    }
