"""Coming back from a platform with a code, or giving a code by hand; both become an access token."""

from typing import Annotated, Final

from fastapi import APIRouter, Form, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import require
from contatto.ad_platforms.actions import authorizing as actions
from contatto.ad_platforms.actions.accounts import load_outside_account
from contatto.ad_platforms.pages.accounts import HOME, render_account, visitor_of
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.ui.context import context_of

router: Final = APIRouter(include_in_schema=False, prefix="/settings/ad-platforms")


@router.get("/return")
async def show_return(request: Request, caller: PageCaller) -> HTMLResponse:
    """Where a platform leads a member back to; nothing happens before they say so here."""
    require(caller, Permission.ADMINISTER)
    context = context_of(request)
    given = request.query_params
    state, code = given.get("state", ""), given.get("auth_code") or given.get("code") or ""
    now_s = int(context.clock.now().timestamp())
    account_id, _ = actions.read_state(context.vault, state, visitor_of(request, caller), now_s)
    account = await context.db.read(lambda tx: load_outside_account(tx, caller.business_id, account_id))
    name = account.name or account.external_id
    values = {"caller": caller, "account_name": name, "state": state, "code": code}
    return context.pages.render(request, "ad_platforms/return.html", values | {"account_id": account_id})


@router.post("/return")
async def post_return(
    request: Request,
    caller: FormCaller,
    state: Annotated[str, Form(max_length=2_000)],
    code: Annotated[str, Form(max_length=2_000)],
) -> RedirectResponse:
    require(caller, Permission.ADMINISTER)
    context = context_of(request)
    now_s = int(context.clock.now().timestamp())
    account_id, app_id = actions.read_state(context.vault, state, visitor_of(request, caller), now_s)
    consent, base_url = (state, account_id, app_id), context.settings.base_url

    def connect(tx: Tx) -> None:
        actions.connect_by_state(tx, caller.business_id, consent, code, base_url)

    await context.db.write(connect)
    return RedirectResponse(f"{HOME}/{account_id}", 303)


@router.post("/{outside_id}/code")
async def post_code(
    request: Request,
    caller: FormCaller,
    outside_id: str,
    app_id: Annotated[str, Form(max_length=64)] = "",
    code: Annotated[str, Form(max_length=2_000)] = "",
) -> Response:
    require(caller, Permission.ADMINISTER)
    context = context_of(request)
    base_url = context.settings.base_url

    def connect(tx: Tx) -> None:
        actions.connect_by_code(tx, caller.business_id, outside_id, app_id, code, base_url)

    try:
        await context.db.write(connect)
    except Refused as refused:
        if refused.code is not errors.INVALID:
            raise
        return await render_account(request, caller, outside_id, refused)
    return RedirectResponse(f"{HOME}/{outside_id}", 303)
