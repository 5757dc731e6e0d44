"""Being let into a CRM by a person at its vendor's (OAuth): the state that goes there, the code that comes.

A state is signed over the member, the business and the session that it was made for, and lets somebody come
back once. The code becomes tokens in the background, under the same lock as a renewal.
"""

import re
import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import msgspec

from contatto.crm.actions.checking import queue_check
from contatto.crm.actions.running import connector_of, link_of
from contatto.crm.actions.scheduling import destination_of, narrow_target
from contatto.crm.actions.targets import (
    NOT_CONNECTED,
    NOT_STARTED,
    PAUSED,
    VALUE_LIMIT,
    load_target,
    resume_target,
)
from contatto.crm.connectors.oauth import SERVER, authorise_address
from contatto.crm.model.operations import Denied, Later, Link, Renew, Renewed
from contatto.crm.model.targets import Target, TargetState
from contatto.crm.model.traits import APP_SECRET, OAuth
from contatto.crm.rules.plans import CONSENT, CONSENT_PLAN, RENEWING, SOON_S
from contatto.crm.store import targets as store
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
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

HOME: Final = "/integrations/oauth"
CALLBACK: Final = f"{HOME}/callback"
STATE_LIVES: Final = timedelta(minutes=15)
CLIENT_ID: Final = "client_id"
_SIGNED: Final = "crm-consent"
_VERIFIED: Final = "crm-consent-verifier"
_STATE: Final = re.compile(r"(([1-9][0-9]{0,18})\.[\w-]{22}\.([0-9]{1,18}))\.([\w-]{43})", re.ASCII)
_CODE_LIMIT: Final = 2_000


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who goes to a vendor's and has to come back: a member in a business, by one session."""

    business_id: str
    member_id: str
    session_hash: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Consent:
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
    return f"{HOME}/{target.connector}/start?target_id={target.number}"


def consent_address(
    vault: Vault, target: Target, oauth: OAuth, who: Visitor, now: datetime, base_url: str
) -> str:
    """Return where a person lets us in; with a state and a challenge of its own each time."""
    said = f"{target.number}.{secrets.token_urlsafe(16)}.{micros(now)}"
    state = f"{said}.{_signature(vault, said, who)}"
    link = Link(target.address, target.settings, {}, now)
    return authorise_address(link, oauth, base_url + CALLBACK, state, _verifier(vault, said))


def _signature(vault: Vault, said: str, who: Visitor) -> str:
    return vault.signer(_SIGNED).get_signature(_bound(said, who)).decode()


def _bound(said: str, who: Visitor) -> str:
    """What is signed: the words of the state with whom it was made for."""
    return "\0".join((said, who.business_id, who.member_id, who.session_hash))


def _verifier(vault: Vault, said: str) -> str:
    """Follows from the state and our key, so that nothing is kept: 43 signs. Source: RFC 7636, 4.1."""
    return vault.signer(_VERIFIED).get_signature(said).decode()


def read_consent(vault: Vault, state: str, who: Visitor, now: datetime) -> Consent:
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
    return Consent(int(number), asked_at, said)


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
    store.record_target(tx, target, settings={**target.settings, CLIENT_ID: client_id})
    if secret:
        store.record_secrets(tx, target, {**target.secrets, APP_SECRET: secret})


def take_consent(tx: Tx, business_id: str, consent: Consent, code: str, server: str, base_url: str) -> Target:
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
    if not store.mark_consented(tx, target, consent.asked_at):
        raise Refused(errors.CONFLICT, "This permission was already used. Grant access again.")
    if server in oauth.servers:
        store.record_target(tx, target, settings={**target.settings, SERVER: server})
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
    target = store.find_target(tx, request.business_id, request.subject)
    if target is None or target.state is TargetState.REMOVED or connector_of(tx, target) is None:
        return None
    return target


def _renewal(request: OutboundRequest) -> Renew:
    kept = msgspec.json.decode(request.progress, type=_Code)
    return Renew(kept.code, kept.redirect_uri, kept.verifier)


def _begin(tx: Tx, request: OutboundRequest) -> Step:
    target = _target_of(tx, request)
    connector = connector_of(tx, target) if target else None
    if target is None or connector is None:
        return Done()
    if not store.mark_renewing(tx, target, tx.now + RENEWING):
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
    if isinstance(reply, Renewed):
        store.record_secrets(tx, target, {**target.secrets, **reply.secrets}, reply.address)
        _let_go(tx, replace(target, address=reply.address or target.address))
        return Done()
    if isinstance(reply, Later):
        return NotNow(reply.reason, reply.after_s)
    return Failed(reply.reason if isinstance(reply, Denied) else "unreadable")


def _let_go(tx: Tx, target: Target) -> None:
    """Let leads go there again; to a new target not before somebody has looked at its mapping."""
    if target.is_active or (target.state is TargetState.DISCONNECTED and target.reason != NOT_CONNECTED):
        resume_target(tx, target)
        return
    reason = NOT_STARTED if target.reason in (NOT_CONNECTED, NOT_STARTED) else PAUSED
    store.record_target(tx, target, state=TargetState.PAUSED, reason=reason)
    queue_check(tx, replace(target, state=TargetState.PAUSED))


def _settle(tx: Tx, request: OutboundRequest, outcome: Outcome, state: RequestState) -> None:
    """Let go of the lock where no tokens came; who waits for it never had it."""
    target = _target_of(tx, request)
    lost = isinstance(outcome, Failed) or (isinstance(outcome, NotNow) and outcome.reason != "renewing")
    if target is not None and lost:
        store.record_target(tx, target, renewing_until=None)


def _refuse_replay(tx: Tx, request: OutboundRequest) -> None:
    raise Refused(errors.CONFLICT, "The code was already used. Grant access again on the page of this CRM.")
