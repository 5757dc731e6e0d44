"""Settings page of a member's alerts, and the endpoint that open pages read them from."""

from typing import Annotated, Any

from fastapi import Form, Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, RedirectResponse

from contatto.accounts.auth import FormCaller, PageCaller, page_routes
from contatto.accounts.model import Access, Caller, Credential
from contatto.accounts.rules import ROLE_PERMISSIONS
from contatto.alerts import actions, rules
from contatto.alerts.connectors import web_push
from contatto.alerts.model import NEEDS, AlertChoices, AlertKind
from contatto.alerts.store import alert_choices, list_browsers, load_choices, push_browsers
from contatto.kit import errors
from contatto.kit.db.database import act_for
from contatto.kit.db.tx import Tx, row_of
from contatto.kit.errors import Refused
from contatto.kit.values import to_base64url
from contatto.ui.requests import context_of

router = page_routes()
Minute = Annotated[int, Field(ge=0, lt=24 * 60)]
Kinds = Annotated[list[AlertKind], Field(max_length=len(AlertKind))]


class AlertForm(BaseModel):
    """Form of a member's choices: kinds per medium, quiet hours and time of the digest."""

    mailed: Kinds = []
    digested: Kinds = []
    pushed: Kinds = []
    shown: Kinds = []
    has_sound: bool = False
    quiet_from: Minute = 0
    quiet_until: Minute = 0
    digest_at: Minute = 8 * 60


class BrowserForm(BaseModel):
    """Push endpoint of a browser, with its key and secret in base64url."""

    endpoint: Annotated[str, Field(max_length=2_048)]
    public_key: Annotated[str, Field(max_length=100)]
    secret: Annotated[str, Field(max_length=30)]


@router.page("/settings/alerts", Access(Credential.MEMBER), "alerts/settings.html")
def show_alerts(tx: Tx, request: Request, caller: Caller, done: str = "") -> dict[str, Any]:
    context = context_of(request)
    member = caller.business_id, caller.subject_id
    permissions = ROLE_PERMISSIONS[caller.role] if caller.role else frozenset()
    return {
        "choices": load_choices(tx, *member),
        "browsers": list_browsers(tx, *member),
        "public_key": to_base64url(
            web_push.public_point(web_push.vapid_key(context.vault.derivation_key(web_push.VAPID_KEY)))
        ),
        "kinds": [(kind, rules.KIND_TEXTS[kind]) for kind in AlertKind if NEEDS[kind] in permissions],
        "sends_mail": context.settings.sends_mail,
        "times": [(minute, f"{minute // 60:02d}:{minute % 60:02d}") for minute in rules.HALF_HOURS],
        "done": bool(done),
    }


@router.form("/settings/alerts", Access(Credential.MEMBER))
def post_alerts(tx: Tx, request: Request, caller: Caller, form: Annotated[AlertForm, Form()]) -> str:
    """Save the member's own choice; every role may make it."""
    form.digested = [kind for kind in form.digested if kind not in form.mailed]
    kinds = {
        name: tuple(kind.value for kind in AlertKind if kind in getattr(form, name))
        for name in ("mailed", "digested", "pushed", "shown")
    }
    choices = AlertChoices(caller.business_id, caller.subject_id, **(form.model_dump() | kinds))
    tx.save(alert_choices, row_of(choices))
    return "/settings/alerts?done=1"


@router.post("/settings/alerts/browsers", Access(Credential.MEMBER))
async def post_browser(
    request: Request, caller: FormCaller, form: Annotated[BrowserForm, Form()]
) -> RedirectResponse:
    """Register this browser for the member's push alerts."""
    context = context_of(request)
    browser = web_push.PushEndpoint(form.endpoint, form.public_key, form.secret)
    user_agent = request.headers.get("user-agent", "")
    act_for("")  # all businesses, since earlier users of this browser may belong to others
    await context.db.write(
        lambda tx: actions.register_browser(tx, caller, browser, user_agent, context.settings.allowed_hosts)
    )
    return RedirectResponse("/settings/alerts#browsers", 303)


@router.form("/settings/alerts/browsers/{browser_id}/remove", Access(Credential.MEMBER))
def post_browser_removal(tx: Tx, request: Request, caller: Caller, browser_id: str) -> str:
    """Remove a browser of the caller's own from push alerts."""
    if not tx.delete(push_browsers, caller.business_id, member_id=caller.subject_id, id=browser_id):
        raise Refused(errors.NOT_FOUND, "Browser not found.")
    return "/settings/alerts#browsers"


@router.get("/alerts/choices", Access(Credential.MEMBER))
async def show_choices(request: Request, caller: PageCaller) -> JSONResponse:
    """Return the kinds that count in the title of this member's open pages."""
    choices = await context_of(request).db.read(
        lambda tx: load_choices(tx, caller.business_id, caller.subject_id)
    )
    content = {"member": caller.subject_id, "shown": choices.shown, "sound": choices.has_sound}
    return JSONResponse(content)
