"""The page on which a member chooses of what they are alerted, and what open pages ask of it."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.rules import ROLE_PERMISSIONS
from contatto.alerts import rules
from contatto.alerts.actions import pushing
from contatto.alerts.actions.telling import choices_of, choose_alerts
from contatto.alerts.model import NEEDS, Choices, Kind
from contatto.alerts.store.browsers import list_browsers
from contatto.kit.db.row_security import act_for
from contatto.kit.db.tx import Tx
from contatto.ui.context import context_of

router = APIRouter(include_in_schema=False)
Minute = Annotated[int, Field(ge=0, lt=24 * 60)]
Kinds = Annotated[list[Kind], Field(max_length=len(Kind))]


class AlertForm(BaseModel):
    """What comes by mail at once and in a digest, what counts on open pages, and when all is quiet."""

    mailed: Kinds = []
    digested: Kinds = []
    pushed: Kinds = []
    shown: Kinds = []
    has_sound: bool = False
    quiet_from: Minute = 0
    quiet_until: Minute = 0
    digest_at: Minute = 8 * 60


class BrowserForm(BaseModel):
    """Where a browser is reached, its key and its secret, in base64url."""

    endpoint: Annotated[str, Field(max_length=2_048)]
    public_key: Annotated[str, Field(max_length=100)]
    secret: Annotated[str, Field(max_length=30)]


@router.get("/settings/alerts")
async def show_alerts(request: Request, caller: PageCaller, done: str = "") -> HTMLResponse:
    context = context_of(request)
    of_caller = caller.business_id, caller.subject_id
    choices, browsers = await context.db.read(
        lambda tx: (choices_of(tx, *of_caller), list_browsers(tx, *of_caller))
    )
    own = ROLE_PERMISSIONS[caller.role] if caller.role else frozenset()
    values: dict[str, Any] = {
        "caller": caller,
        "choices": choices,
        "browsers": browsers,
        "public_key": pushing.public_key_of(context.vault),
        "kinds": [(kind, rules.KIND_TEXTS[kind]) for kind in Kind if NEEDS[kind] in own],
        "sends_mail": context.settings.sends_mail,
        "times": [(minute, f"{minute // 60:02d}:{minute % 60:02d}") for minute in rules.HALF_HOURS],
        "done": bool(done),
    }
    return context.pages.render(request, "alerts/settings.html", values)


@router.post("/settings/alerts")
async def post_alerts(request: Request, caller: FormCaller, form: Annotated[AlertForm, Form()]) -> Response:
    """The member's own choice; every role may make it."""
    mailed = tuple(kind.value for kind in Kind if kind in form.mailed)
    choices = Choices(
        business_id=caller.business_id,
        member_id=caller.subject_id,
        mailed=mailed,
        digested=tuple(kind.value for kind in Kind if kind in form.digested and kind not in form.mailed),
        pushed=tuple(kind.value for kind in Kind if kind in form.pushed),
        shown=tuple(kind.value for kind in Kind if kind in form.shown),
        has_sound=form.has_sound,
        quiet_from=form.quiet_from,
        quiet_until=form.quiet_until,
        digest_at=form.digest_at,
    )

    def choose(tx: Tx) -> None:
        choose_alerts(tx, choices)

    await context_of(request).db.write(choose)
    return RedirectResponse("/settings/alerts?done=1", 303)


@router.post("/settings/alerts/browsers")
async def post_browser(
    request: Request, caller: FormCaller, form: Annotated[BrowserForm, Form()]
) -> RedirectResponse:
    """Tell the member in this browser, also while no page is open."""
    context = context_of(request)
    browser = request.headers.get("user-agent", "")
    given = pushing.Subscribed(form.endpoint, form.public_key, form.secret, browser)

    def keep(tx: Tx) -> None:
        pushing.keep_browser(tx, caller, given, context.settings.allowed_hosts)

    act_for("")  # whoever used this browser before, in whatever business, is told there no more
    await context.db.write(keep)
    return RedirectResponse("/settings/alerts#browsers", 303)


@router.post("/settings/alerts/browsers/{browser_id}/remove")
async def post_browser_removal(request: Request, caller: FormCaller, browser_id: str) -> RedirectResponse:
    await context_of(request).db.write(lambda tx: pushing.remove_browser(tx, caller, browser_id))
    return RedirectResponse("/settings/alerts#browsers", 303)


@router.get("/alerts/choices")
async def show_choices(request: Request, caller: PageCaller) -> JSONResponse:
    """What counts on open pages of this member."""
    choices = await context_of(request).db.read(
        lambda tx: choices_of(tx, caller.business_id, caller.subject_id)
    )
    told = {"member": caller.subject_id, "shown": choices.shown, "sound": choices.has_sound}
    return JSONResponse(told)
