"""Pages of linked CRMs: list, connection, consent, settings."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Final

from fastapi import Form, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.auth import FormCaller, PageCaller, page_routes
from contatto.accounts.model import Caller, Permission
from contatto.crm.actions import checks
from contatto.crm.actions import targets as actions
from contatto.crm.actions.deliveries import CrmPorts, connector_of, find_kind_request, queue_work
from contatto.crm.connectors.json_api import ACCESS
from contatto.crm.model import APP_SECRET, ConnectorTraits, CrmConnector, Sweep, Target, TargetState
from contatto.crm.rules import deliveries as rules
from contatto.crm.store.deliveries import list_targets
from contatto.integrations.model import Alarm
from contatto.kit import errors
from contatto.kit.api_types import number_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused, check_found
from contatto.kit.i18n import N_, LazyText
from contatto.kit.ids import hash_secret
from contatto.kit.outbound.model import RequestState
from contatto.ui.render import SHOWN_ONCE, session_token
from contatto.ui.requests import context_of, show_page

HOME: Final = "/settings/integrations"
router: Final = page_routes(HOME)
consent_router: Final = page_routes(actions.OAUTH_HOME)
BROKEN: Final = (N_("Error"), "failed")
STATES: Final = {
    TargetState.ACTIVE: (N_("Syncing"), "on"),
    TargetState.PAUSED: (N_("Paused"), "paused"),
    TargetState.DISCONNECTED: (N_("Disconnected"), "failed"),
    TargetState.REMOVED: (N_("Removed"), "off"),
}
WAITING: Final = {
    actions.NOT_STARTED: (N_("Not started"), "review"),
    actions.NOT_CONNECTED: (N_("Not connected"), "review"),
}
"""States of a target that was never started, by its reason."""
_STATE_REASONS: Final = (actions.NOT_STARTED, actions.NOT_CONNECTED, actions.PAUSED)
"""Reasons that the state itself shows."""


def show_target(ledger: actions.TargetLedger, connectors: Mapping[str, CrmConnector]) -> dict[str, Any]:
    """Return the values that pages show of a linked CRM; ``why`` is the reason that it gets no leads."""
    target = ledger.target
    connector = connectors.get(target.connector)
    state, tone = WAITING.get(target.reason, STATES[target.state])
    if target.is_active and Alarm.NONE_ARRIVES in ledger.alarms:
        state, tone = BROKEN
    is_started = target.reason not in WAITING
    is_plain = target.reason not in rules.IDLE
    why = rules.reason_text(target.reason) if is_plain else LazyText(rules.IDLE[target.reason])
    return {
        "number": str(target.number),
        "href": f"{HOME}/{target.number}",
        "name": target.name,
        "label": connector.traits.label if connector else target.connector,
        "state": state,
        "tone": tone,
        "why": "" if target.is_active or target.reason in _STATE_REASONS else why,
        "is_started": is_started,
        "is_active": target.is_active,
        "is_paused": target.state is TargetState.PAUSED,
        "is_disconnected": target.state is TargetState.DISCONNECTED,
        "reads_back": connector is None or connector.traits.reads_back,
        "counts": ledger.counts,
        "alarms": [alarm for alarm in ledger.alarms if is_started or alarm is Alarm.MAPPING],
        "verified_at": target.verified_at,
        "comparison": target.comparison,
    }


def load_view(tx: Tx, business_id: str, target_id: str) -> tuple[Target, dict[str, Any]]:
    target = actions.load_target(tx, business_id, number_of(target_id))
    (ledger,) = actions.load_standings(tx, business_id, [target])
    return target, show_target(ledger, tx.ports[CrmPorts].connectors)


def show_connectors(connectors: Mapping[str, CrmConnector]) -> list[dict[str, Any]]:
    """Return the CRMs that can be linked by a key, by consent at the vendor, or both, sorted by label."""
    cards = [
        {
            "name": traits.name,
            "label": traits.label,
            "takes_key": bool(traits.keys),
            "takes_consent": traits.oauth is not None,
            "reads_back": traits.reads_back,
            "tells_changes": traits.tells_changes,
        }
        for traits in (connector.traits for connector in connectors.values())
    ]
    return sorted(cards, key=lambda card: str(card["label"]).casefold())


ENTRY: Final = "given."
"""Prefix of the names of settings in a form."""


def show_settings(
    traits: ConnectorTraits, values: Mapping[str, str], secrets: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the fields of a form that connects a CRM; ``secrets`` are its current ones.

    A secret shows its value only as an offer, before it is stored.
    """
    fields = []
    for setting in traits.settings:
        value = values.get(setting.name, setting.default)
        is_kept = bool(secrets.get(setting.name))
        is_offered = bool(setting.prefix) and setting.is_required and not is_kept
        if setting.is_secret:
            value = (value or checks.make_signing_secret(setting.prefix)) if is_offered else ""
        is_required = setting.is_required and not is_kept
        attrs: dict[str, str | int] = {"maxlength": actions.VALUE_LIMIT, "autocomplete": "off"}
        attrs |= {"placeholder": setting.example} if setting.example else {}
        field = {
            "name": f"{ENTRY}{setting.name}",
            "label": setting.label,
            "help": setting.help,
            "value": value,
            "is_secret": setting.is_secret,
            "is_offered": is_offered,
            "is_required": is_required,
            "is_kept": is_kept,
            "attrs": attrs if setting.is_required or is_kept else attrs | {"data-optional": "1"},
        }
        fields.append(field)
    return fields


