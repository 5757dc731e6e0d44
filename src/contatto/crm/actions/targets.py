"""Linked CRMs: settings, mapping, field checks, consent at the vendor, ledger."""

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode

import msgspec
import sqlalchemy as sa

from contatto.channels.model import ReceiptCounts
from contatto.crm import model as crm
from contatto.crm.actions import checks
from contatto.crm.actions import deliveries as sync
from contatto.crm.connectors.json_api import SERVER
from contatto.crm.model import ConnectorTraits, OAuth, Target, TargetState
from contatto.crm.rules import deliveries as rules
from contatto.crm.store import deliveries as store
from contatto.crm.store import events
from contatto.integrations.model import ALERTED, Alarm, DeliveryState, Denied, ErasureState, LedgerCounts
from contatto.kit import errors
from contatto.kit.db.tx import Tx, row_of, rows_of
from contatto.kit.errors import Refused, check_found
from contatto.kit.i18n import N_, LazyText
from contatto.kit.ids import new_id, new_number
from contatto.kit.outbound import model as outbound
from contatto.kit.outbound.client import read_address
from contatto.kit.outbound.model import Done, Failed, NotNow, OutboundRequest, Outcome, RequestState, Step
from contatto.kit.outbound.queue import OutboundKind, delete_requests_of, queue_request
from contatto.kit.values import from_micros, micros, to_base64url
from contatto.kit.vault import Vault, row_key
from contatto.leads.store.tables import leads

MOST_TARGETS: Final = 20
NAME_LIMIT: Final = 80
VALUE_LIMIT: Final = 2_048
MOST_ROWS: Final = 200
_LEAST_KEY: Final = 24
"""Fewest bytes of a signing key. Source: Standard Webhooks, specification 1.0."""
NOT_CONNECTED: Final = "not_connected"
NOT_STARTED: Final = "not_started"
PAUSED: Final = "paused"
AT_ONCE: Final = 500
"""Most dead letters that are sent again at once."""


@dataclass(frozen=True, slots=True)
class NewTarget:
    """A CRM to link: the name of its connector, and the entries of the form."""

    connector: str
    name: str
    address: str
    entries: Mapping[str, str] = field(repr=False)


def link_crm(
    tx: Tx, business_id: str, new: NewTarget, allowed: Collection[str], *, is_started: bool = True
) -> Target:
    """Link a CRM, at which existing leads and each change of a lead become due.

    Without ``is_started`` they queue until a member starts the target on the page of its mapping. A CRM
    without a key is not connected until a member grants access at its vendor.

    Raises INVALID; AD_LIMIT when there are too many.
    """
    connector = tx.ports[sync.CrmPorts].connectors.get(new.connector)
    if connector is None:
        raise Refused(errors.INVALID, "connector: Choose a CRM from the list.")
    traits = connector.traits
    settings, secrets = _read_entries(traits, new.entries, {}, {})
    address = _read_address(traits, new.address, allowed)
    tx.hold_key("crm targets", business_id)
    if len(store.list_targets(tx, business_id)) >= MOST_TARGETS:
        says = N_("A business can connect up to %(most)s CRMs. Remove one first.")
        raise Refused(errors.AD_LIMIT, says, most=MOST_TARGETS)
    name = " ".join(new.name.split())[:NAME_LIMIT] or traits.label
    state, reason = (TargetState.ACTIVE, "") if is_started else (TargetState.PAUSED, NOT_STARTED)
    if not _has_credentials(traits, secrets):
        state, reason = TargetState.DISCONNECTED, NOT_CONNECTED
    all_rows = tuple((source, source) for source in rules.PLAIN_SOURCES)
    default_rows = traits.defaults or (all_rows if traits.takes_anything else ())
    target = Target(
        id=new_id(),
        number=new_number(),
        business_id=business_id,
        connector=traits.name,
        name=name,
        state=state,
        address=address,
        settings=settings,
        secrets=secrets,
        mapping=tuple(crm.MappedField(*row) for row in default_rows),
        reason=reason,
        created_at=tx.now,
        sweep=crm.Sweep.MISSING,
    )
    raw = msgspec.json.encode(secrets)
    sealed_secrets = tx.vault.seal_bytes(raw, business_id, "crm_targets.secrets", target.id)
    tx.insert(store.crm_targets, row_of(target) | {"secrets": sealed_secrets})
    for work in (checks.CheckWork, checks.PollWork, checks.CompareWork):
        sync.queue_work(tx, target, work)
    return target


