"""The reference page of every address that the server answers."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from contatto.app import HOT_ROUTES, ROUTERS
from tools.markdown import first_sentence, page, table

FAMILIES = {
    "/open_api/": "The API, in the shape of the TikTok Business API v1.3",
    "/webhooks/": "What platforms call",
    "/chat/": "The customer's chat",
    "/delivery/": "Ad decisions, for publishers",
    "/t/": "Tracking links",
    "/": "Pages for members",
}


def routes_page() -> str:
    found: dict[str, list[tuple[str, str, str]]] = {family: [] for family in FAMILIES}
    for path, method, endpoint in _all_routes():
        family = next(each for each in FAMILIES if path.startswith(each))
        found[family].append(
            (f"`{method}`", f"`{path}`", first_sentence(endpoint.__doc__) or _words(endpoint))
        )
    parts = [
        f"## {FAMILIES[family]}\n\n{table(['Method', 'Path', 'Does'], sorted(rows, key=lambda row: row[1]))}"
        for family, rows in found.items()
        if rows
    ]
    return page("Routes", "Every address that the server answers. `contatto/app.py` holds the table.", *parts)


def _all_routes() -> Iterator[tuple[str, str, Any]]:
    for route in _flat(HOT_ROUTES, *(router.routes for router in ROUTERS)):
        for method in sorted(route.methods or ()):
            if method != "HEAD":
                yield route.path, method, route.endpoint


def _flat(*tables: Iterable[Any]) -> Iterator[Any]:
    """The routes, those of routers within routers too (they are included without a prefix here)."""
    for route in chain(*tables):
        inner = getattr(route, "original_router", None)
        if inner is None:
            yield route
        else:
            yield from _flat(inner.routes)


def _words(endpoint: Any) -> str:
    """`list_leads` becomes "List leads."."""
    return endpoint.__name__.strip("_").replace("_", " ").capitalize() + "."