class PrefixedForm(BaseModel):
    """Form with a field for each setting or value; the names of the fields have a prefix."""

    model_config = ConfigDict(extra="allow")

    def list_texts(self, prefix: str) -> dict[str, str]:
        """Return the texts by their names without the prefix."""
        return {
            name.removeprefix(prefix): text
            for name, text in (self.model_extra or {}).items()
            if name.startswith(prefix) and isinstance(text, str)
        }


class LinkForm(PrefixedForm):
    """A form that links a CRM; the connector's settings have the prefix ``given.``."""

    name: Annotated[str, Field(max_length=200)] = ""
    address: Annotated[str, Field(max_length=2_100)] = ""


@router.get("", Permission.ADMINISTER)
async def show_integrations(request: Request, caller: PageCaller) -> HTMLResponse:
    def load(tx: Tx) -> dict[str, Any]:
        connectors = tx.ports[CrmPorts].connectors
        targets = list_targets(tx, caller.business_id)
        ledgers = actions.load_standings(tx, caller.business_id, targets)
        return {
            "targets": [show_target(ledger, connectors) for ledger in ledgers],
            "connectors": show_connectors(connectors),
        }

    return await show_page(request, caller, "crm/integrations.html", load)


@router.get("/ledger", Permission.ADMINISTER)
async def show_ledger(request: Request, caller: PageCaller) -> HTMLResponse:
    def load(tx: Tx) -> dict[str, Any]:
        ledger = actions.load_ledger(tx, caller.business_id)
        connectors = tx.ports[CrmPorts].connectors
        return {
            "intake": ledger.intake,
            "signals": ledger.signals,
            "targets": [show_target(target, connectors) for target in ledger.targets],
        }

    return await show_page(request, caller, "crm/ledger.html", load)


@router.get("/connect/{connector}", Permission.ADMINISTER)
async def show_connect(request: Request, caller: PageCaller, connector: str) -> HTMLResponse:
    return _render_connect(request, caller, _connector(request, connector), LinkForm())


@router.post("/connect/{connector}", Permission.ADMINISTER)
async def post_connect(
    request: Request, caller: FormCaller, connector: str, form: Annotated[LinkForm, Form()]
) -> Response:
    """Link a CRM, which gets no lead until a member starts it."""
    context = context_of(request)
    chosen = _connector(request, connector)
    new = actions.NewTarget(chosen.traits.name, form.name, form.address, form.list_texts(ENTRY))
    allowed = context.settings.allowed_hosts

    try:
        target = await context.db.write(
            lambda tx: actions.link_crm(tx, caller.business_id, new, allowed, is_started=False)
        )
    except Refused as refused:
        return _render_connect(request, caller, chosen, form, refused)
    is_next = target.reason == actions.NOT_CONNECTED
    return RedirectResponse(actions.start_path(target) if is_next else f"{HOME}/{target.number}", 303)


