"""Rendering: Jinja2 with autoescape, templates beside their capability, hashed static addresses."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from contatto.kit.money import show_money
from contatto.kit.web.sessions import CookieRules, csrf_token, keep_guest

PACKAGE: Final = Path(str(files("contatto")))
STATIC: Final = PACKAGE / "kit" / "web" / "static"


class Renderer:
    """Turns a template and its values into a page.

    Args:
        csrf_key: signs the CSRF tokens of forms.
        cookies: how the guest cookie is set.
    """

    def __init__(self, csrf_key: bytes, cookies: CookieRules) -> None:
        folders = [PACKAGE / "kit" / "web" / "templates", *sorted(PACKAGE.glob("*/templates"))]
        self.csrf_key = csrf_key
        self.cookies = cookies
        self._jinja = Environment(
            loader=FileSystemLoader(folders),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._jinja.globals.update(
            _=_as_is,
            ngettext=_for_count,
            static=static_url,
            money=show_money,
            number=show_number,
            percent=show_percent,
        )

    def render(
        self, request: Request, template: str, values: Mapping[str, Any], status: int = 200
    ) -> HTMLResponse:
        """Render a template for a request.

        The template also sees ``request``, ``csrf_token``, ``caller`` (None unless given), ``lang``, ``dir``,
        ``last_event`` (the number of the last event that the page may know of; 0 without a caller).
        """
        page = self._jinja.get_template(template)
        frame: dict[str, Any] = {
            "request": request,
            "csrf_token": csrf_token(request, self.csrf_key),
            "caller": None,
            "nav_counts": {},
            "last_event": getattr(request.state, "last_event", 0),
            "lang": "en",
            "dir": "ltr",
            "csp_nonce": "",
        }
        response = HTMLResponse(page.render(frame | dict(values)), status)
        response.headers["Cache-Control"] = "no-store"
        keep_guest(request, response, self.cookies)
        return response


def _as_is(text: str, **values: object) -> str:
    """English is the source language: its texts stand in the templates."""
    return text % values if values else text


def _for_count(one: str, many: str, count: int, **values: object) -> str:
    return (one if count == 1 else many) % {"num": show_number(count), **values}


@cache
def static_url(path: str) -> str:
    """The address of an asset, with a hash of its content so that browsers may keep it for ever.

    Raises:
        FileNotFoundError: there is no such asset.
    """
    digest = hashlib.sha256((STATIC / path).read_bytes()).hexdigest()[:10]
    return f"/static/{path}?v={digest}"


def show_number(value: float | None) -> str:
    return "–" if value is None else f"{value:,}"


def show_percent(value: float | None) -> str:
    """A share between 0 and 1 as a percentage with two decimals."""
    return "–" if value is None else f"{value * 100:.2f}%"


def iso(moment: datetime | None) -> str | None:
    """An instant as ISO 8601 in UTC, to the second."""
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")
