"""Row actions of the ads tree, edit forms, preview, and ad accounts."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import Form, Request
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts import store as accounts
from contatto.accounts.actions import NewAdAccount, add_ad_account
from contatto.accounts.auth import FormCaller, PageCaller, Unsent, may, page_routes
from contatto.accounts.model import Access, Caller, Credential, Permission
from contatto.ads import store
from contatto.ads.actions.campaigns import find_channel, find_welcome, load_ad_account
from contatto.ads.actions.edits import (
    NodeEdit,
    copy_node,
    correct_advertiser,
    edit_node,
    is_counted,
    load_node,
    save_form,
    shown_form,
)
from contatto.ads.model import Ad, AdGroup, BudgetMode, Campaign, NodeKind, Place
from contatto.ads.pages.forms import (
    AUDIT_KEYS,
    BUDGET_MODES,
    ad_form_values,
    ad_group_form_values,
    field_errors,
    leaps_of,
    tree_href,
    typist_of,
)
from contatto.ads.rules import tree
from contatto.ads.rules.settings import least_budget_micros
from contatto.kit import errors
from contatto.kit.api_types import number_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused, check_found
from contatto.kit.form_fields import Typist, split_faults
from contatto.kit.i18n import N_
from contatto.kit.idempotency import IdempotencyKey, answer_once
from contatto.kit.languages import region_choices
from contatto.kit.values import from_micros, micros
from contatto.measurement.rules import TRACKING_KEY
from contatto.ui.render import translator_of
from contatto.ui.requests import context_of

router: Final = page_routes()


@router.post("/ads/{kind}/{number}/status", Permission.WRITE_ADS)
async def change_status(
    request: Request,
    caller: FormCaller,
    kind: NodeKind,
    number: str,
    status: Annotated[Literal["active", "paused"], Form()],
    query: Annotated[str, Form(max_length=8_000)] = "",
) -> RedirectResponse:
    """Start or pause a campaign, an ad group or an ad."""
    place = (kind, number_of(number))
    act = tree.Act.START if status == "active" else tree.Act.PAUSE
    typist = Typist(translator_of(request))
    await context_of(request).db.write(lambda tx: edit_node(tx, caller.business_id, place, act, "", typist))
    return RedirectResponse(tree_href(query, *place), 303)


@router.post("/ads/{kind}/{number}/copy", Permission.WRITE_ADS)
async def copy_row(
    request: Request,
    caller: FormCaller,
    kind: NodeKind,
    number: str,
    once: Annotated[str, Form(max_length=64)] = "",
    query: Annotated[str, Form(max_length=8_000)] = "",
) -> RedirectResponse:
    """Copy a campaign, an ad group or an ad with its children; a repeated form makes no second copy."""
    context, words, node_number = context_of(request), translator_of(request), number_of(number)
    key = IdempotencyKey(caller.business_id, f"ads/{kind}/{node_number}/copy", once)

    copy = partial(
        copy_node,
        business_id=caller.business_id,
        place=(kind, node_number),
        named=lambda name: words.gettext("Copy of %(name)s", name=name),
        needs_review=context.settings.needs_ad_review,
    )
    copied = await context.db.write(
        lambda tx: answer_once(tx, key, "", dict[str, str], lambda: {AUDIT_KEYS[kind]: str(copy(tx).number)})
    )
    return RedirectResponse(tree_href(query, kind, int(copied[AUDIT_KEYS[kind]])), 303)


@router.page("/ads/{number}/preview", Permission.READ_ADS, "ads/preview.html")
def show_preview(tx: Tx, request: Request, caller: Caller, number: str) -> dict[str, Any]:
    """Show an ad as a feed shows it; its button counts as a real tap."""
    context = context_of(request)
    ad = check_found(store.find_node(tx, Ad, caller.business_id, number=number_of(number)))
    group = store.load_nodes(tx, AdGroup, caller.business_id, {ad.ad_group_id})[ad.ad_group_id]
    campaign = store.load_nodes(tx, Campaign, caller.business_id, {ad.campaign_id})[ad.campaign_id]
    account = find_channel(tx, caller.business_id, ad.channel_account_id)
    welcome = find_welcome(tx, ad.business_id, ad.ad_account_id, ad.auto_message_id)
    return {
        "ad": {
            "id": str(ad.number),
            "name": ad.name,
            "status": ad.status,
            "headline": ad.headline,
            "body": ad.text or None,
            "chat_url": tree.chat_link(context.settings.base_url, ad, context.vault.signer(TRACKING_KEY)),
        },
        "account": {"display_name": account.name},
        "ad_group": {"id": str(group.number), "name": group.name, "goal": group.goal},
        "campaign": {"id": str(campaign.number), "name": campaign.name},
        "welcome": welcome.content if welcome else None,
        "questions": list(welcome.questions) if welcome else [],
    }


LEVELS: Final = {NodeKind.CAMPAIGN: N_("Campaign"), NodeKind.AD_GROUP: N_("Ad group"), NodeKind.AD: N_("Ad")}


@router.post("/ads/bulk/pause", Permission.WRITE_ADS)
@router.post("/ads/bulk/start", Permission.WRITE_ADS)
@router.post("/ads/bulk/delete", Permission.WRITE_ADS)
@router.post("/ads/bulk/budget", Permission.WRITE_ADS)
@router.post("/ads/bulk/bid", Permission.WRITE_ADS)
async def change_rows(request: Request, caller: FormCaller) -> HTMLResponse:
    """Apply the action in the path to the chosen rows, and show the result of each.

    Each row is a separate write with its own entry in the audit log. A refused row does not stop the others.
    """
    act = tree.Act(request.url.path.rpartition("/")[2])
    context, sent = context_of(request), await request.form(max_files=0)
    places = tree.read_places(str(value) for value in sent.getlist("rows"))
    amount, query = str(sent.get(act.value, ""))[:40], str(sent.get("query", ""))[:8_000]
    typist = typist_of(request, sent)

    def load_names(tx: Tx) -> dict[Place, str]:
        names: dict[Place, str] = {}
        for place in places:
            with suppress(Refused):  # its row will show the error
                names[place] = load_node(tx, caller.business_id, place).name
        return names

    def change(tx: Tx, place: Place) -> dict[str, str]:
        edit_node(tx, caller.business_id, place, act, amount, typist)
        return {AUDIT_KEYS[place[0]]: str(place[1])}

    names = await context.db.read(load_names)
    rows: list[dict[str, Any]] = []
    for place in places:
        row = {"is_done": True, "says": typist.words.gettext(tree.DONE[act]), "sure": ""}
        try:
            await context.db.write(partial(change, place=place))
        except Refused as refused:
            says = next(iter(field_errors(refused, typist.words).values()))
            row = {"is_done": False, "says": says, "sure": next(iter(leaps_of(refused).values()), "")}
        kind, number = place[0], str(place[1])
        rows.append(
            row | {"kind": kind, "level": LEVELS[kind], "number": number, "name": names.get(place, number)}
        )
    values = {
        "caller": caller,
        "act": act.value,
        "rows": rows,
        "done": sum(row["is_done"] for row in rows),
        "leaps": [row for row in rows if row["sure"]],
        "amount": amount,
        "query": query,
        "back": tree_href(query),
    }
    return context.pages.render(request, "ads/bulk.html", values)


ACCOUNTS_PATH = "/settings/ad-accounts"


class AdAccountForm(BaseModel):
    name: Annotated[str, Field(max_length=200)] = ""
    country: Annotated[str, Field(max_length=2)] = ""
    currency: Annotated[str, Field(max_length=3)] = ""
    timezone: Annotated[str, Field(max_length=64)] = ""


@router.post("/settings/ad-accounts", Permission.ADMINISTER)
async def post_ad_account(
    request: Request, caller: FormCaller, form: Annotated[AdAccountForm, Form()]
) -> Response:
    new = NewAdAccount(**form.model_dump())
    try:
        await context_of(request).db.write(lambda tx: add_ad_account(tx, caller.business_id, new))
    except Refused as refused:
        return await show_ad_accounts.show(request, caller, refused, typed=form)
    return RedirectResponse(ACCOUNTS_PATH, 303)


@router.post("/settings/ad-accounts/{ad_account_id}", Permission.ADMINISTER)
async def post_correction(
    request: Request, caller: FormCaller, ad_account_id: str, form: Annotated[AdAccountForm, Form()]
) -> Response:
    new = NewAdAccount(**form.model_dump())
    try:
        await context_of(request).db.write(
            lambda tx: correct_advertiser(tx, caller.business_id, ad_account_id, new)
        )
    except Refused as refused:
        if refused.code is errors.NO_ADVERTISER:
            raise
        return await show_ad_accounts.show(request, caller, refused, typed=form, subject=ad_account_id)
    return RedirectResponse(ACCOUNTS_PATH, 303)


@router.page("/settings/ad-accounts", Access(Credential.MEMBER), "ads/ad_accounts.html")
def show_ad_accounts(
    tx: Tx,
    request: Request,
    caller: Caller,
    *,
    refused: Refused | None = None,
    typed: AdAccountForm | None = None,
    subject: str = "",
) -> dict[str, Any]:
    words = translator_of(request)
    return {
        "ad_accounts": [
            asdict(ad_account) | {"is_counted": is_counted(tx, ad_account)}
            for ad_account in accounts.list_ad_accounts(tx, caller.business_id)
        ],
        "can_manage": may(caller, Permission.ADMINISTER),
        **region_choices(words),
        "blank": AdAccountForm(),
        "typed": typed or AdAccountForm(),
        "wrong": subject,
        "error": " ".join(split_faults(refused, words).values()) if refused else "",
    }


TEMPLATES: Final = {
    NodeKind.CAMPAIGN: "ads/campaign_edit.html",
    NodeKind.AD_GROUP: "ads/ad_group_form.html",
    NodeKind.AD: "ads/ad_new.html",
}
_MEASURED: Final = N_(
    "It decides how conversions are counted. After a change, results could not be compared."
)
_PAID: Final = N_("Past spend was counted with it.")
_OWNER: Final = N_("Past impressions and spend belong to it.")
"""Reasons why a field is frozen."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """Refused edit with its errors.

    ``seen`` is the version that its author saw: the time of the last change, in microseconds. ``leaps`` are
    the values that confirm changes of more than tenfold.
    """

    form: Any
    seen: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)
    leaps: Mapping[str, str] = field(default_factory=dict)
    is_conflict: bool = False


@router.post("/ads/{kind}/{number}/edit", Permission.WRITE_ADS)
async def post_edit(request: Request, caller: FormCaller, kind: NodeKind, number: str) -> Response:
    """Save the changes of the form; refuse them if somebody else has changed the node meanwhile."""
    sent = await request.form(max_files=0)
    form: Any = tree.read_form(tree.FORMS[kind], sent.multi_items())
    seen_version = str(sent.get("seen", ""))
    overwritten_version = str(sent.get("over", ""))  # confirmed after a conflict
    place = (kind, number_of(number))
    needs_review = context_of(request).settings.needs_ad_review
    typist = typist_of(request, sent)
    try:
        version = overwritten_version or seen_version
        if not (version.isascii() and version.isdigit() and len(version) < 18):
            raise Refused(errors.CONFLICT)
        edit = NodeEdit(form, typist, from_micros(int(version)))
        await context_of(request).db.write(
            lambda tx: save_form(tx, caller.business_id, place, edit, needs_review=needs_review)
        )
    except Refused as refused:
        if refused.code is errors.NOT_FOUND:
            raise
        is_conflict = refused.code is errors.CONFLICT
        wrong = {} if is_conflict else field_errors(refused, typist.words)
        shown = _Sent(form, seen_version, wrong, leaps_of(refused), is_conflict)
        return await show_edit(request, caller, kind, number, shown)
    return RedirectResponse(tree_href("", *place), 303)


@router.get("/ads/{kind}/{number}/edit", Permission.WRITE_ADS)
async def show_edit(
    request: Request,
    caller: PageCaller,
    kind: NodeKind,
    number: str,
    edit: Annotated[_Sent | None, Unsent] = None,
) -> HTMLResponse:
    """Show the form with the values of a refused edit, or else with the stored ones."""
    context, words, place = context_of(request), translator_of(request), (kind, number_of(number))

    def work(tx: Tx) -> dict[str, Any]:
        node = load_node(tx, caller.business_id, place)
        account = load_ad_account(tx, caller.business_id, node.ad_account_id)
        shown = edit.form if edit else shown_form(tx, account, node, words.lang)
        if isinstance(node, Campaign):
            values = {
                "form": asdict(shown),
                "currency": account.currency,
                "least_micros": least_budget_micros(account.currency),
                "has_budget": node.budget_mode is not BudgetMode.INFINITE,
                "frozen": [
                    (N_("Ad account"), account.name, _OWNER),
                    (N_("Budget type"), words.gettext(BUDGET_MODES[node.budget_mode]), _PAID),
                ],
            }
        elif isinstance(node, AdGroup):
            campaign = store.load_nodes(tx, Campaign, node.business_id, {node.campaign_id})[node.campaign_id]
            channel = find_channel(tx, node.business_id, node.channel_account_id)
            whole = tree.typed_ad_group(node, account, words.lang)
            has_begun = node.starts_at <= tx.now
            # Browsers omit frozen fields.
            unsent = ("channel_account_id", "goal", "budget_mode", "click_window_days", "view_window_days")
            complete_form = replace(shown, **{name: getattr(whole, name) for name in unsent})
            click, view = int(whole.click_window_days), int(whole.view_window_days)
            windows = words.plural("%(num)s-day click", "%(num)s-day click", click) % {"num": click}
            if view:
                windows += ", " + words.plural("%(num)s-day view", "%(num)s-day view", view) % {"num": view}
            frozen = [
                (N_("Channel account"), channel.name, _OWNER),
                (
                    N_("Goal"),
                    words.gettext(N_("Lead") if whole.goal == "lead" else N_("Conversation")),
                    _MEASURED,
                ),
                (N_("Budget type"), words.gettext(BUDGET_MODES[node.budget_mode]), _PAID),
                (N_("Attribution windows"), windows, _MEASURED),
            ]
            if has_begun:
                frozen.append(
                    (
                        N_("First day"),
                        f"{words.day(whole.starts_on)} {whole.starts_time}",
                        N_("This date has passed and cannot change."),
                    )
                )
            values = ad_group_form_values(tx, campaign, account, complete_form, words) | {
                "capture_account": None,
                "capture_errors": {},
                "has_begun": has_begun,
                "frozen": frozen,
            }
        else:
            group = store.load_nodes(tx, AdGroup, node.business_id, {node.ad_group_id})[node.ad_group_id]
            channel = find_channel(tx, node.business_id, node.channel_account_id)
            values = ad_form_values(tx, group, channel) | {
                "form": asdict(shown),
                "frozen": [
                    (N_("Ad group"), group.name, _OWNER),
                    (N_("Channel account"), channel.name, N_("The ad group's account is used.")),
                ],
            }
        version = str(micros(node.updated_at))
        values["edited"] = {
            "name": node.name,
            "path": f"/ads/{place[0]}/{node.number}/edit",
            "row": f"/ads#{place[0]}-{node.number}",
            "seen": edit.seen if edit else version,
            "now": version,
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
