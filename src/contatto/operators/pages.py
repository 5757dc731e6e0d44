"""Pages of marketplaces, for operators and for the businesses that take part."""

from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from typing import Annotated, Any, Final

from fastapi import Form, Request
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from contatto.accounts.auth import FormCaller, PageCaller, Unsent, may, may_use, page_routes
from contatto.accounts.model import Caller, Permission
from contatto.accounts.store import find_business
from contatto.ads.actions.edits import name_ads
from contatto.ads.store import list_ads
from contatto.kit import errors
from contatto.kit.db.database import acting
from contatto.kit.db.tx import Tx, row_of
from contatto.kit.errors import Refused, check_found
from contatto.kit.form_fields import read_amount, read_whole
from contatto.kit.i18n import N_
from contatto.kit.languages import currency_choices
from contatto.kit.table_export import csv_lines
from contatto.kit.values import micros
from contatto.measurement.rules import local_day
from contatto.operators import actions, store
from contatto.operators.actions import name_charged_groups, operator_statement
from contatto.operators.model import AdmissionState, Category, PlacedDay, Placement, ReviewState
from contatto.operators.rules import LEAST_FLOOR_MICROS, sum_days
from contatto.ui.render import translator_of
from contatto.ui.requests import context_of, csv_file

router = page_routes()
HOME: Final = "/operator"
SHOWN_DAYS: Final = 28


class PlacementForm(BaseModel):
    """Rules of a placement; an empty id adds a new one."""

    placement_id: Annotated[str, Field(max_length=36)] = ""
    name: Annotated[str, Field(max_length=200)] = ""
    currency: Annotated[str, Field(max_length=3)] = ""
    floor: Annotated[str, Field(max_length=48)] = ""
    most_views: Annotated[str, Field(max_length=48)] = ""
    categories: Annotated[list[Category], Field(max_length=30)] = []
    blocked: Annotated[list[str], Field(max_length=100)] = []
    is_on: bool = False


class DecisionForm(BaseModel):
    """Decision of an operator on the admission or the category of a business."""

    business_id: Annotated[str, Field(max_length=36)] = ""
    state: AdmissionState | None = None
    category: Category | None = None
    reason: Annotated[str, Field(max_length=1_000)] = ""


class ReviewForm(BaseModel):
    """Decision of an operator on a revision of an ad."""

    ad_id: Annotated[str, Field(max_length=36)] = ""
    digest: Annotated[str, Field(max_length=64)] = ""
    state: ReviewState = ReviewState.APPROVED
    reason: Annotated[str, Field(max_length=1_000)] = ""


class PaymentForm(BaseModel):
    """Payment of an ad account; with ``is_credit`` its new credit limit."""

    ad_account_id: Annotated[str, Field(max_length=36)] = ""
    amount: Annotated[str, Field(max_length=48)] = ""
    note: Annotated[str, Field(max_length=200)] = ""
    is_credit: bool = False


@router.page(HOME, Permission.READ_ADS, "operators/operator.html", is_long=True)
def show_operator(tx: Tx, request: Request, caller: Caller, *, code: str = "") -> dict[str, Any]:
    """Show the earnings, members and pending reviews of a marketplace."""
    operator = actions.load_operator(tx, caller.business_id)
    last = local_day(micros(tx.now), operator.timezone)
    first = (date.fromisoformat(last) - timedelta(days=SHOWN_DAYS - 1)).isoformat()
    placements = store.list_placements(tx, operator.business_id)
    by_id = {placement.id: placement for placement in placements}
    placed = store.list_placed_days(tx, operator.business_id, first)
    empty_days = [
        PlacedDay(operator.business_id, "", placement_id, "", "", "", 0, 0, 0) for placement_id in by_id
    ]
    totals = sum_days([*empty_days, *placed], lambda day: day.placement_id)
    days = sum_days(placed, lambda day: (day.day, by_id[day.placement_id].name))
    requests, filled = Counter[str](), Counter[str]()
    for day in store.list_request_days(tx, operator.business_id, first):
        requests[day.placement_id] += day.asked
        filled[day.placement_id] += day.filled
    return {
        "operator": operator,
        "placements": [
            {
                "placement": placement,
                "requests": requests[placement_id],
                "fill": filled[placement_id] / requests[placement_id] if requests[placement_id] else 0.0,
                "total": totals[placement_id],
            }
            for placement_id, placement in by_id.items()
        ],
        "days": [(day, by_id[day.placement_id]) for _, day in sorted(days.items(), reverse=True)[:100]],
        "admissions": store.list_admissions(tx, operator.business_id),
        "waiting": store.list_reviews(tx, operator.business_id, ReviewState.PENDING, 30),
        "reviewed": [
            review
            for review in store.list_reviews(tx, operator.business_id, None, 60)
            if review.state is not ReviewState.PENDING
        ],
        "balances": store.list_balances(tx, operator.business_id),
        "can_manage": may(caller, Permission.ADMINISTER),
        "can_write": may(caller, Permission.WRITE_ADS),
        "category_texts": {category.value: text for category, text in CATEGORY_TEXTS.items()},
        "currencies": currency_choices(translator_of(request)),
        "shown_days": SHOWN_DAYS,
        "code": code,
    }


