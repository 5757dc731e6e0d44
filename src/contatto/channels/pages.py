"""Settings page of channel accounts, their access tokens, and platform apps."""

from typing import Annotated, Any

import phonenumbers
from fastapi import Form, Request
from pydantic import BaseModel, Field

from contatto.accounts.auth import may, page_routes
from contatto.accounts.model import Caller, Permission
from contatto.channels import actions, store
from contatto.channels.actions import NewAccount
from contatto.channels.model import SERVED, ChannelApp, Platform
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


class ChannelAppForm(BaseModel):
    platform: Platform
    app_id: Annotated[str, Field(max_length=64)] = ""
    secret: Annotated[str, Field(max_length=500)] = ""


@router.page("", Permission.READ_INBOX, "channels/settings.html")
def show_channels(
    tx: Tx,
    request: Request,
    caller: Caller,
    *,
    account_id: str = "",
    form: CorrectionForm | ChannelAppForm | None = None,
    sites: str = "",
) -> dict[str, Any]:
    """Show the page; after a refusal with the error and the entries, but no secret."""
    context, words = context_of(request), translator_of(request)
    can_manage = may(caller, Permission.ADMINISTER)
    widget = f"{context.settings.base_url}/static/inbox/widget.js"
    checks = store.list_token_checks(tx, caller.business_id)
    saved_sites = store.list_embed_origins(tx, caller.business_id)
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
                "sites": "\n".join(saved_sites.get(account.id, ())),
                "snippet": f'<script async src="{widget}" data-chat="{account.id}"></script>',
            }
        )
    webhooks = f"{context.settings.base_url}/webhooks"
    shown_apps: list[dict[str, Any]] = []
    for app in store.list_apps(tx, caller.business_id) if can_manage else ():
        addresses = [
            (platform.value, f"{webhooks}/{platform}/{app.app_id}") for platform in SERVED[app.platform]
        ]
        shown_apps.append(
            {
                "app_id": app.app_id,
                "platform": app.platform.value,
                "webhooks": addresses,
                "asks": app.platform is not Platform.TIKTOK,
                "verify_token": actions.webhook_verify_token(context.vault, app),
            }
        )
    countries = [(code, words.country(code)) for code in phonenumbers.SUPPORTED_REGIONS]
    return {
        "accounts": shown_accounts,
        "apps": shown_apps,
        "can_manage": can_manage,
        "platforms": [platform.value for platform in Platform],
        "failed_id": account_id,
        "countries": sorted(countries, key=lambda pair: pair[1]),
        "typed": form.model_dump(mode="json", exclude={"secret"}) if form else {"sites": sites},
    }


@router.form("/accounts", Permission.ADMINISTER, show_channels, errors.INVALID, at="account")
def post_account(tx: Tx, request: Request, caller: Caller, form: Annotated[ChannelForm, Form()]) -> str:
    new = NewAccount(form.platform, form.external_id.strip(), form.name, form.handle.strip(), form.country)
    if CONNECTORS[form.platform].dialect.base_url:
        actions.check_external_id(new.external_id)
    actions.connect_account(tx, caller.business_id, new)
    return "/settings/channels"


@router.form("/accounts/{account_id}/token", Permission.ADMINISTER, show_channels, errors.INVALID, at="entry")
def post_token(
    tx: Tx, request: Request, caller: Caller, account_id: str, access_token: Annotated[str, Form()] = ""
) -> str:
    actions.set_access_token(tx, caller.business_id, account_id, access_token)
    actions.ask_platform(tx, caller.business_id, account_id)
    return f"/settings/channels#account-{account_id}"


@router.form("/accounts/{account_id}/check", Permission.ADMINISTER)
def post_check(tx: Tx, request: Request, caller: Caller, account_id: str) -> str:
    """Check the token at the platform; the open page shows the result."""
    actions.ask_platform(tx, caller.business_id, account_id)
    return f"/settings/channels#account-{account_id}"


@router.form(
    "/accounts/{account_id}/correct", Permission.ADMINISTER, show_channels, errors.INVALID, at="correct"
)
def post_correction(
    tx: Tx, request: Request, caller: Caller, account_id: str, form: Annotated[CorrectionForm, Form()]
) -> str:
    account = store.load_channel(tx, caller.business_id, account_id, "account")
    new = NewAccount(account.platform, form.external_id, form.name, form.handle, form.country)
    actions.correct_account(tx, caller.business_id, account.id, new)
    if account.id in store.list_token_checks(tx, caller.business_id):
        actions.ask_platform(tx, caller.business_id, account.id)
    return f"/settings/channels#account-{account_id}"


@router.form(
    "/accounts/{account_id}/disconnect", Permission.ADMINISTER, show_channels, errors.INVALID, at="disconnect"
)
def post_disconnect(
    tx: Tx, request: Request, caller: Caller, account_id: str, confirmed: Annotated[str, Form()] = ""
) -> str:
    """Delete the token of an account, after a tick that confirms it."""
    # Runs first, so that an unknown account is not found; a missing tick rolls it back.
    actions.disconnect_account(tx, caller.business_id, account_id)
    if confirmed != "1":
        raise Refused(errors.INVALID, "confirmed: tick the box to confirm that replies end.")
    return f"/settings/channels#account-{account_id}"


@router.form("/accounts/{account_id}/sites", Permission.ADMINISTER, show_channels, errors.INVALID, at="entry")
def post_sites(
    tx: Tx,
    request: Request,
    caller: Caller,
    account_id: str,
    sites: Annotated[str, Form(max_length=5_000)] = "",
) -> str:
    actions.allow_embedding(tx, caller.business_id, account_id, sites)
    return f"/settings/channels#account-{account_id}"


@router.form("/apps", Permission.ADMINISTER, show_channels, errors.INVALID, at="app")
def post_app(tx: Tx, request: Request, caller: Caller, form: Annotated[ChannelAppForm, Form()]) -> str:
    app = ChannelApp(form.app_id.strip(), caller.business_id, form.platform, form.secret.strip())
    actions.register_app(tx, app)
    return "/settings/channels#apps"
