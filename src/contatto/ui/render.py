"""Pages and their cookies: templates, static files, languages, sessions, CSRF tokens."""

import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any, Final, Literal

from itsdangerous import BadSignature, Signer
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context as Values
from jinja2.runtime import Macro
from markupsafe import Markup, escape
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, Response

from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.form_fields import split_fault
from contatto.kit.ids import new_secret
from contatto.kit.languages import LANGUAGES, SOURCE, Translator, translator_for
from contatto.kit.values import brand_of, is_unreadable

SESSION_COOKIE: Final = "contatto_session"
GUEST_COOKIE: Final = "contatto_guest"
"""Cookie with the seed of CSRF tokens before somebody signs in."""
DEVICE_COOKIE: Final = "contatto_device"
DEVICE_KEY: Final = "device"
"""Purpose of the vault's signer of device cookies."""
_YEAR_S: Final = 365 * 86_400
CSRF_FIELD: Final = "csrf_token"
CSRF_HEADER: Final = "x-csrf-token"


@dataclass(frozen=True, slots=True)
class CookieRules:
    """Rules of cookies: Secure behind https, and their lifetime."""

    secure: bool
    days: int

    def set(
        self,
        response: Response,
        name: str,
        value: str,
        max_age: int | None = _YEAR_S,
        path: str = "/",
        samesite: Literal["lax", "strict"] = "lax",
    ) -> None:
        """Set a cookie that scripts cannot read; without an age it ends with the browser."""
        response.set_cookie(
            name, value, max_age, path=path, secure=self.secure, httponly=True, samesite=samesite
        )


def session_token(connection: HTTPConnection) -> str:
    """Return the session token of the browser, or an empty string."""
    return connection.cookies.get(SESSION_COOKIE, "")


def csrf_token(connection: HTTPConnection, signer: Signer) -> str:
    """Return the CSRF token of a browser's forms, derived from its cookie."""
    return signer.get_signature(_csrf_seed(connection)).decode()


def _csrf_seed(connection: HTTPConnection) -> str:
    """Return the session token or the guest token; a new one is on the request until the response sets it."""
    token = session_token(connection) or connection.cookies.get(GUEST_COOKIE, "")
    token = token or getattr(connection.state, "guest", "")
    if not token:
        token = connection.state.guest = new_secret("guest")
    return token


async def check_csrf(request: Request, signer: Signer) -> None:
    """Refuse a state-changing request that did not come from our form.

    It checks the browser's header on the origin, and the token.

    Raises FORGED.
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
    rules.set(response, SESSION_COOKIE, token, rules.days * 86_400)
    response.delete_cookie(GUEST_COOKIE)


def keep_guest(request: Request, response: Response, rules: CookieRules) -> None:
    """Set the guest cookie that this request created, if any."""
    token = getattr(request.state, "guest", "")
    if token:
        rules.set(response, GUEST_COOKIE, token, None)


def device_of(connection: HTTPConnection, signer: Signer) -> str:
    """Return the device id of a browser that somebody signed in with, else an empty string."""
    try:
        return signer.unsign(connection.cookies.get(DEVICE_COOKIE, "")).decode()
    except BadSignature:
        return ""


def keep_device(response: Response, device: str, signer: Signer, rules: CookieRules) -> None:
    """Store the device id in the browser, for the log-in page only."""
    rules.set(response, DEVICE_COOKIE, signer.sign(device).decode(), path="/login", samesite="strict")


VISITOR_KEY: Final = "visitor"
"""Purpose of the vault's signer of visitor tokens, and of the key that derives public ids.

The functions of visitors take a ``place``, the id of the channel account that the visitor chats with.
"""
_SECRET_BYTES: Final = 16
_ID_BYTES: Final = 16


class Carrier(StrEnum):
    """Transport of a visitor's secret: a cookie, or the address of an embedded frame.

    A token for one is invalid on the other.
    """

    COOKIE = "cookie"
    FRAME = "frame"


def new_visitor() -> str:
    """Make a visitor's secret: 128 random bits."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def cookie_name(place: str) -> str:
    """Return the cookie name of a place, which is short since a browser may have many such cookies."""
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
    rules.set(response, cookie_name(place), sign_visitor(secret, place, Carrier.COOKIE, signer))