def _has_credentials(traits: ConnectorTraits, secrets: Mapping[str, str]) -> bool:
    return traits.oauth is None or any(secrets.get(name) for name in (*traits.keys, *crm.TOKENS))


def _read_entries(
    traits: ConnectorTraits,
    entries: Mapping[str, str],
    settings: Mapping[str, str],
    secrets: Mapping[str, str],
) -> tuple[dict[str, str], dict[str, str]]:
    """Return settings and secrets with the entries of a form; an empty secret keeps the current one."""
    new_settings, new_secrets = dict(settings), dict(secrets)
    for setting in traits.settings:
        text = entries.get(setting.name, "").strip()
        if len(text) > VALUE_LIMIT or not text.isprintable():
            raise Refused(errors.INVALID, "%(label)s: Enter a valid value.", label=LazyText(setting.label))
        if setting.is_secret and text:
            label = LazyText(setting.label)
            if not setting.is_password and (not text.isascii() or " " in text):
                says = N_("%(label)s: it contains characters that are not allowed. Copy it again.")
                raise Refused(errors.INVALID, says, label=label)
            try:
                key_bytes = base64.b64decode(text.removeprefix(setting.prefix), validate=True)
            except ValueError:
                key_bytes = b""
            if setting.prefix and not (text.startswith(setting.prefix) and len(key_bytes) >= _LEAST_KEY):
                says = N_("%(label)s: enter %(prefix)s, then at least 24 bytes in base64.")
                raise Refused(errors.INVALID, says, label=label, prefix=setting.prefix)
        values = new_secrets if setting.is_secret else new_settings
        if text or not setting.is_secret:
            values[setting.name] = text or setting.default
        if setting.is_required and not values.get(setting.name):
            raise Refused(errors.INVALID, "%(label)s: Enter a value.", label=LazyText(setting.label))
    return new_settings, new_secrets


def _read_address(traits: ConnectorTraits, text: str, allowed: Collection[str]) -> str:
    address = (traits.address or text).strip().rstrip("/")
    try:
        read_address(address[: VALUE_LIMIT + 1], allowed)
        fits = len(address) <= VALUE_LIMIT
    except ValueError:
        fits = False
    if not fits:
        says = N_("address: enter a public https address on port 443. The operator can allow others.")
        raise Refused(errors.INVALID, says)
    return address


def load_target(tx: Tx, business_id: str, number: int) -> Target:
    """Return a linked CRM. Raises NOT_FOUND."""
    targets = store.list_targets(tx, business_id, number=number)
    return check_found(targets[0] if targets else None, "Connected CRM not found.")


def reconnect_target(
    tx: Tx, target: Target, address: str, entries: Mapping[str, str], allowed: Collection[str]
) -> None:
    """Connect a CRM again, with new secrets if the form has some, and resume it.

    A target that a member paused stays paused, and one without credentials stays disconnected.

    Raises INVALID.
    """
    connector = sync.connector_of(tx, target)
    if connector is None:
        raise Refused(errors.CONFLICT, "This version of Contatto does not support this CRM. Update Contatto.")
    settings, secrets = _read_entries(connector.traits, entries, target.settings, target.secrets)
    new_address = _read_address(connector.traits, address or target.address, allowed)
    if secrets != target.secrets:
        store.record_secrets(tx, target, secrets)
    store.record_target(tx, target, settings=settings, address=new_address)
    changed = replace(target, address=new_address)
    if target.state is TargetState.PAUSED:
        store.record_target(tx, target, reason=PAUSED if target.verified_at else NOT_STARTED)
        sync.queue_work(tx, changed, checks.CheckWork)
    elif _has_credentials(connector.traits, secrets):
        resume_target(tx, changed)


