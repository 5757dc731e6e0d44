"""Rendering of pages: templates, static files, language and fragment cache."""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from datetime import datetime
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any, Final, overload

from itsdangerous import Signer
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context as Values
from jinja2.runtime import Macro
from markupsafe import Markup, escape
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, Response

from contatto.kit.i18n import Translator, brand_of, is_unreadable
from contatto.kit.languages import LANGUAGES, SOURCE, translator_for
from contatto.kit.texts import split_links
from contatto.ui.sessions import CookieRules, csrf_token, keep_guest

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


SHOWN_ONCE: Final = "shown_once"
"""In a request's state: its answer is to be shown once, as a secret is."""


def is_navigation(connection: HTTPConnection) -> bool:
    """Return whether the answer will be shown as a page, with the address in the browser's line.

    Browsers say so; older ones, and those before a proxy that drops what they say, name HTML among what they
    take. Source: Fetch Metadata Request Headers, section 2.2.
    """
    headers = connection.headers
    if headers.get("hx-request"):
        return False
    mode = headers.get("sec-fetch-mode")
    return mode == "navigate" if mode else "text/html" in headers.get("accept", "")


MOST_CHARACTERS: Final = 8_000_000
"""How much is kept in a process; what was not asked for longest goes first."""


class Holes:
    """Places in a part that are filled in for each reader; nobody outside of this process can name one.

    Args:
        names: of the places.
    """

    def __init__(self, *names: str) -> None:
        self._marks: Final = {name: f"{name}-{secrets.token_hex(16)}" for name in names}

    def mark(self, name: str) -> str:
        """What stands for a value while the part is drawn."""
        return self._marks[name]

    def fill(self, part: str, values: Mapping[str, str]) -> Markup:
        """The part as one reader sees it; the values are escaped."""
        for name, value in values.items():
            part = part.replace(self._marks[name], str(escape(value)))
        return Markup(part)  # noqa: S704  # drawn by a template, and what was filled in is escaped


class FragmentCache:
    """Keeps drawn parts by what they depend on.

    Args:
        most: characters in all.
    """

    def __init__(self, most: int = MOST_CHARACTERS) -> None:
        self._most: Final = most
        self._parts: OrderedDict[Hashable, str] = OrderedDict()
        self.characters = 0

    def find(self, key: Hashable, draw: Callable[[], str]) -> str:
        """The part of this key, which names all that it depends on; it is drawn if it is not there."""
        if (part := self._parts.get(key)) is not None:
            self._parts.move_to_end(key)
            return part
        part = self._parts[key] = draw()
        self.characters += len(part)
        while self.characters > self._most:
            _, oldest = self._parts.popitem(last=False)
            self.characters -= len(oldest)
        return part


PACKAGE: Final = Path(str(files("contatto")))
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz"

UNKEPT: Final = {"Cache-Control": "no-store"}
"""The header of an answer that no browser and no proxy may keep."""

BEFORE_RENDERING: Final = "before_rendering"
"""What a layer around the app may have a page begin before it is made, by its name in the request's state."""


type MayOpen = Callable[[Collection[str], str, str], bool]
"""By permissions, address and method."""


class Renderer:
    """Turns a template and its values into a page.

    Args:
        csrf_signer: signs the CSRF tokens of forms.
        cookies: how the guest cookie is set.
        may_open: whether somebody with these permissions may open an address by a method; without it, anybody
            is offered anything.
    """

    def __init__(self, csrf_signer: Signer, cookies: CookieRules, may_open: MayOpen | None = None) -> None:
        self.csrf_signer = csrf_signer
        self.cookies = cookies
        self._may_open = may_open

    def _offers_to(self, caller: Any) -> Callable[..., bool]:
        """Return whether a page offers an address to its reader: a link, or with a method a form."""

        def offers(href: str, method: str = "GET") -> bool:
            if caller is None or self._may_open is None:
                return True
            return self._may_open(caller.permissions, str(href), method)

        return offers

    def translator_of(self, connection: HTTPConnection) -> Translator:
        """The words of the language in which a request is answered."""
        return translator_for(language_of(connection))

    def render(
        self, request: Request, template: str, values: Mapping[str, Any], status: int = 200
    ) -> HTMLResponse:
        """Render a template for a request.

        The template also sees ``request``, ``csrf_token``, ``caller`` (None unless given), ``last_event``
        (the number of the last event that the page may know of; 0 without a caller), and of the request's
        language its texts, ``lang``, ``dir``, ``number``, ``percent``, ``money`` and the filter ``country``.
        ``offers(href)`` says whether the caller may open an address: what they may not is not offered.
        """
        begin = getattr(request.state, BEFORE_RENDERING, None)
        if begin is not None:
            begin()
        page = _templates().get_template(template)
        words = self.translator_of(request)
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
            "offers": self._offers_to(values.get("caller")),
        }
        response = HTMLResponse(page.render(frame | dict(values)), status, UNKEPT)
        keep_guest(request, response, self.cookies)
        return response