def public_id(secret: str, place: str, key: bytes) -> str:
    """Return a visitor's public id, which reveals neither the secret nor the ids at other places.

    ``key`` is a derivation key, so that the id stays stable.
    """
    return f"v_{hmac.digest(key, _joined(place, secret), 'sha256')[:_ID_BYTES].hex()}"


def _joined(*parts: str) -> bytes:
    return "\0".join(parts).encode("utf-8", "surrogatepass")


LANGUAGE_COOKIE: Final = "contatto_language"
_MOST_LANGUAGES: Final = 20


def translator_of(connection: HTTPConnection) -> Translator:
    """Return the translator of a request, always to one of our languages.

    A member's own language is in the request's state; an empty one changes nothing.
    """
    lang = getattr(connection.state, "language", "") or connection.cookies.get(LANGUAGE_COOKIE, "")
    if lang not in LANGUAGES:
        lang = wanted_language(connection.headers.get("accept-language", ""))
    return translator_for(lang)


def wanted_language(header: str) -> str:
    """Return the first of our languages in an ``Accept-Language``, or English.

    ``pt-PT`` matches ``pt-BR`` and ``es-AR`` matches ``es``: a near language is better than a foreign one.
    """
    weighed: list[tuple[float, int, str]] = []
    for part in header.split(",")[:_MOST_LANGUAGES]:
        tag, _, weight = part.partition(";")
        try:
            q = float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            q = 0.0
        if q > 0:
            weighed.append((-q, len(weighed), tag.strip()))
    for _, _, tag in sorted(weighed):
        if tag in LANGUAGES:
            return tag
        for lang in LANGUAGES:
            if lang.split("-")[0] == tag.split("-")[0].lower():
                return lang
    return SOURCE


SHOWN_ONCE: Final = "shown_once"
"""Flag in a request's state: the answer shows a new secret, which no page shows again."""


def is_navigation(connection: HTTPConnection) -> bool:
    """Report whether the browser will show the answer as a page.

    Browsers say so in a header. Where it is missing, the accepted types decide.

    Source: Fetch Metadata Request Headers, section 2.2.
    """
    headers = connection.headers
    if headers.get("hx-request"):
        return False
    mode = headers.get("sec-fetch-mode")
    return mode == "navigate" if mode else "text/html" in headers.get("accept", "")


MOST_CHARACTERS: Final = 8_000_000
"""Size of the fragment cache of a process; the least recently used fragment goes first."""


class Placeholders:
    """Named placeholders of a cached fragment, filled for each reader; their marks are unguessable."""

    def __init__(self, *names: str) -> None:
        self.marks: Final = {name: f"{name}-{secrets.token_hex(16)}" for name in names}

    def fill(self, part: str, values: Mapping[str, str]) -> Markup:
        """Return the fragment for one reader; values are escaped."""
        for name, value in values.items():
            part = part.replace(self.marks[name], str(escape(value)))
        return Markup(part)  # noqa: S704  # rendered by a template, with escaped values


@dataclass(eq=False)
class FragmentCache:
    """Cache of rendered fragments that many readers share, of up to ``most`` characters."""

    most: int = MOST_CHARACTERS
    characters: int = 0
    _parts: OrderedDict[Hashable, str] = field(default_factory=OrderedDict)

    def find(self, key: Hashable, draw: Callable[[], str]) -> str:
        """Return the fragment of a key, or render it; the key must contain all inputs of ``draw``."""
        if (part := self._parts.get(key)) is not None:
            self._parts.move_to_end(key)
            return part
        part = self._parts[key] = draw()
        self.characters += len(part)
        while self.characters > self.most:
            _, oldest = self._parts.popitem(last=False)
            self.characters -= len(oldest)
        return part


