"""The list of linked CRMs with what is wrong, and the form that links another one."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import require
from contatto.crm.actions import targets as actions
from contatto.crm.actions.consenting import start_path
from contatto.crm.actions.ledger import load_ledger
from contatto.crm.actions.targets import NewTarget
from contatto.crm.model.connector import Connector
from contatto.crm.model.targets import Target
from contatto.crm.pages.views import GIVEN, HOME, show_connectors, show_settings, show_target
from contatto.crm.ports import CrmPorts
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.i18n import translator_of
from contatto.ui.context import context_of

router: Final = APIRouter(include_in_schema=False, prefix=HOME)


class LinkForm(BaseModel):
    """What links a CRM; its own settings come besides, named as its connector does, behind ``given.``."""

    model_config = ConfigDict(extra="allow")

    name: Annotated[str, Field(max_length=200)] = ""
    address: Annotated[str, Field(max_length=2_100)] = ""

    @property
    def given(self) -> dict[str, str]:
        more = self.model_extra or {}
        return {
            name.removeprefix(GIVEN): text
            for name, text in more.items()
            if name.startswith(GIVEN) and isinstance(text, str)
        }


@router.get("")
async def show_integrations(request: Request, caller: PageCaller) -> HTMLResponse:
    require(caller, Permission.ADMINISTER)
    context = context_of(request)

    def load(tx: Tx) -> dict[str, Any]:
        connectors = tx.ports[CrmPorts].connectors
        ledger = load_ledger(tx, caller.business_id)
        return {
            "targets": [show_target(target, connectors) for target in ledger.targets],
            "connectors": show_connectors(connectors),
        }

    values = await context.db.read(load)
    return context.pages.render(request, "crm/integrations.html", values | {"caller": caller})


@router.get("/ledger")
async def show_ledger(request: Request, caller: PageCaller) -> HTMLResponse:
    require(caller, Permission.ADMINISTER)
    context = context_of(request)

    def load(tx: Tx) -> dict[str, Any]:
        ledger = load_ledger(tx, caller.business_id)
        connectors = tx.ports[CrmPorts].connectors
        return {
            "intake": ledger.intake,
            "told": ledger.told,
            "targets": [show_target(target, connectors) for target in ledger.targets],
        }

    values = await context.db.read(load)
    return context.pages.render(request, "crm/ledger.html", values | {"caller": caller})


@router.get("/connect/{connector}")
async def show_connect(request: Request, caller: PageCaller, connector: str) -> HTMLResponse:
    require(caller, Permission.ADMINISTER)
    return _render_connect(request, caller, _connector(request, connector), LinkForm())


@router.post("/connect/{connector}")
async def post_connect(
    request: Request, caller: FormCaller, connector: str, form: Annotated[LinkForm, Form()]
) -> Response:
    """Link a CRM; nothing goes there before somebody starts it on its own page."""
    require(caller, Permission.ADMINISTER)
    context = context_of(request)
    of = _connector(request, connector)
    new = NewTarget(of.traits.name, form.name, form.address, form.given)
    allowed = context.settings.allowed_hosts

    def link(tx: Tx) -> Target:
        return actions.link_crm(tx, caller.business_id, new, allowed, is_started=False)

    try:
        made = await context.db.write(link)
    except Refused as refused:
        return _render_connect(request, caller, of, form, refused)
    has_to_ask = made.reason == actions.NOT_CONNECTED
    return RedirectResponse(start_path(made) if has_to_ask else f"{HOME}/{made.number}", 303)


def _connector(request: Request, name: str) -> Connector:
    found = context_of(request).installation.ports[CrmPorts].connectors.get(name)
    if found is None:
        raise Refused(errors.NOT_FOUND, "This version of Contatto does not support this CRM.")
    return found


def _render_connect(
    request: Request, caller: Caller, connector: Connector, form: LinkForm, refused: Refused | None = None
) -> HTMLResponse:
    """The form; after a refusal, with what was typed (never a secret) and what is wrong with it."""
    traits = connector.traits
    (card,) = show_connectors({traits.name: connector})
    values = {
        "caller": caller,
        "card": card,
        "fields": show_settings(traits, form.given, {}),
        "asks_address": not traits.address,
        "name": form.name,
        "address": form.address,
        "error": refused.detail_in(translator_of(request)) if refused else "",
    }
    status = refused.code.http_status if refused else 200
    return context_of(request).pages.render(request, "crm/connect.html", values, status)
