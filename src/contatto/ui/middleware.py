"""Middleware: route index, fast path, security headers and request log."""

import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Final, cast
from urllib.parse import quote

from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Match, Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contatto.kit.errors import Refused
from contatto.kit.http import DirectRoute, too_large
from contatto.kit.ids import new_id
from contatto.kit.log import REQUEST_ID, logger, tells_debug

DEEPER: Final[Mapping[str, int]] = {"open_api": 3, "settings": 2}
"""How many segments tell a group where the first does not tell enough; none of them is a parameter."""


class GroupRouter(APIRouter):
    """The routes whose addresses begin alike, in their order."""

    def __init__(self, group: str, *, include_in_schema: bool) -> None:
        # Scripts often name no type. Only forms of pages go by the session's cookie, and they carry a token.
        super().__init__(include_in_schema=include_in_schema, strict_content_type=False)
        self.group = group

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and group_of(scope["path"]) != self.group:
            return Match.NONE, {}
        return super().matches(scope)


def group_of(path: str) -> str:
    """The first segments of an address or of its pattern: ``/leads/{lead_id}`` is of ``leads``.

    An address with a line break after it is of no group, though the ``$`` of a pattern would let it pass.
    """
    first, *others = path.removeprefix("/").split("/", 3)
    return "/".join((first, *others[: DEEPER.get(first, 1) - 1]))


def grouped(routers: Iterable[APIRouter]) -> list[BaseRoute]:
    """All routes of routers, and of routers within, to be put into an app; none of these adds a prefix.

    Raises:
        ValueError: a pattern begins with a parameter, so that it is of no group.
    """
    groups: dict[tuple[str, bool], GroupRouter] = {}
    for route, is_in_schema in _flat(routers):
        group = group_of(route.path)
        if "{" in group:
            raise ValueError(f"{route.path} begins with a parameter.")
        key = group, is_in_schema
        if key not in groups:
            groups[key] = GroupRouter(group, include_in_schema=is_in_schema)
        groups[key].routes.append(route)
    together = APIRouter()
    for router in groups.values():
        together.include_router(router)
    return together.routes


def _flat(routers: Iterable[APIRouter], *, is_in_schema: bool = True) -> Iterator[tuple[Route, bool]]:
    for router in routers:
        is_shown = is_in_schema and router.include_in_schema
        for route in router.routes:
            inner = getattr(route, "original_router", None)
            if inner is None:
                yield cast("Route", route), is_shown
            else:
                yield from _flat([inner], is_in_schema=is_shown)


type Refuse = Callable[[Request, Exception], Awaitable[Response]]
type Around = Callable[[ASGIApp], ASGIApp]


