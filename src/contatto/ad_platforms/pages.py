"""Pages of ad accounts elsewhere, and of uploaded figures."""

import csv
import io
from dataclasses import asdict
from types import NoneType
from typing import Annotated, Any, Final

from fastapi import Form, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.auth import FormCaller, PageCaller, may, page_routes
from contatto.accounts.model import Caller, Permission
from contatto.ad_platforms import actions, store
from contatto.ad_platforms.model import AdPlatform, NodeLevel, OutsideAccount, PullState, Walk
from contatto.ad_platforms.rules import MOST_BACKFILL, STOPS
from contatto.ad_platforms.store import count_nodes, list_account_ads, list_nodes, list_outside_accounts
from contatto.channels.store import list_apps
from contatto.kit import errors
from contatto.kit.api_types import json_answer
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_
from contatto.kit.idempotency import IdempotencyKey, answer_once
from contatto.kit.ids import hash_secret
from contatto.kit.untrusted_files import TableText
from contatto.ui.render import session_token
from contatto.ui.requests import context_of

PLATFORMS: Final = {AdPlatform.TIKTOK: N_("TikTok Ads"), AdPlatform.META: N_("Meta Ads")}
STATES: Final = {
    PullState.NEW: (N_("Importing"), "review"),
    PullState.READY: (N_("Up to date"), "on"),
    PullState.RETRYING: (N_("Retrying"), "review"),
    PullState.STOPPED: (N_("Stopped"), "failed"),
    PullState.UPLOADS: (N_("Not connected"), "off"),
}
"""Names of states and their badges."""


def show_account(account: OutsideAccount, counts: dict[tuple[str, NodeLevel], int]) -> dict[str, Any]:
    """Return an account for a page; ``reason`` says why it waits or has stopped."""
    is_own = account.base_url == actions.CONNECTORS[account.platform].base_url
    state, tone = STATES[account.state]
    return asdict(account) | {
        "platform": PLATFORMS[account.platform],
        "title": account.name or account.external_id,
        "state": state,
        "tone": tone,
        "reason": STOPS.get(account.reason, account.reason),
        "base_url": "" if is_own else account.base_url,
        "campaigns": counts.get((account.id, NodeLevel.CAMPAIGN), 0),
        "ad_groups": counts.get((account.id, NodeLevel.AD_GROUP), 0),
        "ads": counts.get((account.id, NodeLevel.AD), 0),
        "is_connected": account.state is not PullState.UPLOADS,
    }


router: Final = page_routes("/settings/ad-platforms")
HOME: Final = "/settings/ad-platforms"
MOST_SHOWN: Final = 500
"""Ads that the page of an account lists; the report has all of them."""


@router.get("/return", Permission.ADMINISTER)
async def show_return(request: Request, caller: PageCaller) -> HTMLResponse:
    """Show the page that a platform returns a member to; nothing changes before they confirm.

    Routes with an id come later, since they would match its address too.
    """
    context = context_of(request)
    query_params = request.query_params
    state = query_params.get("state", "")
    code = query_params.get("auth_code") or query_params.get("code") or ""
    now_s = int(context.clock.now().timestamp())
    account_id, _ = actions.read_state(context.vault, state, visitor_of(request, caller), now_s)
    account = await context.db.read(
        lambda tx: actions.load_outside_account(tx, caller.business_id, account_id)
    )
    name = account.name or account.external_id
    values = {"caller": caller, "account_name": name, "state": state, "code": code}
    return context.pages.render(request, "ad_platforms/return.html", values | {"account_id": account_id})


