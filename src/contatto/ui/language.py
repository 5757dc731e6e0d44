"""The language of a request: chosen by the member or the visitor, else asked for by the browser."""

from collections.abc import Iterator
from typing import Final

from starlette.requests import HTTPConnection
from starlette.responses import Response

from contatto.kit.languages import LANGUAGES, SOURCE
from contatto.ui.sessions import CookieRules

LANGUAGE_COOKIE: Final = "contatto_language"
_YEAR_S: Final = 365 * 86_400
_MOST_ASKED: Final = 20


def language_of(connection: HTTPConnection) -> str:
    """One of our languages, always."""
    chosen = getattr(connection.state, "language", "") or connection.cookies.get(LANGUAGE_COOKIE, "")
    if chosen in LANGUAGES:
        return chosen
    return wanted_language(connection.headers.get("accept-language", ""))


def use_language(connection: HTTPConnection, lang: str) -> None:
    """Answer this request in the language that its member chose; nothing follows from an empty one."""
    connection.state.language = lang


def keep_language(response: Response, lang: str, rules: CookieRules) -> None:
    """Remember a visitor's choice in their browser."""
    response.set_cookie(
        LANGUAGE_COOKIE, lang, max_age=_YEAR_S, httponly=True, secure=rules.secure, samesite="lax"
    )


def wanted_language(header: str) -> str:
    """The first of our languages in the order of an ``Accept-Language``; English if it names none.

    ``pt-PT`` finds ``pt-BR`` and ``es-AR`` finds ``es``: a near language is better than a foreign one.
    """
    for asked in _by_weight(header):
        if asked in LANGUAGES:
            return asked
        for ours in LANGUAGES:
            if ours.split("-")[0] == asked.split("-")[0].lower():
                return ours
    return SOURCE


def _by_weight(header: str) -> Iterator[str]:
    weighed: list[tuple[float, int, str]] = []
    for part in header.split(",")[:_MOST_ASKED]:
        tag, _, weight = part.partition(";")
        try:
            q = float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            q = 0.0
        if q > 0:
            weighed.append((-q, len(weighed), tag.strip()))
    return (tag for _, _, tag in sorted(weighed))