def resume_target(tx: Tx, target: Target) -> None:
    """Activate a target; the worker queues the deliveries that waited."""
    store.record_target(tx, target, state=TargetState.ACTIVE, reason="")
    sync.publish_connection(tx, target)
    active = replace(target, state=TargetState.ACTIVE)
    for work in (checks.CheckWork, checks.PollWork, checks.CompareWork):
        sync.queue_work(tx, active, work)
    if target.is_active:
        return
    for erasure in events.list_erasures(tx, target.business_id, target.id, (ErasureState.DUE,)):
        request = sync.lead_request(target, rules.ERASURE, erasure.id, erasure.lead_id)
        queue_request(tx, request, rules.ERASURE_PLAN)


def pause_target(tx: Tx, target: Target) -> None:
    """Pause a target: its deliveries wait until a member resumes it."""
    store.record_target(tx, target, state=TargetState.PAUSED, reason=PAUSED)
    sync.publish_connection(tx, target)


def remove_target(tx: Tx, target: Target) -> None:
    """Unlink a CRM and delete its secrets; its records stay there."""
    store.record_target(tx, target, state=TargetState.REMOVED, reason="removed")
    sync.publish_connection(tx, target)
    tx.delete(events.crm_trials, target.business_id, target_id=target.id)
    store.record_secrets(tx, target, {})


def resync_target(tx: Tx, target: Target) -> None:
    """Make every lead due again at a target."""
    store.record_target(tx, target, sweep=crm.Sweep.ALL, sweep_after="")


def map_target(
    tx: Tx, target: Target, rows: Collection[crm.MappedField], statuses: Mapping[str, str]
) -> None:
    """Change the mapping of fields and of the CRM's words for a status, for the next deliveries.

    Raises INVALID.
    """
    if len(rows) > MOST_ROWS or any(
        not row.source or not row.target or len(row.source) > VALUE_LIMIT or len(row.target) > VALUE_LIMIT
        for row in rows
    ):
        raise Refused(errors.INVALID, "mapping: Choose a Contatto field and a CRM field in each row.")
    if len({row.target for row in rows}) != len(rows):
        raise Refused(errors.INVALID, "mapping: Each CRM field can be used only once.")
    connector = sync.connector_of(tx, target)
    takes_anything = connector is None or connector.traits.takes_anything or not target.described
    faults = rules.check_mapping(rows, target.described, takes_anything=takes_anything)
    store.record_target(tx, target, mapping=tuple(rows), statuses=dict(statuses), faults=faults)


def resend_dead(tx: Tx, target: Target) -> int:
    """Send the dead letters of a target again, unchanged, 500 at a time; return their number."""
    dead = store.ledger.list_entries(tx, target.business_id, target.id, (DeliveryState.DEAD,), AT_ONCE)
    latest: dict[str, crm.Delivery] = {}
    for delivery in dead:  # the latest of each lead comes first, and settles the others
        latest.setdefault(delivery.lead_id, delivery)
    for delivery in latest.values():
        sync.resend_delivery(tx, delivery)
    return len(latest)


def edit_dead(tx: Tx, delivery: crm.Delivery, edited: Mapping[str, str]) -> None:
    """Send a dead letter again, with edited values of the CRM's fields.

    Raises CONFLICT when it is no dead letter; INVALID.
    """
    if delivery.state is not DeliveryState.DEAD:
        raise Refused(errors.CONFLICT, "This delivery is already on its way or has arrived.")
    if any(len(text) > VALUE_LIMIT for text in edited.values()):
        raise Refused(errors.INVALID, "A value is too long.")
    sync.resend_delivery(tx, delivery, json.dumps(dict(edited)) if edited else "")