@router.page("/{outside_id}", Permission.READ_ADS, "ad_platforms/account.html")
def show_ad_account(tx: Tx, request: Request, caller: Caller, outside_id: str) -> dict[str, Any]:
    context, can_manage = context_of(request), may(caller, Permission.ADMINISTER)
    account = actions.load_outside_account(tx, caller.business_id, outside_id)
    status = {node.number: node.status.value for node in list_nodes(tx, account, NodeLevel.AD)}
    ads = list_account_ads(tx, account)
    # The apps by which the owner may grant access; only the platform itself has a page for it.
    is_own = account.base_url == actions.CONNECTORS[account.platform].base_url
    consents = []
    for app in list_apps(tx, caller.business_id) if can_manage else []:
        if app.platform not in actions.APPS[account.platform]:
            continue
        when = int(context.clock.now().timestamp()), context.settings.base_url
        visitor = visitor_of(request, caller)
        href = actions.authorize_url(context.vault, account, app.app_id, visitor, when) if is_own else ""
        consents.append({"app_id": app.app_id, "href": href})
    return {
        "account": show_account(account, count_nodes(tx, caller.business_id)),
        "ads": [asdict(ad) | {"status": status.get(ad.ad_number, "")} for ad in ads[:MOST_SHOWN]],
        "more_ads": max(0, len(ads) - MOST_SHOWN),
        "ways": consents,
        "can_manage": can_manage,
    }


@router.form("/{outside_id}/token", Permission.ADMINISTER, show_ad_account, errors.INVALID)
def post_outside_token(
    tx: Tx,
    request: Request,
    caller: Caller,
    outside_id: str,
    access_token: Annotated[str, Form(max_length=2_000)] = "",
) -> str:
    actions.replace_outside_token(tx, caller.business_id, outside_id, access_token=access_token)
    return f"{HOME}/{outside_id}"


@router.form("/{outside_id}/pull", Permission.ADMINISTER, show_ad_account, errors.INVALID)
def post_pull(tx: Tx, request: Request, caller: Caller, outside_id: str) -> str:
    account = actions.load_outside_account(tx, caller.business_id, outside_id)
    if store.find_outside_token(tx, account) is None:
        raise Refused(errors.CONFLICT, "This account is not connected. Add an access token first.")
    actions.queue_pull(tx, account, Walk())
    return f"{HOME}/{outside_id}"


@router.form("/{outside_id}/disconnect", Permission.ADMINISTER, show_ad_account, errors.INVALID)
def post_disconnect(tx: Tx, request: Request, caller: Caller, outside_id: str) -> str:
    actions.disconnect_outside_account(tx, caller.business_id, outside_id)
    return f"{HOME}/{outside_id}"


@router.page("", Permission.READ_ADS, "ad_platforms/accounts.html")
def show_ad_platforms(
    tx: Tx, request: Request, caller: Caller, *, form: actions.NewOutsideAccount | None = None
) -> dict[str, Any]:
    """Show the list; after a refusal with the error and the entries, but no token."""
    counts = count_nodes(tx, caller.business_id)
    return {
        "accounts": [
            show_account(account, counts) for account in list_outside_accounts(tx, caller.business_id)
        ],
        "can_manage": may(caller, Permission.ADMINISTER),
        "can_upload": may(caller, Permission.WRITE_ADS),
        "platforms": [(platform.value, title) for platform, title in PLATFORMS.items()],
        "typed": form.model_dump(mode="json", exclude={"access_token"}) if form else {"backfill_days": 90},
        "most_days": MOST_BACKFILL,
    }


@router.form("", Permission.ADMINISTER, show_ad_platforms, errors.INVALID)
def post_ad_account(
    tx: Tx, request: Request, caller: Caller, form: Annotated[actions.NewOutsideAccount, Form()]
) -> str:
    allowed = context_of(request).settings.allowed_hosts
    account = actions.connect_outside_account(tx, caller.business_id, form, allowed)
    return f"{HOME}/{account.id}"


def visitor_of(request: Request, caller: Caller) -> actions.OutsideVisitor:
    return actions.OutsideVisitor(caller.subject_id, hash_secret(session_token(request)))


@router.post("/return", Permission.ADMINISTER)
async def post_return(
    request: Request,
    caller: FormCaller,
    state: Annotated[str, Form(max_length=2_000)],
    code: Annotated[str, Form(max_length=2_000)],
) -> RedirectResponse:
    context = context_of(request)
    now_s = int(context.clock.now().timestamp())
    account_id, app_id = actions.read_state(context.vault, state, visitor_of(request, caller), now_s)
    base_url, key = context.settings.base_url, IdempotencyKey(caller.business_id, actions.RETURN_PATH, state)

    # Each state is good once; the same code again changes nothing.
    await context.db.write(
        lambda tx: answer_once(
            tx,
            key,
            code,
            NoneType,
            lambda: actions.connect_by_code(tx, caller.business_id, account_id, app_id, code, base_url),
        )
    )
    return RedirectResponse(f"{HOME}/{account_id}", 303)


