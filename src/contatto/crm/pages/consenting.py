"""Connecting a CRM by consent at its vendor's: the page before, and the page to come back to."""

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Form, Request
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import require
from contatto.crm.actions import consenting as actions
from contatto.crm.actions.consenting import CLIENT_ID, Visitor
from contatto.crm.actions.running import connector_of
from contatto.crm.actions.targets import VALUE_LIMIT, load_target
from contatto.crm.connectors.oauth import ACCESS
from contatto.crm.model.targets import Target, TargetState
from contatto.crm.model.traits import APP_SECRET
from contatto.crm.pages.views import HOME as PAGES
from contatto.crm.ports import CrmPorts
from contatto.crm.rules.consent import DENIED, consent_text
from contatto.kit import errors
from contatto.kit.api_types import number_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.i18n import LazyText, translator_of
from contatto.kit.ids import hash_secret
from contatto.kit.outbound.model import RequestState
from contatto.ui.context import context_of
from contatto.ui.sessions import session_token

router: Final = APIRouter(include_in_schema=False, prefix=actions.HOME)


@dataclass(frozen=True, slots=True)
class Stand:
    """How far a connection is.

    Attributes:
        label: the CRM, as its vendor writes it.
        is_connected: whether the vendor lets us in.
        is_started: whether leads go there.
        is_waiting: whether a code is being changed into tokens.
        refusal: why the last one was not; None when it was, or there was none.
        href: where a person lets us in; empty while the app is not known.
        client_id: of the app at the vendor.
    """

    name: str
    label: str
    is_connected: bool
    is_started: bool
    is_waiting: bool
    refusal: LazyText | None
    href: str
    client_id: str


class AppForm(BaseModel):
    """The app of a business at a vendor; an empty secret leaves the one that is there."""

    target_id: Annotated[str, Field(max_length=32)] = ""
    client_id: Annotated[str, Field(max_length=VALUE_LIMIT)] = ""
    client_secret: Annotated[str, Field(max_length=VALUE_LIMIT, repr=False)] = ""


@router.get("/{connector}/start")
async def show_start(
    request: Request, caller: PageCaller, connector: str, target_id: str = "", refused: str = ""
) -> Response:
    """The page of a connection; without a target, the form that makes one."""
    require(caller, Permission.ADMINISTER)
    if not target_id:
        await context_of(request).db.read(lambda tx: _check_connector(tx, connector))
        return RedirectResponse(f"{PAGES}/connect/{connector}", 303)
    return await _render(request, caller, connector, target_id, refused)


@router.post("/{connector}/start")
async def post_start(
    request: Request, caller: FormCaller, connector: str, form: Annotated[AppForm, Form()]
) -> Response:
    """Keep another app of a target."""
    require(caller, Permission.ADMINISTER)

    def save(tx: Tx) -> Target:
        target = _load(tx, caller, connector, form.target_id)
        actions.change_app(tx, target, form.client_id, form.client_secret)
        return target

    try:
        target = await context_of(request).db.write(save)
    except Refused as refused:
        if refused.code is not errors.INVALID:
            raise
        return await _render(request, caller, connector, form.target_id, refusal=(refused, form.client_id))
    return RedirectResponse(actions.start_path(target), 303)


@router.get("/callback")
async def show_callback(request: Request, caller: PageCaller) -> Response:
    """Return where a vendor leads a member back to; nothing happens before they say so here."""
    require(caller, Permission.ADMINISTER)
    context = context_of(request)
    sent = request.query_params
    state = sent.get("state", "")
    consent = actions.read_consent(context.vault, state, _visitor(request, caller), context.clock.now())
    target = await context.db.read(lambda tx: load_target(tx, caller.business_id, consent.number))
    code = sent.get("code", "")
    if not code:
        refused = sent.get("error", "") or DENIED
        return RedirectResponse(f"{actions.start_path(target)}&refused={_plain(refused)}", 303)
    values = {
        "caller": caller, "name": target.name, "state": state, "code": code,
        "server": sent.get("accounts-server", ""),
    }  # fmt: skip
    return context.pages.render(request, "crm/consent_return.html", values)


