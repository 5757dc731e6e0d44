"""Every route that the app really answers, with what lets a request in: what the attacks are driven from."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from types import SimpleNamespace
from typing import Any

from starlette.routing import Mount

from contatto.accounts.model import Access, Credential, Permission
from contatto.app import ACCESS, create_app
from contatto.kit.db.tx import Parts
from contatto.kit.settings import Settings
from contatto.ui.requests import Context
from contatto.wiring import install


@dataclass(frozen=True, slots=True)
class Way:
    """A method at an address; ``access`` is None where the table of the app says nothing of it."""

    method: str
    path: str
    access: Access | None
    endpoint: Any
    dependant: Any
    """What FastAPI found that the route takes; None for a plain route, which reads its request itself."""

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the parameters in the path."""
        return tuple(re.findall(r"{(\w+)(?::\w+)?}", self.path))

    @property
    def credential(self) -> Credential | None:
        return self.access.credential if self.access else None

    @property
    def permission(self) -> Permission | None:
        return self.access.permission if self.access else None

    @property
    def changes(self) -> bool:
        return self.method not in ("GET", "HEAD", "OPTIONS")

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[object, ...]:
        """For another process of the run, which has the same app."""
        return way_named, (self.name,)


@cache
def every_way() -> tuple[Way, ...]:
    """All ways into the app, mounted and included ones too, in the order of their names.

    The app is built without a context: its table of routes needs none.
    """
    app = create_app(_NoContext())
    return tuple(sorted(_ways(app.routes, ""), key=lambda way: (way.path, way.method)))


@cache
def _by_name() -> dict[str, Way]:
    return {way.name: way for way in every_way()}


def way_named(name: str) -> Way:
    return _by_name()[name]


def ways(*doors: Credential) -> list[Way]:
    """The ways through some doors."""
    return [way for way in every_way() if way.credential in doors]


def private_ways() -> list[Way]:
    """The ways of members, programs and apps."""
    return ways(Credential.MEMBER, Credential.PROGRAM, Credential.APP)


class _NoContext(Context):
    """Stands where the context of a running installation would."""

    def __init__(self) -> None:
        object.__setattr__(self, "db", SimpleNamespace(parallel_batches=1))
        without = replace(install(Settings()), resources=lambda db, settings: Parts())
        object.__setattr__(self, "installation", without)


def _ways(routes: Any, prefix: str) -> Iterator[Way]:
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from _ways(inner.routes, prefix)
        elif isinstance(route, Mount):
            # What is mounted has routes of its own, or it is a folder of files, which is one way in.
            found = list(_ways(route.routes, prefix + route.path))
            yield from found or [_way("GET", prefix + route.path, route)]
        else:
            for method in sorted((route.methods or {"GET"}) - {"HEAD"}):
                yield _way(method, prefix + route.path, route)


def _way(method: str, path: str, route: Any) -> Way:
    endpoint, dependant = getattr(route, "endpoint", None), getattr(route, "dependant", None)
    return Way(method, path, ACCESS.get(f"{method} {path}"), endpoint, dependant)
