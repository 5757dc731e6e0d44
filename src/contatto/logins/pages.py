"""Log-in and log-out pages."""

from typing import Annotated
from urllib.parse import quote

from fastapi import Form, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts import store as accounts
from contatto.accounts.actions import end_session, match_password
from contatto.accounts.auth import FormCaller, PageCaller, member_caller, page_routes
from contatto.accounts.model import Access, Caller, Credential, FailedTries
from contatto.accounts.rules import home_path, local_path, normal_email
from contatto.audit import AuditRecord, append_audit_record
from contatto.kit import errors
from contatto.kit.concurrency import HashPool
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import hash_secret, new_secret
from contatto.kit.rate_limits import client_network
from contatto.logins import actions
from contatto.ui.render import (
    DEVICE_KEY,
    check_csrf,
    clear_session,
    device_of,
    keep_device,
    session_token,
    set_session,
    translator_of,
)
from contatto.ui.requests import context_of, part_of

router = page_routes()


@router.get("/login", Access(Credential.ANYBODY))
async def show_login(request: Request, next: str = "", reset: str = "") -> HTMLResponse:
    values = {"email": "", "error": None, "next": local_path(next), "is_reset": bool(reset)}
    return context_of(request).pages.render(request, "logins/login.html", values)


@router.post("/login", Access(Credential.ANYBODY))
async def post_login(
    request: Request,
    email: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "",
) -> Response:
    """Check the password outside any transaction, between the count of the attempt and the session."""
    context, pool, network = context_of(request), part_of(request, HashPool), client_network(request)
    await check_csrf(request, context.pages.csrf_signer)
    signer = context.vault.signer(DEVICE_KEY)
    device = device_of(request, signer)
    days, device_token = context.settings.session_days, device or new_secret("device")
    browser = request.headers.get("user-agent", "")
    try:
        try:
            normal = normal_email(email)
        except Refused:
            raise Refused(errors.WRONG_LOGIN) from None
        with pool.place(network, is_known=bool(device)):
            attempt = await context.db.write(lambda tx: actions.count_login(tx, normal, network, device))
            checked = await pool.run(match_password, attempt.candidates, password[:1000])
        if checked is None:
            raise Refused(errors.WRONG_LOGIN)

        def start(tx: Tx) -> tuple[Caller, str, FailedTries | None]:
            member, token, failed = actions.start_session(tx, attempt, checked, days, device_token, browser)
            business = accounts.find_business(tx, member.business_id)
            if business is None:
                raise Refused(errors.WRONG_LOGIN)
            caller = member_caller(member, business)
            actor = (caller.business_id, caller.subject_id, caller.display_name)
            append_audit_record(tx, AuditRecord(*actor, "POST /login", "", request.state.request_id))
            return caller, token, failed

        caller, token, failed = await context.db.write(start)
    except Refused as refused:
        words = translator_of(request)
        values = {
            "email": email,
            "error": f"{refused.detail_in(words)} {words.gettext(refused.code.remedy)}",
            "next": local_path(next),
            "is_reset": False,
        }
        return context.pages.render(request, "logins/login.html", values, refused=refused)
    next_path = local_path(next) or home_path(caller.permissions, is_operator=caller.is_operator)
    response = RedirectResponse(f"/login/tries?next={quote(next_path)}" if failed else next_path, 303)
    set_session(response, token, context.pages.cookies)
    keep_device(response, device_token, signer, context.pages.cookies)
    return response


@router.get("/login/tries", Access(Credential.MEMBER))
async def show_tries(request: Request, caller: PageCaller, next: str = "") -> Response:
    """Show after a log-in how many failed attempts came from elsewhere since the last one."""
    context = context_of(request)
    token = session_token(request)
    failed = await context.db.read(
        lambda tx: accounts.find_failed_tries(tx, caller.business_id, hash_secret(token))
    )
    next_path = local_path(next) or home_path(caller.permissions, is_operator=caller.is_operator)
    if failed is None:
        return RedirectResponse(next_path, 303)
    values = {"caller": caller, "failed": failed, "next": next_path}
    return context.pages.render(request, "logins/tries.html", values)


@router.post("/logout", Access(Credential.MEMBER))
async def post_logout(request: Request, caller: FormCaller) -> RedirectResponse:
    token = session_token(request)
    await context_of(request).db.write(lambda tx: end_session(tx, token))
    response = RedirectResponse("/login", 303)
    clear_session(response)
    return response
