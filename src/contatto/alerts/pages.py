"""The page on which a member chooses of what they are alerted, and what open pages ask of it."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.rules import ROLE_PERMISSIONS
from contatto.alerts import actions, rules
from contatto.alerts.model import NEEDS, Choices, Kind
from contatto.kit.db.tx import Tx
from contatto.ui.context import context_of

router = APIRouter(include_in_schema=False)
Minute = Annotated[int, Field(ge=0, lt=24 * 60)]
Kinds = Annotated[list[Kind], Field(max_length=len(Kind))]


class AlertForm(BaseModel):
    """What comes by mail at once and in a digest, what counts on open pages, and when all is quiet."""

    mailed: Kinds = []
    digested: Kinds = []
    shown: Kinds = []
    has_sound: bool = False
    quiet_from: Minute = 0
    quiet_until: Minute = 0
    digest_at: Minute = 8 * 60


@router.get("/settings/alerts")
async def show_alerts(request: Request, caller: PageCaller, done: str = "") -> HTMLResponse:
    context = context_of(request)
    choices = await context.db.read(lambda tx: actions.choices_of(tx, caller.business_id, caller.subject_id))
    own = ROLE_PERMISSIONS[caller.role] if caller.role else frozenset()
    values: dict[str, Any] = {
        "caller": caller,
        "choices": choices,
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
        shown=tuple(kind.value for kind in Kind if kind in form.shown),
        has_sound=form.has_sound,
        quiet_from=form.quiet_from,
        quiet_until=form.quiet_until,
        digest_at=form.digest_at,
    )

    def choose(tx: Tx) -> None:
        actions.choose_alerts(tx, choices)

    await context_of(request).db.write(choose)
    return RedirectResponse("/settings/alerts?done=1", 303)


@router.get("/alerts/choices")
async def show_choices(request: Request, caller: PageCaller) -> JSONResponse:
    """What counts on open pages of this member."""
    choices = await context_of(request).db.read(
        lambda tx: actions.choices_of(tx, caller.business_id, caller.subject_id)
    )
    told = {"member": caller.subject_id, "shown": choices.shown, "sound": choices.has_sound}
    return JSONResponse(told)