@dataclass(frozen=True, slots=True)
class TargetLedger:
    """A target with the counts of its leads, and its alarms."""

    target: Target
    counts: LedgerCounts
    alarms: tuple[Alarm, ...]


@dataclass(frozen=True, slots=True)
class CrmLedger:
    """Counts of incoming messages, of each target, and of the signals to ad accounts."""

    intake: ReceiptCounts
    targets: tuple[TargetLedger, ...]
    signals: tuple[sync.SignalCounts, ...] = ()


def load_ledger(tx: Tx, business_id: str) -> CrmLedger:
    """Return the ledger of a business, read in one transaction."""
    targets = load_standings(tx, business_id, store.list_targets(tx, business_id))
    ports = tx.ports[sync.CrmPorts]
    return CrmLedger(ports.intake(tx, business_id), targets, tuple(ports.signals(tx, business_id)))


def load_standings(tx: Tx, business_id: str, targets: list[Target]) -> tuple[TargetLedger, ...]:
    """Return targets with the counts of their leads; test leads are in no list, and go to no CRM."""
    states_by_target = store.count_states(tx, business_id)
    count_listed = (
        sa.select(sa.func.count())
        .select_from(leads)
        .where(leads.c.business_id == business_id, leads.c.hidden_at.is_(None), leads.c.is_test.is_(False))
    )
    total = tx.scalar(count_listed)
    ledgers = []
    for target in targets:
        due_since = store.ledger.find_oldest_due(tx, business_id, target.id)
        records = rows_of(store.crm_records, business_id, target_id=target.id)
        was_due = sa.exists().where(*records, store.crm_records.c.lead_id == leads.c.id)
        to_come = tx.scalar(count_listed.where(~was_due))
        states = states_by_target.get(target.id, {})
        counts = LedgerCounts(total, to_come, due_since=due_since, **states)
        ledgers.append(TargetLedger(target, counts, rules.find_alarms(target, counts, tx.now)))
    return tuple(ledgers)


def list_alarms(tx: Tx) -> list[tuple[str, int, Alarm]]:
    """Return the alarms that alert members of all businesses: business, number of the CRM, alarm.

    A target that was never started has no alarm.
    """
    alarms = []
    for target in store.list_all_targets(tx):
        due_since = store.ledger.find_oldest_due(tx, target.business_id, target.id)
        of_target = {"target_id": target.id, "state": DeliveryState.DEAD}
        dead_records = rows_of(store.crm_records, target.business_id, **of_target)
        dead = int(tx.scalar(sa.select(sa.exists().where(*dead_records))))
        counts = LedgerCounts(total=dead, dead=dead, due_since=due_since)
        is_started = target.reason not in (NOT_CONNECTED, NOT_STARTED)
        alarms += [
            (target.business_id, target.number, alarm)
            for alarm in rules.find_alarms(target, counts, tx.now)
            if alarm in ALERTED and is_started
        ]
    return alarms


OAUTH_HOME: Final = "/integrations/oauth"
CALLBACK: Final = f"{OAUTH_HOME}/callback"
STATE_LIVES: Final = timedelta(minutes=15)
CLIENT_ID: Final = "client_id"
_SIGNED: Final = "crm-consent"
_VERIFIED: Final = "crm-consent-verifier"
_STATE: Final = re.compile(r"(([1-9][0-9]{0,18})\.[\w-]{22}\.([0-9]{1,18}))\.([\w-]{43})", re.ASCII)
_CODE_LIMIT: Final = 2_000


@dataclass(frozen=True, slots=True)
class ConsentState:
    """Content of an OAuth ``state``: target and time.

    The PKCE verifier is derived from ``text``, so that nothing is stored. Source: RFC 7636, 4.1.
    """

    number: int
    asked_at: datetime
    text: str