@router.form(f"{HOME}/placements", Permission.WRITE_ADS, show_operator, *errors.ALL, at="placements")
def post_placement(tx: Tx, request: Request, caller: Caller, form: Annotated[PlacementForm, Form()]) -> str:
    """Add a placement, or change its rules."""
    lang, operator = translator_of(request).lang, actions.load_operator(tx, caller.business_id)
    stored = actions.load_placement(tx, operator, form.placement_id) if form.placement_id else None
    currency = stored.currency if stored else form.currency.strip().upper()
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
        form.is_on or stored is None,
        tx.now,
    )
    if stored is None:
        actions.add_placement(tx, operator, placement)
    else:
        actions.change_placement(tx, operator, replace(placement, id=stored.id))
    return f"{HOME}#placements"


@router.form(f"{HOME}/businesses", Permission.ADMINISTER, show_operator, *errors.ALL, at="businesses")
def post_decision(tx: Tx, request: Request, caller: Caller, form: Annotated[DecisionForm, Form()]) -> str:
    """Admit, refuse or suspend a business, or correct its category."""
    operator = actions.load_operator(tx, caller.business_id)
    if form.category is not None:
        admission = check_found(store.find_admission(tx, operator.business_id, form.business_id))
        tx.save(store.admissions, row_of(replace(admission, category=form.category)))
    if form.state is not None:
        actions.decide_admission(tx, operator, form.business_id, form.state, form.reason)
    return f"{HOME}#businesses"


@router.post(f"{HOME}/reviews", Permission.WRITE_ADS)
async def post_review(request: Request, caller: FormCaller, form: Annotated[ReviewForm, Form()]) -> Response:
    """Approve or refuse a revision of an ad, which the audit log names."""
    decision = (form.ad_id, form.digest, form.state, form.reason)
    try:
        await context_of(request).db.write(
            lambda tx: actions.decide_review(tx, actions.load_operator(tx, caller.business_id), *decision)
        )
    except Refused as refused:
        return await show_operator.show(request, caller, refused, "reviews")
    return RedirectResponse(f"{HOME}#reviews", 303)


@router.form(f"{HOME}/payments", Permission.ADMINISTER, show_operator, *errors.ALL, at="balances")
def post_payment(tx: Tx, request: Request, caller: Caller, form: Annotated[PaymentForm, Form()]) -> str:
    """Record a payment, or set the credit of an account."""
    operator = actions.load_operator(tx, caller.business_id)
    balance = actions.load_operator_balance(tx, operator, form.ad_account_id)
    amount = read_amount("amount", form.amount, balance.currency, translator_of(request).lang) or 0
    if form.is_credit:
        actions.set_balance_limit(tx, balance, amount)
    else:
        actions.pay_in(tx, balance, operator.timezone, amount, form.note)
    return f"{HOME}#balances"


@router.form(f"{HOME}/codes", Permission.ADMINISTER, show_operator)
def post_new_code(tx: Tx, request: Request, caller: Caller) -> dict[str, Any]:
    """Show a new code that admits one business; it is shown only once."""
    return {"code": actions.make_code(tx, actions.load_operator(tx, caller.business_id))}


@router.get(f"{HOME}/statement.csv", Permission.READ_REPORTS)
async def download_operator_statement(request: Request, caller: PageCaller) -> StreamingResponse:
    """Download the payments and charges of all ad accounts with this operator, by day."""
    db = context_of(request).db
    operator = await db.read(lambda tx: actions.load_operator(tx, caller.business_id))
    with acting(""):  # the ad groups belong to other tenants; only their names are shown
        groups = await db.read_long(lambda tx: name_charged_groups(tx, operator), caller.business_id)
    rows = await db.read_long(lambda tx: operator_statement(tx, operator, groups), caller.business_id)
    return csv_file("statement.csv", csv_lines(rows, bom=True))


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


class AdmissionForm(BaseModel):
    """Request of a business for admission to a marketplace."""

    operator_id: Annotated[str, Field(max_length=36)] = ""
    category: Category = Category.OTHER


class CodeForm(BaseModel):
    """A code from a marketplace."""

    code: Annotated[str, Field(max_length=200)] = ""
    category: Category = Category.OTHER