PACKAGE: Final = Path(str(files("contatto")))
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz"

NO_STORE: Final = {"Cache-Control": "no-store"}
"""Header of an answer that no browser or proxy may cache."""

BEFORE_RENDERING: Final = "before_rendering"
"""Name of a hook in the request's state, which runs before rendering."""


type MayOpen = Callable[[Collection[str], str, str], bool]
"""Check of permissions, address and method."""


@dataclass(frozen=True, slots=True, eq=False)
class Renderer:
    """Renders templates into pages; without ``may_open`` a page links to every address."""

    csrf_signer: Signer
    cookies: CookieRules
    may_open: MayOpen | None = None

    def render(
        self,
        request: Request,
        template: str,
        values: Mapping[str, Any],
        status: int = 200,
        refused: Refused | None = None,
    ) -> HTMLResponse:
        """Render a template for a request; a refusal decides the status, and when to try again.

        The template also gets ``request``, ``csrf_token``, ``caller`` (None by default), ``last_event``
        (number of the last event on the page; 0 without a caller), ``error`` (detail of the refusal without
        the field), the texts of the language, ``lang``, ``dir``, ``number``, ``percent``, ``money`` and the
        filter ``country``. ``offers(href)`` tells whether the caller may open an address, so that the page
        links only to those.
        """
        begin = getattr(request.state, BEFORE_RENDERING, None)
        if begin is not None:
            begin()
        caller = values.get("caller")

        def offers(href: str, method: str = "GET") -> bool:
            if caller is None or self.may_open is None:
                return True
            return self.may_open(caller.permissions, str(href), method)

        page = _templates().get_template(template)
        words = translator_of(request)
        frame: dict[str, Any] = {
            "request": request,
            "csrf_token": csrf_token(request, self.csrf_signer),
            "caller": None,
            "nav_counts": {},
            "last_event": getattr(request.state, "last_event", 0),
            "page_words": words,
            "lang": words.lang,
            "dir": words.dir,
            "number": words.number,
            "percent": words.percent,
            "money": words.money,
            "csp_nonce": "",
            "offers": offers,
            "error": split_fault(refused, words)[1] if refused else "",
        }
        status = refused.code.http_status if refused else status
        response = HTMLResponse(page.render(frame | dict(values)), status, NO_STORE)
        if refused and refused.retry_after_s is not None:
            response.headers["Retry-After"] = str(refused.retry_after_s)
        keep_guest(request, response, self.cookies)
        return response


def draw(template: str, values: Mapping[str, Any], words: Translator) -> str:
    """Render a fragment without a request, the same for all readers of a language."""
    frame = {"page_words": words, "lang": words.lang, "dir": words.dir, "number": words.number}
    return _templates().get_template(template).render(frame | dict(values))


