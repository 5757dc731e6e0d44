"""A forgotten password: asking for a link, and choosing a new one by it."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.actions import hash_password
from contatto.accounts.model import Member
from contatto.accounts.rules import normal_email
from contatto.audit.actions import append_audit_record
from contatto.audit.model import AuditRecord
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.faults import split_fault
from contatto.kit.hashing import HashPool
from contatto.kit.i18n import translator_of
from contatto.kit.languages import translator_for
from contatto.kit.limits import client_network
from contatto.mail.actions import queue_mail
from contatto.mail.model import NewMail
from contatto.people import actions, rules
from contatto.ui.context import context_of, part_of
from contatto.ui.sessions import check_csrf

router = APIRouter(include_in_schema=False)


@router.get("/password/forgotten")
async def show_forgotten(request: Request) -> HTMLResponse:
    return _render_forgotten(request)


@router.post("/password/forgotten")
async def post_forgotten(request: Request, email: Annotated[str, Form(max_length=320)] = "") -> HTMLResponse:
    """Send a link; the answer is the same whoever asks, and for whomever."""
    context = context_of(request)
    await check_csrf(request, context.pages.csrf_signer)
    if not context.settings.sends_mail:
        return _render_forgotten(request)
    words, base_url, network = translator_of(request), context.settings.base_url, client_network(request)
    try:
        address = normal_email(email)
        await context.db.write(lambda tx: actions.ask_for_reset(tx, address, network, base_url, words))
    except Refused as refused:
        return _render_forgotten(request, email, refused)
    return _render_forgotten(request, email, is_asked=True)


@router.get("/password/reset/{token}")
async def show_reset(request: Request, token: str) -> HTMLResponse:
    await context_of(request).db.read(lambda tx: actions.open_reset(tx, token))
    return _render_reset(request, token)


@router.post("/password/reset/{token}")
async def post_reset(
    request: Request, token: str, password: Annotated[str, Form(max_length=1000)] = ""
) -> Response:
    """Replace the password; whoever was signed in with the old one is out."""
    context = context_of(request)
    await check_csrf(request, context.pages.csrf_signer)
    await context.db.read(lambda tx: actions.open_reset(tx, token))
    pool = part_of(request, HashPool)
    try:
        with pool.place(client_network(request)):
            hashed = await pool.run(hash_password, password)
    except Refused as refused:
        return _render_reset(request, token, refused)

    def reset(tx: Tx) -> Member:
        member = actions.reset_password(tx, token, hashed)
        actor = (member.business_id, member.id, member.display_name)
        act = "POST /password/reset/{token}"
        append_audit_record(tx, AuditRecord(*actor, act, f"member_id={member.id}", request.state.request_id))
        if context.settings.sends_mail:
            words = translator_for(member.language) if member.language else translator_of(request)
            queue_mail(tx, NewMail(member.business_id, member.email, *rules.changed_mail(words)))
        return member

    await context.db.write(reset)
    return RedirectResponse("/login?reset=1", 303)


def _render_forgotten(
    request: Request, email: str = "", problem: Refused | None = None, *, is_asked: bool = False
) -> HTMLResponse:
    context = context_of(request)
    values = {
        "email": email,
        "is_asked": is_asked,
        "sends_mail": context.settings.sends_mail,
        "error": split_fault(problem, translator_of(request))[1] if problem else "",
    }
    status = problem.code.http_status if problem else 200
    page = context.pages.render(request, "people/forgotten.html", values, status)
    if problem is not None and problem.code is errors.TOO_MANY:
        page.headers["Retry-After"] = str(problem.retry_after_s)
    return page


def _render_reset(request: Request, token: str, problem: Refused | None = None) -> HTMLResponse:
    values = {"token": token, "error": split_fault(problem, translator_of(request))[1] if problem else ""}
    status = problem.code.http_status if problem else 200
    return context_of(request).pages.render(request, "people/reset.html", values, status)
