"""Signing in and out, and the settings page: members, tokens, ad accounts."""

from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts import actions, store
from contatto.accounts.auth import Deed, FormCaller, PageCaller, member_caller, record_deed
from contatto.accounts.model import ApiToken, Caller, FailedTries, Member, Permission
from contatto.accounts.rules import chain_holds, home_path, may, normal_email, require
from contatto.kit import errors
from contatto.kit.context import context_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.hashing import hash_pool
from contatto.kit.ids import hash_secret, new_secret
from contatto.kit.languages import LANGUAGES
from contatto.kit.limits import client_network
from contatto.kit.web.language import keep_language
from contatto.kit.web.sessions import (
    DEVICE_KEY,
    check_csrf,
    clear_session,
    device_of,
    keep_device,
    session_token,
    set_session,
)
from contatto.kit.words import words_of

router = APIRouter(include_in_schema=False)
AUDIT_ROWS: Final = 50


@router.get("/")
async def show_start(caller: PageCaller) -> RedirectResponse:
    return RedirectResponse(home_path(caller.permissions), 303)


@router.get("/login")
async def show_login(request: Request, next: str = "") -> HTMLResponse:
    values = {"email": "", "error": None, "next": _local_path(next)}
    return context_of(request).pages.render(request, "accounts/login.html", values)


@router.post("/login")
async def post_login(
    request: Request,
    email: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "",
) -> Response:
    context = context_of(request)
    await check_csrf(request, context.pages.csrf_key)
    key = context.vault.signing_key(DEVICE_KEY)
    device = device_of(request, key)
    try:
        entered = await _log_in(request, email, password, device)
    except Refused as refused:
        words = words_of(request)
        values = {
            "email": email,
            "error": f"{refused.detail_in(words)} {words.gettext(refused.code.remedy)}",
            "next": _local_path(next),
        }
        page = context.pages.render(request, "accounts/login.html", values, refused.code.http_status)
        if refused.retry_after_s is not None:
            page.headers["Retry-After"] = str(refused.retry_after_s)
        return page
    wanted = _local_path(next) or entered.home
    response = RedirectResponse(f"/login/tries?next={quote(wanted)}" if entered.failed else wanted, 303)
    set_session(response, entered.token, context.pages.cookies)
    keep_device(response, entered.device, key, context.pages.cookies)
    return response


@dataclass(frozen=True, slots=True)
class _Entered:
    """A session that was opened, the browser's own mark, and the page to begin with."""

    token: str
    device: str
    failed: FailedTries | None
    home: str


async def _log_in(request: Request, email: str, password: str, device: str) -> _Entered:
    """Count the try, then check the password outside any transaction, then open a session.

    Raises:
        Refused: WRONG_LOGIN, TOO_MANY.
    """
    context = context_of(request)
    pool = hash_pool(request)
    network = client_network(request)
    try:
        known_email = normal_email(email)
    except Refused:
        raise Refused(errors.WRONG_LOGIN) from None
    with pool.place(network, is_known=bool(device)):
        attempt = await context.db.write(lambda tx: actions.count_login(tx, known_email, network, device))
        fits = await pool.run(actions.password_fits, attempt.member, password[:1000])
    if not fits:
        raise Refused(errors.WRONG_LOGIN)
    days, known_as = context.settings.session_days, device or new_secret("device")

    def start(tx: Tx) -> tuple[Caller, str, FailedTries | None]:
        member, token, failed = actions.start_session(tx, attempt, days, known_as)
        business = store.find_business(tx, member.business_id)
        if business is None:
            raise Refused(errors.WRONG_LOGIN)
        caller = member_caller(member, business)
        record_deed(tx, Deed(caller, "POST /login", "", request.state.request_id))
        return caller, token, failed

    caller, token, failed = await context.db.write(start)
    return _Entered(token, known_as, failed, home_path(caller.permissions))


@router.get("/login/tries")
async def show_tries(request: Request, caller: PageCaller, next: str = "") -> Response:
    """After signing in: how many wrong tries came from elsewhere since the last time."""
    context = context_of(request)
    token = session_token(request)
    failed = await context.db.read(
        lambda tx: store.find_failed_tries(tx, caller.business_id, hash_secret(token))
    )
    wanted = _local_path(next) or home_path(caller.permissions)
    if failed is None:
        return RedirectResponse(wanted, 303)
    values = {"caller": caller, "failed": failed, "next": wanted}
    return context.pages.render(request, "accounts/tries.html", values)


@router.post("/logout")
async def post_logout(request: Request, caller: FormCaller) -> RedirectResponse:
    token = session_token(request)
    await context_of(request).db.write(lambda tx: actions.end_session(tx, token))
    response = RedirectResponse("/login", 303)
    clear_session(response)
    return response


def _local_path(path: str) -> str:
    """The path to go on to, if it is one of ours; an address elsewhere must not be led to."""
    safe = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if safe else ""


@router.get("/settings")
async def show_settings(request: Request, caller: PageCaller) -> HTMLResponse:
    return await _render_settings(request, caller)


