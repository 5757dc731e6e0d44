"""Who a browser is at one place, such as one chat: a secret that we made, and what others may know of it.

The secret opens what the visitor left there, so it is in that browser alone: in a cookie, or, where a page
stands inside another site and browsers keep our cookies from it, in a token that the page names in its
requests. Either is signed for its place and for its way of carrying it, and is worth nothing elsewhere.
Everybody else, the owner of the place too, knows the visitor by a public id, which follows from the secret
and does not lead back to it.
"""

import hashlib
import hmac
import secrets
from enum import StrEnum
from typing import Final

from itsdangerous import Signer
from starlette.requests import HTTPConnection
from starlette.responses import Response

from contatto.ui.sessions import CookieRules

VISITOR_KEY: Final = "visitor"
"""The purpose under which the vault gives the signer of tokens, and the key that derives public ids."""
_SECRET_BYTES: Final = 16
_ID_BYTES: Final = 16
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


def sign_visitor(secret: str, place: str, carrier: Carrier, signer: Signer) -> str:
    """The token that proves to us that we made a secret for this place."""
    return f"{secret}.{signer.get_signature(_joined(carrier, place, secret)).decode()}"


def open_visitor(token: str, place: str, carrier: Carrier, signer: Signer) -> str | None:
    """The secret in a token, if we signed it for this place and this way of carrying it."""
    secret, _, signature = token.rpartition(".")
    is_ours = signer.verify_signature(_joined(carrier, place, secret), signature)
    return secret if secret and is_ours else None


def read_visitor(connection: HTTPConnection, place: str, signer: Signer) -> str | None:
    """The secret in the cookie of a place, if we signed it."""
    return open_visitor(connection.cookies.get(cookie_name(place), ""), place, Carrier.COOKIE, signer)


def set_visitor(response: Response, secret: str, place: str, signer: Signer, rules: CookieRules) -> None:
    response.set_cookie(
        cookie_name(place),
        sign_visitor(secret, place, Carrier.COOKIE, signer),
        max_age=_YEAR_S,
        httponly=True,
        secure=rules.secure,
        samesite="lax",
    )


def public_id(secret: str, place: str, key: bytes) -> str:
    """What others know a visitor by: nobody gets from it to the secret, or to another place.

    ``key`` is a derivation key: a visitor is the same one for ever.
    """
    return f"v_{hmac.digest(key, _joined(place, secret), 'sha256')[:_ID_BYTES].hex()}"


def _joined(*parts: str) -> bytes:
    return "\0".join(parts).encode("utf-8", "surrogatepass")
