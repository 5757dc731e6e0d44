"""Context of requests, CSV answers, route index, fast path, security headers and request log."""

import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from logging import DEBUG
from typing import Any, Final
from urllib.parse import quote

from fastapi import APIRouter
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Match, Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contatto.kit.api_types import too_large
from contatto.kit.background import Installation
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Clock, MissingPart, Parts, Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.kit.log import REQUEST_ID, logger
from contatto.kit.settings import Settings
from contatto.kit.table_export import csv_lines
from contatto.kit.uploads import Uploads
from contatto.kit.vault import Vault
from contatto.ui.live import LiveFeed
from contatto.ui.render import Renderer


@dataclass(frozen=True, slots=True)
class Context:
    """Services of a running installation that handlers of requests use."""

    installation: Installation
    db: Database
    clock: Clock
    vault: Vault
    live: LiveFeed
    pages: Renderer
    uploads: Uploads

    @property
    def settings(self) -> Settings:
        return self.installation.settings


def context_of(connection: HTTPConnection) -> Context:
    """Return the context of the request, such as one with a database of its own, or else of the app."""
    context: Context = (
        connection.scope.get("state", {}).get("context") or connection.scope["app"].state.context
    )
    return context


async def show_page(
    request: Request,
    caller: object,
    template: str,
    load: Callable[[Tx], Mapping[str, Any]],
    refused: Refused | None = None,
    **values: Any,
) -> HTMLResponse:
    """Render a template with the values of one read, and with further ones."""
    context = context_of(request)
    loaded = await context.db.read(load)
    return context.pages.render(request, template, {**loaded, **values, "caller": caller}, refused=refused)


async def stream_csv[C](
    db: Database, head: Sequence[str], read_page: Callable[[C | None, Tx], tuple[C | None, list[list[str]]]]
) -> AsyncIterator[bytes]:
    """Yield a table as CSV, one page at a time to save memory.

    ``read_page`` takes a cursor, None at first, and returns the next one with a page; None after the last.
    """
    for line in csv_lines([head], bom=True):
        yield line
    cursor: C | None = None
    while True:
        cursor, rows = await db.read_long(partial(read_page, cursor))
        for line in csv_lines(rows):
            yield line
        if cursor is None:
            return


def csv_file(name: str, lines: Iterable[bytes] | AsyncIterator[bytes]) -> StreamingResponse:
    """Answer with CSV as a download, which no cache keeps."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)


def part_of[T](connection: HTTPConnection, kind: type[T]) -> T:
    """Return a resource of the serving app by its type; raises MissingPart if there is none."""
    resources = connection.scope["app"].state.resources
    if not isinstance(resources, Parts):
        raise MissingPart("this app was built without resources")
    return resources[kind]


DEEPER: Final[Mapping[str, int]] = {"open_api": 3, "settings": 2}
"""Number of path segments that form a group, by first segment; else 1. None of them is a parameter."""


class GroupRouter(APIRouter):
    """Routes with the same first segments, in their order."""

    def __init__(self, group: str) -> None:
        # Scripts often send no content type. Only forms of pages use the session cookie, with a CSRF token.
        super().__init__(strict_content_type=False)
        self.group = group

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and group_of(scope["path"]) != self.group:
            return Match.NONE, {}
        return super().matches(scope)


def group_of(path: str) -> str:
    """Return the first segments of an address or its pattern: ``/leads/{lead_id}`` has ``leads``.

    A line break at the end stays in the group, so no route matches; the ``$`` of a pattern would.
    """
    first, *rest = path.removeprefix("/").split("/", 3)
    return "/".join((first, *rest[: DEEPER.get(first, 1) - 1]))


def grouped(routes: Iterable[Route]) -> list[BaseRoute]:
    """Return the routes in groups by their first segments.

    A request is compared with the routes of its group only.

    Raises:
        ValueError: a pattern begins with a parameter.
    """
    groups: dict[str, GroupRouter] = {}
    for route in routes:
        group = group_of(route.path)
        if "{" in group:
            raise ValueError(f"{route.path} begins with a parameter.")
        groups.setdefault(group, GroupRouter(group)).routes.append(route)
    combined = APIRouter()
    for router in groups.values():
        combined.include_router(router)
    return combined.routes


type Refuse = Callable[[Request, Exception], Awaitable[Response]]
"""Handler of refusals."""
type Around = Callable[[ASGIApp], ASGIApp]
"""Wraps an app in middleware."""


class FastPath:
    """Fast path: answers its own routes, and passes all other requests on to the app.

    Platforms and customers call these routes most of the time. They skip the app's middleware, which is for
    members, and have only that of ``around``.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[Route], around: Around, refuse: Refuse) -> None:
        self._app = app
        self._routes: dict[str, list[Route]] = {}
        for route in routes:
            self._routes.setdefault(_first_part(route.path), []).append(route)
        self._direct = around(self._answer)
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            for route in self._routes.get(_first_part(path), ()):
                match = route.path_regex.match(path)
                if match and scope["method"] in (route.methods or ()):
                    scope["route"], scope["path_params"] = route, match.groupdict()
                    await self._direct(scope, receive, send)
                    return
        await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        try:
            response = await scope["route"].endpoint(request)
        except Refused as refused:
            response = await self._refuse(request, refused)
        await response(scope, receive, send)