class QuickValues(Values):
    """Template values with a fast path for calls of functions and macros.

    A page has a thousand calls. For each, Jinja would inspect the callable, and inside some loops copy all
    values. Rare kinds of callables still use Jinja's own method.
    """

    def call(self, callee: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
        kind = type(callee)
        if kind is Macro:
            context: tuple[Any, ...] = (self.eval_ctx,)
        elif callee is _translate or callee is _translate_many:
            context = (self,)
        elif (kind is MethodType or kind is FunctionType) and not hasattr(callee, "jinja_pass_arg"):
            context = ()
        else:
            return super().call(callee, *args, **named)
        named.pop("_block_vars", None)
        named.pop("_loop_vars", None)
        return callee(*context, *args, **named)


@cache
def _templates() -> Environment:
    """Return the templates of all packages, compiled on first use."""
    folders = sorted(PACKAGE.glob("*/templates"))
    templates = Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    templates.context_class = QuickValues
    templates.add_extension("jinja2.ext.i18n")
    templates.newstyle_gettext = True  # type: ignore[attr-defined]  # the extension's own switch
    templates.filters["country"] = _country
    templates.filters["linked"] = _linked
    templates.tests["unreadable"] = is_unreadable
    templates.globals.update(
        static=static_url,
        screen_languages=LANGUAGES,
        translator_for=translator_for,
        avatar_of=avatar_of,
        brand_of=brand_of,
        _=_translate,
        gettext=_translate,
        ngettext=_translate_many,
    )
    return templates


_ADDRESS: Final = re.compile(r"(?:https?://|www\.)[^\s<>\"'`\\{}|^]{2,2000}", re.IGNORECASE)
_AFTER: Final = ".,;:!?)]}…»”’*_"
"""Characters that end a sentence rather than an address."""


def split_links(text: str) -> list[tuple[str, str]]:
    """Split a text into parts, each with its address, or "" for plain text.

    Only http and https count, so no link runs a script. A closing bracket belongs to an address with an
    opening one.
    """
    parts: list[tuple[str, str]] = []
    end = 0
    for match in _ADDRESS.finditer(text):
        shown = match[0]
        while (
            shown and shown[-1] in _AFTER and not (shown[-1] == ")" and shown.count("(") >= shown.count(")"))
        ):
            shown = shown[:-1]
        if "." not in shown.partition("://")[2].partition("/")[0] and not shown.lower().startswith("www."):
            continue
        address = shown if "://" in shown[:8] else f"https://{shown}"
        parts += [(text[end : match.start()], ""), (shown, address)]
        end = match.start() + len(shown)
    return [part for part in [*parts, (text[end:], "")] if part[0]]


def _linked(text: str) -> str:
    """Return a text with links that reveal nothing of this page to the target."""
    if is_unreadable(text):
        return text
    link = Markup('<a href="{}" target="_blank" rel="noopener noreferrer nofollow ugc">{}</a>')
    return Markup("").join(
        link.format(address, shown) if address else escape(shown) for shown, address in split_links(text)
    )


@pass_context
def _finalize(values: Values, value: Any) -> Any:
    """Translate the replacement of an unreadable value."""
    return _translate(values, value) if is_unreadable(value) else value


@pass_context
def _translate(values: Values, text: str, /, **filled: Any) -> Markup:
    """Translate a text into the page's language; text and values are escaped."""
    words: Translator = values["page_words"]
    shown = _escaped(words, text)
    return shown % words.written(filled) if filled else shown


@lru_cache(maxsize=8_192)
def _escaped(words: Translator, text: str) -> Markup:
    return escape(words.gettext(text))


@pass_context
def _translate_many(values: Values, one: str, many: str, n: int, /, **filled: Any) -> Markup:
    words: Translator = values["page_words"]
    return escape(words.plural(one, many, n)) % words.written({"num": n} | filled)


@pass_context
def _country(values: Values, code: str) -> str:
    words: Translator = values["page_words"]
    return words.country(code)


ASSET_FOLDERS: Final = {folder.parent.name: folder for folder in sorted(PACKAGE.glob("*/static"))}
"""Folders of assets by package name."""


@cache
def static_url(path: str) -> str:
    """Return the address of an existing asset such as ``leads/leads.css``, with a hash for caching."""
    owner, _, name = path.partition("/")
    digest = hashlib.sha256((PACKAGE / owner / "static" / name).read_bytes()).hexdigest()[:10]
    return f"/static/{path}?v={digest}"


def avatar_of(name: object) -> tuple[int, str]:
    """Return the number of the colour of a name's avatar, 0 to 5, and its letters."""
    plain = str(name or "?").strip().replace("@", "")
    words = plain.split()[:2]
    hue = (_ALPHABET.find(plain[:1].lower()) + len(plain)) % 6
    return hue, "".join(word[0] for word in words).upper() or "?"


def iso(moment: datetime) -> str:
    """Format an instant as ISO 8601 in UTC, to the second."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