@router.form("/{outside_id}/code", Permission.ADMINISTER, show_ad_account, errors.INVALID)
def post_code(
    tx: Tx,
    request: Request,
    caller: Caller,
    outside_id: str,
    app_id: Annotated[str, Form(max_length=64)] = "",
    code: Annotated[str, Form(max_length=2_000)] = "",
) -> str:
    base_url = context_of(request).settings.base_url
    actions.connect_by_code(tx, caller.business_id, outside_id, app_id, code, base_url)
    return f"{HOME}/{outside_id}"


upload_router: Final = page_routes(f"{HOME}/upload")
"""Routes that the app adds before those of ``router`` with an id."""
MOST_PREVIEWED: Final = 100
MOST_LEFT_OUT: Final = 500
TEXT_LIMIT: Final = 900_000
"""Most characters of a file, which a form field has to carry."""


@upload_router.get("", Permission.WRITE_ADS)
async def show_upload(request: Request, caller: PageCaller) -> HTMLResponse:
    account_id = request.query_params.get("account", "")[:36]
    return await _render_upload(request, caller, actions.NewUpload(outside_id=account_id))


@upload_router.post("", Permission.WRITE_ADS)
async def post_upload_preview(
    request: Request, caller: FormCaller, sent: Annotated[actions.NewUpload, Form()]
) -> HTMLResponse:
    db = context_of(request).db
    try:
        preview = await db.read_long(lambda tx: actions.preview_upload(tx, caller.business_id, sent))
    except Refused as refused:
        return await _render_upload(request, caller, sent, refused=refused.expect(errors.INVALID))
    return await _render_upload(request, caller, sent, preview)


@upload_router.post("/start", Permission.WRITE_ADS)
async def post_upload(
    request: Request, caller: FormCaller, sent: Annotated[actions.NewUpload, Form()]
) -> Response:
    """Save the figures of a file, and show again its rejected rows."""
    db = context_of(request).db
    try:
        preview = await db.read_long(lambda tx: actions.preview_upload(tx, caller.business_id, sent))
        account = await db.write(
            lambda tx: actions.open_upload_account(tx, caller.business_id, sent, preview)
        )
    except Refused as refused:
        return await _render_upload(request, caller, sent, refused=refused.expect(errors.INVALID))
    for some in actions.list_upload_writes(account, preview.sheet):
        await db.write_more(some)
    if preview.sheet.left_out:
        return await _render_upload(request, caller, sent, preview, saved_account_id=account.id)
    return RedirectResponse(f"{HOME}/{account.id}", 303)


@upload_router.post("/file", Permission.WRITE_ADS)
async def post_ad_file(request: Request, caller: FormCaller) -> Response:
    """Read a file, a workbook or a text in any usual encoding, as the text that the form takes."""
    table = await context_of(request).uploads.take_table(request, caller.subject_id)
    if isinstance(table, TableText):
        text = table.text
    else:
        written = io.StringIO()
        csv.writer(written).writerows(table)
        text = written.getvalue()
    if len(text) > TEXT_LIMIT:
        raise Refused(errors.INVALID, "file: The file has too many rows. Split it.")
    return json_answer({"text": text})


async def _render_upload(
    request: Request,
    caller: Caller,
    sent: actions.NewUpload,
    preview: actions.UploadPreview | None = None,
    *,
    refused: Refused | None = None,
    saved_account_id: str = "",
) -> HTMLResponse:
    context = context_of(request)
    accounts = await context.db.read(lambda tx: list_outside_accounts(tx, caller.business_id))
    values: dict[str, Any] = {
        "caller": caller,
        "accounts": [
            (account.id, f"{account.name or account.external_id} ({account.external_id})")
            for account in accounts
        ],
        "platforms": [(platform.value, title) for platform, title in PLATFORMS.items()],
        "sent": sent,
        "preview": preview,
        "rows": preview.sheet.rows[:MOST_PREVIEWED] if preview else (),
        "left_out": preview.sheet.left_out[:MOST_LEFT_OUT] if preview else (),
        "kept": saved_account_id,
    }
    return context.pages.render(request, "ad_platforms/upload.html", values, refused=refused)
