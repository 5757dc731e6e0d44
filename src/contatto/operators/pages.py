"""Pages of marketplaces, for operators and for the businesses that take part."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Request
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

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
from contatto.kit.form_fields import read_amount, read_whole, split_fault
from contatto.kit.i18n import N_, translator_of
from contatto.kit.languages import currency_choices
from contatto.kit.table_export import csv_lines
from contatto.kit.timestamps import micros
from contatto.measurement.rules import local_day
from contatto.operators import actions, store
from contatto.operators.actions import name_charged_groups, operator_statement
from contatto.operators.model import (
    Admission,
    AdmissionState,
    AdReview,
    Category,
    Operator,
    OperatorBalance,
    PlacedDay,
    Placement,
    ReviewState,
)
from contatto.operators.rules import LEAST_FLOOR_MICROS
from contatto.ui.context import context_of

router = APIRouter(include_in_schema=False)
HOME: Final = "/operator"
SHOWN_DAYS: Final = 28


class PlacementForm(BaseModel):
    """The rules of a placement; an empty id makes a new one."""

    placement_id: Annotated[str, Field(max_length=36)] = ""
    name: Annotated[str, Field(max_length=200)] = ""
    currency: Annotated[str, Field(max_length=3)] = ""
    floor: Annotated[str, Field(max_length=48)] = ""
    most_views: Annotated[str, Field(max_length=48)] = ""
    categories: Annotated[list[Category], Field(max_length=30)] = []
    blocked: Annotated[list[str], Field(max_length=100)] = []
    is_on: bool = False


class DecisionForm(BaseModel):
    """What an operator decides of a business: whether it takes part, or what it really advertises."""

    business_id: Annotated[str, Field(max_length=36)] = ""
    state: AdmissionState | None = None
    category: Category | None = None
    reason: Annotated[str, Field(max_length=1_000)] = ""


class ReviewForm(BaseModel):
    """What an operator says of a revision of an ad."""

    ad_id: Annotated[str, Field(max_length=36)] = ""
    digest: Annotated[str, Field(max_length=64)] = ""
    state: ReviewState = ReviewState.APPROVED
    reason: Annotated[str, Field(max_length=1_000)] = ""


class PaymentForm(BaseModel):
    """A payment of an ad account, or with ``is_credit`` what it may owe."""

    ad_account_id: Annotated[str, Field(max_length=36)] = ""
    amount: Annotated[str, Field(max_length=48)] = ""
    note: Annotated[str, Field(max_length=200)] = ""
    is_credit: bool = False


@dataclass(frozen=True, slots=True)
class _PlacementRow:
    """A placement with what happened in it; ``fill`` is the share of requests that got an ad."""

    placement: Placement
    asked: int
    filled: int
    views: int
    clicks: int
    charged_micros: int

    @property
    def fill(self) -> float:
        return self.filled / self.asked if self.asked else 0.0


@dataclass(frozen=True, slots=True)
class _DayRow:
    """What a placement earned on a day."""

    day: str
    placement: Placement
    views: int
    clicks: int
    charged_micros: int


@router.get(HOME)
async def show_operator(request: Request, caller: PageCaller) -> HTMLResponse:
    """All of a marketplace: what it earns, who takes part, what waits for its review."""
    require(caller, Permission.READ_ADS)
    return await _render_operator(request, caller)


@router.post(f"{HOME}/placements")
async def post_placement(
    request: Request, caller: FormCaller, form: Annotated[PlacementForm, Form()]
) -> Response:
    """Add a placement, or change its rules."""
    lang = translator_of(request).lang

    def work(tx: Tx, operator: Operator) -> None:
        known = actions.load_placement(tx, operator, form.placement_id) if form.placement_id else None
        currency = known.currency if known else form.currency.strip().upper()
        floor = read_amount("floor", form.floor, currency or "USD", lang)
        views = read_whole("most_views", form.most_views, lang) or 0
        placement = Placement(
            form.placement_id,
            operator.business_id,
            " ".join(form.name.split()),
            currency,
            LEAST_FLOOR_MICROS if floor is None else floor,
            tuple(category.value for category in form.categories),
            tuple(form.blocked),
            views,
            form.is_on or known is None,
            tx.now,
        )
        if known is None:
            actions.add_placement(tx, operator, placement)
        else:
            actions.change_placement(tx, operator, replace(placement, id=known.id))

    return await _act(request, caller, Permission.WRITE_ADS, work, "placements")


@router.post(f"{HOME}/businesses")
async def post_decision(
    request: Request, caller: FormCaller, form: Annotated[DecisionForm, Form()]
) -> Response:
    """Admit, refuse or suspend a business, or correct its category."""

    def work(tx: Tx, operator: Operator) -> None:
        if form.category is not None:
            actions.set_category(tx, operator, form.business_id, form.category)
        if form.state is not None:
            actions.decide_admission(tx, operator, form.business_id, form.state, form.reason)

    return await _act(request, caller, Permission.ADMINISTER, work, "businesses")


@router.post(f"{HOME}/reviews")
async def post_review(request: Request, caller: FormCaller, form: Annotated[ReviewForm, Form()]) -> Response:
    """Approve or refuse an ad as it is."""

    def work(tx: Tx, operator: Operator) -> None:
        actions.decide_review(tx, operator, form.ad_id, form.digest, form.state, form.reason)

    return await _act(request, caller, Permission.WRITE_ADS, work, "reviews")


@router.post(f"{HOME}/payments")
async def post_payment(
    request: Request, caller: FormCaller, form: Annotated[PaymentForm, Form()]
) -> Response:
    """Note a payment, or say what an account may owe."""
    lang = translator_of(request).lang

    def work(tx: Tx, operator: Operator) -> None:
        balance = actions.load_operator_balance(tx, operator, form.ad_account_id)
        amount = read_amount("amount", form.amount, balance.currency, lang) or 0
        if form.is_credit:
            actions.set_credit(tx, operator, form.ad_account_id, amount)
        else:
            actions.pay_operator(tx, operator, form.ad_account_id, amount, form.note)

    return await _act(request, caller, Permission.ADMINISTER, work, "balances")


@router.post(f"{HOME}/codes")
async def post_new_code(request: Request, caller: FormCaller) -> HTMLResponse:
    """Show a code that lets one business in, this once, to be handed over."""
    require(caller, Permission.ADMINISTER)

    def work(tx: Tx) -> str:
        return actions.make_code(tx, actions.load_operator(tx, caller.business_id))

    return await _render_operator(request, caller, code=await context_of(request).db.write(work))


@router.get(f"{HOME}/statement.csv")
async def download_operator_statement(request: Request, caller: PageCaller) -> StreamingResponse:
    """Payments and charges of all ad accounts with this operator, by day."""
    require(caller, Permission.READ_REPORTS)
    db = context_of(request).db
    operator = await db.read(lambda tx: actions.load_operator(tx, caller.business_id))
    with acting(""):  # the ad groups are the advertisers'; their names alone are shown
        groups = await db.read_long(lambda tx: name_charged_groups(tx, operator), caller.business_id)
    rows = await db.read_long(lambda tx: operator_statement(tx, operator, groups), caller.business_id)
    headers = {"Content-Disposition": 'attachment; filename="statement.csv"'}
    return StreamingResponse(csv_lines(rows, bom=True), media_type="text/csv; charset=utf-8", headers=headers)


async def _act(
    request: Request, caller: Caller, permission: Permission, work: Callable[[Tx, Operator], None], part: str
) -> Response:
    require(caller, permission)
    try:
        await context_of(request).db.write(lambda tx: work(tx, actions.load_operator(tx, caller.business_id)))
    except Refused as refused:
        return await _render_operator(request, caller, problem=refused, part=part)
    return RedirectResponse(f"{HOME}#{part}", 303)


async def _render_operator(
    request: Request, caller: Caller, *, problem: Refused | None = None, part: str = "", code: str = ""
) -> HTMLResponse:
    context = context_of(request)
    values = await context.db.read_long(lambda tx: _load(tx, caller), caller.business_id)
    values |= {
        "caller": caller,
        "can_manage": may(caller, Permission.ADMINISTER),
        "can_write": may(caller, Permission.WRITE_ADS),
        "category_texts": {each.value: text for each, text in CATEGORY_TEXTS.items()},
        "currencies": currency_choices(translator_of(request)),
        "shown_days": SHOWN_DAYS,
        "code": code,
        "error": split_fault(problem, translator_of(request))[1] if problem else "",
        "error_part": part,
    }
    status = problem.code.http_status if problem else 200
    return context.pages.render(request, "operators/operator.html", values, status)


def _load(tx: Tx, caller: Caller) -> dict[str, Any]:
    operator = actions.load_operator(tx, caller.business_id)
    last = local_day(micros(tx.now), operator.timezone)
    first = (date.fromisoformat(last) - timedelta(days=SHOWN_DAYS - 1)).isoformat()
    placements = store.list_placements(tx, operator.business_id)
    days = _days(tx, operator, placements, first)
    return {
        "operator": operator,
        "placements": _placements(tx, operator, placements, days, first),
        "days": sorted(days, key=lambda row: (row.day, row.placement.name), reverse=True)[:100],
        "admissions": store.list_admissions(tx, operator.business_id),
        "waiting": store.list_reviews(tx, operator.business_id, ReviewState.PENDING, 30),
        "reviewed": [
            review
            for review in store.list_reviews(tx, operator.business_id, None, 60)
            if review.state is not ReviewState.PENDING
        ],
        "balances": store.list_balances(tx, operator.business_id),
    }


def _days(tx: Tx, operator: Operator, known: list[Placement], first: str) -> list[_DayRow]:
    by_id = {placement.id: placement for placement in known}
    found: dict[tuple[str, str], _DayRow] = {}
    for day in store.list_placed_days(tx, operator.business_id, first):
        place = day.day, day.placement_id
        had = found.get(place) or _DayRow(day.day, by_id[day.placement_id], 0, 0, 0)
        found[place] = replace(
            had,
            views=had.views + day.views,
            clicks=had.clicks + day.clicks,
            charged_micros=had.charged_micros + day.charged_micros,
        )
    return list(found.values())


def _placements(
    tx: Tx, operator: Operator, known: list[Placement], days: list[_DayRow], first: str
) -> list[_PlacementRow]:
    asked_days = store.list_asked_days(tx, operator.business_id, first, "9999-99-99")
    return [
        _PlacementRow(
            placement,
            sum(day.asked for day in asked_days if day.placement_id == placement.id),
            sum(day.filled for day in asked_days if day.placement_id == placement.id),
            sum(row.views for row in days if row.placement.id == placement.id),
            sum(row.clicks for row in days if row.placement.id == placement.id),
            sum(row.charged_micros for row in days if row.placement.id == placement.id),
        )
        for placement in known
    ]


MARKETPLACES: Final = "/settings/marketplaces"
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


@router.get(MARKETPLACES)
async def show_marketplaces(request: Request, caller: PageCaller) -> HTMLResponse:
    """Return where the business takes part, and where it may ask to."""
    require(caller, Permission.READ_ADS)
    return await _render_marketplaces(request, caller)


@router.post(MARKETPLACES)
async def post_asked(request: Request, caller: FormCaller, form: Annotated[AskingForm, Form()]) -> Response:
    """Ask a marketplace that is open to all."""
    return await _enter(request, caller, form, form.operator_id)


@router.post(f"{MARKETPLACES}/code")
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
        return await _render_marketplaces(request, caller, refused)
    return RedirectResponse(MARKETPLACES, 303)


def _own_business(tx: Tx, caller: Caller) -> Business:
    business = find_business(tx, caller.business_id)
    if business is None:
        raise Refused(errors.NOT_FOUND)
    return business


@router.post(f"{MARKETPLACES}/leave")
async def post_left(
    request: Request, caller: FormCaller, operator_id: Annotated[str, Form(max_length=36)] = ""
) -> RedirectResponse:
    """Take part no more."""
    require(caller, Permission.ADMINISTER)
    await context_of(request).db.write(lambda tx: actions.leave_operator(tx, caller.business_id, operator_id))
    return RedirectResponse(MARKETPLACES, 303)


async def _render_marketplaces(
    request: Request, caller: Caller, problem: Refused | None = None
) -> HTMLResponse:
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
