"""The settings page of ad accounts elsewhere, and the page of one: its connection, its last pull, its ads."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Request
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import may, require
from contatto.ad_platforms.actions import accounts as actions
from contatto.ad_platforms.actions.accounts import NewOutsideAccount
from contatto.ad_platforms.actions.authorizing import Visitor, authorize_url, list_own_apps
from contatto.ad_platforms.model import AdPlatform, NodeLevel, OutsideAccount
from contatto.ad_platforms.pages.views import PLATFORMS, list_account_rows, show_account, show_ad
from contatto.ad_platforms.registry import CONNECTORS
from contatto.ad_platforms.rules.pulling import MOST_BACKFILL
from contatto.ad_platforms.store.mirror import count_nodes, list_account_ads, list_nodes
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.i18n import translator_of
from contatto.kit.ids import hash_secret
from contatto.ui.context import context_of
from contatto.ui.sessions import session_token

router: Final = APIRouter(include_in_schema=False, prefix="/settings/ad-platforms")
HOME: Final = "/settings/ad-platforms"
MOST_SHOWN: Final = 500
"""Ads that the page of an account lists; the report has all of them."""


class AccountForm(BaseModel):
    """What connects an account; without a token it is made to be let in by its owner."""

    platform: AdPlatform
    external_id: Annotated[str, Field(max_length=64)] = ""
    base_url: Annotated[str, Field(max_length=300)] = ""
    backfill_days: Annotated[int, Field(ge=0, le=MOST_BACKFILL)] = 90
    access_token: Annotated[str, Field(max_length=2_000, repr=False)] = ""


@router.get("")
async def show_ad_platforms(request: Request, caller: PageCaller) -> HTMLResponse:
    require(caller, Permission.READ_ADS)
    return await _render_list(request, caller)


@router.post("")
async def post_ad_account(
    request: Request, caller: FormCaller, form: Annotated[AccountForm, Form()]
) -> Response:
    require(caller, Permission.ADMINISTER)
    context = context_of(request)
    new = NewOutsideAccount(
        form.platform,
        form.external_id,
        form.base_url,
        backfill_days=form.backfill_days,
        access_token=form.access_token,
    )

    def connect(tx: Tx) -> str:
        allowed = context.settings.allowed_hosts
        if form.access_token.strip():
            return actions.connect_outside_account(tx, caller.business_id, new, allowed)
        return actions.open_outside_account(tx, caller.business_id, new, allowed).id

    try:
        account_id = await context.db.write(connect)
    except Refused as refused:
        if refused.code is not errors.INVALID:
            raise
        return await _render_list(request, caller, refused, form)
    return RedirectResponse(f"{HOME}/{account_id}", 303)


@router.get("/{outside_id}")
async def show_ad_account(request: Request, caller: PageCaller, outside_id: str) -> HTMLResponse:
    require(caller, Permission.READ_ADS)
    return await render_account(request, caller, outside_id)


@router.post("/{outside_id}/token")
async def post_outside_token(
    request: Request,
    caller: FormCaller,
    outside_id: str,
    access_token: Annotated[str, Form(max_length=2_000)] = "",
) -> Response:
    require(caller, Permission.ADMINISTER)

    def save(tx: Tx) -> None:
        actions.replace_outside_token(tx, caller.business_id, outside_id, access_token)

    try:
        await context_of(request).db.write(save)
    except Refused as refused:
        if refused.code is not errors.INVALID:
            raise
        return await render_account(request, caller, outside_id, refused)
    return RedirectResponse(f"{HOME}/{outside_id}", 303)


@router.post("/{outside_id}/pull")
async def post_pull(request: Request, caller: FormCaller, outside_id: str) -> RedirectResponse:
    require(caller, Permission.ADMINISTER)
    await context_of(request).db.write(
        lambda tx: actions.pull_account_now(tx, caller.business_id, outside_id)
    )
    return RedirectResponse(f"{HOME}/{outside_id}", 303)


@router.post("/{outside_id}/disconnect")
async def post_disconnect(request: Request, caller: FormCaller, outside_id: str) -> RedirectResponse:
    require(caller, Permission.ADMINISTER)
    await context_of(request).db.write(
        lambda tx: actions.disconnect_outside_account(tx, caller.business_id, outside_id)
    )
    return RedirectResponse(f"{HOME}/{outside_id}", 303)


async def _render_list(
    request: Request, caller: Caller, refused: Refused | None = None, typed: AccountForm | None = None
) -> HTMLResponse:
    """The page; after a refusal, with what was typed (never a token) and what is wrong with it."""
    context = context_of(request)
    rows = await context.db.read(lambda tx: list_account_rows(tx, caller.business_id))
    values = {
        "caller": caller,
        "accounts": rows,
        "can_manage": may(caller, Permission.ADMINISTER),
        "can_upload": may(caller, Permission.WRITE_ADS),
        "platforms": [(platform.value, title) for platform, title in PLATFORMS.items()],
        "typed": typed.model_dump(mode="json", exclude={"access_token"}) if typed else {"backfill_days": 90},
        "most_days": MOST_BACKFILL,
        "error": refused.detail_in(translator_of(request)) if refused else "",
    }
    status = refused.code.http_status if refused else 200
    return context.pages.render(request, "ad_platforms/accounts.html", values, status)


async def render_account(
    request: Request, caller: Caller, account_id: str, refused: Refused | None = None
) -> HTMLResponse:
    """The page of one account; after a refusal, with what was wrong."""
    context = context_of(request)
    can_manage = may(caller, Permission.ADMINISTER)

    def load(tx: Tx) -> dict[str, Any]:
        account = actions.load_outside_account(tx, caller.business_id, account_id)
        status = {node.number: node.status.value for node in list_nodes(tx, account, NodeLevel.AD)}
        ads = list_account_ads(tx, account)
        return {
            "account": show_account(account, count_nodes(tx, caller.business_id)),
            "ads": [show_ad(ad, status.get(ad.ad_number, "")) for ad in ads[:MOST_SHOWN]],
            "more_ads": max(0, len(ads) - MOST_SHOWN),
            "ways": _ways(request, tx, caller, account) if can_manage else [],
        }

    values = await context.db.read(load)
    values |= {
        "caller": caller,
        "can_manage": can_manage,
        "error": refused.detail_in(translator_of(request)) if refused else "",
    }
    status = refused.code.http_status if refused else 200
    return context.pages.render(request, "ad_platforms/account.html", values, status)


def _ways(request: Request, tx: Tx, caller: Caller, account: OutsideAccount) -> list[dict[str, str]]:
    """By which apps the owner may let us in: the address that asks them, where the platform has one."""
    context = context_of(request)
    is_own = account.base_url == CONNECTORS[account.platform].base_url
    when = int(context.clock.now().timestamp()), context.settings.base_url
    visitor = visitor_of(request, caller)

    def href(app_id: str) -> str:
        return authorize_url(context.vault, account, app_id, visitor, when) if is_own else ""

    return [{"app_id": app.app_id, "href": href(app.app_id)} for app in list_own_apps(tx, account)]


def visitor_of(request: Request, caller: Caller) -> Visitor:
    return Visitor(caller.subject_id, hash_secret(session_token(request)))