@router.get(MARKETPLACES, Permission.READ_ADS)
async def show_marketplaces(
    request: Request, caller: PageCaller, problem: Annotated[Refused | None, Unsent] = None
) -> HTMLResponse:
    """Show the marketplaces of the business, and those that it may ask to join."""
    context = context_of(request)

    def load(tx: Tx) -> list[dict[str, Any]]:
        """List the marketplaces that the business joined, or once asked to join."""
        since = (tx.now - timedelta(days=SHOWN_DAYS)).date().isoformat()
        balances = [
            balance
            for balance in store.list_balances_of_business(tx, caller.business_id)
            if may_use(caller, balance.ad_account_id)
        ]
        reviews = store.list_reviews_of_business(tx, caller.business_id)
        days = [
            day
            for account_id in {balance.ad_account_id for balance in balances}
            for day in store.list_placed_days_of_account(tx, caller.business_id, account_id, since)
        ]
        ads = list_ads(tx, caller.business_id, number=[review.number for review in reviews])
        ad_names = name_ads(tx, caller.business_id, ads)
        currency_of = {balance.ad_account_id: balance.currency for balance in balances}
        sums = sum_days(days, lambda day: (day.operator_id, day.placement_id, currency_of[day.ad_account_id]))
        placed = [(day, currency) for (_, _, currency), day in sums.items()]
        placed.sort(key=lambda row: -row[0].charged_micros)
        return [
            {
                "admission": admission,
                "balances": [balance for balance in balances if balance.operator_id == admission.operator_id],
                "reviews": [review for review in reviews if review.operator_id == admission.operator_id][:50],
                "names": ad_names,
                "placed": [row for row in placed if row[0].operator_id == admission.operator_id],
                "may_leave": admission.state in (AdmissionState.REQUESTED, AdmissionState.ADMITTED),
            }
            for admission in store.list_admissions_of_business(tx, caller.business_id)
        ]

    joined = await context.db.read(load)
    with acting(""):  # names of listed operators and of placements belong to other tenants
        listed = await context.db.read(lambda tx: store.list_operators(tx, listed_only=True))
        own = await context.db.read(lambda tx: store.find_operator(tx, caller.business_id))
        used = {day.placement_id for market in joined for day, _ in market["placed"]}
        names = await context.db.read(lambda tx: store.list_placement_names(tx, used))
    closed = {caller.business_id} | {
        market["admission"].operator_id
        for market in joined
        if market["admission"].state not in (AdmissionState.REFUSED, AdmissionState.WITHDRAWN)
    }
    values = {
        "caller": caller,
        "joined": joined,
        "placement_names": names,
        "shown_days": SHOWN_DAYS,
        "open_to_all": [operator for operator in listed if operator.business_id not in closed],
        "is_operator": own is not None,
        "can_manage": may(caller, Permission.ADMINISTER),
        "categories": [(category.value, text) for category, text in CATEGORY_TEXTS.items()],
    }
    return context.pages.render(request, "operators/marketplaces.html", values, refused=problem)


@router.post(MARKETPLACES, Permission.ADMINISTER)
async def post_admission_request(
    request: Request, caller: FormCaller, form: Annotated[AdmissionForm, Form()]
) -> Response:
    """Ask a listed marketplace for admission."""
    return await _enter(request, caller, form, form.operator_id)


@router.post(f"{MARKETPLACES}/code", Permission.ADMINISTER)
async def post_code(request: Request, caller: FormCaller, form: Annotated[CodeForm, Form()]) -> Response:
    """Join a marketplace by a code."""
    return await _enter(request, caller, form, "")


async def _enter(
    request: Request, caller: Caller, form: AdmissionForm | CodeForm, operator_id: str
) -> Response:
    """Ask for admission or join by a code; an admitted business sends its ads at once."""

    def enter(tx: Tx) -> None:
        business = check_found(find_business(tx, caller.business_id))
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
        return await show_marketplaces(request, caller, refused)
    return RedirectResponse(MARKETPLACES, 303)


@router.form(f"{MARKETPLACES}/leave", Permission.ADMINISTER)
def post_leave(
    tx: Tx, request: Request, caller: Caller, operator_id: Annotated[str, Form(max_length=36)] = ""
) -> str:
    """Withdraw the business and its ads from a marketplace."""
    tx.hold_key("admissions", operator_id)
    admission = check_found(store.find_admission(tx, operator_id, caller.business_id))
    if admission.state in (AdmissionState.REFUSED, AdmissionState.WITHDRAWN, AdmissionState.SUSPENDED):
        raise Refused(errors.CONFLICT, "Your business is not a member of this marketplace.")
    withdrawn = replace(admission, state=AdmissionState.WITHDRAWN, reason="", decided_at=tx.now)
    tx.save(store.admissions, row_of(withdrawn))
    return MARKETPLACES