def start_path(target: Target) -> str:
    """Return the page from which a member goes to the vendor."""
    return f"{OAUTH_HOME}/{target.connector}/start?target_id={target.number}"


def consent_address(
    vault: Vault, target: Target, oauth: OAuth, visitor: tuple[str, ...], at: datetime, base_url: str
) -> str:
    """Return the vendor's page at which a member grants access, with a new state and challenge.

    The state is signed over the ``visitor``: business, member and hash of the session. It can be used once.
    """
    text = f"{target.number}.{secrets.token_urlsafe(16)}.{micros(at)}"
    state = f"{text}.{vault.signer(_SIGNED).get_signature(row_key(text, *visitor)).decode()}"
    query = {
        "response_type": "code",
        "client_id": target.settings.get(CLIENT_ID, ""),
        "redirect_uri": base_url + CALLBACK,
        "state": state,
        **dict(oauth.extra),
    }
    if oauth.scopes:
        query["scope"] = " ".join(oauth.scopes)
    if oauth.is_pkce:
        digest = hashlib.sha256(vault.signer(_VERIFIED).get_signature(text)).digest()
        query |= {"code_challenge": to_base64url(digest), "code_challenge_method": "S256"}
    return f"{oauth.authorise_url}?{urlencode(query)}"


def read_consent(vault: Vault, state: str, visitor: tuple[str, ...], at: datetime) -> ConsentState:
    """Check an OAuth ``state`` of this session, and return its content. Raises UNSIGNED, STALE."""
    match = _STATE.fullmatch(state)
    if match is None:
        raise Refused(errors.UNSIGNED)
    text, number, micros_text, signature = match.groups()
    if not vault.signer(_SIGNED).verify_signature(row_key(text, *visitor), signature):
        raise Refused(errors.UNSIGNED)
    asked_at = from_micros(int(micros_text))
    if not timedelta() <= at - asked_at <= STATE_LIVES:
        raise Refused(errors.STALE)
    return ConsentState(int(number), asked_at, text)


def oauth_of(tx: Tx, target: Target) -> OAuth:
    """Return the OAuth settings of a target's vendor. Raises NOT_FOUND, for a vendor without OAuth."""
    connector = sync.connector_of(tx, target)
    if connector is None or connector.traits.oauth is None:
        raise Refused(
            errors.NOT_FOUND, "This CRM does not connect with OAuth. Connect it with a token or password."
        )
    return connector.traits.oauth


def take_consent(
    tx: Tx, business_id: str, consent: ConsentState, code: str, server: str, base_url: str
) -> Target:
    """Use a consent up: queue the exchange of its code for tokens.

    ``server`` is the vendor's server that issues the tokens, if it named one.

    Raises:
        Refused: NOT_FOUND; INVALID, for a wrong code; CONFLICT, where this consent, or one requested later,
            was used before.
    """
    target = load_target(tx, business_id, consent.number)
    oauth = oauth_of(tx, target)
    if not 0 < len(code) <= _CODE_LIMIT or not (code.isascii() and code.isprintable()):
        raise Refused(errors.INVALID, "code: The CRM vendor sent no code. Connect again.")
    consented_at = store.crm_targets.c.consented_at
    is_fresh = sa.or_(consented_at.is_(None), consented_at < consent.asked_at)
    if not tx.change(store.crm_targets, business_id, target.id, is_fresh, consented_at=consent.asked_at):
        raise Refused(errors.CONFLICT, "This permission was already used. Grant access again.")
    if server in oauth.servers:
        store.record_target(tx, target, settings={**target.settings, SERVER: server})
    verifier = tx.vault.signer(_VERIFIED).get_signature(consent.text).decode()
    grant = crm.RenewSecrets(code, base_url + CALLBACK, verifier)
    progress = msgspec.json.encode(grant).decode()
    delete_requests_of(tx, business_id, rules.CONSENT, [target.id])
    request = outbound.NewRequest(
        business_id, rules.CONSENT, target.id, sync.destination_of(target), progress=progress
    )
    queue_request(tx, request, rules.CONSENT_PLAN)
    return target


