"""Settings page of channel accounts, their access tokens, and platform apps."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import phonenumbers
from fastapi import Form, Request
from pydantic import BaseModel, Field
from starlette.responses import RedirectResponse, Response

from contatto.accounts.auth import FormCaller, may, page_routes
from contatto.accounts.model import Caller, Permission
from contatto.channels import actions, store
from contatto.channels.actions import NewAccount
from contatto.channels.model import SERVED, ChannelAccount, ChannelApp, Platform
from contatto.channels.rules import check_text, may_use_message_api
from contatto.channels.store import CONNECTORS
from contatto.kit import errors
from contatto.kit.db.tx import Tx, row_of
from contatto.kit.errors import Refused
from contatto.ui.render import translator_of
from contatto.ui.requests import context_of

router = page_routes("/settings/channels")


class CorrectionForm(BaseModel):
    external_id: Annotated[str, Field(max_length=128)] = ""
    name: Annotated[str, Field(max_length=200)] = ""
    handle: Annotated[str, Field(max_length=200)] = ""
    country: Annotated[str, Field(max_length=10)] = ""


class ChannelForm(CorrectionForm):
    """Form of a new account; the web chat needs no id."""

    platform: Platform


@router.post("/accounts", Permission.ADMINISTER)
async def post_account(
    request: Request, caller: FormCaller, form: Annotated[ChannelForm, Form()]
) -> Response:
    new = NewAccount(form.platform, form.external_id.strip(), form.name, form.handle.strip(), form.country)

    def connect(tx: Tx) -> ChannelAccount:
        if CONNECTORS[form.platform].dialect.base_url:
            actions.check_external_id(new.external_id)
        return actions.connect_account(tx, caller.business_id, new)

    return await _save(request, caller, connect, "", "account", form.model_dump(mode="json"))


@router.post("/accounts/{account_id}/token", Permission.ADMINISTER)
async def post_token(
    request: Request, caller: FormCaller, account_id: str, access_token: Annotated[str, Form()] = ""
) -> Response:
    def save(tx: Tx) -> None:
        actions.set_access_token(tx, caller.business_id, account_id, access_token)
        actions.ask_platform(tx, caller.business_id, account_id)

    return await _save(request, caller, save, f"#account-{account_id}", account_id)


@router.post("/accounts/{account_id}/check", Permission.ADMINISTER)
async def post_check(request: Request, caller: FormCaller, account_id: str) -> Response:
    """Check the token at the platform; the open page shows the result."""
    await context_of(request).db.write(lambda tx: actions.ask_platform(tx, caller.business_id, account_id))
    return RedirectResponse(f"/settings/channels#account-{account_id}", 303)


@router.post("/accounts/{account_id}/correct", Permission.ADMINISTER)
async def post_correction(
    request: Request, caller: FormCaller, account_id: str, form: Annotated[CorrectionForm, Form()]
) -> Response:
    def correct(tx: Tx) -> None:
        account = store.load_channel(tx, caller.business_id, account_id, "account")
        new = NewAccount(account.platform, form.external_id, form.name, form.handle, form.country)
        actions.correct_account(tx, caller.business_id, account.id, new)
        if account.id in store.list_token_checks(tx, caller.business_id):
            actions.ask_platform(tx, caller.business_id, account.id)

    anchor, failed = f"#account-{account_id}", f"correct-{account_id}"
    return await _save(request, caller, correct, anchor, failed, form.model_dump(mode="json"))


@router.post("/accounts/{account_id}/disconnect", Permission.ADMINISTER)
async def post_disconnect(
    request: Request, caller: FormCaller, account_id: str, confirmed: Annotated[str, Form()] = ""
) -> Response:
    """Delete the token of an account, after a tick that confirms it."""

    def disconnect(tx: Tx) -> None:
        actions.disconnect_account(tx, caller.business_id, account_id)
        if confirmed != "1":
            raise Refused(errors.INVALID, "confirmed: tick the box to confirm that replies end.")

    return await _save(request, caller, disconnect, f"#account-{account_id}", f"disconnect-{account_id}")


@router.post("/accounts/{account_id}/sites", Permission.ADMINISTER)
async def post_sites(
    request: Request, caller: FormCaller, account_id: str, sites: Annotated[str, Form(max_length=5_000)] = ""
) -> Response:
    business_id = caller.business_id
    allow = partial(actions.allow_embedding, business_id=business_id, account_id=account_id, text=sites)
    return await _save(request, caller, allow, f"#account-{account_id}", account_id, {"sites": sites})


@router.post("/apps", Permission.ADMINISTER)
async def post_app(
    request: Request,
    caller: FormCaller,
    platform: Annotated[Platform, Form()],
    app_id: Annotated[str, Form(max_length=64)] = "",
    secret: Annotated[str, Form(max_length=500)] = "",
) -> Response:
    app = ChannelApp(app_id.strip(), caller.business_id, platform, secret.strip())
    register = partial(actions.register_app, app=app)
    return await _save(request, caller, register, "#apps", "app", {"app_id": app_id})


async def _save(
    request: Request,
    caller: Caller,
    change: Callable[[Tx], object],
    anchor: str,
    failed: str,
    typed: dict[str, str] | None = None,
) -> Response:
    """Change something, and return to its anchor; after an invalid entry, show what failed."""
    try:
        await context_of(request).db.write(change)
    except Refused as refused:
        expected = refused.expect(errors.INVALID)
        return await show_channels.show(request, caller, expected, failed=failed, typed=typed)
    return RedirectResponse(f"/settings/channels{anchor}", 303)


@router.page("", Permission.READ_INBOX, "channels/settings.html")
def show_channels(
    tx: Tx,
    request: Request,
    caller: Caller,
    *,
    failed: str = "",
    typed: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Show the page; after a refusal with the error and the entries, but no secret."""
    context = context_of(request)
    can_manage = may(caller, Permission.ADMINISTER)
    widget = f"{context.settings.base_url}/static/inbox/widget.js"
    checks = store.list_token_checks(tx, caller.business_id)
    sites = store.list_embed_origins(tx, caller.business_id)
    shown_accounts: list[dict[str, Any]] = []
    for account in store.list_accounts(tx, caller.business_id):
        check = checks.get(account.id)
        shown_accounts.append(
            row_of(account)
            | {
                "needs_token": actions.needs_token(account),
                "region_closed": not may_use_message_api(account),
                "check": check,
                "check_text": check_text(check.reason) if check and check.reason else "",
                "sites": "\n".join(sites.get(account.id, ())),
                "snippet": f'<script async src="{widget}" data-chat="{account.id}"></script>',
            }
        )
    webhooks = f"{context.settings.base_url}/webhooks"
    shown_apps: list[dict[str, Any]] = []
    for app in store.list_apps(tx, caller.business_id):
        shown_apps.append(
            {
                "app_id": app.app_id,
                "platform": app.platform.value,
                "webhooks": [
                    (platform.value, f"{webhooks}/{platform}/{app.app_id}")
                    for platform in SERVED[app.platform]
                ],
                "asks": app.platform is not Platform.TIKTOK,
                "verify_token": actions.webhook_verify_token(context.vault, app),
            }
        )
    words = translator_of(request)
    named = [(code, words.country(code)) for code in phonenumbers.SUPPORTED_REGIONS]
    return {
        "accounts": shown_accounts,
        "apps": shown_apps if can_manage else [],
        "can_manage": can_manage,
        "platforms": [platform.value for platform in Platform],
        "failed": failed,
        "countries": sorted(named, key=lambda pair: pair[1]),
        "typed": typed or {},
    }
