"""Pages of log-in, members, invitations, password resets, and own profiles."""

from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import Form, Request
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts import actions as accounts
from contatto.accounts import store as accounts_store
from contatto.accounts.auth import FormCaller, PageCaller, may, member_caller, page_routes, record_act
from contatto.accounts.model import Access, Caller, Credential, FailedTries, Member, Permission, Role
from contatto.accounts.rules import (
    check_password,
    home_path,
    local_path,
    may_appoint,
    normal_email,
    time_zones,
)
from contatto.kit import errors
from contatto.kit.concurrency import HashPool
from contatto.kit.db.database import act_for
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused, check_found
from contatto.kit.form_fields import split_fault
from contatto.kit.ids import hash_secret, new_secret
from contatto.kit.languages import translator_for
from contatto.kit.rate_limits import client_network
from contatto.mail import NewMail, queue_mail
from contatto.people import actions, rules, store
from contatto.ui.render import (
    DEVICE_KEY,
    SESSION_COOKIE,
    check_csrf,
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
    return context_of(request).pages.render(request, "people/login.html", values)


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
            address = normal_email(email)
        except Refused:
            raise Refused(errors.WRONG_LOGIN) from None
        with pool.place(network, is_known=bool(device)):
            attempt = await context.db.write(lambda tx: actions.count_login(tx, address, network, device))
            account = await pool.run(accounts.match_password, attempt.candidates, password[:1000])
        if account is None:
            raise Refused(errors.WRONG_LOGIN)

        def start(tx: Tx) -> tuple[Caller, str, FailedTries | None]:
            member, token, failed = actions.start_session(tx, attempt, account, days, device_token, browser)
            business = accounts_store.find_business(tx, member.business_id)
            if business is None:
                raise Refused(errors.WRONG_LOGIN)
            record_act(tx, request, member, "POST /login")
            return member_caller(member, business), token, failed

        caller, token, failed = await context.db.write(start)
    except Refused as refused:
        words = translator_of(request)
        values = {
            "email": email,
            "error": f"{refused.said.in_language(words)} {words.gettext(refused.code.remedy)}",
            "next": local_path(next),
            "is_reset": False,
        }
        return context.pages.render(request, "people/login.html", values, refused=refused)
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
        lambda tx: accounts_store.find_failed_tries(tx, caller.business_id, hash_secret(token))
    )
    next_path = local_path(next) or home_path(caller.permissions, is_operator=caller.is_operator)
    if failed is None:
        return RedirectResponse(next_path, 303)
    values = {"caller": caller, "failed": failed, "next": next_path}
    return context.pages.render(request, "people/tries.html", values)


@router.post("/logout", Access(Credential.MEMBER))
async def post_logout(request: Request, caller: FormCaller) -> RedirectResponse:
    token = session_token(request)
    await context_of(request).db.write(lambda tx: accounts.end_session(tx, token))
    response = RedirectResponse("/login", 303)
    response.delete_cookie(SESSION_COOKIE)
    return response


MEMBERS_PAGE = "/settings/members"


class InvitationForm(BaseModel):
    """Form of an invitation; with a mail server the address may be empty."""

    email: Annotated[str, Field(max_length=320)] = ""
    role: Role = Role.AGENT


