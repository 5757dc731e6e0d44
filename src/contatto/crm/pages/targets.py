"""Pages of linked CRMs: list, connection, consent, settings."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, Final

from fastapi import Form, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import RedirectResponse, Response

from contatto.accounts.auth import PageCaller, TemplatePage, page_routes
from contatto.accounts.model import Caller, Permission
from contatto.crm.actions import checks
from contatto.crm.actions import targets as actions
from contatto.crm.actions.deliveries import CrmPorts, connector_of, find_kind_request, queue_work
from contatto.crm.connectors.json_api import ACCESS
from contatto.crm.model import APP_SECRET, ConnectorTraits, CrmConnector, Sweep, Target, TargetState
from contatto.crm.rules import deliveries as rules
from contatto.crm.store import deliveries as store
from contatto.integrations.model import Alarm
from contatto.kit import errors
from contatto.kit.api_types import number_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused, check_found
from contatto.kit.i18n import N_, LazyText
from contatto.kit.ids import hash_secret
from contatto.kit.outbound.model import RequestState
from contatto.ui.render import session_token
from contatto.ui.requests import context_of

HOME: Final = "/settings/integrations"
router: Final = page_routes(HOME)
consent_router: Final = page_routes(actions.OAUTH_HOME)
UNSUPPORTED: Final = N_("This version of Contatto does not support this CRM.")
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


@router.page("", Permission.ADMINISTER, "crm/integrations.html")
def show_integrations(tx: Tx, request: Request, caller: Caller) -> dict[str, Any]:
    connectors = tx.ports[CrmPorts].connectors
    ledgers = actions.load_standings(tx, caller.business_id, store.list_targets(tx, caller.business_id))
    return {
        "targets": [show_target(ledger, connectors) for ledger in ledgers],
        "connectors": show_connectors(connectors),
    }


@router.page("/ledger", Permission.ADMINISTER, "crm/ledger.html")
def show_ledger(tx: Tx, request: Request, caller: Caller) -> dict[str, Any]:
    ledger = actions.load_ledger(tx, caller.business_id)
    connectors = tx.ports[CrmPorts].connectors
    return {
        "intake": ledger.intake,
        "signals": ledger.signals,
        "targets": [show_target(target, connectors) for target in ledger.targets],
    }


@router.page("/connect/{connector}", Permission.ADMINISTER, "crm/connect.html")
def show_connect(
    tx: Tx, request: Request, caller: Caller, connector: str, *, form: LinkForm | None = None
) -> dict[str, Any]:
    """Show the form that links a CRM; after a refusal with the entries, but no secret."""
    chosen, form = check_found(tx.ports[CrmPorts].connectors.get(connector), UNSUPPORTED), form or LinkForm()
    (card,) = show_connectors({connector: chosen})
    return {
        "card": card,
        "fields": show_settings(chosen.traits, form.list_texts(ENTRY), {}),
        "asks_address": not chosen.traits.address,
        "name": form.name,
        "address": form.address,
    }


@router.form("/connect/{connector}", Permission.ADMINISTER, show_connect, errors.INVALID, errors.AD_LIMIT)
def post_connect(
    tx: Tx, request: Request, caller: Caller, connector: str, form: Annotated[LinkForm, Form()]
) -> str:
    """Link a CRM, which gets no lead until a member starts it."""
    new = actions.NewTarget(connector, form.name, form.address, form.list_texts(ENTRY))
    allowed = context_of(request).settings.allowed_hosts
    target = actions.link_crm(tx, caller.business_id, new, allowed, is_started=False)
    is_next = target.reason == actions.NOT_CONNECTED
    return actions.start_path(target) if is_next else f"{HOME}/{target.number}"


class AppForm(BaseModel):
    """The app of a business at a vendor; an empty secret keeps the current one."""

    target_id: Annotated[str, Field(max_length=32)] = ""
    client_id: Annotated[str, Field(max_length=actions.VALUE_LIMIT)] = ""
    client_secret: Annotated[str, Field(max_length=actions.VALUE_LIMIT, repr=False)] = ""


def load_consent(
    tx: Tx,
    request: Request,
    caller: Caller,
    connector: str,
    target_id: str = "",
    *,
    form: AppForm | None = None,
) -> dict[str, Any]:
    """Return the values of the page; after a refusal with the typed client id, but no secret."""
    context = context_of(request)
    target = _load(tx, caller, connector, form.target_id if form else target_id)
    exchange, vendor = find_kind_request(tx, target, rules.CONSENT), connector_of(tx, target)
    state = exchange.state if exchange else None
    refused = request.query_params.get("refused", "")
    code = refused or (exchange.reason if exchange and state is RequestState.DEAD else "")
    has_app = bool(target.settings.get(actions.CLIENT_ID) and target.secrets.get(APP_SECRET))
    oauth, href = actions.oauth_of(tx, target), ""
    if has_app:
        visitor, at = _visitor(request, caller), context.clock.now()
        href = actions.consent_address(context.vault, target, oauth, visitor, at, context.settings.base_url)
    return {
        "name": target.name,
        "label": vendor.traits.label if vendor else target.connector,
        "is_connected": target.state is not TargetState.DISCONNECTED and bool(target.secrets.get(ACCESS)),
        "is_started": target.is_active,
        "is_waiting": state is RequestState.DUE,
        "refusal": rules.consent_text(code) if code else None,
        "href": href,
        "client_id": (form.client_id if form else "") or target.settings.get(actions.CLIENT_ID, ""),
        "connector": connector,
        "target_id": str(target.number),
        "return_address": context.settings.base_url + actions.CALLBACK,
    }


consent_page: Final = TemplatePage("crm/consent.html", load_consent)


@consent_router.get("/{connector}/start", Permission.ADMINISTER)
async def show_start(request: Request, caller: PageCaller, connector: str, target_id: str = "") -> Response:
    """Show the page of a connection; without a target, redirect to the form that links one."""
    if target_id:
        return await consent_page.show(request, caller, connector=connector, target_id=target_id)
    connectors = context_of(request).installation.ports[CrmPorts].connectors
    if check_found(connectors.get(connector), UNSUPPORTED).traits.oauth is None:
        raise Refused(
            errors.NOT_FOUND, "This CRM does not connect with OAuth. Connect it with a token or password."
        )
    return RedirectResponse(f"{HOME}/connect/{connector}", 303)


@consent_router.form("/{connector}/start", Permission.ADMINISTER, consent_page, errors.INVALID)
def post_start(
    tx: Tx, request: Request, caller: Caller, connector: str, form: Annotated[AppForm, Form()]
) -> str:
    """Change the app of a target; an empty secret keeps the current one."""
    target = _load(tx, caller, connector, form.target_id)
    actions.oauth_of(tx, target)
    client_id, secret = form.client_id.strip(), form.client_secret.strip()
    if any(len(text) > actions.VALUE_LIMIT or not text.isprintable() for text in (client_id, secret)):
        raise Refused(errors.INVALID, "client_id: Enter a valid value.")
    if not (client_id and (secret or target.secrets.get(APP_SECRET))):
        raise Refused(errors.INVALID, "client_id: Enter the client ID and the client secret.")
    store.record_target(tx, target, settings={**target.settings, actions.CLIENT_ID: client_id})
    if secret:
        store.record_secrets(tx, target, {**target.secrets, APP_SECRET: secret})
    return actions.start_path(target)


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


@consent_router.form("/callback", Permission.ADMINISTER)
def post_callback(
    tx: Tx,
    request: Request,
    caller: Caller,
    state: Annotated[str, Form(max_length=300)],
    code: Annotated[str, Form(max_length=2_000)],
    server: Annotated[str, Form(max_length=200)] = "",
) -> str:
    context = context_of(request)
    consent = actions.read_consent(context.vault, state, _visitor(request, caller), context.clock.now())
    base_url = context.settings.base_url
    return actions.start_path(actions.take_consent(tx, caller.business_id, consent, code, server, base_url))


def _visitor(request: Request, caller: Caller) -> tuple[str, ...]:
    return caller.business_id, caller.subject_id, hash_secret(session_token(request))


def _load(tx: Tx, caller: Caller, connector: str, target_id: str) -> Target:
    target = actions.load_target(tx, caller.business_id, number_of(target_id))
    if target.connector != connector:
        raise Refused(errors.NOT_FOUND, "Connected CRM not found.")
    return target


@router.page("/{target_id}", Permission.ADMINISTER, "crm/target.html")
def show_integration(
    tx: Tx,
    request: Request,
    caller: Caller,
    target_id: str,
    *,
    form: LinkForm | None = None,
    incoming_secret: str = "",
) -> dict[str, Any]:
    """Show a linked CRM; after a refusal with the entries of the form, or with a new secret."""
    target, target_view = load_view(tx, caller.business_id, target_id)
    connector = connector_of(tx, target)
    check = find_kind_request(tx, target, rules.CHECK)
    comparing = find_kind_request(tx, target, rules.COMPARISON)
    entries = (form.list_texts(ENTRY) if form else {}) or target.settings
    return {
        "target": target_view,
        "card": show_connectors({target.connector: connector})[0] if connector else None,
        "fields": show_settings(connector.traits, entries, target.secrets) if connector else [],
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
        "incoming_address": context_of(request).settings.base_url
        + checks.INCOMING_PATH.format(target_id=target.number),
        "incoming_secret": incoming_secret,
        "address": target.address,
        "created_at": target.created_at,
        "is_open": checks.INCOMING in target.secrets,
        "faults": target.faults,
        "is_sweeping": target.sweep is not Sweep.NONE,
        "rows": len(target.mapping),
    }


CHANGES: Final[Mapping[str, Callable[[Tx, Target], object]]] = {
    "resume": actions.resume_target,
    "pause": actions.pause_target,
    "resync": actions.resync_target,
    "resend": actions.resend_dead,
    "check": partial(queue_work, work=checks.CheckWork),
    "compare": partial(queue_work, work=checks.CompareWork),
    "close": checks.close_incoming,
}
"""Changes without a form, by the ends of their paths."""


def post_change(tx: Tx, request: Request, caller: Caller, target_id: str) -> str:
    name = request.url.path.rpartition("/")[2]
    CHANGES[name](tx, actions.load_target(tx, caller.business_id, number_of(target_id)))
    return f"{HOME}/{target_id}/log" if name == "resend" else f"{HOME}/{target_id}"


for name in CHANGES:
    path = f"/{{target_id}}/webhook/{name}" if name == "close" else f"/{{target_id}}/{name}"
    router.form(path, Permission.ADMINISTER)(post_change)


@router.form("/{target_id}/webhook", Permission.ADMINISTER, show_integration)
def post_webhook(tx: Tx, request: Request, caller: Caller, target_id: str) -> dict[str, str]:
    """Let a CRM post changes, signed with a new secret that shows once and replaces the last one."""
    target = actions.load_target(tx, caller.business_id, number_of(target_id))
    return {"incoming_secret": checks.open_incoming(tx, target)}


@router.form(
    "/{target_id}/reconnect", Permission.ADMINISTER, show_integration, errors.INVALID, at="reconnect"
)
def post_reconnect(
    tx: Tx, request: Request, caller: Caller, target_id: str, form: Annotated[LinkForm, Form()]
) -> str:
    """Connect a CRM again, with new secrets if the form has some."""
    target = actions.load_target(tx, caller.business_id, number_of(target_id))
    allowed = context_of(request).settings.allowed_hosts
    actions.reconnect_target(tx, target, form.address, form.list_texts(ENTRY), allowed)
    return f"{HOME}/{target_id}"


@router.form("/{target_id}/remove", Permission.ADMINISTER, show_integration, errors.INVALID, at="remove")
def post_remove(
    tx: Tx, request: Request, caller: Caller, target_id: str, word: Annotated[str, Form(max_length=200)] = ""
) -> str:
    """Unlink a CRM, for a member who types its name; its records stay there."""
    target = actions.load_target(tx, caller.business_id, number_of(target_id))
    if " ".join(word.split()).casefold() != target.name.casefold():
        raise Refused(errors.INVALID, "Nothing was removed. Enter the name exactly as shown above.")
    actions.remove_target(tx, target)
    return HOME
