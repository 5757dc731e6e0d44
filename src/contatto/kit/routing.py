"""Many routes, of which a request is compared with a few only: those whose address begins as its own does."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, cast

from fastapi import APIRouter
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

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
