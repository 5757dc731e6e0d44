"""Connectors with JSON over HTTP and OAuth: a table of requests, and a table of readers.

No CRM guarantees the shape of its answers. A value of another shape is read as empty, never as an error.

Source: RFC 6749 (4.1, 5, 6), RFC 7636 (PKCE, ``S256``); for errors besides: developers.hubspot.com (OAuth
tokens), zoho.com/crm/developer/docs/api (OAuth, multi DC), help.salesforce.com (OAuth authorization errors).
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from contatto.crm.model import (
    ConnectorTraits,
    CrmLink,
    Cursor,
    Denied,
    Expired,
    NoRecord,
    OAuth,
    Operation,
    Rejected,
    RenewSecrets,
    Reply,
    RetryLater,
    SecretsRenewed,
    Unsubscribed,
    Unsupported,
)
from contatto.kit.outbound.model import HttpAnswer, HttpRequest, retry_after_s
from contatto.kit.texts import JSON_ERRORS, to_base64url

UNREADABLE_ANSWER: Final = "unreadable"
"""An answer that is not what the CRM's documents promise, such as a page in HTML of a proxy."""
BUSY: Final = frozenset({408, 409, 423, 425, 429})
"""Statuses below 500 that are worth another try."""


def same_text(written: str, found: str) -> bool:
    """Return whether two texts are the same but for spaces around them, and for the case of letters."""
    return written.strip().casefold() == found.strip().casefold()


def json_request(method: str, url: str, headers: Mapping[str, str], body: Any = None) -> HttpRequest:
    """A request with JSON in it."""
    kept = {"Accept": "application/json", "User-Agent": "Contatto", **headers}
    if body is None:
        return HttpRequest(method, url, kept, b"")
    return HttpRequest(method, url, {**kept, "Content-Type": "application/json"}, msgspec.json.encode(body))


def path_id(record_id: str) -> str:
    """Quote the id of a record as one segment of a path.

    CRMs and the programs beside them choose these ids. An id must not lead our token to another path.
    """
    return quote(record_id, safe="").replace(".", "%2E")


def read_json(answer: HttpAnswer) -> Any:
    """The JSON of an answer; None when it is none."""
    try:
        return msgspec.json.decode(answer.body)
    except JSON_ERRORS:
        return None


def plain_reply(answer: HttpAnswer) -> Reply | None:
    """What a status means for every CRM; None for 2xx, which the connector reads.

    Look for what the CRM says more exactly first: that a record exists, a field is gone, a value is wrong.
    Source: RFC 9110, 15; RFC 6585, 4 (429); RFC 8470, 5.2 (425).
    """
    status = answer.status
    if 200 <= status < 300:
        return None
    if status >= 500 or status in BUSY:
        return RetryLater(str(status), retry_after_s(answer))
    if status == 401:
        return Expired()
    if status in (402, 403):
        return Denied(str(status))
    if status == 410:
        return Unsubscribed(str(status))
    return RetryLater(str(status)) if status < 400 else Rejected(str(status))


ACCESS: Final = "access_token"
REFRESH: Final = "refresh_token"
SERVER: Final = "accounts_server"
"""The setting that names which of a vendor's servers gives tokens to this customer."""
_FINAL: Final = re.compile(
    r"(?:bad|expired|inactive|invalid|mismatched|missing)_\w{1,50}"
    r"|access_denied|redirect_uri_mismatch|unauthorized_client|unsupported_grant_type"
)
"""Errors after which no repeat will help: a person has to allow us in again, or to mend the app."""


def authorise_address(link: CrmLink, oauth: OAuth, redirect_uri: str, state: str, verifier: str) -> str:
    """Return where a person goes to allow us in; ``state`` comes back with the code."""
    query = {
        "response_type": "code",
        "client_id": link.settings.get("client_id", ""),
        "redirect_uri": redirect_uri,
        "state": state,
        **dict(oauth.extra),
    }
    if oauth.scopes:
        query["scope"] = " ".join(oauth.scopes)
    if oauth.is_pkce:
        digest = hashlib.sha256(verifier.encode()).digest()
        query |= {"code_challenge": to_base64url(digest), "code_challenge_method": "S256"}
    return f"{oauth.authorise_url}?{urlencode(query)}"


def token_request(link: CrmLink, oauth: OAuth, renew: RenewSecrets) -> HttpRequest | Denied:
    """Ask for the first tokens with a code, else for a fresh one."""
    known = {
        "client_id": link.settings.get("client_id", ""),
        "client_secret": link.secrets.get("client_secret", ""),
    }
    if renew.code:
        asked = {"grant_type": "authorization_code", "code": renew.code, "redirect_uri": renew.redirect_uri}
        if oauth.is_pkce:
            asked["code_verifier"] = renew.verifier
    elif link.secrets.get(REFRESH):
        asked = {"grant_type": REFRESH, REFRESH: link.secrets[REFRESH]}
    else:
        return Denied("not_connected")
    headers = {
        "Accept": "application/json",
        "Content-Type": "application/x-www-form-urlencoded",
        "User-Agent": "Contatto",
    }
    return HttpRequest("POST", _token_url(link, oauth), headers, urlencode({**asked, **known}).encode())


def _token_url(link: CrmLink, oauth: OAuth) -> str:
    """Where tokens are given: at the server that a vendor named for this customer, if it is one of theirs."""
    server = link.settings.get(SERVER, "")
    return server + urlsplit(oauth.token_url).path if server in oauth.servers else oauth.token_url


