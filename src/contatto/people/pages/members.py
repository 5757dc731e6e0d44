"""Members and invitations of a business: who works here, as what, and since when no more."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts import actions as accounts
from contatto.accounts import store as known
from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Caller, Member, Permission, Role
from contatto.accounts.rules import may, may_appoint, require
from contatto.kit import errors
from contatto.kit.db.row_security import act_for
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.faults import split_fault
from contatto.kit.i18n import translator_of
from contatto.people import actions, rules, store
from contatto.ui.context import context_of

router = APIRouter(include_in_schema=False)
HOME = "/settings/members"


class InvitationForm(BaseModel):
    """The address and the role of an invitation; with a mail server the address may be left out."""

    email: Annotated[str, Field(max_length=320)] = ""
    role: Role = Role.AGENT


@dataclass(frozen=True, slots=True)
class _InvitationRow:
    id: str
    email: str
    role: Role
    expires_at: datetime
    link: str


@dataclass(frozen=True, slots=True)
class _HandedLink:
    """A link to a new password, to be handed over; shown this once."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class _MemberRow:
    """A member; ``may_change`` says whether the caller may, ``may_hand_out`` a link to a new password too."""

    id: str
    display_name: str
    email: str
    role: Role
    sessions: int
    last_login_at: datetime | None
    deactivated_at: datetime | None
    is_you: bool
    may_change: bool


@router.get("/settings/members")
async def show_members(request: Request, caller: PageCaller) -> HTMLResponse:
    """Everybody sees with whom they work; owners and admins see the invitations too."""
    return await _render(request, caller)


@router.post("/settings/invitations")
async def post_invitation(
    request: Request, caller: FormCaller, form: Annotated[InvitationForm, Form()]
) -> Response:
    """Offer a place: by mail where there is a mail server, and by a link to copy."""
    require(caller, Permission.ADMINISTER)
    context, words = context_of(request), translator_of(request)

    def invite(tx: Tx) -> None:
        sends_mail, base_url = context.settings.sends_mail, context.settings.base_url
        made = actions.invite_member(
            tx, caller.business_id, form.email, form.role, caller, sends_mail=sends_mail
        )
        if made.email and sends_mail:
            names = caller.business_name, caller.display_name
            actions.queue_invitation_mail(tx, made, names, made.email, base_url, words)

    try:
        await context.db.write(invite)
    except Refused as refused:
        return await _render(request, caller, problem=refused, typed=form)
    return RedirectResponse(f"{HOME}#invitations", 303)


@router.post("/settings/invitations/{invitation_id}/withdraw")
async def post_withdrawal(request: Request, caller: FormCaller, invitation_id: str) -> RedirectResponse:
    require(caller, Permission.ADMINISTER)
    await context_of(request).db.write(
        lambda tx: actions.withdraw_invitation(tx, caller.business_id, invitation_id)
    )
    return RedirectResponse(f"{HOME}#invitations", 303)


@router.post("/settings/members/{member_id}/role")
async def post_role(
    request: Request, caller: FormCaller, member_id: str, role: Annotated[Role, Form()]
) -> Response:
    return await _act(
        request, caller, member_id, lambda tx, member: accounts.set_member_role(tx, member, role, caller)
    )


@router.post("/settings/members/{member_id}/deactivate")
async def post_deactivation(request: Request, caller: FormCaller, member_id: str) -> Response:
    return await _act(
        request, caller, member_id, lambda tx, member: accounts.deactivate_member(tx, member, caller)
    )


@router.post("/settings/members/{member_id}/reactivate")
async def post_reactivation(request: Request, caller: FormCaller, member_id: str) -> Response:
    return await _act(
        request, caller, member_id, lambda tx, member: accounts.reactivate_member(tx, member, caller)
    )


@router.post("/settings/members/{member_id}/reset")
async def post_reset_link(request: Request, caller: FormCaller, member_id: str) -> HTMLResponse:
    """Show a link to a new password, this once, to be handed over."""
    require(caller, Permission.ADMINISTER)
    context = context_of(request)
    act_for("")  # the places of the member in all businesses are counted

    def make(tx: Tx) -> _HandedLink:
        path = actions.hand_out_reset(tx, caller.business_id, member_id, caller)
        member = accounts.load_member(tx, caller.business_id, member_id)
        return _HandedLink(member.display_name, context.settings.base_url + path)

    try:
        handed = await context.db.write(make)
    except Refused as refused:
        if refused.code is errors.NOT_FOUND:
            raise
        act_for(caller.business_id)
        return await _render(request, caller, problem=refused, part="members")
    act_for(caller.business_id)
    return await _render(request, caller, handed=handed)


async def _act(
    request: Request, caller: Caller, member_id: str, work: Callable[[Tx, Member], object]
) -> Response:
    require(caller, Permission.ADMINISTER)

    def act(tx: Tx) -> None:
        work(tx, accounts.load_member(tx, caller.business_id, member_id))

    try:
        await context_of(request).db.write(act)
    except Refused as refused:
        if refused.code is errors.NOT_FOUND:
            raise
        return await _render(request, caller, problem=refused, part="members")
    return RedirectResponse(HOME, 303)


async def _render(
    request: Request,
    caller: Caller,
    *,
    problem: Refused | None = None,
    part: str = "invitations",
    typed: InvitationForm | None = None,
    handed: _HandedLink | None = None,
) -> HTMLResponse:
    context = context_of(request)
    manages = may(caller, Permission.ADMINISTER)

    def load(tx: Tx) -> dict[str, Any]:
        sessions = known.count_sessions(tx, caller.business_id) if manages else {}
        invited = store.list_invitations(tx, caller.business_id) if manages else []
        base_url = context.settings.base_url
        return {
            "members": [
                _row(member, caller, sessions) for member in known.list_members(tx, caller.business_id)
            ],
            "invitations": [
                _InvitationRow(
                    each.id,
                    each.email,
                    each.role,
                    each.expires_at,
                    base_url + actions.invitation_path(tx, each),
                )
                for each in invited
            ],
        }

    values = await context.db.read(load)
    own = caller.role or Role.ANALYST
    values |= {
        "caller": caller,
        "can_manage": manages,
        "sends_mail": context.settings.sends_mail,
        "roles": [role for role in Role if may_appoint(own, role)] if manages else [],
        "role_says": rules.ROLE_TEXTS,
        "typed": typed or InvitationForm(),
        "error": split_fault(problem, translator_of(request))[1] if problem else "",
        "error_part": part,
        "handed": handed,
    }
    status = problem.code.http_status if problem else 200
    return context.pages.render(request, "people/members.html", values, status)


def _row(member: Member, caller: Caller, sessions: dict[str, int]) -> _MemberRow:
    return _MemberRow(
        id=member.id,
        display_name=member.display_name,
        email=member.email,
        role=member.role,
        sessions=sessions.get(member.id, 0),
        last_login_at=member.last_login_at,
        deactivated_at=member.deactivated_at,
        is_you=member.id == caller.subject_id,
        may_change=caller.role is not None and may_appoint(caller.role, member.role),
    )
