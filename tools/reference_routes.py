"""The reference page of every address that the server answers."""

from collections.abc import Iterator
from typing import Any

from contatto.accounts.model import Access
from contatto.app import ACCESS, HOT_ROUTES, ROUTES
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
    found: dict[str, list[tuple[str, str, str, str]]] = {family: [] for family in FAMILIES}
    for path, method, endpoint in _all_routes():
        family = next(each for each in FAMILIES if path.startswith(each))
        does = first_sentence(endpoint.__doc__) or _words(endpoint)
        found[family].append((f"`{method}`", f"`{path}`", _for_whom(ACCESS[f"{method} {path}"]), does))
    columns = ["Method", "Path", "For", "Does"]
    parts = [
        f"## {FAMILIES[family]}\n\n{table(columns, sorted(rows, key=lambda row: row[1]))}"
        for family, rows in found.items()
        if rows
    ]
    about = (
        "Every address that the server answers. Each route declares its access rule: what lets a request in, "
        "and the permission of a role, or scope of a token. `contatto/app.py` collects them."
    )
    return page("Routes", about, *parts)


def _for_whom(access: Access) -> str:
    return f"{access.credential}, `{access.permission}`" if access.permission else access.credential


def _all_routes() -> Iterator[tuple[str, str, Any]]:
    for route in (*HOT_ROUTES, *ROUTES):
        for method in sorted(route.methods or ()):
            if method != "HEAD":
                yield route.path, method, route.endpoint


def _words(endpoint: Any) -> str:
    """`list_leads` becomes "List leads."."""
    name: str = endpoint.__name__
    return name.strip("_").replace("_", " ").capitalize() + "."
