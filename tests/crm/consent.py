"""Where a person lets us into a CRM in memory: the page of the vendor, and the end point that gives tokens.

Codes and access tokens end, a code is good once, for the app, the return address and the challenge that it
was made for. Each vendor refuses in its own way.
"""

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from contatto.crm.model import CrmConnector
from contatto.kit.values import to_base64url
from contatto.simulator.crms.hosted import GOOGLE_TOKEN, HUBSPOT_TOKEN, SALESFORCE_TOKEN, ZOHO_TOKEN
from contatto.simulator.crms.server import Vendor, VendorRequest, VendorResponse

CLIENT_ID, CLIENT_SECRET = "client-1", "client-secret-1"
_CODE, _CLIENT, _RETURN, _REFRESH = "code", "client", "return", "refresh"


@dataclass(frozen=True)
class Dialect:
    """How a vendor speaks.

    Attributes:
        token: the access token that the CRM in memory knows.
        scheme: what stands before it.
        errors: what it calls a code, a client, a return address and a refresh token that it does not take.
        error_field, error_status: where that stands in an answer of which status.
        address_field: where the answer with tokens names the address of the customer.
        names_server: it says, as it sends a person back, which of its servers gives the tokens.
    """

    token: str = field(repr=False)
    errors: Mapping[str, str]
    scheme: str = "Bearer"
    error_field: str = "error"
    error_status: int = 400
    address_field: str = ""
    names_server: bool = False


_STANDARD: Final = dict.fromkeys((_CODE, _REFRESH), "invalid_grant") | {
    _CLIENT: "invalid_client", _RETURN: "redirect_uri_mismatch",
}  # fmt: skip
DIALECTS: Final[Mapping[str, Dialect]] = {
    "google_sheets": Dialect(GOOGLE_TOKEN, _STANDARD),
    "hubspot": Dialect(
        HUBSPOT_TOKEN,
        {
            _CODE: "BAD_AUTH_CODE", _CLIENT: "BAD_CLIENT_SECRET", _REFRESH: "BAD_REFRESH_TOKEN",
            _RETURN: "MISMATCHED_REDIRECT_URI_AUTH_CODE",
        },
        error_field="status",
    ),
    "salesforce": Dialect(SALESFORCE_TOKEN, _STANDARD, address_field="instance_url"),
    "zoho": Dialect(
        ZOHO_TOKEN,
        {
            _CODE: "invalid_code", _CLIENT: "invalid_client_secret", _REFRESH: "invalid_code",
            _RETURN: "invalid_redirect_uri",
        },
        scheme="Zoho-oauthtoken",
        error_status=200,
        address_field="api_domain",
        names_server=True,
    ),
}  # fmt: skip
"""By the name of the connector. Sources: see ``crm/connectors/oauth.py``."""


@dataclass
class _Given:
    """A code that waits to be changed into tokens."""

    redirect_uri: str
    challenge: str

    def is_proven(self, verifier: str) -> bool:
        """Return whether it is who asked for the code; an app without PKCE has sent no challenge."""
        digest = hashlib.sha256(verifier.encode()).digest()
        return not self.challenge or self.challenge == to_base64url(digest)