def read_tokens(answer: HttpAnswer, address_field: str = "") -> SecretsRenewed | Denied | RetryLater:
    """The tokens of an answer; ``address_field`` names where a vendor says which host is ours from now on.

    A vendor that gives no new refresh token lets us keep the one that we have.
    """
    body: Any = read_json(answer)
    fields = body if isinstance(body, dict) else {}
    access = fields.get(ACCESS)
    if 200 <= answer.status < 300 and isinstance(access, str) and access:
        names = (ACCESS, REFRESH)
        kept = {name: fields[name] for name in names if isinstance(fields.get(name), str) and fields[name]}
        address = fields.get(address_field) if address_field else ""
        return SecretsRenewed(kept, address.rstrip("/") if isinstance(address, str) else "")
    error = _error_of(fields)
    if answer.status < 500 and answer.status not in BUSY and _FINAL.fullmatch(error):
        return Denied(error)
    if answer.status in (401, 403):
        return Denied(str(answer.status))
    reason = str(answer.status) if answer.status >= 300 else UNREADABLE_ANSWER
    return RetryLater(reason, retry_after_s(answer))


def _error_of(fields: dict[str, Any]) -> str:
    """The code of an error in small letters: most vendors call it ``error``, one of them ``status``."""
    named = [fields.get(name) for name in ("error", "status")]
    return next((each.strip().lower() for each in named if isinstance(each, str) and each.strip()), "")


def bearer(link: CrmLink) -> dict[str, str] | None:
    """The header with the access token; None while there is none. Source: RFC 6750, 2.1."""
    token = link.secrets.get(ACCESS, "")
    return {"Authorization": f"Bearer {token}"} if token else None


type Asker = Callable[[CrmLink, Any], HttpRequest | Reply]
type Reader = Callable[[CrmLink, Any, Any, str], Reply]
type Abilities = Mapping[type, tuple[Asker, Reader]]

UNCLEAR: Final = RetryLater(UNREADABLE_ANSWER)
_NO_DIGIT: Final = re.compile(r"[^0-9]")


class JsonApi:
    """A connector made of a table. A class of it names its traits and its abilities.

    Attributes:
        abilities: operation → its first request, and what a good answer means, given the link, the operation,
            the JSON (``{}`` where there is no body, None where it is none) and the memory.
        address_field: where the answer with the tokens names the host that is ours.
    """

    traits: ClassVar[ConnectorTraits]
    abilities: ClassVar[Abilities]
    address_field: ClassVar[str] = ""

    def ask(self, link: CrmLink, operation: Operation) -> HttpRequest | Reply:
        if isinstance(operation, RenewSecrets):
            oauth = self.traits.oauth
            return token_request(link, oauth, operation) if oauth else Denied("not_connected")
        if type(operation) not in self.abilities:
            return Unsupported()
        make, _ = self.abilities[type(operation)]
        return make(link, operation) if self.is_open(link) else Expired()

    def read(self, link: CrmLink, operation: Operation, answer: HttpAnswer, memory: str) -> Reply:
        if isinstance(operation, RenewSecrets):
            return read_tokens(answer, self.address_field)
        if type(operation) not in self.abilities:
            return Unsupported()
        _, reader = self.abilities[type(operation)]
        body = read_json(answer) if answer.body.strip() else {}
        wrong = self.trouble(link, operation, answer, body, memory) or plain_reply(answer)
        return wrong or reader(link, operation, body, memory)

    def is_open(self, link: CrmLink) -> bool:
        """Return whether there is a session to ask with."""
        return bearer(link) is not None

    def trouble(
        self, link: CrmLink, operation: Operation, answer: HttpAnswer, body: Any, memory: str
    ) -> Reply | None:
        """What this CRM says more exactly than by its status; None if it says no more."""
        return NoRecord() if answer.status == 404 else None

    def agrees(self, field: str, written: str, found: str) -> bool:
        """Most CRMs write phone numbers their own way: digits count where both are a number."""
        if same_text(written, found):
            return True
        ours, theirs = _NO_DIGIT.sub("", written), _NO_DIGIT.sub("", found)
        return len(ours) > 6 and ours == theirs and "@" not in written


def as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def as_dicts(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; what else stands in it is left out."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def as_values(one: dict[str, Any]) -> dict[str, str]:
    """The plain values of an object as texts; lists and objects in it are left out."""
    return {name: as_text(value) for name, value in one.items() if not isinstance(value, dict | list)}


def as_pairs(value: Any) -> tuple[tuple[str, str], ...]:
    """Values with their labels, as many CRMs list choices."""
    listed = value if isinstance(value, list) else []
    pairs = [each for each in listed if isinstance(each, list) and len(each) == 2]
    return tuple((as_text(first), as_text(second)) for first, second in pairs)


def as_text(value: Any) -> str:
    """A text or a number as a text; nothing, a list and an object are empty."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else ""


def keep(value: Any) -> str:
    """A value as the memory of an ``FollowUp``."""
    return msgspec.json.encode(value).decode()


def recall(memory: str) -> Any:
    """The value again; None when it is none, as nothing else than our own memory comes back."""
    try:
        return msgspec.json.decode(memory.encode("utf-8", "replace"))
    except JSON_ERRORS:
        return None


def past(cursor: Cursor, at: str, record_id: str) -> Cursor:
    """The cursor behind one more change: of its time it keeps all ids, those of an earlier time are left."""
    ids = (*filter(None, cursor.id.split(",")), record_id) if at == cursor.at else (record_id,)
    return Cursor(at, ",".join(ids))
