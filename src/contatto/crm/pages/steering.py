"""What a member does to a linked CRM: start and pause it, send all again, connect it anew, remove it."""

from collections.abc import Callable
from typing import Annotated, Final

from fastapi import APIRouter, Form, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.auth import FormCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import require
from contatto.crm.actions import targets as actions
from contatto.crm.actions.checking import queue_check
from contatto.crm.actions.comparing import queue_comparison
from contatto.crm.actions.incoming import close_incoming, open_incoming
from contatto.crm.model.targets import Target
from contatto.crm.pages.linking import LinkForm
from contatto.crm.pages.targets import Once, render_target
from contatto.crm.pages.views import HOME
from contatto.kit import errors
from contatto.kit.api_types import number_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.ui.context import context_of
from contatto.ui.render import SHOWN_ONCE

router: Final = APIRouter(include_in_schema=False, prefix=HOME)

type Change = Callable[[Tx, Target], object]


async def _change(request: Request, caller: Caller, target_id: str, change: Change) -> RedirectResponse:
    require(caller, Permission.ADMINISTER)

    def work(tx: Tx) -> None:
        change(tx, actions.load_target(tx, caller.business_id, number_of(target_id)))

    await context_of(request).db.write(work)
    return RedirectResponse(f"{HOME}/{target_id}", 303)


@router.post("/{target_id}/resume")
async def post_resume(request: Request, caller: FormCaller, target_id: str) -> RedirectResponse:
    """Let leads go there: those that waited go by themselves."""
    return await _change(request, caller, target_id, actions.resume_target)


@router.post("/{target_id}/pause")
async def post_pause(request: Request, caller: FormCaller, target_id: str) -> RedirectResponse:
    return await _change(request, caller, target_id, actions.pause_target)


@router.post("/{target_id}/resync")
async def post_resync(request: Request, caller: FormCaller, target_id: str) -> RedirectResponse:
    return await _change(request, caller, target_id, actions.resync_target)


@router.post("/{target_id}/check")
async def post_check(request: Request, caller: FormCaller, target_id: str) -> RedirectResponse:
    """Ask the CRM for its fields now."""
    return await _change(request, caller, target_id, queue_check)


@router.post("/{target_id}/compare")
async def post_compare(request: Request, caller: FormCaller, target_id: str) -> RedirectResponse:
    """Compare its records with our ledger now."""
    return await _change(request, caller, target_id, queue_comparison)


@router.post("/{target_id}/webhook")
async def post_webhook(request: Request, caller: FormCaller, target_id: str) -> HTMLResponse:
    """Let it post changes, signed with a new secret, which is shown this once; one before is good no more."""
    require(caller, Permission.ADMINISTER)

    def open_it(tx: Tx) -> str:
        return open_incoming(tx, actions.load_target(tx, caller.business_id, number_of(target_id)))

    secret = await context_of(request).db.write(open_it)
    setattr(request.state, SHOWN_ONCE, True)
    return await render_target(request, caller, target_id, Once(secret=secret))


@router.post("/{target_id}/webhook/close")
async def post_webhook_close(request: Request, caller: FormCaller, target_id: str) -> RedirectResponse:
    return await _change(request, caller, target_id, close_incoming)


@router.post("/{target_id}/reconnect")
async def post_reconnect(
    request: Request, caller: FormCaller, target_id: str, form: Annotated[LinkForm, Form()]
) -> Response:
    """Connect it anew, with other secrets if some are given; what waited goes there by itself."""
    allowed = context_of(request).settings.allowed_hosts

    def reconnect(tx: Tx, target: Target) -> None:
        actions.reconnect_target(tx, target, form.address, form.given, allowed)

    try:
        return await _change(request, caller, target_id, reconnect)
    except Refused as refused:
        if refused.code is not errors.INVALID:
            raise
        return await render_target(request, caller, target_id, Once(refused, "reconnect", form.given))


@router.post("/{target_id}/remove")
async def post_remove(
    request: Request, caller: FormCaller, target_id: str, word: Annotated[str, Form(max_length=200)] = ""
) -> Response:
    """Unlink it, for who writes its name: its secrets are forgotten, what is there stays there."""

    def remove(tx: Tx, target: Target) -> None:
        if " ".join(word.split()).casefold() != target.name.casefold():
            raise Refused(errors.INVALID, "Nothing was removed. Enter the name exactly as shown above.")
        actions.remove_target(tx, target)

    try:
        await _change(request, caller, target_id, remove)
    except Refused as refused:
        if refused.code is not errors.INVALID:
            raise
        return await render_target(request, caller, target_id, Once(refused, "remove"))
    return RedirectResponse(HOME, 303)
