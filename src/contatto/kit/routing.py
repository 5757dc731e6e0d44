"""Many routes, of which a request is compared with a few only: those whose address begins as its own does."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, cast

from fastapi import APIRouter
from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.types import Receive, Scope, Send

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


class ByGroup:
    """Walks, of all routes of an app, those that an address of its group can match, in their order.

    What answers where none matches, and the names of routes, are those of the whole. It looks at the routes
    once, when the first request comes: all must be there by then.

    Args:
        router: all routes of the app.
    """

    def __init__(self, router: APIRouter) -> None:
        self._all = router
        self._of_groups: dict[str, APIRouter] = {}
        self._of_others = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("router", self._all)
        few = self.few_for(scope["path"]) if scope["type"] == "http" else self._all
        await few.app(scope, receive, send)

    def few_for(self, path: str) -> APIRouter:
        """The routes that a path can match, and a few more."""
        if not self._of_groups:
            groups = set(map(_group_of_route, self._all.routes))
            self._of_groups = {group: self._only(group) for group in groups if group is not None}
            self._of_others = self._only(None)
        return self._of_groups.get(group_of(path), self._of_others)

    def _only(self, group: str | None) -> APIRouter:
        few = APIRouter(redirect_slashes=False, default=self._all.default)
        few.routes = [route for route in self._all.routes if _group_of_route(route) in (group, None)]
        return few


def _group_of_route(route: BaseRoute) -> str | None:
    """The group of all addresses that a route of an app can match; None if they may be of several."""
    included = getattr(route, "original_router", None)
    if isinstance(included, GroupRouter):
        return included.group
    if not isinstance(route, Route | Mount):
        return None
    group = group_of(route.path)
    is_above_groups = isinstance(route, Mount) and group in DEEPER
    return None if "{" in group or is_above_groups else group


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
