"""The page of an invitation: confirm the address by mail, then choose a password or give the own one."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.actions import end_session, hash_password, open_session, password_fits
from contatto.audit.actions import append_audit_record
from contatto.audit.model import AuditRecord
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.faults import split_fault
from contatto.kit.hashing import HashPool
from contatto.kit.i18n import translator_of
from contatto.kit.limits import client_network
from contatto.logins.actions import count_login, give_login_back
from contatto.people import actions, rules
from contatto.people.model import Newcomer, OpenedInvitation
from contatto.ui.context import context_of, part_of
from contatto.ui.sessions import check_csrf, session_token, set_session

router = APIRouter(include_in_schema=False)


class JoiningForm(BaseModel):
    """The answers of a newcomer; the e-mail counts if the invitation names none.

    ``has_account`` says that the password is one that they log in with already.
    """

    email: Annotated[str, Field(max_length=320)] = ""
    display_name: Annotated[str, Field(max_length=80)] = ""
    password: Annotated[str, Field(max_length=1000)] = ""
    has_account: bool = False


@dataclass(frozen=True, slots=True)
class _Entered:
    token: str
    home: str


@router.get("/invitations/{token}")
async def show_invitation(request: Request, token: str) -> HTMLResponse:
    return await _render(request, token, JoiningForm())


@router.post("/invitations/{token}")
async def post_invitation_taken(
    request: Request, token: str, form: Annotated[JoiningForm, Form()]
) -> Response:
    """Send the link that confirms the address; by that link take the place, and be signed in."""
    context = context_of(request)
    await check_csrf(request, context.pages.csrf_signer)
    try:
        opened = await context.db.read(lambda tx: actions.open_invitation(tx, token))
        if context.settings.sends_mail and not opened.is_confirmed:
            return await _send_link(request, token, form)
        entered = await _join(request, token, form, opened)
    except Refused as refused:
        if refused.code is errors.LINK_OVER:
            raise
        return await _render(request, token, form, refused)
    response = RedirectResponse(entered.home, 303)
    set_session(response, entered.token, context.pages.cookies)
    return response


async def _send_link(request: Request, token: str, form: JoiningForm) -> HTMLResponse:
    """Mail the link that confirms the address; the answer is the same for an address that has an account."""
    context, words, network = context_of(request), translator_of(request), client_network(request)
    base_url = context.settings.base_url
    await context.db.write(
        lambda tx: actions.mail_invitation(tx, token, form.email, network, base_url, words)
    )
    return await _render(request, token, form, is_sent=True)


async def _join(request: Request, token: str, form: JoiningForm, opened: OpenedInvitation) -> _Entered:
    """Check or hash the password outside any transaction, then take the place.

    An answer must not reveal accounts elsewhere to the inviter. So without a confirmed address the newcomer
    says whether they have an account. A missing one fails like a wrong password, in the same time.

    Raises:
        Refused: LINK_OVER, WRONG_LOGIN, INVALID, TOO_MANY.
    """
    context, pool = context_of(request), part_of(request, HashPool)
    network, email = client_network(request), opened.email
    account = await context.db.read(lambda tx: actions.find_account(tx, opened))
    hashed, checked = "", None
    with pool.place(network):
        if form.has_account if not opened.is_confirmed else account is not None:
            attempt = await context.db.write(lambda tx: count_login(tx, email, network, ""))
            if not await pool.run(password_fits, account, form.password):
                raise Refused(errors.WRONG_LOGIN)
            await context.db.write(lambda tx: give_login_back(tx, attempt))
            checked = account
        else:
            hashed = await pool.run(hash_password, form.password)

    def join(tx: Tx) -> _Entered:
        newcomer, sends_mail = Newcomer(form.display_name, hashed), context.settings.sends_mail
        member = actions.accept_invitation(tx, token, newcomer, checked, sends_mail=sends_mail)
        actor = (member.business_id, member.id, member.display_name)
        act = "POST /invitations/{token}"
        append_audit_record(tx, AuditRecord(*actor, act, f"member_id={member.id}", request.state.request_id))
        if session_token(request):
            end_session(tx, session_token(request))
        browser = request.headers.get("user-agent", "")
        session = open_session(tx, member, context.settings.session_days, browser=browser)
        return _Entered(session, "/")

    return await context.db.write(join)


async def _render(
    request: Request, token: str, typed: JoiningForm, problem: Refused | None = None, *, is_sent: bool = False
) -> HTMLResponse:
    context, words = context_of(request), translator_of(request)

    def load(tx: Tx) -> tuple[OpenedInvitation, bool]:
        opened = actions.open_invitation(tx, token)
        return opened, opened.is_confirmed and actions.find_account(tx, opened) is not None

    opened, is_known = await context.db.read(load)
    if not opened.email and not context.settings.sends_mail:
        raise Refused(errors.LINK_OVER)
    values: dict[str, Any] = {
        "opened": opened,
        "role_says": rules.ROLE_TEXTS[opened.invitation.role],
        "is_known": is_known,
        "is_sent": is_sent,
        "asks_address": context.settings.sends_mail and not opened.is_confirmed,
        "typed": typed,
        "error": split_fault(problem, words)[1] if problem else "",
    }
    page = context.pages.render(
        request, "people/invitation.html", values, problem.code.http_status if problem else 200
    )
    if problem and problem.retry_after_s is not None:
        page.headers["Retry-After"] = str(problem.retry_after_s)
    return page