@router.page("/settings/members", Access(Credential.MEMBER), "people/members.html")
def show_members(
    tx: Tx,
    request: Request,
    caller: Caller,
    *,
    form: InvitationForm | None = None,
    handed: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Show the members; owners and admins also see the open invitations."""
    settings = context_of(request).settings
    manages = may(caller, Permission.ADMINISTER)
    own = caller.role or Role.ANALYST
    invitations = store.list_invitations(tx, caller.business_id) if manages else []
    return {
        "members": accounts_store.list_members(tx, caller.business_id),
        "session_counts": accounts_store.count_sessions(tx, caller.business_id) if manages else {},
        "invitations": [
            (invitation, settings.base_url + actions.invitation_path(tx, invitation))
            for invitation in invitations
        ],
        "can_manage": manages,
        "sends_mail": settings.sends_mail,
        "roles": [role for role in Role if may_appoint(own, role)] if manages else [],
        "changeable_roles": [role for role in Role if caller.role and may_appoint(caller.role, role)],
        "role_says": rules.ROLE_TEXTS,
        "typed": form or InvitationForm(),
        "handed": handed,
    }


_REFUSALS: Final = (errors.FORBIDDEN, errors.CONFLICT, errors.INVALID, errors.TOO_MANY)


@router.form("/settings/invitations", Permission.ADMINISTER, show_members, *_REFUSALS, at="invitations")
def post_invitation(tx: Tx, request: Request, caller: Caller, form: Annotated[InvitationForm, Form()]) -> str:
    """Invite a person, by mail if there is a mail server; the page also shows a link to copy."""
    settings, words = context_of(request).settings, translator_of(request)
    invitation = actions.invite_member(
        tx, caller.business_id, form.email, form.role, caller, sends_mail=settings.sends_mail
    )
    if invitation.email and settings.sends_mail:
        names = caller.business_name, caller.display_name
        actions.queue_invitation_mail(tx, invitation, names, invitation.email, settings.base_url, words)
    return f"{MEMBERS_PAGE}#invitations"


@router.form("/settings/invitations/{invitation_id}/withdraw", Permission.ADMINISTER)
def post_withdrawal(tx: Tx, request: Request, caller: Caller, invitation_id: str) -> str:
    """Withdraw an invitation, which ends its link."""
    key = {"business_id": caller.business_id, "id": invitation_id}
    check_found(tx.delete(store.invitations, **key) or None)
    return f"{MEMBERS_PAGE}#invitations"


@router.form(
    "/settings/members/{member_id}/role", Permission.ADMINISTER, show_members, *_REFUSALS, at="members"
)
def post_role(tx: Tx, request: Request, caller: Caller, member_id: str, role: Annotated[Role, Form()]) -> str:
    member = accounts.load_member(tx, caller.business_id, member_id)
    accounts.set_member_role(tx, member, role, caller)
    return MEMBERS_PAGE


@router.form(
    "/settings/members/{member_id}/deactivate", Permission.ADMINISTER, show_members, *_REFUSALS, at="members"
)
def post_deactivation(tx: Tx, request: Request, caller: Caller, member_id: str) -> str:
    member = accounts.load_member(tx, caller.business_id, member_id)
    accounts.deactivate_member(tx, member, caller)
    return MEMBERS_PAGE


@router.form(
    "/settings/members/{member_id}/reactivate", Permission.ADMINISTER, show_members, *_REFUSALS, at="members"
)
def post_reactivation(tx: Tx, request: Request, caller: Caller, member_id: str) -> str:
    member = accounts.load_member(tx, caller.business_id, member_id)
    accounts.reactivate_member(tx, member, caller)
    return MEMBERS_PAGE


@router.post("/settings/members/{member_id}/reset", Permission.ADMINISTER)
async def post_reset_link(request: Request, caller: FormCaller, member_id: str) -> HTMLResponse:
    """Show a password-reset link to hand over, once."""
    context, business_id = context_of(request), caller.business_id
    act_for("")  # to count the memberships in all businesses
    try:
        path, member = await context.db.write(
            lambda tx: (
                actions.hand_out_reset(tx, business_id, member_id, caller),
                accounts.load_member(tx, business_id, member_id),
            )
        )
    except Refused as refused:
        if refused.code is errors.NOT_FOUND:
            raise
        act_for(caller.business_id)
        return await show_members.show(request, caller, refused, at="members")
    act_for(caller.business_id)
    handed = {"name": member.display_name, "url": context.settings.base_url + path}
    return await show_members.show(request, caller, handed=handed)


class JoiningForm(BaseModel):
    """Form to accept an invitation; the e-mail counts if the invitation has none.

    ``has_account``: the password is that of an existing account.
    """

    email: Annotated[str, Field(max_length=320)] = ""
    display_name: Annotated[str, Field(max_length=80)] = ""
    password: Annotated[str, Field(max_length=1000)] = ""
    has_account: bool = False


@router.get("/invitations/{token}", Access(Credential.ADDRESS))
async def show_invitation(request: Request, token: str) -> HTMLResponse:
    return await _render_invitation(request, token, JoiningForm())


@router.post("/invitations/{token}", Access(Credential.ADDRESS))
async def post_invitation_taken(
    request: Request, token: str, form: Annotated[JoiningForm, Form()]
) -> Response:
    """Mail a link that confirms the address; with a confirmed one join the business, and sign in."""
    context, network = context_of(request), client_network(request)
    await check_csrf(request, context.pages.csrf_signer)
    try:
        opened = await context.db.read(lambda tx: actions.open_invitation(tx, token))
        if context.settings.sends_mail and not opened.is_confirmed:
            # the answer is the same for an address that has an account
            words, base_url = translator_of(request), context.settings.base_url
            await context.db.write(
                lambda tx: actions.mail_invitation(tx, token, form.email, network, base_url, words)
            )
            return await _render_invitation(request, token, form, is_sent=True)
        # Check or hash the password outside any transaction, then join.
        # An answer must not reveal accounts elsewhere to the inviter. So without a confirmed address the
        # newcomer says whether they have an account. A missing one fails like a wrong password, as fast.
        account = await context.db.read(lambda tx: accounts_store.find_user_by_email(tx, opened.email))
        password_hash, user, pool = "", None, part_of(request, HashPool)
        with pool.place(network):
            if form.has_account if not opened.is_confirmed else account is not None:
                attempt = await context.db.write(
                    lambda tx: actions.count_login(tx, opened.email, network, "")
                )
                if not await pool.run(accounts.password_fits, account, form.password):
                    raise Refused(errors.WRONG_LOGIN)
                await context.db.write(lambda tx: actions.give_login_back(tx, attempt))
                user = account
            else:
                password_hash = await pool.run(accounts.hash_password, form.password)

        def join(tx: Tx) -> str:
            member = actions.accept_invitation(
                tx, token, form.display_name, password_hash, user, sends_mail=context.settings.sends_mail
            )
            record_act(tx, request, member, "POST /invitations/{token}", f"member_id={member.id}")
            if session_token(request):
                accounts.end_session(tx, session_token(request))
            browser = request.headers.get("user-agent", "")
            return accounts.open_session(tx, member, context.settings.session_days, browser=browser)

        session = await context.db.write(join)
    except Refused as refused:
        if refused.code is errors.LINK_OVER:
            raise
        return await _render_invitation(request, token, form, refused)
    response = RedirectResponse("/", 303)
    set_session(response, session, context.pages.cookies)
    return response


async def _render_invitation(
    request: Request, token: str, typed: JoiningForm, problem: Refused | None = None, *, is_sent: bool = False
) -> HTMLResponse:
    context = context_of(request)
    opened = await context.db.read(lambda tx: actions.open_invitation(tx, token))
    if not opened.email and not context.settings.sends_mail:
        raise Refused(errors.LINK_OVER)
    account = await context.db.read(lambda tx: accounts_store.find_user_by_email(tx, opened.email))
    values = {
        "caller": None,
        "opened": opened,
        "role_says": rules.ROLE_TEXTS[opened.invitation.role],
        "is_known": opened.is_confirmed and account is not None,
        "asks_address": context.settings.sends_mail and not opened.is_confirmed,
        "is_sent": is_sent,
        "typed": typed,
    }
    return context.pages.render(request, "people/invitation.html", values, refused=problem)


@router.get("/password/forgotten", Access(Credential.ANYBODY))
async def show_forgotten(request: Request) -> HTMLResponse:
    return _render_forgotten(request)


@router.post("/password/forgotten", Access(Credential.ANYBODY))
async def post_forgotten(request: Request, email: Annotated[str, Form(max_length=320)] = "") -> HTMLResponse:
    """Send a reset link; the answer does not reveal whether the e-mail exists."""
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


@router.get("/password/reset/{token}", Access(Credential.ADDRESS))
async def show_reset(request: Request, token: str) -> HTMLResponse:
    context = context_of(request)
    await context.db.read(lambda tx: actions.open_reset(tx, token))
    return context.pages.render(request, "people/reset.html", {"token": token})


@router.post("/password/reset/{token}", Access(Credential.ADDRESS))
async def post_reset(
    request: Request, token: str, password: Annotated[str, Form(max_length=1000)] = ""
) -> Response:
    """Replace the password, and end sessions with the old one."""
    context = context_of(request)
    await check_csrf(request, context.pages.csrf_signer)
    await context.db.read(lambda tx: actions.open_reset(tx, token))
    pool = part_of(request, HashPool)
    try:
        with pool.place(client_network(request)):
            hashed = await pool.run(accounts.hash_password, password)
    except Refused as refused:
        return context.pages.render(request, "people/reset.html", {"token": token}, refused=refused)

    def reset(tx: Tx) -> Member:
        member = actions.reset_password(tx, token, hashed)
        record_act(tx, request, member, "POST /password/reset/{token}", f"member_id={member.id}")
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
    values = {"email": email, "is_asked": is_asked, "sends_mail": context.settings.sends_mail}
    return context.pages.render(request, "people/forgotten.html", values, refused=problem)


PROFILE_PAGE = "/settings/profile"


class ProfileForm(BaseModel):
    display_name: Annotated[str, Field(max_length=200)] = ""
    language: Annotated[str, Field(max_length=16)] = ""
    timezone: Annotated[str, Field(max_length=64)] = ""


class PasswordForm(BaseModel):
    """Form of a new password; ``keep_tokens`` keeps the person's tokens."""

    current: Annotated[str, Field(max_length=1000)] = ""
    password: Annotated[str, Field(max_length=1000)] = ""
    keep_tokens: bool = False


@router.get("/settings/profile", Access(Credential.MEMBER))
async def show_profile(request: Request, caller: PageCaller, done: str = "") -> HTMLResponse:
    return await _render_profile(request, caller, done=done)


@router.post("/settings/profile", Access(Credential.MEMBER))
async def post_profile(
    request: Request, caller: FormCaller, form: Annotated[ProfileForm, Form()]
) -> Response:
    values = form.display_name, form.language, form.timezone
    try:
        await context_of(request).db.write(lambda tx: accounts.change_profile(tx, caller, *values))
    except Refused as refused:
        return await _render_profile(request, caller, profile=form, problem=refused)
    return RedirectResponse(f"{PROFILE_PAGE}?done=profile", 303)


@router.post("/settings/profile/password", Access(Credential.MEMBER))
async def post_password(
    request: Request, caller: FormCaller, form: Annotated[PasswordForm, Form()]
) -> Response:
    """Change the own password; all other sessions end."""
    context, pool = context_of(request), part_of(request, HashPool)
    words = translator_of(request) if context.settings.sends_mail else None
    token, keep_tokens = session_token(request), form.keep_tokens
    try:
        check_password(form.password)
        with pool.place(client_network(request), is_known=True):
            member = await context.db.write(lambda tx: actions.count_password_try(tx, caller))
            if not await pool.run(accounts.password_fits, member, form.current):
                raise Refused(errors.INVALID, "current: this is not your password.")
            hashed = await pool.run(accounts.hash_password, form.password)
        act_for("")  # a password opens every business of its person
        await context.db.write(
            lambda tx: actions.change_own_password(tx, member, hashed, token, words, keep_tokens=keep_tokens)
        )
    except Refused as refused:
        return await _render_profile(request, caller, problem=refused)
    return RedirectResponse(f"{PROFILE_PAGE}?done=password", 303)


@router.post("/settings/profile/sessions/end", Access(Credential.MEMBER))
async def post_other_sessions_end(request: Request, caller: FormCaller) -> RedirectResponse:
    act_for("")  # sessions in all businesses
    token = session_token(request)
    await context_of(request).db.write(lambda tx: actions.end_own_sessions(tx, caller.user_id, token))
    return RedirectResponse(f"{PROFILE_PAGE}?done=sessions#sessions", 303)


@router.post("/settings/profile/sessions/{session_id}/end", Access(Credential.MEMBER))
async def post_session_end(request: Request, caller: FormCaller, session_id: str) -> RedirectResponse:
    act_for("")  # sessions in all businesses
    await context_of(request).db.write(
        lambda tx: check_found(actions.end_own_sessions(tx, caller.user_id, only=session_id) or None)
    )
    return RedirectResponse(f"{PROFILE_PAGE}?done=sessions#sessions", 303)


@router.post("/switch", Access(Credential.MEMBER))
async def post_switch(
    request: Request, caller: FormCaller, business_id: Annotated[str, Form(max_length=36)] = ""
) -> RedirectResponse:
    context = context_of(request)
    token, days = session_token(request), context.settings.session_days
    browser = request.headers.get("user-agent", "")
    act_for("")  # it reads the memberships in all businesses
    new_token = await context.db.write(
        lambda tx: actions.switch_business(tx, caller, business_id, token, days, browser)
    )
    response = RedirectResponse("/", 303)
    set_session(response, new_token, context.pages.cookies)
    return response


async def _render_profile(
    request: Request,
    caller: Caller,
    *,
    profile: ProfileForm | None = None,
    problem: Refused | None = None,
    done: str = "",
) -> HTMLResponse:
    context = context_of(request)
    act_for("")  # sessions in all businesses
    workplaces = await context.db.read(lambda tx: accounts_store.list_workplaces(tx, caller.user_id))
    sessions = await context.db.read(
        lambda tx: [
            (membership.name, session)
            for membership in workplaces
            for session in accounts_store.list_sessions(tx, membership.business_id, membership.id)
        ]
    )
    act_for(caller.business_id)
    field, says = split_fault(problem, translator_of(request)) if problem else ("", "")
    values = {
        "caller": caller,
        "workplaces": workplaces,
        "sessions": sessions,
        "typed": profile
        or ProfileForm(display_name=caller.display_name, language=caller.language, timezone=caller.timezone),
        "errors": {field or "password": says} if says else {},
        "zones": [(zone, zone) for zone in time_zones()],
        "own_hash": hash_secret(session_token(request)),
        "done": done,
    }
    return context.pages.render(request, "people/profile.html", values, refused=problem)