def _connector(request: Request, name: str) -> CrmConnector:
    return check_found(
        context_of(request).installation.ports[CrmPorts].connectors.get(name),
        "This version of Contatto does not support this CRM.",
    )


def _render_connect(
    request: Request, caller: Caller, connector: CrmConnector, form: LinkForm, refused: Refused | None = None
) -> HTMLResponse:
    """Render the form; after a refusal with the error and the entries, but no secret."""
    traits = connector.traits
    (card,) = show_connectors({traits.name: connector})
    values = {
        "caller": caller,
        "card": card,
        "fields": show_settings(traits, form.list_texts(ENTRY), {}),
        "asks_address": not traits.address,
        "name": form.name,
        "address": form.address,
    }
    return context_of(request).pages.render(request, "crm/connect.html", values, refused=refused)


class AppForm(BaseModel):
    """The app of a business at a vendor; an empty secret keeps the current one."""

    target_id: Annotated[str, Field(max_length=32)] = ""
    client_id: Annotated[str, Field(max_length=actions.VALUE_LIMIT)] = ""
    client_secret: Annotated[str, Field(max_length=actions.VALUE_LIMIT, repr=False)] = ""


@consent_router.get("/{connector}/start", Permission.ADMINISTER)
async def show_start(
    request: Request, caller: PageCaller, connector: str, target_id: str = "", refused: str = ""
) -> Response:
    """Show the page of a connection; without a target, redirect to the form that links one."""
    if not target_id:
        if _connector(request, connector).traits.oauth is None:
            raise Refused(
                errors.NOT_FOUND, "This CRM does not connect with OAuth. Connect it with a token or password."
            )
        return RedirectResponse(f"{HOME}/connect/{connector}", 303)
    return await _render(request, caller, connector, target_id, refused)


@consent_router.post("/{connector}/start", Permission.ADMINISTER)
async def post_start(
    request: Request, caller: FormCaller, connector: str, form: Annotated[AppForm, Form()]
) -> Response:
    """Change the app of a target."""

    def save(tx: Tx) -> Target:
        target = _load(tx, caller, connector, form.target_id)
        actions.change_app(tx, target, form.client_id, form.client_secret)
        return target

    try:
        target = await context_of(request).db.write(save)
    except Refused as refused:
        refusal = refused.expect(errors.INVALID), form.client_id
        return await _render(request, caller, connector, form.target_id, refusal=refusal)
    return RedirectResponse(actions.start_path(target), 303)


@consent_router.get("/callback", Permission.ADMINISTER)
async def show_callback(request: Request, caller: PageCaller) -> Response:
    """Show the page to which a vendor returns a member, who confirms here."""
    context = context_of(request)
    sent = request.query_params
    state = sent.get("state", "")
    consent = actions.read_consent(context.vault, state, _visitor(request, caller), context.clock.now())
    target = await context.db.read(lambda tx: actions.load_target(tx, caller.business_id, consent.number))
    code = sent.get("code", "")
    if not code:
        refused = sent.get("error", "") or rules.DENIED
        plain_code = re.sub(r"[^0-9A-Za-z_]", "", refused[:60])  # an address may have these characters
        return RedirectResponse(f"{actions.start_path(target)}&refused={plain_code}", 303)
    values = {
        "caller": caller, "name": target.name, "state": state, "code": code,
        "server": sent.get("accounts-server", ""),
    }  # fmt: skip
    return context.pages.render(request, "crm/consent_return.html", values)


