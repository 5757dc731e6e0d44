"""Session, device and visitor cookies, and CSRF tokens."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from itsdangerous import BadSignature, Signer
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.ids import new_secret

SESSION_COOKIE: Final = "contatto_session"
GUEST_COOKIE: Final = "contatto_guest"
"""Carries the CSRF token's seed before somebody signs in."""
DEVICE_COOKIE: Final = "contatto_device"
DEVICE_KEY: Final = "device"
"""The purpose under which the vault gives the signer of it."""
_YEAR_S: Final = 365 * 86_400
CSRF_FIELD: Final = "csrf_token"
CSRF_HEADER: Final = "x-csrf-token"


@dataclass(frozen=True, slots=True)
class CookieRules:
    """Rules of cookies: Secure behind https, and their lifetime."""

    secure: bool
    days: int


def session_token(connection: HTTPConnection) -> str:
    """Return the session token of the browser, or an empty string."""
    return connection.cookies.get(SESSION_COOKIE, "")


def csrf_token(connection: HTTPConnection, signer: Signer) -> str:
    """Return the CSRF token of a browser's forms, derived from its cookie."""
    return signer.get_signature(_csrf_seed(connection)).decode()


def _csrf_seed(connection: HTTPConnection) -> str:
    return session_token(connection) or guest_token(connection)


def guest_token(connection: HTTPConnection) -> str:
    """Return the guest token of a browser; a new one stays on the request until the response sets it."""
    token = connection.cookies.get(GUEST_COOKIE, "") or getattr(connection.state, "guest", "")
    if not token:
        token = new_secret("guest")
        connection.state.guest = token
    return token


async def check_csrf(request: Request, signer: Signer) -> None:
    """Refuse a state-changing request that did not come from our form.

    It checks the browser's header on the origin, and the token.

    Raises:
        Refused: FORGED.
    """
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Refused(errors.FORGED)
    sent = request.headers.get(CSRF_HEADER, "")
    if not sent:
        form = await request.form(max_files=0)
        value = form.get(CSRF_FIELD, "")
        sent = value if isinstance(value, str) else ""
    if not signer.verify_signature(_csrf_seed(request), sent):
        raise Refused(errors.FORGED)


def set_session(response: Response, token: str, rules: CookieRules) -> None:
    response.set_cookie(
        SESSION_COOKIE,
        token,
        max_age=rules.days * 86_400,
        httponly=True,
        secure=rules.secure,
        samesite="lax",
    )
    response.delete_cookie(GUEST_COOKIE)


def clear_session(response: Response) -> None:
    response.delete_cookie(SESSION_COOKIE)


def keep_guest(request: Request, response: Response, rules: CookieRules) -> None:
    """Set the guest cookie that this request created, if any."""
    token = getattr(request.state, "guest", "")
    if token:
        response.set_cookie(GUEST_COOKIE, token, httponly=True, secure=rules.secure, samesite="lax")


def device_of(connection: HTTPConnection, signer: Signer) -> str:
    """Return the device id of a browser that somebody signed in with, else an empty string."""
    try:
        return signer.unsign(connection.cookies.get(DEVICE_COOKIE, "")).decode()
    except BadSignature:
        return ""


def keep_device(response: Response, device: str, signer: Signer, rules: CookieRules) -> None:
    """Store the device id in the browser, for the log-in page only."""
    response.set_cookie(
        DEVICE_COOKIE,
        signer.sign(device).decode(),
        max_age=_YEAR_S,
        path="/login",
        httponly=True,
        secure=rules.secure,
        samesite="strict",
    )


VISITOR_KEY: Final = "visitor"
"""The purpose under which the vault gives the signer of tokens, and the key that derives public ids."""
_SECRET_BYTES: Final = 16
_ID_BYTES: Final = 16


class Carrier(StrEnum):
    """Transport of a visitor's secret; a token for one is refused on the other."""

    COOKIE = "cookie"
    FRAME = "frame"


def new_visitor() -> str:
    """Make a visitor's secret: 128 random bits."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def cookie_name(place: str) -> str:
    """Return the cookie name of a place; short, since a browser may have many."""
    return f"contatto_chat_{hashlib.sha256(place.encode()).hexdigest()[:12]}"


def sign_visitor(secret: str, place: str, carrier: Carrier, signer: Signer) -> str:
    """Return the token of a visitor's secret for this place."""
    return f"{secret}.{signer.get_signature(_joined(carrier, place, secret)).decode()}"


def open_visitor(token: str, place: str, carrier: Carrier, signer: Signer) -> str | None:
    """Return the secret of a token, if we signed it for this place and transport."""
    secret, _, signature = token.rpartition(".")
    is_ours = signer.verify_signature(_joined(carrier, place, secret), signature)
    return secret if secret and is_ours else None


def read_visitor(connection: HTTPConnection, place: str, signer: Signer) -> str | None:
    """Return the secret in the cookie of a place, if we signed it."""
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
    """Return a visitor's public id, which leads neither to the secret nor to other places.

    ``key`` is a derivation key, so that the id stays stable.
    """
    return f"v_{hmac.digest(key, _joined(place, secret), 'sha256')[:_ID_BYTES].hex()}"


def _joined(*parts: str) -> bytes:
    return "\0".join(parts).encode("utf-8", "surrogatepass")
