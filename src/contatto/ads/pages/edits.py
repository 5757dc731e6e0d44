"""The forms of what is there already: a campaign, an ad group, an ad; nobody writes over an unseen change."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from fastapi import APIRouter
from fastapi import Request
from starlette.responses import HTMLResponse, Response

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import AdAccount, Caller, Permission
from contatto.accounts.rules import require
from contatto.ads import store
from contatto.ads.actions.edits import Edit, edit_ad, edit_ad_group, edit_campaign, shown_ad_group
from contatto.ads.actions.nodes import find_node
from contatto.ads.actions.publishing import find_channel, load_ad_account
from contatto.ads.model import Ad, AdGroup, BudgetMode, Campaign, NodeKind, Place
from contatto.ads.pages.ad_groups import (
    BUDGET_MODES,
    country_groups,
    eligibility_of,
    folded,
    load_choices,
)
from contatto.ads.pages.views import (
    back_to_tree,
    check_choice,
    field_errors,
    form_choices,
    leaps_of,
    show_first_messages,
    typist_of,
)
from contatto.ads.rules.settings import least_budget_micros
from contatto.ads.rules.typed import FORMS, AdGroupForm, read_form, typed_ad, typed_ad_group, typed_campaign
from contatto.kit import errors
from contatto.kit.api_types import number_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_, Translator, translator_of
from contatto.kit.timestamps import from_micros, micros
from contatto.ui.context import context_of

TEMPLATES: Final = {
    NodeKind.CAMPAIGN: "ads/campaign_edit.html",
    NodeKind.AD_GROUP: "ads/ad_group_form.html",
    NodeKind.AD: "ads/ad_new.html",
}
_MEASURED: Final = N_(
    "It decides how conversions are counted. After a change, results could not be compared."
)
_PAID: Final = N_("Past spend was counted with it.")
_HOME: Final = N_("Past impressions and spend belong to it.")


@dataclass(frozen=True, slots=True)
class _Sent:
    """Sent edit with its errors; ``seen`` is the last change that its writer saw."""

    form: Any
    seen: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)
    leaps: Mapping[str, str] = field(default_factory=dict)
    is_conflict: bool = False


@router.get("/ads/{kind}/{number}/edit")
async def show_edit(request: Request, caller: PageCaller, kind: NodeKind, number: str) -> HTMLResponse:
    require(caller, Permission.WRITE_ADS)
    return await _edit_form(request, caller, (kind, number_of(number)), None)


@router.post("/ads/{kind}/{number}/edit")
async def post_edit(request: Request, caller: FormCaller, kind: NodeKind, number: str) -> Response:
    """Change what the form changed; the second of two editors is told, and nothing is written over."""
    require(caller, Permission.WRITE_ADS)
    sent = await request.form(max_files=0)
    form: Any = read_form(FORMS[kind], sent.multi_items())
    seen_version = str(sent.get("seen", ""))
    place, over = (kind, number_of(number)), str(sent.get("over", ""))
    needs_review = context_of(request).settings.needs_ad_review
    typist = typist_of(request, sent)

    def work(tx: Tx) -> Campaign | AdGroup | Ad:
        node = find_node(tx, caller.business_id, place)
        account = load_ad_account(tx, caller.business_id, node.ad_account_id)
        edit: Edit[Any] = Edit(form, typist, _read_seen(over or seen_version))
        if not isinstance(node, Campaign) and form.page_id != node.page_id:
            check_choice(tx, caller.business_id, form.page_id)
        if isinstance(node, Campaign):
            return edit_campaign(tx, account, node, edit)
        if isinstance(node, AdGroup):
            return edit_ad_group(tx, account, node, edit)
        return edit_ad(tx, account, node, edit, needs_review=needs_review)

    try:
        await context_of(request).db.write(work)
    except Refused as refused:
        if refused.code is errors.NOT_FOUND:
            raise
        is_conflict = refused.code is errors.CONFLICT
        wrong = {} if is_conflict else field_errors(refused, typist.words)
        shown = _Sent(form, seen_version, wrong, leaps_of(refused), is_conflict)
        return await _edit_form(request, caller, place, shown)
    return back_to_tree("", *place)


def _read_seen(text: str) -> datetime:
    """The time of the change that the writer has seen.

    Raises:
        Refused: CONFLICT, for a form that does not say.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 18):
        raise Refused(errors.CONFLICT)
    return from_micros(int(text))


