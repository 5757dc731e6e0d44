"""Letting us in by OAuth 2.0, for the connectors whose vendor has it: the address, the tokens, fresh ones.

Source: RFC 6749 (4.1, 5, 6), RFC 7636 (PKCE, ``S256``); for errors besides: developers.hubspot.com (OAuth
tokens), zoho.com/crm/developer/docs/api (OAuth, multi DC), help.salesforce.com (OAuth authorization errors).
"""

import hashlib
import re
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from contatto.crm.connectors.contract import BUSY, UNREADABLE_ANSWER, read_json
from contatto.crm.model.operations import Denied, Later, Link, Renew, Renewed
from contatto.crm.model.traits import OAuth
from contatto.kit.outbound.model import HttpAnswer, HttpRequest, retry_after_s
from contatto.kit.texts import to_base64url

ACCESS: Final = "access_token"
REFRESH: Final = "refresh_token"
SERVER: Final = "accounts_server"
"""The setting that names which of a vendor's servers gives tokens to this customer."""
_FINAL: Final = re.compile(
    r"(?:bad|expired|inactive|invalid|mismatched|missing)_\w{1,50}"
    r"|access_denied|redirect_uri_mismatch|unauthorized_client|unsupported_grant_type"
)
"""Errors after which no repeat will help: a person has to allow us in again, or to mend the app."""


def authorise_address(link: Link, oauth: OAuth, redirect_uri: str, state: str, verifier: str) -> str:
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


def token_request(link: Link, oauth: OAuth, renew: Renew) -> HttpRequest | Denied:
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


def _token_url(link: Link, oauth: OAuth) -> str:
    """Where tokens are given: at the server that a vendor named for this customer, if it is one of theirs."""
    server = link.settings.get(SERVER, "")
    return server + urlsplit(oauth.token_url).path if server in oauth.servers else oauth.token_url


def read_tokens(answer: HttpAnswer, address_field: str = "") -> Renewed | Denied | Later:
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
        return Renewed(kept, address.rstrip("/") if isinstance(address, str) else "")
    error = _error_of(fields)
    if answer.status < 500 and answer.status not in BUSY and _FINAL.fullmatch(error):
        return Denied(error)
    if answer.status in (401, 403):
        return Denied(str(answer.status))
    reason = str(answer.status) if answer.status >= 300 else UNREADABLE_ANSWER
    return Later(reason, retry_after_s(answer))


def _error_of(fields: dict[str, Any]) -> str:
    """The code of an error in small letters: most vendors call it ``error``, one of them ``status``."""
    named = [fields.get(name) for name in ("error", "status")]
    return next((each.strip().lower() for each in named if isinstance(each, str) and each.strip()), "")


def bearer(link: Link) -> dict[str, str] | None:
    """The header with the access token; None while there is none. Source: RFC 6750, 2.1."""
    token = link.secrets.get(ACCESS, "")
    return {"Authorization": f"Bearer {token}"} if token else None
