"""The short way to what platforms and customers call all the time, past the layers that members need."""

from collections.abc import Awaitable, Callable, Iterable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from contatto.kit.errors import Refused
from contatto.kit.http import DirectRoute

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