class DirectWay:
    """Answers requests to direct routes, and hands all others on.

    Args:
        app: what answers the others.
        routes: all routes in their order; of these the direct ones are taken.
        around: the layer that every answer needs.
        refuse: answers a refusal.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute], around: Around, refuse: Refuse) -> None:
        self._app = app
        self._routes: dict[str, list[DirectRoute]] = {}
        for route in routes:
            if isinstance(route, DirectRoute):
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


def csp_within(origins: Iterable[str]) -> str:
    """The policy of a page that these sites may show inside their own."""
    return CSP.replace("frame-ancestors 'none'", f"frame-ancestors {' '.join(origins)}")


_PAIRS: Final = tuple((name.lower().encode(), value.encode()) for name, value in HEADERS.items())
_HSTS: Final = (b"strict-transport-security", b"max-age=31536000")
"""A year of https, for this host alone: others of its domain are not ours. Source: RFC 6797, section 6.1."""
_CACHE: Final = b"cache-control"
_NOT_STORED: Final = (_CACHE, b"no-store")
"""Source: RFC 9111, section 5.2.2.5."""
_OURS: Final = (*_PAIRS, _NOT_STORED)
_OURS_BY_HTTPS: Final = (*_OURS, _HSTS)
_OUR_NAMES: Final = frozenset(name for name, _ in _OURS_BY_HTTPS)
BODY_LIMIT: Final = 1024 * 1024
"""Largest body of a request, in bytes; hot routes have smaller limits of their own."""
_GONE: Final = 499
"""What the log says of a request whose other side went away before all of it was there."""
QUIET_UNDER_MS: Final = 1_000
"""Good answers faster than this are logged at debug level only."""


type _Header = tuple[bytes, bytes]
_TYPE: Final = b"content-type"
_PARTS: Final = b"multipart/form-data"
_BOUNDARY: Final = re.compile(rb'boundary=("[^"]*"|[^;,\s"]+)', re.IGNORECASE)

type Broken = Callable[[Request, Exception], Awaitable[Response]]


class SecurityLayer:
    """Wraps the whole app; everything that leaves the server carries the headers.

    Args:
        app: what is wrapped.
        broken: answers for an error that nothing below has caught.
        larger: other caps on bodies, by how a path ends.
        public: how paths begin whose good answers may be stored; no other answer ever is.
        is_https: whether browsers come by https even where the last step to this server does not.
    """

    def __init__(
        self,
        app: ASGIApp,
        broken: Broken,
        larger: Mapping[str, int] | None = None,
        public: tuple[str, ...] = (),
        *,
        is_https: bool = False,
    ) -> None:
        self.app = app
        self.broken = broken
        self.larger = larger or {}
        self._ends = tuple(self.larger)
        self.public = public
        self.is_https = is_https

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
                headers = self._headers(scope, status, message.get("headers", ()))
                headers.append((b"x-request-id", request_id.encode()))
                message["headers"] = headers
            await send(message)

        scope["headers"] = [_plain(*pair) if pair[0] == _TYPE else pair for pair in scope["headers"]]
        receive = _capped(receive, self._limit_of(scope["path"]))
        named = REQUEST_ID.set(request_id)
        try:
            await self.app(scope, receive, send_with_headers)
        except ClientDisconnect:
            status = status or _GONE
        except Exception as error:
            answer = await self.broken(Request(scope), error)
            if status:  # too late for another answer: the first one has begun
                raise
            await answer(scope, receive, send_with_headers)
        finally:
            _log_request(scope, status or 500, time.perf_counter() - started)
            REQUEST_ID.reset(named)

    def _limit_of(self, path: str) -> int:
        """The cap on the body of a request."""
        if not path.endswith(self._ends):
            return BODY_LIMIT
        return max(limit for end, limit in self.larger.items() if path.endswith(end))

    def _headers(self, scope: Scope, status: int, given: Iterable[_Header]) -> list[_Header]:
        """The headers of an answer and ours besides; only what is public may say that it can be stored."""
        ours = _OURS_BY_HTTPS if self.is_https or scope["scheme"] == "https" else _OURS
        given = list(given)
        if _OUR_NAMES.isdisjoint([name.lower() for name, _ in given]):
            return [*given, *ours]
        is_public = status in (200, 304) and scope["path"].startswith(self.public)
        kept = given if is_public else [pair for pair in given if pair[0].lower() != _CACHE]
        names = {name.lower() for name, _ in kept}
        return [*kept, *(pair for pair in ours if pair[0] not in names)]


def redirect_slashes(router: Router) -> ASGIApp:
    """What answers where no route matches: one slash more or less at the end may lead to a route.

    It names no host; the framework's own redirect takes one from the request, where anybody may write it.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        path = f"/{scope['path'].strip('/')}"
        other = path if scope["path"].endswith("/") else f"{path}/"
        wanted = {**scope, "path": other, "raw_path": None}
        is_there = any(route.matches(wanted)[0] is not Match.NONE for route in router.routes)
        if scope["type"] != "http" or path == "/" or not is_there:
            await router.not_found(scope, receive, send)
            return
        query = scope["query_string"].decode("latin-1")
        await RedirectResponse(f"{quote(other)}{'?' if query else ''}{query}")(scope, receive, send)

    return answer


def _plain(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """A header as it is, but the type of a form with its boundary alone: a form is UTF-8, whatever it says.

    Fields would be read in any encoding that Python knows; some of them make texts that no database can hold.
    """
    if name != _TYPE or not value.lower().startswith(_PARTS):
        return name, value
    boundary = _BOUNDARY.search(value)
    return name, _PARTS + (b"; " + boundary[0] if boundary else b"")


def _capped(receive: Receive, limit: int) -> Receive:
    """Stop reading a body that goes beyond a limit.

    Raises:
        Refused: TOO_LARGE, out of whatever reads the body.
    """
    size = 0

    async def receive_capped() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise too_large(limit)
        return message

    return receive_capped


def _log_request(scope: Scope, status: int, seconds: float) -> None:
    is_quiet = status < 500 and seconds * 1000 < QUIET_UNDER_MS
    if is_quiet and not tells_debug():
        return
    log = logger()
    # The pattern or the handler's name, never the path: paths may carry tokens.
    shown = getattr(scope.get("route"), "path", "") or getattr(
        scope.get("endpoint"), "__name__", "(no route)"
    )
    line = log.debug if is_quiet else log.warning if status >= 500 else log.info
    line("http.request", method=scope["method"], path=shown, status=status, took_us=int(seconds * 1e6))
