"""Ad accounts of a business: what there are, a new one, and what was mistyped."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts import store as accounts
from contatto.accounts.actions import NewAdAccount, add_ad_account
from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import may, require
from contatto.ads.actions.accounts import correct_advertiser, is_counted
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.faults import split_faults
from contatto.kit.i18n import translator_of
from contatto.kit.regions import choices_by_country, country_choices, currency_choices, zone_choices
from contatto.ui.context import context_of

router = APIRouter(include_in_schema=False)
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
        return await _render(request, caller, problem=refused, typed=form, of=ad_account_id)
    return RedirectResponse(HOME, 303)


async def _render(
    request: Request,
    caller: Caller,
    *,
    problem: Refused | None = None,
    typed: AdAccountForm | None = None,
    of: str = "",
) -> HTMLResponse:
    context = context_of(request)

    def load(tx: Tx) -> list[dict[str, Any]]:
        return [
            asdict(each) | {"is_counted": is_counted(tx, each)}
            for each in accounts.list_ad_accounts(tx, caller.business_id)
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
        "wrong": of,
        "error": " ".join(split_faults(problem, words).values()) if problem else "",
    }
    status = problem.code.http_status if problem else 200
    return context.pages.render(request, "ads/ad_accounts.html", values, status)