@consent_router.post("/callback", Permission.ADMINISTER)
async def post_callback(
    request: Request,
    caller: FormCaller,
    state: Annotated[str, Form(max_length=300)],
    code: Annotated[str, Form(max_length=2_000)],
    server: Annotated[str, Form(max_length=200)] = "",
) -> RedirectResponse:
    context = context_of(request)
    consent = actions.read_consent(context.vault, state, _visitor(request, caller), context.clock.now())
    base_url = context.settings.base_url

    target = await context.db.write(
        lambda tx: actions.take_consent(tx, caller.business_id, consent, code, server, base_url)
    )
    return RedirectResponse(actions.start_path(target), 303)


def _visitor(request: Request, caller: Caller) -> tuple[str, ...]:
    return caller.business_id, caller.subject_id, hash_secret(session_token(request))


def _load(tx: Tx, caller: Caller, connector: str, target_id: str) -> Target:
    target = actions.load_target(tx, caller.business_id, number_of(target_id))
    if target.connector != connector:
        raise Refused(errors.NOT_FOUND, "Connected CRM not found.")
    return target


async def _render(
    request: Request,
    caller: Caller,
    connector: str,
    target_id: str,
    reason: str = "",
    refusal: tuple[Refused, str] | None = None,
) -> HTMLResponse:
    """Render the page; after a refusal with the error and the typed client id, but no secret."""
    context = context_of(request)
    error, typed = refusal or (None, "")

    def load(tx: Tx) -> dict[str, Any]:
        target = _load(tx, caller, connector, target_id)
        exchange, vendor = find_kind_request(tx, target, rules.CONSENT), connector_of(tx, target)
        state = exchange.state if exchange else None
        code = reason or (exchange.reason if exchange and state is RequestState.DEAD else "")
        has_app = bool(target.settings.get(actions.CLIENT_ID) and target.secrets.get(APP_SECRET))
        oauth, href = actions.oauth_of(tx, target), ""
        if has_app:
            visitor, at = _visitor(request, caller), context.clock.now()
            href = actions.consent_address(
                context.vault, target, oauth, visitor, at, context.settings.base_url
            )
        return {
            "name": target.name,
            "label": vendor.traits.label if vendor else target.connector,
            "is_connected": target.state is not TargetState.DISCONNECTED and bool(target.secrets.get(ACCESS)),
            "is_started": target.is_active,
            "is_waiting": state is RequestState.DUE,
            "refusal": rules.consent_text(code) if code else None,
            "href": href,
            "client_id": typed or target.settings.get(actions.CLIENT_ID, ""),
            "connector": connector,
            "target_id": target_id,
            "return_address": context.settings.base_url + actions.CALLBACK,
        }

    return await show_page(request, caller, "crm/consent.html", load, error)


type Change = Callable[[Tx, Target], object]


@router.get("/{target_id}", Permission.ADMINISTER)
async def show_integration(request: Request, caller: PageCaller, target_id: str) -> HTMLResponse:
    return await render_target(request, caller, target_id)


@dataclass(frozen=True, slots=True)
class PageNotice:
    """Parts of a page that show once: a refusal and the entries of its form, or a new secret."""

    refused: Refused | None = None
    at: str = ""
    typed: Mapping[str, str] | None = None
    secret: str = field(default="", repr=False)


async def render_target(
    request: Request, caller: Caller, target_id: str, notice: PageNotice | None = None
) -> HTMLResponse:
    base_url, notice = context_of(request).settings.base_url, notice or PageNotice()

    def load(tx: Tx) -> dict[str, Any]:
        target, target_view = load_view(tx, caller.business_id, target_id)
        connector = connector_of(tx, target)
        check = find_kind_request(tx, target, rules.CHECK)
        comparing = find_kind_request(tx, target, rules.COMPARISON)
        return {
            "target": target_view,
            "card": show_connectors({target.connector: connector})[0] if connector else None,
            "fields": show_settings(connector.traits, notice.typed or target.settings, target.secrets)
            if connector
            else [],
            "asks_address": connector is not None and not connector.traits.address,
            "check": {
                "is_asking": check is not None and not check.reason and target.described_at is None,
                "described_at": target.described_at,
                "why": rules.reason_text(check.reason) if check and check.reason else "",
                "next_at": check.due_at if check and check.reason else None,
                "fields": len(target.described),
            },
            "comparing": {
                "is_able": connector is not None and connector.traits.enumerates,
                "is_asking": comparing is not None
                and not comparing.reason
                and (comparing.claim is not None or comparing.due_at <= tx.now),
                "why": rules.reason_text(comparing.reason) if comparing and comparing.reason else "",
            },
            "incoming_address": base_url + checks.incoming_path(target.number),
            "address": target.address,
            "created_at": target.created_at,
            "is_open": checks.INCOMING in target.secrets,
            "faults": target.faults,
            "is_sweeping": target.sweep is not Sweep.NONE,
            "rows": len(target.mapping),
        }

    values = {"at": notice.at, "incoming_secret": notice.secret}
    return await show_page(request, caller, "crm/target.html", load, notice.refused, **values)


