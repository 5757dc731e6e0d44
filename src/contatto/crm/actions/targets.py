"""Linked CRMs: settings, mapping, field checks, consent at the vendor, ledger."""

import base64
import binascii
import json
import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import msgspec

from contatto.crm.actions.changes import queue_poll
from contatto.crm.actions.checks import queue_check, queue_comparison, release_erasures
from contatto.crm.actions.deliveries import (
    connector_of,
    destination_of,
    link_of,
    narrow_target,
    publish_connection,
    resend_delivery,
)
from contatto.crm.connectors.json_api import SERVER, authorise_address
from contatto.crm.model import (
    APP_SECRET,
    TOKENS,
    ConnectorSetting,
    ConnectorTraits,
    CrmLink,
    Delivery,
    DeliveryState,
    Denied,
    MappedField,
    OAuth,
    RenewSecrets,
    RetryLater,
    SecretsRenewed,
    Sweep,
    Target,
    TargetState,
)
from contatto.crm.registry import CrmPorts, Intake, ToldPlatform
from contatto.crm.rules.deliveries import (
    CONSENT,
    CONSENT_PLAN,
    RENEWING,
    SOON_S,
)
from contatto.crm.rules.mapping import check_mapping, default_mapping
from contatto.crm.rules.reasons import TOLD, Alarm, DeliveryCounts, find_alarms
from contatto.crm.store.deliveries import (
    count_leads_to_come,
    count_listed_leads,
    count_states,
    find_delivery,
    find_oldest_due,
    has_dead,
    list_deliveries,
)
from contatto.crm.store.targets import (
    delete_trial,
    find_target,
    find_target_by_number,
    list_all_targets,
    list_targets,
    mark_consented,
    mark_renewing,
    record_secrets,
    record_target,
    save_target,
)
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_, LazyText
from contatto.kit.ids import new_id, new_number
from contatto.kit.outbound.client import read_address
from contatto.kit.outbound.model import (
    Ask,
    Done,
    Failed,
    HttpAnswer,
    HttpRequest,
    NewRequest,
    NotNow,
    OutboundRequest,
    Outcome,
    RequestState,
    Step,
)
from contatto.kit.outbound.steps import OutboundKind
from contatto.kit.outbound.store import delete_requests_of, list_requests_of, queue_request
from contatto.kit.timestamps import from_micros, micros
from contatto.kit.vault import Vault

MOST_TARGETS: Final = 20
NAME_LIMIT: Final = 80
VALUE_LIMIT: Final = 2_048
MOST_ROWS: Final = 200
_LEAST_KEY: Final = 24
"""Bytes of a signing key at least. Source: Standard Webhooks, specification 1.0."""
NOT_CONNECTED: Final = "not_connected"
NOT_STARTED: Final = "not_started"
PAUSED: Final = "paused"
AT_ONCE: Final = 500
"""Dead letters that are sent again at once; who has more does so again."""


@dataclass(frozen=True, slots=True)
class NewTarget:
    """A CRM to link: the name of its connector, and what a person gave."""

    connector: str
    name: str
    address: str
    given: Mapping[str, str] = field(repr=False)


def link_crm(
    tx: Tx, business_id: str, new: NewTarget, allowed: Collection[str], *, is_started: bool = True
) -> Target:
    """Link a CRM: from now on each change of a lead is due there; those that are there already come too.

    Without ``is_started`` they queue, until a person has looked at the mapping. A CRM whose vendor has to
    be asked first, as no key was given, is not connected yet.

    Raises:
        Refused: INVALID; AD_LIMIT when there are too many.
    """
    connector = tx.ports[CrmPorts].connectors.get(new.connector)
    if connector is None:
        raise Refused(errors.INVALID, "connector: Choose a CRM from the list.")
    traits = connector.traits
    settings, secrets = _read_given(traits, new.given, {}, {})
    address = _read_address(traits, new.address, allowed)
    tx.hold_key("crm targets", business_id)
    if len(list_targets(tx, business_id)) >= MOST_TARGETS:
        raise Refused(
            errors.AD_LIMIT,
            "A business can connect up to %(most)s CRMs. Remove one first.",
            most=MOST_TARGETS,
        )
    name = " ".join(new.name.split())[:NAME_LIMIT] or traits.label
    state, reason = _begins(traits, secrets, is_started=is_started)
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
        secrets_revision=0,
        mapping=default_mapping(traits),
        statuses={},
        described=(),
        described_at=None,
        faults=(),
        reason=reason,
        created_at=tx.now,
        sweep=Sweep.MISSING,
    )
    save_target(tx, target)
    queue_check(tx, target)
    queue_poll(tx, target)
    queue_comparison(tx, target)
    return target