def _first_part(path: str) -> str:
    return path.split("/", 2)[1] if path.startswith("/") else ""


CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}


_PAIRS: Final = tuple((name.lower().encode(), value.encode()) for name, value in HEADERS.items())
_HSTS: Final = (b"strict-transport-security", b"max-age=31536000")
"""A year of https for this host only, as its domain may have others. Source: RFC 6797, section 6.1."""
_CACHE: Final = b"cache-control"
_NOT_STORED: Final = (_CACHE, b"no-store")
"""Source: RFC 9111, section 5.2.2.5."""
_OWN_HEADERS: Final = (*_PAIRS, _NOT_STORED)
_OWN_HEADERS_HTTPS: Final = (*_OWN_HEADERS, _HSTS)
_OWN_NAMES: Final = frozenset(name for name, _ in _OWN_HEADERS_HTTPS)
BODY_LIMIT: Final = 1024 * 1024
"""Largest body of a request, in bytes; frequent routes have smaller limits of their own."""
_CLIENT_CLOSED: Final = 499
"""Logged status of a request that the client aborted."""
QUIET_UNDER_MS: Final = 1_000
"""Answers below status 500 that are faster than this are logged at debug level only."""


_TYPE: Final = b"content-type"
_PARTS: Final = b"multipart/form-data"
_BOUNDARY: Final = re.compile(rb'boundary=("[^"]*"|[^;,\s"]+)', re.IGNORECASE)

type Broken = Callable[[Request, Exception], Awaitable[Response]]


@dataclass(eq=False)
class SecurityLayer:
    """Outermost middleware: request id, body limit, security headers and log line.

    Args:
        app: wrapped app.
        broken: makes the answer to an uncaught error.
        larger: larger body limits, by endings of paths.
        public: prefixes of paths with cacheable answers (status 200 or 304).
        is_https: whether browsers use https, even if a proxy uses http.
    """

    app: ASGIApp
    broken: Broken
    larger: Mapping[str, int] = field(default_factory=dict)
    public: tuple[str, ...] = ()
    is_https: bool = field(default=False, kw_only=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = new_id()
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message.get("headers", ()))
                own = _OWN_HEADERS_HTTPS if self.is_https or scope["scheme"] == "https" else _OWN_HEADERS
                names = {name.lower() for name, _ in headers}
                if not _OWN_NAMES.isdisjoint(names):
                    is_public = status in (200, 304) and scope["path"].startswith(self.public)
                    if not is_public:  # only public answers may allow caching
                        headers = [pair for pair in headers if pair[0].lower() != _CACHE]
                        names.discard(_CACHE)
                    own = tuple(pair for pair in own if pair[0] not in names)
                message["headers"] = [*headers, *own, (b"x-request-id", request_id.encode())]
            await send(message)

        scope["headers"] = [_plain(*pair) if pair[0] == _TYPE else pair for pair in scope["headers"]]
        path, limit = scope["path"], BODY_LIMIT
        if path.endswith(tuple(self.larger)):
            limit = max(larger for end, larger in self.larger.items() if path.endswith(end))
        size = 0

        async def receive_capped() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > limit:
                raise too_large(limit)  # to the reader of the body
            return message

        token = REQUEST_ID.set(request_id)
        try:
            await self.app(scope, receive_capped, send_with_headers)
        except ClientDisconnect:
            status = status or _CLIENT_CLOSED
        except Exception as error:
            answer = await self.broken(Request(scope), error)
            if status:  # too late: the answer has begun
                raise
            await answer(scope, receive, send_with_headers)
        finally:
            _log_request(scope, status or 500, time.perf_counter() - started)
            REQUEST_ID.reset(token)


async def redirect_slashes(router: Router, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer an unmatched request with a redirect to the address with one slash more or less at the end.

    It names no host, unlike the framework's redirect, which trusts the request's.
    """
    path = f"/{scope['path'].strip('/')}"
    alternative = path if scope["path"].endswith("/") else f"{path}/"
    changed = {**scope, "path": alternative, "raw_path": None}
    is_there = any(route.matches(changed)[0] is not Match.NONE for route in router.routes)
    if scope["type"] != "http" or path == "/" or not is_there:
        await router.not_found(scope, receive, send)
        return
    query = scope["query_string"].decode("latin-1")
    await RedirectResponse(f"{quote(alternative)}{'?' if query else ''}{query}")(scope, receive, send)


def _plain(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Return a header, without the charset of a multipart form, so that the form is read as UTF-8.

    Forms could name any encoding that Python knows; some yield texts that no database stores.
    """
    if name != _TYPE or not value.lower().startswith(_PARTS):
        return name, value
    boundary = _BOUNDARY.search(value)
    return name, _PARTS + (b"; " + boundary[0] if boundary else b"")


def _log_request(scope: Scope, status: int, seconds: float) -> None:
    is_quiet = status < 500 and seconds * 1000 < QUIET_UNDER_MS
    log = logger()
    if is_quiet and not log.is_enabled_for(DEBUG):
        return
    # The pattern or the handler's name, never the path, which may contain tokens.
    shown = getattr(scope.get("route"), "path", "") or getattr(
        scope.get("endpoint"), "__name__", "(no route)"
    )
    line = log.debug if is_quiet else log.warning if status >= 500 else log.info
    line("http.request", method=scope["method"], path=shown, status=status, took_us=int(seconds * 1e6))
