"""Who a browser is at one place, such as one chat: a secret that we made, and what others may know of it.

The secret opens what the visitor left there, so it is in that browser alone: in a cookie, or, where a page
stands inside another site and browsers keep our cookies from it, in a token that the page names in its
requests. Either is signed for its place and for its way of carrying it, and is worth nothing elsewhere.
Everybody else, the owner of the place too, knows the visitor by a public id, which follows from the secret
and does not lead back to it.
"""

import base64
import hashlib
import hmac
import secrets
from enum import StrEnum
from typing import Final

from starlette.requests import HTTPConnection
from starlette.responses import Response

from contatto.ui.sessions import CookieRules

VISITOR_KEY: Final = "visitor"
"""The purpose under which the vault gives the key that signs tokens and derives public ids."""
_SECRET_BYTES: Final = 16
_SIGNATURE_BYTES: Final = 16
_YEAR_S: Final = 365 * 86_400


class Carrier(StrEnum):
    """How a secret travels: what was made for one way is refused on the other."""

    COOKIE = "cookie"
    FRAME = "frame"


def new_visitor() -> str:
    """Make a visitor's secret: 128 random bits."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def cookie_name(place: str) -> str:
    """The cookie of a place; short, since a browser may know many places."""
    return f"contatto_chat_{hashlib.sha256(place.encode()).hexdigest()[:12]}"


def sign_visitor(secret: str, place: str, carrier: Carrier, key: bytes) -> str:
    """The token that proves to us that we made a secret for this place."""
    return f"{secret}.{_text(_digest(key, carrier, place, secret))}"


def open_visitor(token: str, place: str, carrier: Carrier, key: bytes) -> str | None:
    """The secret in a token, if we signed it for this place and this way of carrying it."""
    secret, _, signature = token.rpartition(".")
    wanted = _text(_digest(key, carrier, place, secret))
    return secret if secret and hmac.compare_digest(signature.encode(), wanted.encode()) else None


def read_visitor(connection: HTTPConnection, place: str, key: bytes) -> str | None:
    """The secret in the cookie of a place, if we signed it."""
    return open_visitor(connection.cookies.get(cookie_name(place), ""), place, Carrier.COOKIE, key)


def set_visitor(response: Response, secret: str, place: str, key: bytes, rules: CookieRules) -> None:
    response.set_cookie(
        cookie_name(place),
        sign_visitor(secret, place, Carrier.COOKIE, key),
        max_age=_YEAR_S,
        httponly=True,
        secure=rules.secure,
        samesite="lax",
    )


def public_id(secret: str, place: str, key: bytes) -> str:
    """What others know a visitor by: nobody gets from it to the secret, or to another place."""
    return f"v_{_digest(key, 'public id', place, secret).hex()}"


def _digest(key: bytes, purpose: str, place: str, secret: str) -> bytes:
    said = "\0".join((purpose, place, secret)).encode("utf-8", "surrogatepass")
    return hmac.digest(key, said, "sha256")[:_SIGNATURE_BYTES]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