def _begins(
    traits: ConnectorTraits, secrets: Mapping[str, str], *, is_started: bool
) -> tuple[TargetState, str]:
    if not _is_let_in(traits, secrets):
        return TargetState.DISCONNECTED, NOT_CONNECTED
    return (TargetState.ACTIVE, "") if is_started else (TargetState.PAUSED, NOT_STARTED)


def _is_let_in(traits: ConnectorTraits, secrets: Mapping[str, str]) -> bool:
    return traits.oauth is None or any(secrets.get(name) for name in (*traits.keys, *TOKENS))


def _read_given(
    traits: ConnectorTraits, given: Mapping[str, str], settings: Mapping[str, str], secrets: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """What a person gave, over what is kept; an empty secret leaves the one that is there."""
    kept, hidden = dict(settings), dict(secrets)
    for setting in traits.settings:
        text = given.get(setting.name, "").strip()
        if len(text) > VALUE_LIMIT or not text.isprintable():
            raise Refused(errors.INVALID, "%(label)s: Enter a valid value.", label=LazyText(setting.label))
        if setting.is_secret and text:
            _check_secret(setting, text)
        into = hidden if setting.is_secret else kept
        if text or not setting.is_secret:
            into[setting.name] = text or setting.default
        if setting.is_required and not into.get(setting.name):
            raise Refused(errors.INVALID, "%(label)s: Enter a value.", label=LazyText(setting.label))
    return kept, hidden


def _check_secret(setting: ConnectorSetting, text: str) -> None:
    """Refuse a secret that no request can carry, or that is not of its form."""
    label = LazyText(setting.label)
    if not setting.is_password and (not text.isascii() or " " in text):
        raise Refused(
            errors.INVALID,
            "%(label)s: it contains characters that are not allowed. Copy it again.",
            label=label,
        )
    if setting.prefix and not _is_signing_secret(setting.prefix, text):
        raise Refused(
            errors.INVALID,
            "%(label)s: enter %(prefix)s, then at least 24 bytes in base64.",
            label=label,
            prefix=setting.prefix,
        )


def _is_signing_secret(prefix: str, text: str) -> bool:
    """Report whether a text is a prefix and a key in base64."""
    try:
        key = base64.b64decode(text.removeprefix(prefix), validate=True)
    except binascii.Error:
        return False
    return text.startswith(prefix) and len(key) >= _LEAST_KEY


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
    """A linked CRM.

    Raises:
        Refused: NOT_FOUND.
    """
    target = find_target_by_number(tx, business_id, number)
    if target is None:
        raise Refused(errors.NOT_FOUND, "Connected CRM not found.")
    return target


def reconnect_target(
    tx: Tx, target: Target, address: str, given: Mapping[str, str], allowed: Collection[str]
) -> None:
    """Connect a CRM again, with other secrets if some are given; what waited goes there by itself.

    One that a member paused stays so, and one whose vendor was never asked waits for that.

    Raises:
        Refused: INVALID.
    """
    connector = connector_of(tx, target)
    if connector is None:
        raise Refused(errors.CONFLICT, "This version of Contatto does not support this CRM. Update Contatto.")
    settings, secrets = _read_given(connector.traits, given, target.settings, target.secrets)
    place = _read_address(connector.traits, address or target.address, allowed)
    if secrets != target.secrets:
        record_secrets(tx, target, secrets)
    record_target(tx, target, settings=settings, address=place)
    now = replace(target, address=place)
    if target.state is TargetState.PAUSED:
        record_target(tx, target, reason=PAUSED if target.verified_at else NOT_STARTED)
        queue_check(tx, now)
    elif _is_let_in(connector.traits, secrets):
        resume_target(tx, now)


def resume_target(tx: Tx, target: Target) -> None:
    """Let leads go to a target again: those that waited are queued by the worker."""
    record_target(tx, target, state=TargetState.ACTIVE, reason="")
    publish_connection(tx, target)
    active = replace(target, state=TargetState.ACTIVE)
    queue_check(tx, active)
    queue_poll(tx, active)
    queue_comparison(tx, active)
    if not target.is_active:
        release_erasures(tx, active)


def pause_target(tx: Tx, target: Target) -> None:
    """Let leads queue until a person lets them go on."""
    record_target(tx, target, state=TargetState.PAUSED, reason=PAUSED)
    publish_connection(tx, target)


def remove_target(tx: Tx, target: Target) -> None:
    """Unlink a CRM: nothing more goes there. What is there stays there."""
    record_target(tx, target, state=TargetState.REMOVED, reason="removed")
    publish_connection(tx, target)
    delete_trial(tx, target)
    record_secrets(tx, target, {})


def resync_target(tx: Tx, target: Target) -> None:
    """Make every lead due again at a target, whatever is known of it."""
    record_target(tx, target, sweep=Sweep.ALL, sweep_after="")


def map_target(tx: Tx, target: Target, rows: Collection[MappedField], statuses: Mapping[str, str]) -> None:
    """Change what goes where, and what the CRM's words for a status mean; the next deliveries go by it.

    Raises:
        Refused: INVALID.
    """
    if len(rows) > MOST_ROWS or any(
        not row.source or not row.target or len(row.source) > VALUE_LIMIT or len(row.target) > VALUE_LIMIT
        for row in rows
    ):
        raise Refused(errors.INVALID, "mapping: Choose a Contatto field and a CRM field in each row.")
    if len({row.target for row in rows}) != len(rows):
        raise Refused(errors.INVALID, "mapping: Each CRM field can be used only once.")
    connector = connector_of(tx, target)
    takes_anything = connector is None or connector.traits.takes_anything or not target.described
    faults = check_mapping(rows, target.described, takes_anything=takes_anything)
    record_target(tx, target, mapping=tuple(rows), statuses=dict(statuses), faults=faults)


def resend_dead(tx: Tx, target: Target) -> int:
    """Send dead letters of a target again, as they stand; say how many."""
    dead = list_deliveries(tx, target.business_id, target.id, (DeliveryState.DEAD,), limit=AT_ONCE)
    seen: set[str] = set()
    for delivery in dead:  # the latest of each lead first, which settles the others
        if delivery.lead_id not in seen:
            seen.add(delivery.lead_id)
            resend_delivery(tx, delivery)
    return len(seen)


def edit_dead(tx: Tx, target: Target, delivery_id: int, edited: Mapping[str, str]) -> None:
    """Send one dead letter again, with other values in the CRM's fields.

    Raises:
        Refused: NOT_FOUND; CONFLICT when it is no dead letter; INVALID.
    """
    delivery = load_delivery(tx, target, delivery_id)
    if delivery.state is not DeliveryState.DEAD:
        raise Refused(errors.CONFLICT, "This delivery is already on its way or has arrived.")
    if any(len(text) > VALUE_LIMIT for text in edited.values()):
        raise Refused(errors.INVALID, "A value is too long.")
    resend_delivery(tx, delivery, json.dumps(dict(edited)) if edited else "")


def load_delivery(tx: Tx, target: Target, delivery_id: int) -> Delivery:
    """A delivery of a target.

    Raises:
        Refused: NOT_FOUND.
    """
    delivery = find_delivery(tx, target.business_id, delivery_id)
    if delivery is None or delivery.target_id != target.id:
        raise Refused(errors.NOT_FOUND, "Delivery not found.")
    return delivery


@dataclass(frozen=True, slots=True)
class TargetLedger:
    """Leads of the lists by how far they are in one target.

    With ``is_alarming`` leads are due and none arrives, or nobody is let in.
    """

    target: Target
    standing: DeliveryCounts
    alarms: tuple[Alarm, ...]

    @property
    def is_alarming(self) -> bool:
        return Alarm.SHUT_OUT in self.alarms or Alarm.NONE_ARRIVES in self.alarms


@dataclass(frozen=True, slots=True)
class CrmLedger:
    """What came in, each target, and each ad account elsewhere that is told of leads."""

    intake: Intake
    targets: tuple[TargetLedger, ...]
    told: tuple[ToldPlatform, ...] = ()


def load_ledger(tx: Tx, business_id: str) -> CrmLedger:
    """The ledger of a business, read in one transaction."""
    standings = load_standings(tx, business_id, list_targets(tx, business_id))
    ports = tx.ports[CrmPorts]
    return CrmLedger(ports.intake(tx, business_id), standings, tuple(ports.told(tx, business_id)))


def load_standings(tx: Tx, business_id: str, targets: list[Target]) -> tuple[TargetLedger, ...]:
    """Return how far the leads of a business are in some of its targets."""
    states = count_states(tx, business_id)
    leads = count_listed_leads(tx, business_id)
    return tuple(_ledger_of(tx, target, leads, states.get(target.id, {})) for target in targets)


def list_alarms(tx: Tx) -> list[tuple[str, int, Alarm]]:
    """The alarms of all businesses that are worth telling somebody: business, number of the CRM, and which.

    One that nobody has let go yet is none.
    """
    alarms = []
    for target in list_all_targets(tx):
        standing = DeliveryCounts(
            dead=int(has_dead(tx, target.business_id, target.id)),
            due_since=find_oldest_due(tx, target.business_id, target.id),
        )
        is_started = target.reason not in (NOT_CONNECTED, NOT_STARTED)
        alarms += [
            (target.business_id, target.number, alarm)
            for alarm in find_alarms(target, standing, tx.now)
            if alarm in TOLD and is_started
        ]
    return alarms


def has_alarm(tx: Tx) -> bool:
    """Return whether any linked CRM of any business wants attention."""
    return bool(list_alarms(tx))


def _ledger_of(tx: Tx, target: Target, leads: int, states: dict[DeliveryState, int]) -> TargetLedger:
    standing = DeliveryCounts(
        leads=leads,
        to_come=count_leads_to_come(tx, target.business_id, target.id),
        due=states.get(DeliveryState.DUE, 0),
        sent=states.get(DeliveryState.SENT, 0),
        verified=states.get(DeliveryState.VERIFIED, 0),
        dead=states.get(DeliveryState.DEAD, 0),
        due_since=find_oldest_due(tx, target.business_id, target.id),
    )
    return TargetLedger(target, standing, find_alarms(target, standing, tx.now))


OAUTH_HOME: Final = "/integrations/oauth"
CALLBACK: Final = f"{OAUTH_HOME}/callback"
STATE_LIVES: Final = timedelta(minutes=15)
CLIENT_ID: Final = "client_id"
_SIGNED: Final = "crm-consent"
_VERIFIED: Final = "crm-consent-verifier"
_STATE: Final = re.compile(r"(([1-9][0-9]{0,18})\.[\w-]{22}\.([0-9]{1,18}))\.([\w-]{43})", re.ASCII)
_CODE_LIMIT: Final = 2_000


@dataclass(frozen=True, slots=True)
class ConsentVisitor:
    """Who goes to a vendor's and has to come back: a member in a business, by one session."""

    business_id: str
    member_id: str
    session_hash: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ConsentState:
    """What a state says: for which target it was asked when; ``said`` is what its verifier follows from."""

    number: int
    asked_at: datetime
    said: str


@dataclass(frozen=True, slots=True)
class _Code:
    """What a request has to know to change a code into tokens."""

    code: str = field(repr=False)
    redirect_uri: str
    verifier: str = field(repr=False)


def start_path(target: Target) -> str:
    """The page from which a member goes to the vendor's."""
    return f"{OAUTH_HOME}/{target.connector}/start?target_id={target.number}"


def consent_address(
    vault: Vault, target: Target, oauth: OAuth, who: ConsentVisitor, now: datetime, base_url: str
) -> str:
    """Return where a person lets us in; with a state and a challenge of its own each time."""
    said = f"{target.number}.{secrets.token_urlsafe(16)}.{micros(now)}"
    state = f"{said}.{_signature(vault, said, who)}"
    link = CrmLink(target.address, target.settings, {}, now)
    return authorise_address(link, oauth, base_url + CALLBACK, state, _verifier(vault, said))


def _signature(vault: Vault, said: str, who: ConsentVisitor) -> str:
    return vault.signer(_SIGNED).get_signature(_bound(said, who)).decode()


def _bound(said: str, who: ConsentVisitor) -> str:
    """What is signed: the words of the state with whom it was made for."""
    return "\0".join((said, who.business_id, who.member_id, who.session_hash))


def _verifier(vault: Vault, said: str) -> str:
    """Follows from the state and our key, so that nothing is kept: 43 signs. Source: RFC 7636, 4.1."""
    return vault.signer(_VERIFIED).get_signature(said).decode()


def read_consent(vault: Vault, state: str, who: ConsentVisitor, now: datetime) -> ConsentState:
    """What a state says that this member, in this business and session, was sent away with not long ago.

    Raises:
        Refused: UNSIGNED, STALE.
    """
    match = _STATE.fullmatch(state)
    if match is None:
        raise Refused(errors.UNSIGNED)
    said, number, asked, signature = match.groups()
    if not vault.signer(_SIGNED).verify_signature(_bound(said, who), signature):
        raise Refused(errors.UNSIGNED)
    asked_at = from_micros(int(asked))
    if not timedelta() <= now - asked_at <= STATE_LIVES:
        raise Refused(errors.STALE)
    return ConsentState(int(number), asked_at, said)


def oauth_of(tx: Tx, target: Target) -> OAuth:
    """Return how a person lets us into a target.

    Raises:
        Refused: NOT_FOUND, where that is not by OAuth.
    """
    connector = connector_of(tx, target)
    if connector is None or connector.traits.oauth is None:
        raise Refused(
            errors.NOT_FOUND, "This CRM does not connect with OAuth. Connect it with a token or password."
        )
    return connector.traits.oauth


def change_app(tx: Tx, target: Target, client_id: str, secret: str) -> None:
    """Keep another client id or secret of a target; an empty secret leaves the one that is there.

    Raises:
        Refused: INVALID; NOT_FOUND, for a target that is not connected by consent.
    """
    oauth_of(tx, target)
    client_id, secret = client_id.strip(), secret.strip()
    if any(len(text) > VALUE_LIMIT or not text.isprintable() for text in (client_id, secret)):
        raise Refused(errors.INVALID, "client_id: Enter a valid value.")
    if not (client_id and (secret or target.secrets.get(APP_SECRET))):
        raise Refused(errors.INVALID, "client_id: Enter the client ID and the client secret.")
    record_target(tx, target, settings={**target.settings, CLIENT_ID: client_id})
    if secret:
        record_secrets(tx, target, {**target.secrets, APP_SECRET: secret})


def take_consent(
    tx: Tx, business_id: str, consent: ConsentState, code: str, server: str, base_url: str
) -> Target:
    """Use a consent up: have its code changed into tokens in the background.

    ``server`` is the vendor's server that gives the tokens, if it said so; ``base_url`` our public address.

    Raises:
        Refused: NOT_FOUND; INVALID, for a code that cannot be one; CONFLICT, when this consent, or one that
            was asked for later, was used before.
    """
    target = load_target(tx, business_id, consent.number)
    oauth = oauth_of(tx, target)
    if not 0 < len(code) <= _CODE_LIMIT or not (code.isascii() and code.isprintable()):
        raise Refused(errors.INVALID, "code: The CRM vendor sent no code. Connect again.")
    if not mark_consented(tx, target, consent.asked_at):
        raise Refused(errors.CONFLICT, "This permission was already used. Grant access again.")
    if server in oauth.servers:
        record_target(tx, target, settings={**target.settings, SERVER: server})
    kept = _Code(code, base_url + CALLBACK, _verifier(tx.vault, consent.said))
    progress = msgspec.json.encode(kept).decode()
    destination = destination_of(narrow_target(target))
    delete_requests_of(tx, business_id, CONSENT, [target.id])
    new = NewRequest(business_id, CONSENT, target.id, destination, progress=progress)
    queue_request(tx, new, CONSENT_PLAN)
    return target


def find_exchange(tx: Tx, target: Target) -> OutboundRequest | None:
    """The request that changes, or has changed, the latest code into tokens."""
    requests = list_requests_of(tx, target.business_id, CONSENT, [target.id])
    return requests[0] if requests else None


def consent_kind() -> OutboundKind:
    """Return how a code becomes tokens."""
    return OutboundKind(CONSENT, _begin, _read, _settle, CONSENT_PLAN, _refuse_replay)


def _target_of(tx: Tx, request: OutboundRequest) -> Target | None:
    target = find_target(tx, request.business_id, request.subject)
    if target is None or target.state is TargetState.REMOVED or connector_of(tx, target) is None:
        return None
    return target


def _renewal(request: OutboundRequest) -> RenewSecrets:
    kept = msgspec.json.decode(request.progress, type=_Code)
    return RenewSecrets(kept.code, kept.redirect_uri, kept.verifier)


def _begin(tx: Tx, request: OutboundRequest) -> Step:
    target = _target_of(tx, request)
    connector = connector_of(tx, target) if target else None
    if target is None or connector is None:
        return Done()
    if not mark_renewing(tx, target, tx.now + RENEWING):
        return NotNow("renewing", SOON_S)
    made = connector.ask(link_of(target, tx), _renewal(request))
    return Ask(made, request.progress) if isinstance(made, HttpRequest) else Failed("not_connected")


def _read(tx: Tx, request: OutboundRequest, answer: HttpAnswer) -> Step:
    """Keep the tokens; what waited for them goes there by itself."""
    target = _target_of(tx, request)
    connector = connector_of(tx, target) if target else None
    if target is None or connector is None:
        return Done()
    reply = connector.read(link_of(target, tx), _renewal(request), answer, "")
    if isinstance(reply, SecretsRenewed):
        record_secrets(tx, target, {**target.secrets, **reply.secrets}, reply.address)
        _let_go(tx, replace(target, address=reply.address or target.address))
        return Done()
    if isinstance(reply, RetryLater):
        return NotNow(reply.reason, reply.after_s)
    return Failed(reply.reason if isinstance(reply, Denied) else "unreadable")


def _let_go(tx: Tx, target: Target) -> None:
    """Let leads go there again; to a new target not before somebody has looked at its mapping."""
    if target.is_active or (target.state is TargetState.DISCONNECTED and target.reason != NOT_CONNECTED):
        resume_target(tx, target)
        return
    reason = NOT_STARTED if target.reason in (NOT_CONNECTED, NOT_STARTED) else PAUSED
    record_target(tx, target, state=TargetState.PAUSED, reason=reason)
    queue_check(tx, replace(target, state=TargetState.PAUSED))


def _settle(tx: Tx, request: OutboundRequest, outcome: Outcome, state: RequestState) -> None:
    """Let go of the lock where no tokens came; who waits for it never had it."""
    target = _target_of(tx, request)
    lost = isinstance(outcome, Failed) or (isinstance(outcome, NotNow) and outcome.reason != "renewing")
    if target is not None and lost:
        record_target(tx, target, renewing_until=None)


def _refuse_replay(tx: Tx, request: OutboundRequest) -> None:
    raise Refused(errors.CONFLICT, "The code was already used. Grant access again on the page of this CRM.")