async def _edit_form(request: Request, caller: Caller, place: Place, edit: _Sent | None) -> HTMLResponse:
    """The form as it was sent, or with what is there."""
    context, words = context_of(request), translator_of(request)

    def work(tx: Tx) -> dict[str, Any]:
        node = find_node(tx, caller.business_id, place)
        account = load_ad_account(tx, caller.business_id, node.ad_account_id)
        if isinstance(node, Campaign):
            values = _of_campaign((node, account), edit, words)
        elif isinstance(node, AdGroup):
            values = _of_ad_group(tx, (node, account), edit, words)
        else:
            values = _of_ad(tx, (node, account), edit)
        now = str(micros(node.updated_at))
        values["edited"] = {
            "name": node.name,
            "path": f"/ads/{place[0]}/{node.number}/edit",
            "row": f"/ads#{place[0]}-{node.number}",
            "seen": edit.seen if edit else now,
            "now": now,
            "changed_at": node.updated_at,
            "is_conflict": edit is not None and edit.is_conflict,
            "frozen": values.pop("frozen"),
        }
        return values

    values = {
        "caller": caller,
        "errors": edit.errors if edit else {},
        "leaps": edit.leaps if edit else {},
        **await context.db.read(work),
    }
    status = 200 if edit is None else 409 if edit.is_conflict else 422
    return context.pages.render(request, TEMPLATES[place[0]], values, status)


def _of_campaign(places: tuple[Campaign, AdAccount], edit: _Sent | None, words: Translator) -> dict[str, Any]:
    node, account = places
    return {
        "form": asdict(edit.form if edit else typed_campaign(node, account.currency, words.lang)),
        "currency": account.currency,
        "least_micros": least_budget_micros(account.currency),
        "has_budget": node.budget_mode is not BudgetMode.INFINITE,
        "frozen": [
            (N_("Ad account"), account.name, _HOME),
            (N_("Budget type"), words.gettext(BUDGET_MODES[node.budget_mode]), _PAID),
        ],
    }


def _of_ad_group(
    tx: Tx, places: tuple[AdGroup, AdAccount], edit: _Sent | None, words: Translator
) -> dict[str, Any]:
    node, account = places
    campaign = store.load_campaigns(tx, node.business_id, {node.campaign_id})[node.campaign_id]
    channel = find_channel(tx, node.business_id, node.channel_account_id)
    shown = edit.form if edit else shown_ad_group(tx, account, node, words.lang)
    whole = typed_ad_group(node, account, words.lang)
    has_begun = node.starts_at <= tx.now
    choices = load_choices(tx, campaign, account)
    checked = _frozen_in(shown, whole)
    frozen = [
        (N_("Channel account"), channel.name, _HOME),
        (N_("Goal"), words.gettext(N_("Lead") if whole.goal == "lead" else N_("Conversation")), _MEASURED),
        (N_("Budget type"), words.gettext(BUDGET_MODES[node.budget_mode]), _PAID),
        (N_("Attribution windows"), _windows(whole, words), _MEASURED),
    ]
    if has_begun:
        frozen.append(
            (
                N_("First day"),
                f"{whole.starts_on} {whole.starts_time}",
                N_("This date has passed and cannot change."),
            )
        )
    return choices | {
        "form": asdict(checked),
        "country_groups": country_groups(words),
        "folded": folded(checked, choices, words),
        "eligibility": eligibility_of(tx, account, checked),
        "capture_account": None,
        "capture_errors": {},
        "has_begun": has_begun,
        "frozen": frozen,
    }


def _frozen_in(shown: AdGroupForm, whole: AdGroupForm) -> AdGroupForm:
    """Return the typed form with its frozen fields, which browsers do not send."""
    frozen = ("channel_account_id", "goal", "budget_mode", "click_window_days", "view_window_days")
    return replace(shown, **{name: getattr(whole, name) for name in frozen})


def _windows(whole: AdGroupForm, words: Translator) -> str:
    click, view = int(whole.click_window_days), int(whole.view_window_days)
    shown = words.plural("%(num)s-day click", "%(num)s-day click", click) % {"num": click}
    if not view:
        return shown
    return f"{shown}, {words.plural('%(num)s-day view', '%(num)s-day view', view) % {'num': view}}"


def _of_ad(tx: Tx, places: tuple[Ad, AdAccount], edit: _Sent | None) -> dict[str, Any]:
    node, account = places
    group = store.load_ad_groups(tx, node.business_id, {node.ad_group_id})[node.ad_group_id]
    campaign = store.load_campaigns(tx, node.business_id, {node.campaign_id})[node.campaign_id]
    channel = find_channel(tx, node.business_id, node.channel_account_id)
    forms = form_choices(tx, node.business_id)
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
        **show_first_messages(tx, account),
        "form": asdict(edit.form if edit else typed_ad(node)),
        "frozen": [
            (N_("Ad group"), group.name, _HOME),
            (N_("Channel account"), channel.name, N_("The ad group's account is used.")),
        ],
    }
