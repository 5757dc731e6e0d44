"""Marketplaces as a business sees them: where its ads take part, what was said of them, what it has there."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Form, Request
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Business, Caller, Permission
from contatto.accounts.rules import may, may_use, require
from contatto.accounts.store import find_business
from contatto.ads.actions.publishing import name_ads
from contatto.ads.store import list_ads_by_number
from contatto.kit import errors
from contatto.kit.db.database import acting
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.form_fields import split_fault
from contatto.kit.i18n import N_, translator_of
from contatto.operators import actions, store
from contatto.operators.model import (
    Admission,
    AdmissionState,
    AdReview,
    Category,
    Operator,
    OperatorBalance,
    PlacedDay,
)
from contatto.ui.context import context_of

router = APIRouter(include_in_schema=False)
HOME = "/settings/marketplaces"
SHOWN_DAYS: Final = 28
CATEGORY_TEXTS = {
    Category.ALCOHOL: N_("Alcohol"), Category.AUTOMOTIVE: N_("Cars and motorcycles"),
    Category.BEAUTY: N_("Beauty"),
    Category.DATING: N_("Dating"), Category.EDUCATION: N_("Education"), Category.EVENTS: N_("Events"),
    Category.FASHION: N_("Fashion"), Category.FINANCE: N_("Finance"), Category.FOOD: N_("Food and drink"),
    Category.GAMBLING: N_("Gambling"), Category.HEALTH: N_("Health"), Category.HOME: N_("Home and garden"),
    Category.JOBS: N_("Jobs"), Category.POLITICS: N_("Politics"), Category.PROPERTY: N_("Property"),
    Category.RETAIL: N_("Shopping"), Category.SERVICES: N_("Services"), Category.SPORTS: N_("Sports"),
    Category.TECHNOLOGY: N_("Technology"), Category.TRAVEL: N_("Travel"), Category.OTHER: N_("Other"),
}  # fmt: skip


class AskingForm(BaseModel):
    """Which marketplace, and what the business advertises."""

    operator_id: Annotated[str, Field(max_length=36)] = ""
    category: Category = Category.OTHER


class CodeForm(BaseModel):
    """A code that a marketplace handed out."""

    code: Annotated[str, Field(max_length=200)] = ""
    category: Category = Category.OTHER


@dataclass(frozen=True, slots=True)
class _Placed:
    """What the ads of one ad account brought in one placement, in the currency of the account."""

    placement_id: str
    name: str
    currency: str
    views: int = 0
    clicks: int = 0
    charged_micros: int = 0
    conversations: int = 0
    leads: int = 0


@dataclass(frozen=True, slots=True)
class _Place:
    """A marketplace with which the business has to do."""

    admission: Admission
    balances: list[OperatorBalance]
    reviews: list[AdReview]
    names: dict[int, str]
    """What tells ads of the same name apart, by the numbers of the ads."""
    placed: list[_Placed]
    may_leave: bool


@router.get(HOME)
async def show_marketplaces(request: Request, caller: PageCaller) -> HTMLResponse:
    """Return where the business takes part, and where it may ask to."""
    require(caller, Permission.READ_ADS)
    return await _render(request, caller)


@router.post(HOME)
async def post_asked(request: Request, caller: FormCaller, form: Annotated[AskingForm, Form()]) -> Response:
    """Ask a marketplace that is open to all."""
    return await _enter(request, caller, form, form.operator_id)


@router.post(f"{HOME}/code")
async def post_code(request: Request, caller: FormCaller, form: Annotated[CodeForm, Form()]) -> Response:
    """Come in by a code."""
    return await _enter(request, caller, form, "")


async def _enter(request: Request, caller: Caller, form: AskingForm | CodeForm, operator_id: str) -> Response:
    require(caller, Permission.ADMINISTER)

    def enter(tx: Tx) -> None:
        business = _own_business(tx, caller)
        if isinstance(form, CodeForm):
            admission = actions.join_by_code(tx, form.code, business, form.category)
        else:
            admission = actions.ask_admission(tx, operator_id, business, form.category)
        if admission.state is AdmissionState.ADMITTED:
            actions.send_ads(tx, admission)

    try:
        with acting(""):  # the marketplace is another tenant
            await context_of(request).db.write(enter)
    except Refused as refused:
        return await _render(request, caller, refused)
    return RedirectResponse(HOME, 303)


def _own_business(tx: Tx, caller: Caller) -> Business:
    business = find_business(tx, caller.business_id)
    if business is None:
        raise Refused(errors.NOT_FOUND)
    return business


@router.post(f"{HOME}/leave")
async def post_left(
    request: Request, caller: FormCaller, operator_id: Annotated[str, Form(max_length=36)] = ""
) -> RedirectResponse:
    """Take part no more."""
    require(caller, Permission.ADMINISTER)
    await context_of(request).db.write(lambda tx: actions.leave_operator(tx, caller.business_id, operator_id))
    return RedirectResponse(HOME, 303)


async def _render(request: Request, caller: Caller, problem: Refused | None = None) -> HTMLResponse:
    context = context_of(request)

    def load(tx: Tx) -> list[_Place]:
        since = (tx.now - timedelta(days=SHOWN_DAYS)).date().isoformat()
        balances = [
            balance
            for balance in store.list_balances_of_business(tx, caller.business_id)
            if may_use(caller, balance.ad_account_id)
        ]
        sent = store.list_reviews_of_business(tx, caller.business_id)
        days = [
            day
            for each in {each.ad_account_id for each in balances}
            for day in store.list_placed_days_of_account(tx, caller.business_id, each, since)
        ]
        ads = list_ads_by_number(tx, caller.business_id, {each.number for each in sent})
        ad_names = name_ads(tx, caller.business_id, ads.values())
        return [
            _place(admission, balances, sent, ad_names, days)
            for admission in store.list_admissions_of_business(tx, caller.business_id)
        ]

    joined = await context.db.read(load)
    with acting(""):  # only names are told of those that are open to all
        listed = await context.db.read(lambda tx: store.list_operators(tx, listed_only=True))
        own = await context.db.read(lambda tx: store.find_operator(tx, caller.business_id))
        used = {row.placement_id for place in joined for row in place.placed}
        names = await context.db.read(lambda tx: store.list_placement_names(tx, used))
    values = {
        "caller": caller,
        "joined": [_named(place, names) for place in joined],
        "shown_days": SHOWN_DAYS,
        "open_to_all": _still_open(listed, joined, caller),
        "is_operator": own is not None,
        "can_manage": may(caller, Permission.ADMINISTER),
        "categories": [(each.value, text) for each, text in CATEGORY_TEXTS.items()],
        "error": split_fault(problem, translator_of(request))[1] if problem else "",
    }
    status = problem.code.http_status if problem else 200
    return context.pages.render(request, "operators/marketplaces.html", values, status)


def _place(
    admission: Admission, balances: list[OperatorBalance], sent: list[AdReview], names: dict[int, str],
    days: list[PlacedDay],
) -> _Place:  # fmt: skip
    mine = admission.operator_id
    own = [balance for balance in balances if balance.operator_id == mine]
    return _Place(
        admission,
        own,
        [ad_review for ad_review in sent if ad_review.operator_id == mine][:50],
        names,
        _placed(own, [day for day in days if day.operator_id == mine]),
        admission.state in (AdmissionState.ASKED, AdmissionState.ADMITTED),
    )


def _placed(balances: list[OperatorBalance], days: list[PlacedDay]) -> list[_Placed]:
    """Days added up by placement and currency, the dearest first."""
    currency_of = {balance.ad_account_id: balance.currency for balance in balances}
    rows: dict[tuple[str, str], _Placed] = {}
    for day in days:
        key = (day.placement_id, currency_of[day.ad_account_id])
        had = rows.get(key) or _Placed(day.placement_id, "", key[1])
        rows[key] = replace(
            had,
            views=had.views + day.views,
            clicks=had.clicks + day.clicks,
            charged_micros=had.charged_micros + day.charged_micros,
            conversations=had.conversations + day.conversations,
            leads=had.leads + day.leads,
        )
    return sorted(rows.values(), key=lambda row: -row.charged_micros)


def _named(place: _Place, names: dict[str, str]) -> _Place:
    return replace(place, placed=[replace(row, name=names.get(row.placement_id, "")) for row in place.placed])


def _still_open(listed: list[Operator], joined: list[_Place], caller: Caller) -> list[Operator]:
    closed = {
        place.admission.operator_id
        for place in joined
        if place.admission.state not in (AdmissionState.REFUSED, AdmissionState.LEFT)
    } | {caller.business_id}
    return [operator for operator in listed if operator.business_id not in closed]