def crm_kinds(base_url: str) -> tuple[OutboundKind, ...]:
    """Return the kinds of requests to CRMs; ``base_url`` is our public address."""
    classes = (checks.TrialWork, checks.CheckWork, checks.PollWork, checks.CompareWork, checks.ErasureWork)
    works = [work_class(base_url) for work_class in (sync.DeliveryWork, *classes)]
    kinds = (
        OutboundKind(
            work.kind, work.advance, work.advance, work.settle, work.plan, work.replay, work.keeps_progress
        )
        for work in works
    )
    exchange = begin_exchange, read_exchange, settle_exchange
    return (*kinds, OutboundKind(rules.CONSENT, *exchange, rules.CONSENT_PLAN, refuse_exchange_replay))


def _find_exchange(
    tx: Tx, request: OutboundRequest
) -> tuple[Target, crm.CrmConnector, crm.RenewSecrets] | None:
    target = store.find_target(tx, request.business_id, request.subject)
    connector = sync.connector_of(tx, target) if target else None
    if target is None or connector is None:
        return None
    return target, connector, msgspec.json.decode(request.progress, type=crm.RenewSecrets)


def begin_exchange(tx: Tx, request: OutboundRequest) -> Step:
    """Request the tokens of a code, once the lock of renewals is free."""
    exchange = _find_exchange(tx, request)
    if exchange is None:
        return Done()
    target, connector, renewal = exchange
    if not store.mark_renewing(tx, target, tx.now + rules.RENEWING):
        return NotNow("renewing", rules.SOON_S)
    reply = connector.ask(sync.link_of(target, tx), renewal)
    return (
        outbound.Ask(reply, request.progress)
        if isinstance(reply, outbound.HttpRequest)
        else Failed("not_connected")
    )


def read_exchange(tx: Tx, request: OutboundRequest, answer: outbound.HttpAnswer) -> Step:
    """Store the tokens, and resume the target; a new target waits until a member checks its mapping."""
    exchange = _find_exchange(tx, request)
    if exchange is None:
        return Done()
    target, connector, renewal = exchange
    reply = connector.read(sync.link_of(target, tx), renewal, answer, "")
    if isinstance(reply, NotNow):
        return reply
    if not isinstance(reply, crm.SecretsRenewed):
        return Failed(reply.reason if isinstance(reply, Denied) else "unreadable")
    store.record_secrets(tx, target, {**target.secrets, **reply.secrets}, reply.address)
    target = replace(target, address=reply.address or target.address)
    if target.is_active or (target.state is TargetState.DISCONNECTED and target.reason != NOT_CONNECTED):
        resume_target(tx, target)
        return Done()
    reason = NOT_STARTED if target.reason in (NOT_CONNECTED, NOT_STARTED) else PAUSED
    store.record_target(tx, target, state=TargetState.PAUSED, reason=reason)
    sync.queue_work(tx, replace(target, state=TargetState.PAUSED), checks.CheckWork)
    return Done()


def settle_exchange(tx: Tx, request: OutboundRequest, outcome: Outcome, state: RequestState) -> None:
    """Release the lock after a failure; a request that waits for the lock does not have it."""
    exchange = _find_exchange(tx, request)
    failed = isinstance(outcome, Failed) or (isinstance(outcome, NotNow) and outcome.reason != "renewing")
    if exchange is not None and failed:
        store.record_target(tx, exchange[0], renewing_until=None)


def refuse_exchange_replay(tx: Tx, request: OutboundRequest) -> None:
    """Refuse a replay, as a code can be used once only."""
    raise Refused(errors.CONFLICT, "The code was already used. Grant access again on the page of this CRM.")