def draw(template: str, values: Mapping[str, Any], words: Translator) -> str:
    """Render a part of a page that knows of no request: it is the same for all who read it in a language."""
    frame = {"page_words": words, "lang": words.lang, "dir": words.dir, "number": words.number}
    return _templates().get_template(template).render(frame | dict(values))


class QuickValues(Values):
    """The values of a template, which call the usual things at once: a page has a thousand calls.

    Jinja asks anew at each call what the callable wants to be given, and for a text inside a loop that sets a
    name it copies all values. Anything unusual still goes that way.
    """

    def call(self, callee: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
        kind = type(callee)
        if kind is Macro:
            given: tuple[Any, ...] = (self.eval_ctx,)
        elif callee is _translate or callee is _translate_many:
            given = (self,)
        elif (kind is MethodType or kind is FunctionType) and not hasattr(callee, "jinja_pass_arg"):
            given = ()
        else:
            return super().call(callee, *args, **named)
        named.pop("_block_vars", None)
        named.pop("_loop_vars", None)
        return callee(*given, *args, **named)


@cache
def _templates() -> Environment:
    """The templates of all capabilities: compiled when first shown, once in a process."""
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


def _linked(text: str) -> str:
    """What somebody wrote, with its addresses as links that tell the other side nothing of this page."""
    if is_unreadable(text):
        return text
    link = Markup('<a href="{}" target="_blank" rel="noopener noreferrer nofollow ugc">{}</a>')
    return Markup("").join(
        link.format(address, shown) if address else escape(shown) for shown, address in split_links(text)
    )


@pass_context
def _finalize(values: Values, value: Any) -> Any:
    """Translate the words in place of a sealed value that does not open."""
    return _translate(values, value) if is_unreadable(value) else value


@pass_context
def _translate(values: Values, text: str, /, **filled: Any) -> Markup:
    """A text in the page's language. The catalogue's text is escaped, and so is what is filled in."""
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


def asset_folders() -> dict[str, Path]:
    """The folder of assets of each capability that has one, and of the design system, by its name."""
    return {folder.parent.name: folder for folder in sorted(PACKAGE.glob("*/static"))}


@cache
def static_url(path: str) -> str:
    """The address of an asset such as ``leads/leads.css``, with a hash so that browsers may keep it for ever.

    Raises:
        FileNotFoundError: there is no such asset.
    """
    owner, _, name = path.partition("/")
    digest = hashlib.sha256((PACKAGE / owner / "static" / name).read_bytes()).hexdigest()[:10]
    return f"/static/{path}?v={digest}"


def avatar_of(name: object) -> tuple[int, str]:
    """The colour of a name's picture, one of six, and its letters; a list asks for a hundred of them."""
    plain = str(name or "?").strip().replace("@", "")
    words = plain.split()[:2]
    hue = (_ALPHABET.find(plain[:1].lower()) + len(plain)) % 6
    return hue, "".join(word[0] for word in words).upper() or "?"


@overload
def iso(moment: datetime) -> str: ...
@overload
def iso(moment: datetime | None) -> str | None: ...
def iso(moment: datetime | None) -> str | None:
    """An instant as ISO 8601 in UTC, to the second."""
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")
