"""The visitor's cookie: a signed, random id by which the chat page knows a person again."""

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
    value, _, signature = connection.cookies.get(VISITOR_COOKIE, "").rpartition(".")
    if not value or not hmac.compare_digest(signature.encode(), _sign(value, key).encode()):
        return None
    return base64.urlsafe_b64decode(value).decode()


def set_visitor(response: Response, visitor: str, key: bytes, rules: CookieRules) -> None:
    """Set the cookie. A publisher's own id of a viewer may hold any letter, so it is written as base64."""
    value = base64.urlsafe_b64encode(visitor.encode()).decode()
    response.set_cookie(
        VISITOR_COOKIE,
        f"{value}.{_sign(value, key)}",
        max_age=_YEAR_S,
        httponly=True,
        secure=rules.secure,
        samesite="lax",
    )


def _sign(value: str, key: bytes) -> str:
    digest = hmac.digest(key, value.encode(), "sha256")[:16]
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