@router.post("/callback")
async def post_callback(
    request: Request,
    caller: FormCaller,
    state: Annotated[str, Form(max_length=300)],
    code: Annotated[str, Form(max_length=2_000)],
    server: Annotated[str, Form(max_length=200)] = "",
) -> RedirectResponse:
    require(caller, Permission.ADMINISTER)
    context = context_of(request)
    consent = actions.read_consent(context.vault, state, _visitor(request, caller), context.clock.now())
    base_url = context.settings.base_url

    def take(tx: Tx) -> Target:
        return actions.take_consent(tx, caller.business_id, consent, code, server, base_url)

    return RedirectResponse(actions.start_path(await context.db.write(take)), 303)


def _visitor(request: Request, caller: Caller) -> Visitor:
    return Visitor(caller.business_id, caller.subject_id, hash_secret(session_token(request)))


def _plain(text: str) -> str:
    """A vendor's code as a part of an address."""
    return "".join(sign for sign in text[:60] if sign.isascii() and (sign.isalnum() or sign == "_"))


def _check_connector(tx: Tx, name: str) -> None:
    found = tx.ports[CrmPorts].connectors.get(name)
    if found is None or found.traits.oauth is None:
        raise Refused(
            errors.NOT_FOUND, "This CRM does not connect with OAuth. Connect it with a token or password."
        )


def _load(tx: Tx, caller: Caller, connector: str, target_id: str) -> Target:
    target = load_target(tx, caller.business_id, number_of(target_id))
    if target.connector != connector:
        raise Refused(errors.NOT_FOUND, "Connected CRM not found.")
    return target


async def _render(
    request: Request,
    caller: Caller,
    connector: str,
    target_id: str,
    said: str = "",
    refusal: tuple[Refused, str] | None = None,
) -> HTMLResponse:
    """The page; after a refusal, with what is wrong and the client id that was typed, but no secret."""
    context = context_of(request)
    wrong, typed = refusal or (None, "")

    def load(tx: Tx) -> Stand:
        target = _load(tx, caller, connector, target_id)
        return _stand(tx, target, _href(tx, request, caller, target), said)

    stand = await context.db.read(load)
    values = {
        "caller": caller,
        "connector": connector,
        "target_id": target_id,
        "stand": stand,
        "client_id": typed or stand.client_id,
        "return_address": context.settings.base_url + actions.CALLBACK,
        "error": wrong.detail_in(translator_of(request)) if wrong else "",
    }
    status = wrong.code.http_status if wrong else 200
    return context.pages.render(request, "crm/consent.html", values, status)


def _href(tx: Tx, request: Request, caller: Caller, target: Target) -> str:
    """Return where the member lets us in; empty while the app is not known."""
    context, oauth = context_of(request), actions.oauth_of(tx, target)
    if not (target.settings.get(CLIENT_ID) and target.secrets.get(APP_SECRET)):
        return ""
    who, now = _visitor(request, caller), context.clock.now()
    return actions.consent_address(context.vault, target, oauth, who, now, context.settings.base_url)


def _stand(tx: Tx, target: Target, href: str, said: str) -> Stand:
    exchange, connector = actions.find_exchange(tx, target), connector_of(tx, target)
    state = exchange.state if exchange else None
    reason = said or (exchange.reason if exchange and state is RequestState.DEAD else "")
    has_tokens = target.state is not TargetState.DISCONNECTED and bool(target.secrets.get(ACCESS))
    return Stand(
        name=target.name,
        label=connector.traits.label if connector else target.connector,
        is_connected=has_tokens,
        is_started=target.is_active,
        is_waiting=state is RequestState.DUE,
        refusal=consent_text(reason) if reason else None,
        href=href,
        client_id=target.settings.get(CLIENT_ID, ""),
    )
