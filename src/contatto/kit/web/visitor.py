"""The visitor's token: a signed, random id by which the chat page knows a person again.

It travels in a cookie. Where the page stands inside another site, browsers keep its cookies from us, so
there the page keeps the token itself and names it in its requests.
"""

import base64
import hmac
from typing import Final

from starlette.requests import HTTPConnection
from starlette.responses import Response

from contatto.kit.web.sessions import CookieRules

VISITOR_COOKIE: Final = "contatto_visitor"
VISITOR_KEY: Final = "visitor"
"""The purpose under which the vault gives the key that signs it."""
_YEAR_S: Final = 365 * 86_400


def read_visitor(connection: HTTPConnection, key: bytes) -> str | None:
    """The visitor's id, if the cookie is there and was signed by us."""
    return open_visitor(connection.cookies.get(VISITOR_COOKIE, ""), key)


def open_visitor(token: str, key: bytes) -> str | None:
    """The visitor of a token, if it was signed by us."""
    value, _, signature = token.rpartition(".")
    if not value or not hmac.compare_digest(signature.encode(), _sign(value, key).encode()):
        return None
    return base64.urlsafe_b64decode(value).decode()


def set_visitor(response: Response, visitor: str, key: bytes, rules: CookieRules) -> None:
    """Set the cookie. A publisher's own id of a viewer may hold any letter, so it is written as base64."""
    response.set_cookie(
        VISITOR_COOKIE,
        sign_visitor(visitor, key),
        max_age=_YEAR_S,
        httponly=True,
        secure=rules.secure,
        samesite="lax",
    )


def sign_visitor(visitor: str, key: bytes) -> str:
    """The token of a visitor."""
    value = base64.urlsafe_b64encode(visitor.encode()).decode()
    return f"{value}.{_sign(value, key)}"


def _sign(value: str, key: bytes) -> str:
    digest = hmac.digest(key, value.encode(), "sha256")[:16]
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