async def change_target(
    request: Request, caller: Caller, target_id: str, change: Change, path: str = ""
) -> RedirectResponse:
    """Change a linked CRM, and redirect to a page below its own."""
    await context_of(request).db.write(
        lambda tx: change(tx, actions.load_target(tx, caller.business_id, number_of(target_id)))
    )
    return RedirectResponse(f"{HOME}/{target_id}{path}", 303)


def add_change(path: str, change: Change, shown: str = "") -> None:
    """Add the route of a change without a form; it redirects to the page ``shown``."""

    async def post_change(request: Request, caller: FormCaller, target_id: str) -> RedirectResponse:
        return await change_target(request, caller, target_id, change, shown)

    router.add("POST", f"/{{target_id}}/{path}", post_change, Permission.ADMINISTER)


add_change("resume", actions.resume_target)
add_change("pause", actions.pause_target)
add_change("resync", actions.resync_target)
add_change("check", partial(queue_work, work=checks.CheckWork))
add_change("compare", partial(queue_work, work=checks.CompareWork))
add_change("webhook/close", checks.close_incoming)


@router.post("/{target_id}/webhook", Permission.ADMINISTER)
async def post_webhook(request: Request, caller: FormCaller, target_id: str) -> HTMLResponse:
    """Let a CRM post changes, signed with a new secret that shows once and replaces the last one."""
    secret = await context_of(request).db.write(
        lambda tx: checks.open_incoming(tx, actions.load_target(tx, caller.business_id, number_of(target_id)))
    )
    setattr(request.state, SHOWN_ONCE, True)
    return await render_target(request, caller, target_id, PageNotice(secret=secret))


@router.post("/{target_id}/reconnect", Permission.ADMINISTER)
async def post_reconnect(
    request: Request, caller: FormCaller, target_id: str, form: Annotated[LinkForm, Form()]
) -> Response:
    """Connect a CRM again, with new secrets if the form has some."""
    allowed = context_of(request).settings.allowed_hosts
    entries = form.list_texts(ENTRY)
    try:
        return await change_target(
            request,
            caller,
            target_id,
            lambda tx, target: actions.reconnect_target(tx, target, form.address, entries, allowed),
        )
    except Refused as refused:
        return await render_target(
            request,
            caller,
            target_id,
            PageNotice(refused.expect(errors.INVALID), "reconnect", entries),
        )


@router.post("/{target_id}/remove", Permission.ADMINISTER)
async def post_remove(
    request: Request, caller: FormCaller, target_id: str, word: Annotated[str, Form(max_length=200)] = ""
) -> Response:
    """Unlink a CRM, for a member who types its name; its records stay there."""

    def remove(tx: Tx, target: Target) -> None:
        if " ".join(word.split()).casefold() != target.name.casefold():
            raise Refused(errors.INVALID, "Nothing was removed. Enter the name exactly as shown above.")
        actions.remove_target(tx, target)

    try:
        await change_target(request, caller, target_id, remove)
    except Refused as refused:
        return await render_target(
            request, caller, target_id, PageNotice(refused.expect(errors.INVALID), "remove")
        )
    return RedirectResponse(HOME, 303)