@dataclass
class ConsentFake(Vendor):
    """A CRM in memory with its vendor's consent before it.

    Attributes:
        inner: the CRM; it is asked with its own token once ours is the one that is good.
        address: where all of it is.
        return_address: the one that the app at the vendor has registered.
        is_allowed: whether the person at the vendor's page says yes.
        refreshes: how often a refresh token was taken.
    """

    name: str
    inner: Vendor
    return_address: str
    address: str = ""
    is_allowed: bool = True
    refreshes: int = 0
    access: str = field(default="", repr=False)
    refresh: str = field(default="", repr=False)
    codes: dict[str, _Given] = field(default_factory=dict)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.crm, self.expired, self.throttled = self.inner.crm, self.inner.expired, self.inner.throttled

    @property
    def dialect(self) -> Dialect:
        return DIALECTS[self.name]

    def answer(self, request: VendorRequest) -> VendorResponse:
        if request.path == "/authorise":
            return self._ask_person(request.query)
        if request.path == "/token":
            return self._give_tokens(dict(parse_qsl(request.body.decode())))
        scheme = self.dialect.scheme
        if not self.access or request.headers.get("authorization") != f"{scheme} {self.access}":
            return self.expired
        return self.route(request)

    def route(self, request: VendorRequest) -> VendorResponse:
        credential = f"{self.dialect.scheme} {self.dialect.token}"
        return self.inner.answer(replace(request, headers={**request.headers, "authorization": credential}))

    def end_access(self) -> None:
        """The access token is over; the refresh token is good."""
        self.access = ""

    def end_codes(self) -> None:
        self.codes.clear()

    def _ask_person(self, query: Mapping[str, str]) -> VendorResponse:
        """The vendor's page: a wrong app or return address never leads anywhere."""
        if query.get("client_id") != CLIENT_ID or query.get("redirect_uri") != self.return_address:
            return VendorResponse(400, "<!doctype html><title>redirect_uri_mismatch</title>")
        sent = {"state": query.get("state", "")}
        if not self.is_allowed:
            return self._sent_back(sent | {"error": "access_denied"})
        code = f"code-{next(self._numbers)}"
        self.codes[code] = _Given(query["redirect_uri"], query.get("code_challenge", ""))
        more = {"location": "eu", "accounts-server": self.address} if self.dialect.names_server else {}
        return self._sent_back(sent | {"code": code} | more)

    def _sent_back(self, query: Mapping[str, str]) -> VendorResponse:
        return VendorResponse(302, None, {"location": f"{self.return_address}?{urlencode(query)}"})

    def _give_tokens(self, form: Mapping[str, str]) -> VendorResponse:
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return self._refuse(_CLIENT)
        if form.get("grant_type") == "refresh_token":
            if not self.refresh or form.get("refresh_token") != self.refresh:
                return self._refuse(_REFRESH)
            self.refreshes += 1
            return self._tokens({})
        given = self.codes.pop(form.get("code", ""), None)
        if given is None or not given.is_proven(form.get("code_verifier", "")):
            return self._refuse(_CODE)
        if form.get("redirect_uri") != given.redirect_uri:
            return self._refuse(_RETURN)
        self.refresh = f"refresh-{next(self._numbers)}"
        return self._tokens({"refresh_token": self.refresh})

    def _tokens(self, more: Mapping[str, str]) -> VendorResponse:
        self.access = f"access-{next(self._numbers)}"
        named = {self.dialect.address_field: self.address} if self.dialect.address_field else {}
        return VendorResponse(
            200, {"access_token": self.access, "token_type": "Bearer", "expires_in": 3600, **more, **named}
        )

    def _refuse(self, what: str) -> VendorResponse:
        code = self.dialect.errors[what]
        return VendorResponse(
            self.dialect.error_status, {self.dialect.error_field: code, "message": "refused"}
        )


def led_to(connector: CrmConnector, address: str) -> CrmConnector:
    """The connector of a vendor whose pages and API are at this address; whoever asks elsewhere is lost."""
    traits, oauth = connector.traits, connector.traits.oauth
    if oauth is None:
        raise ValueError(traits.name)
    own = replace(oauth, authorise_url=f"{address}/authorise", token_url=f"{address}/token")
    if oauth.servers:  # tokens come from the server that it names, and from no other
        own = replace(own, token_url="https://accounts.example.com/token", servers=(address,))
    moved = replace(traits, address=address, oauth=own)
    kind: Any = type(type(connector).__name__, (type(connector),), {"traits": moved})
    made: CrmConnector = kind()
    return made


def landed(location: str) -> dict[str, str]:
    """What a vendor sent back with a person."""
    return dict(parse_qsl(urlsplit(location).query))