@router.post("/settings/language")
async def post_language(
    request: Request, caller: FormCaller, language: Annotated[str, Form(max_length=16)] = ""
) -> RedirectResponse:
    """The member's own choice; every role may make it."""
    await context_of(request).db.write(
        lambda tx: actions.choose_language(tx, caller.business_id, caller.subject_id, language)
    )
    return RedirectResponse("/settings", 303)


@router.get("/language")
async def show_in_language(request: Request, to: str = "", next: str = "") -> RedirectResponse:
    """A visitor's choice, which their browser keeps; then the page that they came from.

    Raises:
        Refused: INVALID, for a language that we do not have.
    """
    if to not in LANGUAGES:
        raise Refused(errors.INVALID, "to: choose one of %(known)s.", known=", ".join(LANGUAGES))
    response = RedirectResponse(_local_path(next) or "/", 303)
    keep_language(response, to, context_of(request).pages.cookies)
    return response


@router.post("/settings/tokens")
async def post_token(
    request: Request, caller: FormCaller, name: Annotated[str, Form(max_length=80)] = ""
) -> HTMLResponse:
    """Make a token with all permissions of the API and show it, this once."""
    require(caller, Permission.ADMINISTER)
    scopes = [permission.value for permission in Permission]

    def issue(tx: Tx) -> tuple[ApiToken, str]:
        return actions.issue_token(tx, caller.business_id, name, scopes)

    try:
        kept, value = await context_of(request).db.write(issue)
    except Refused as refused:
        return await _render_settings(request, caller, problem=refused)
    return await _render_settings(request, caller, new_token={"name": kept.name, "value": value})


@router.post("/settings/auth-codes")
async def post_auth_code(
    request: Request, caller: FormCaller, name: Annotated[str, Form(max_length=80)] = ""
) -> HTMLResponse:
    """Make an auth code for a program that asks for its own token, and show it, this once."""
    require(caller, Permission.ADMINISTER)
    scopes = [permission.value for permission in Permission]

    def issue(tx: Tx) -> str:
        return actions.issue_auth_code(tx, caller.business_id, name, scopes)

    try:
        code = await context_of(request).db.write(issue)
    except Refused as refused:
        return await _render_settings(request, caller, problem=refused)
    return await _render_settings(request, caller, new_code={"name": name.strip(), "value": code})


@router.post("/settings/tokens/{token_id}/revoke")
async def post_revoke(request: Request, caller: FormCaller, token_id: str) -> RedirectResponse:
    require(caller, Permission.ADMINISTER)
    await context_of(request).db.write(lambda tx: actions.revoke_token(tx, caller.business_id, token_id))
    return RedirectResponse("/settings#tokens", 303)


@router.get("/settings/audit")
async def show_audit(
    request: Request, caller: PageCaller, page: Annotated[int, Query(ge=1, le=100_000)] = 1
) -> HTMLResponse:
    """Who did what, latest first, for owners and admins."""
    require(caller, Permission.ADMINISTER)
    context = context_of(request)

    def load(tx: Tx) -> dict[str, Any]:
        first = (page - 1) * AUDIT_ROWS
        found = store.list_audit_entries(tx, caller.business_id, (first, AUDIT_ROWS + 1))
        return {
            "entries": found[:AUDIT_ROWS],
            "holds": chain_holds(found[::-1]),
            "page": page,
            "has_older": len(found) > AUDIT_ROWS,
        }

    values = await context.db.read(load)
    return context.pages.render(request, "accounts/audit.html", values | {"caller": caller})


async def _render_settings(
    request: Request,
    caller: Caller,
    *,
    new_token: dict[str, str] | None = None,
    new_code: dict[str, str] | None = None,
    problem: Refused | None = None,
) -> HTMLResponse:
    context = context_of(request)

    def load(tx: Tx) -> dict[str, Any]:
        return {
            "members": [_shown(member, caller) for member in store.list_members(tx, caller.business_id)],
            "ad_accounts": [
                {
                    "name": account.name,
                    "advertiser_id": str(account.number),
                    "country": account.country,
                    "currency": account.currency,
                    "time_zone": account.timezone,
                }
                for account in store.list_ad_accounts(tx, caller.business_id)
            ],
            "tokens": [
                token for token in store.list_tokens(tx, caller.business_id) if token.revoked_at is None
            ],
        }

    values = await context.db.read(load)
    values |= {
        "caller": caller,
        "new_token": new_token,
        "new_code": new_code,
        "can_manage": may(caller, Permission.ADMINISTER),
        "errors": {"name": problem.detail_in(words_of(request))} if problem else {},
        "token_name": "",
    }
    status = problem.code.http_status if problem else 200
    return context.pages.render(request, "accounts/settings.html", values, status)


def _shown(member: Member, caller: Caller) -> dict[str, Any]:
    return {
        "id": member.id,
        "display_name": member.display_name,
        "email": member.email,
        "role": member.role.value,
        "is_you": member.id == caller.subject_id,
    }
