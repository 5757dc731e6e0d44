"""The own profile: name, language, time zone, password, sessions, and the businesses one works in."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts import store as known
from contatto.accounts.actions import hash_password, password_fits
from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Caller
from contatto.accounts.rules import check_password, time_zones
from contatto.kit import errors
from contatto.kit.db.row_security import act_for
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.faults import split_fault
from contatto.kit.hashing import HashPool
from contatto.kit.i18n import translator_of
from contatto.kit.ids import hash_secret
from contatto.kit.limits import client_network
from contatto.mail.actions import queue_mail
from contatto.mail.model import NewMail
from contatto.people import actions, rules
from contatto.people.model import Profile
from contatto.ui.context import context_of, part_of
from contatto.ui.sessions import session_token, set_session

router = APIRouter(include_in_schema=False)
HOME = "/settings/profile"


class ProfileForm(BaseModel):
    display_name: Annotated[str, Field(max_length=200)] = ""
    language: Annotated[str, Field(max_length=16)] = ""
    timezone: Annotated[str, Field(max_length=64)] = ""


class PasswordForm(BaseModel):
    """The old password and the new one; tokens that the person made may go on."""

    current: Annotated[str, Field(max_length=1000)] = ""
    password: Annotated[str, Field(max_length=1000)] = ""
    keep_tokens: bool = False


@dataclass(frozen=True, slots=True)
class _SessionRow:
    id: str
    business: str
    browser: str
    created_at: datetime
    last_used_at: datetime
    is_this: bool


@router.get("/settings/profile")
async def show_profile(request: Request, caller: PageCaller, done: str = "") -> HTMLResponse:
    return await _render(request, caller, done=done)


@router.post("/settings/profile")
async def post_profile(
    request: Request, caller: FormCaller, form: Annotated[ProfileForm, Form()]
) -> Response:
    profile = Profile(form.display_name, form.language, form.timezone)
    try:
        await context_of(request).db.write(lambda tx: actions.save_profile(tx, caller, profile))
    except Refused as refused:
        return await _render(request, caller, profile=form, problem=refused)
    return RedirectResponse(f"{HOME}?done=profile", 303)


@router.post("/settings/profile/password")
async def post_password(
    request: Request, caller: FormCaller, form: Annotated[PasswordForm, Form()]
) -> Response:
    """Change the own password; all other sessions end."""
    try:
        await _change_password(request, caller, form)
    except Refused as refused:
        return await _render(request, caller, problem=refused)
    return RedirectResponse(f"{HOME}?done=password", 303)


async def _change_password(request: Request, caller: Caller, form: PasswordForm) -> None:
    check_password(form.password)
    context, pool, words = context_of(request), part_of(request, HashPool), translator_of(request)
    with pool.place(client_network(request), is_known=True):
        member = await context.db.write(lambda tx: actions.count_password_try(tx, caller))
        if not await pool.run(password_fits, member, form.current):
            raise Refused(errors.INVALID, "current: this is not your password.")
        hashed = await pool.run(hash_password, form.password)
    token = session_token(request)

    def change(tx: Tx) -> None:
        actions.change_own_password(tx, member, hashed, token, keep_tokens=form.keep_tokens)
        if context.settings.sends_mail:
            queue_mail(tx, NewMail(member.business_id, member.email, *rules.changed_mail(words)))

    act_for("")  # a password opens every business of its person
    await context.db.write(change)


@router.post("/settings/profile/sessions/end")
async def post_other_sessions_end(request: Request, caller: FormCaller) -> RedirectResponse:
    act_for("")
    token = session_token(request)
    await context_of(request).db.write(lambda tx: actions.end_other_sessions(tx, caller.user_id, token))
    return RedirectResponse(f"{HOME}?done=sessions#sessions", 303)


@router.post("/settings/profile/sessions/{session_id}/end")
async def post_session_end(request: Request, caller: FormCaller, session_id: str) -> RedirectResponse:
    act_for("")
    await context_of(request).db.write(lambda tx: actions.end_own_session(tx, caller.user_id, session_id))
    return RedirectResponse(f"{HOME}?done=sessions#sessions", 303)


@router.post("/switch")
async def post_switch(
    request: Request, caller: FormCaller, business_id: Annotated[str, Form(max_length=36)] = ""
) -> RedirectResponse:
    """Go to another business of one's own."""
    context = context_of(request)
    token, days = session_token(request), context.settings.session_days
    browser = request.headers.get("user-agent", "")
    act_for("")
    fresh = await context.db.write(
        lambda tx: actions.switch_business(tx, caller, business_id, token, days, browser)
    )
    response = RedirectResponse("/", 303)
    set_session(response, fresh, context.pages.cookies)
    return response


async def _render(
    request: Request,
    caller: Caller,
    *,
    profile: ProfileForm | None = None,
    problem: Refused | None = None,
    done: str = "",
) -> HTMLResponse:
    context = context_of(request)
    this = hash_secret(session_token(request))

    def load(tx: Tx) -> dict[str, Any]:
        return {
            "workplaces": known.list_workplaces(tx, caller.user_id),
            "sessions": [
                _SessionRow(
                    id=session.id,
                    business=place.name,
                    browser=session.browser,
                    created_at=session.created_at,
                    last_used_at=session.last_used_at,
                    is_this=session.token_hash == this,
                )
                for place, session in actions.list_own_sessions(tx, caller.user_id)
            ],
        }

    act_for("")  # these are of all businesses of one person
    values = await context.db.read(load)
    act_for(caller.business_id)
    field, says = split_fault(problem, translator_of(request)) if problem else ("", "")
    values |= {
        "caller": caller,
        "typed": profile
        or ProfileForm(display_name=caller.display_name, language=caller.language, timezone=caller.timezone),
        "errors": {field or "password": says} if says else {},
        "zones": [(each, each) for each in time_zones()],
        "done": done,
    }
    status = problem.code.http_status if problem else 200
    return context.pages.render(request, "people/profile.html", values, status)
