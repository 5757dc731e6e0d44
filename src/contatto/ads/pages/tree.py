"""Pausing, starting and copying what the tree shows, and the preview of an ad."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Form, Request
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts import store as accounts
from contatto.accounts.actions import NewAdAccount, add_ad_account
from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import may, require
from contatto.ads import store
from contatto.ads.actions.nodes import change_node_status, copy_node, edit_node, find_node
from contatto.ads.actions.publishing import correct_advertiser, find_channel, find_welcome, is_counted
from contatto.ads.model import NodeKind, NodeStatus, Place
from contatto.ads.pages.views import (
    AUDIT_KEYS,
    back_to_tree,
    field_errors,
    leaps_of,
    show_ad,
    tree_href,
    typist_of,
)
from contatto.ads.rules.typed import DONE, Act, read_places
from contatto.kit import errors
from contatto.kit.api_types import number_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.form_fields import Typist, split_faults
from contatto.kit.http import IdempotencyKey, answer_once
from contatto.kit.i18n import N_, translator_of
from contatto.kit.languages import choices_by_country, country_choices, currency_choices, zone_choices
from contatto.ui.context import context_of

router: Final = APIRouter(include_in_schema=False)


@router.post("/ads/{kind}/{number}/status")
async def change_status(
    request: Request,
    caller: FormCaller,
    kind: NodeKind,
    number: str,
    status: Annotated[Literal["active", "paused"], Form()],
    query: Annotated[str, Form(max_length=8_000)] = "",
) -> RedirectResponse:
    """Start or pause a campaign, an ad group or an ad."""
    require(caller, Permission.WRITE_ADS)
    status_wanted, node_number = NodeStatus(status), number_of(number)
    await context_of(request).db.write(
        lambda tx: change_node_status(tx, caller.business_id, (kind, node_number), status_wanted)
    )
    return back_to_tree(query, kind, node_number)


@router.post("/ads/{kind}/{number}/copy")
async def copy_row(
    request: Request,
    caller: FormCaller,
    kind: NodeKind,
    number: str,
    once: Annotated[str, Form(max_length=64)] = "",
    query: Annotated[str, Form(max_length=8_000)] = "",
) -> RedirectResponse:
    """Copy a campaign, an ad group or an ad with what is under it; a page makes one copy of each at most."""
    require(caller, Permission.WRITE_ADS)
    context, words, node_number = context_of(request), translator_of(request), number_of(number)
    needs_review = context.settings.needs_ad_review
    key = IdempotencyKey(caller.business_id, f"ads/{kind}/{node_number}/copy", once)

    def work(tx: Tx) -> dict[str, str]:
        def make() -> dict[str, str]:
            place = (kind, node_number)
            copy = copy_node(tx, caller.business_id, place, named, needs_review=needs_review)
            return {AUDIT_KEYS[kind]: str(copy.number)}

        return answer_once(tx, key, "", dict[str, str], make)

    def named(name: str) -> str:
        return words.gettext("Copy of %(name)s", name=name)

    copied = await context.db.write(work)
    return back_to_tree(query, kind, int(copied[AUDIT_KEYS[kind]]))


@router.get("/ads/{number}/preview")
async def show_preview(request: Request, caller: PageCaller, number: str) -> HTMLResponse:
    """An ad as a feed shows it; the button is a real tap."""
    require(caller, Permission.READ_ADS)
    context = context_of(request)

    def work(tx: Tx) -> dict[str, Any]:
        ad = store.find_ad_by_number(tx, caller.business_id, number_of(number))
        if ad is None:
            raise Refused(errors.NOT_FOUND)
        group = store.load_ad_groups(tx, caller.business_id, {ad.ad_group_id})[ad.ad_group_id]
        campaign = store.load_campaigns(tx, caller.business_id, {ad.campaign_id})[ad.campaign_id]
        account = find_channel(tx, caller.business_id, ad.channel_account_id)
        welcome = find_welcome(tx, ad)
        return {
            "caller": caller,
            "ad": show_ad(ad, context),
            "account": {"display_name": account.name},
            "ad_group": {"id": str(group.number), "name": group.name, "goal": group.goal},
            "campaign": {"id": str(campaign.number), "name": campaign.name},
            "welcome": welcome.content if welcome else None,
            "questions": list(welcome.questions) if welcome else [],
        }

    return context.pages.render(request, "ads/preview.html", await context.db.read(work))


LEVELS: Final = {NodeKind.CAMPAIGN: N_("Campaign"), NodeKind.AD_GROUP: N_("Ad group"), NodeKind.AD: N_("Ad")}


@dataclass(frozen=True, slots=True)
class _Asked:
    """Bulk change of rows; ``amount`` is a budget or a bid as it was typed."""

    act: Act
    places: tuple[Place, ...]
    amount: str
    query: str
    typist: Typist


@router.post("/ads/bulk/pause")
async def pause_rows(request: Request, caller: FormCaller) -> HTMLResponse:
    """Pause the chosen rows."""
    return await _work(request, caller, Act.PAUSE)


@router.post("/ads/bulk/start")
async def start_rows(request: Request, caller: FormCaller) -> HTMLResponse:
    """Turn the chosen rows on."""
    return await _work(request, caller, Act.START)


@router.post("/ads/bulk/delete")
async def delete_rows(request: Request, caller: FormCaller) -> HTMLResponse:
    """Delete the chosen rows with all that is under them."""
    return await _work(request, caller, Act.DELETE)


@router.post("/ads/bulk/budget")
async def change_budgets(request: Request, caller: FormCaller) -> HTMLResponse:
    """Give the chosen campaigns and ad groups one budget."""
    return await _work(request, caller, Act.BUDGET)


@router.post("/ads/bulk/bid")
async def change_bids(request: Request, caller: FormCaller) -> HTMLResponse:
    """Give the chosen ad groups one bid."""
    return await _work(request, caller, Act.BID)


async def _work(request: Request, caller: Caller, act: Act) -> HTMLResponse:
    """Do it to row after row.

    Each is a write of its own: one that is refused changes nothing and stops none, and the audit log has one
    entry for each that is done.
    """
    require(caller, Permission.WRITE_ADS)
    sent = await request.form(max_files=0)
    requested = _Asked(
        act=act,
        places=read_places(str(value) for value in sent.getlist("rows")),
        amount=str(sent.get(act.value, ""))[:40],
        query=str(sent.get("query", ""))[:8_000],
        typist=typist_of(request, sent),
    )
    context = context_of(request)
    names = await context.db.read(lambda tx: _names(tx, caller, requested))
    rows = [await _row(request, caller, requested, place) for place in requested.places]
    for row in rows:
        row["name"] = names.get((row["kind"], int(row["number"])), row["number"])
    values = {
        "caller": caller,
        "act": act.value,
        "rows": rows,
        "done": sum(row["is_done"] for row in rows),
        "leaps": [row for row in rows if row["sure"]],
        "amount": requested.amount,
        "query": requested.query,
        "back": tree_href(requested.query),
    }
    return context.pages.render(request, "ads/bulk.html", values)


def _names(tx: Tx, caller: Caller, requested: _Asked) -> dict[Place, str]:
    names: dict[Place, str] = {}
    for place in requested.places:
        try:
            names[place] = find_node(tx, caller.business_id, place).name
        except Refused:  # its row says so
            continue
    return names


async def _row(request: Request, caller: Caller, requested: _Asked, place: Place) -> dict[str, Any]:
    kind, number = place

    def work(tx: Tx) -> dict[str, str]:
        edit_node(tx, caller.business_id, place, requested.act, requested.amount, requested.typist)
        return {AUDIT_KEYS[kind]: str(number)}

    words = requested.typist.words
    row: dict[str, Any] = {"kind": kind, "level": LEVELS[kind], "number": str(number)}
    try:
        await context_of(request).db.write(work)
    except Refused as refused:
        says = next(iter(field_errors(refused, words).values()))
        sure = next(iter(leaps_of(refused).values()), "")
        return row | {"is_done": False, "says": says, "sure": sure}
    return row | {"is_done": True, "says": words.gettext(DONE[requested.act]), "sure": ""}


HOME = "/settings/ad-accounts"


class AdAccountForm(BaseModel):
    name: Annotated[str, Field(max_length=200)] = ""
    country: Annotated[str, Field(max_length=2)] = ""
    currency: Annotated[str, Field(max_length=3)] = ""
    timezone: Annotated[str, Field(max_length=64)] = ""

    def new(self) -> NewAdAccount:
        return NewAdAccount(self.name, self.country, self.currency, self.timezone)


@router.get("/settings/ad-accounts")
async def show_ad_accounts(request: Request, caller: PageCaller) -> HTMLResponse:
    return await _render(request, caller)


@router.post("/settings/ad-accounts")
async def post_ad_account(
    request: Request, caller: FormCaller, form: Annotated[AdAccountForm, Form()]
) -> Response:
    require(caller, Permission.ADMINISTER)
    try:
        await context_of(request).db.write(lambda tx: add_ad_account(tx, caller.business_id, form.new()))
    except Refused as refused:
        return await _render(request, caller, problem=refused, typed=form)
    return RedirectResponse(HOME, 303)


@router.post("/settings/ad-accounts/{ad_account_id}")
async def post_correction(
    request: Request, caller: FormCaller, ad_account_id: str, form: Annotated[AdAccountForm, Form()]
) -> Response:
    require(caller, Permission.ADMINISTER)
    try:
        await context_of(request).db.write(
            lambda tx: correct_advertiser(tx, caller.business_id, ad_account_id, form.new())
        )
    except Refused as refused:
        if refused.code is errors.NO_ADVERTISER:
            raise
        return await _render(request, caller, problem=refused, typed=form, subject=ad_account_id)
    return RedirectResponse(HOME, 303)


async def _render(
    request: Request,
    caller: Caller,
    *,
    problem: Refused | None = None,
    typed: AdAccountForm | None = None,
    subject: str = "",
) -> HTMLResponse:
    context = context_of(request)

    def load(tx: Tx) -> list[dict[str, Any]]:
        return [
            asdict(ad_account) | {"is_counted": is_counted(tx, ad_account)}
            for ad_account in accounts.list_ad_accounts(tx, caller.business_id)
        ]

    words = translator_of(request)
    values: dict[str, Any] = {
        "caller": caller,
        "ad_accounts": await context.db.read(load),
        "can_manage": may(caller, Permission.ADMINISTER),
        "zones": zone_choices(),
        "countries": country_choices(words),
        "currencies": currency_choices(words),
        "regions": choices_by_country(),
        "blank": AdAccountForm(),
        "typed": typed or AdAccountForm(),
        "wrong": subject,
        "error": " ".join(split_faults(problem, words).values()) if problem else "",
    }
    status = problem.code.http_status if problem else 200
    return context.pages.render(request, "ads/ad_accounts.html", values, status)
