"""One request as data, and the same with ids of somebody else in each of its places."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

import httpx2

from tests.security.routes import Way, every_way
from tests.security.world import World

type Pairs = tuple[tuple[str, str], ...]
_LEAST: Final = 10
"""Shorter ids are looked for as whole values alone."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request to a way: its address, its query, and a form or a JSON body if it has one."""

    way: Way
    path: str
    query: Pairs = ()
    form: Pairs | None = None
    body: Any = None
    file: bytes | None = None
    raw: bytes | None = None
    """A picture as the whole body."""

    @property
    def shape(self) -> tuple[object, ...]:
        """What two attempts have in common that differ in their values alone."""
        names = tuple(sorted({name for name, _ in self.query}))
        fields = tuple(sorted({name for name, _ in self.form or ()}))
        pressed = tuple(value.partition(":")[0] for name, value in self.form or () if name == "do")
        return (self.way.name, names, fields, pressed)

    def send(self, world: World, **by: Any) -> httpx2.Response:
        """Send it as somebody: see ``World.ask``."""
        sent: dict[str, Any] = {"params": list(self.query)} if self.query else {}
        if self.raw is not None:
            sent |= {"content": self.raw, "headers": {"Content-Type": "image/png"}}
        elif self.file is not None:
            sent |= {"data": dict(self.form or ()), "files": {"file": ("x.csv", self.file, "text/csv")}}
        elif self.form is not None:
            fields: dict[str, list[str]] = {}
            for name, value in self.form:
                fields.setdefault(name, []).append(value)
            sent["data"] = fields
        elif self.body is not None:
            sent |= as_json(self.body)
        sent["headers"] = sent.get("headers", {}) | by.pop("headers", {})
        return world.ask(self.way.method, self.path, **sent, **by)

    def swapped(self, others: "Others") -> Iterator["Attempt"]:
        """The same with ids of another tenant: all of them at once, then each place alone.

        Args:
            others: ids of the other tenant by the ids that stand in their place.
        """
        places = list(self._places(others))
        if not places:
            return
        yield self._with(others, set(places))
        if len(places) > 1:
            for place in places:
                yield self._with(others, {place})

    def _places(self, others: "Others") -> Iterator[tuple[str, object]]:
        for place, text in self._texts():
            if others.swap(text) != text:
                yield place

    def _texts(self) -> Iterator[tuple[tuple[str, object], str]]:
        for number, part in enumerate(self.path.split("/")):
            yield ("path", number), part
        for number, (_, value) in enumerate(self.query):
            yield ("query", number), value
        for number, (_, value) in enumerate(self.form or ()):
            yield ("form", number), value
        for keys, value in _leaves(self.body):
            yield ("body", keys), str(value)

    def _with(self, others: "Others", places: set[tuple[str, object]]) -> "Attempt":
        def pairs(kind: str, found: Pairs) -> Pairs:
            return tuple(
                (name, others.swap(value) if (kind, number) in places else value)
                for number, (name, value) in enumerate(found)
            )

        parts = self.path.split("/")
        path = "/".join(
            others.swap(part) if ("path", number) in places else part for number, part in enumerate(parts)
        )
        chosen = {keys for kind, keys in places if kind == "body"}

        def change(keys: object, leaf: Any) -> Any:
            return others.swap(str(leaf)) if keys in chosen else leaf

        return replace(
            self,
            path=path,
            query=pairs("query", self.query),
            form=None if self.form is None else pairs("form", self.form),
            body=_changed(
                self.body, (), lambda keys, leaf: others.swap(str(leaf)) if keys in chosen else leaf
            ),
        )


def as_json(body: Any) -> dict[str, Any]:
    """A body as escapes, so that it may hold what no UTF-8 has."""
    return {"content": json.dumps(body).encode(), "headers": {"Content-Type": "application/json"}}


class Others(dict[str, str]):
    """Ids of another tenant by the ids in whose place they go, also where these stand within a text."""

    def __init__(self, own: Mapping[str, tuple[str, ...]], theirs: Mapping[str, tuple[str, ...]]) -> None:
        super().__init__()
        for name, values in own.items():
            for number, value in enumerate(values):
                if theirs[name]:
                    self[value] = theirs[name][number % len(theirs[name])]
        longest = sorted(self, key=len, reverse=True)
        self._known = re.compile(
            "|".join(re.escape(each) for each in longest if len(each) >= _LEAST) or "(?!)"
        )

    def swap(self, text: str) -> str:
        return self.get(text) or self._known.sub(lambda found: self[found[0]], text)


def _leaves(body: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(body, dict):
        for key, value in body.items():
            yield from _leaves(value, (*keys, key))
    elif isinstance(body, list):
        for number, value in enumerate(body):
            yield from _leaves(value, (*keys, number))
    elif body is not None:
        yield keys, body


def _changed(body: Any, keys: tuple[Any, ...], change: Any) -> Any:
    if isinstance(body, dict):
        return {key: _changed(value, (*keys, key), change) for key, value in body.items()}
    if isinstance(body, list):
        return [_changed(value, (*keys, number), change) for number, value in enumerate(body)]
    return change(keys, body)


@cache
def _patterns() -> list[tuple[str, re.Pattern[str], Way]]:
    """Fixed addresses before those with parameters, as the app tries them."""
    found = [
        (way.method, re.compile(re.sub(r"{\w+}", "[^/]+", way.path.replace(".", r"\.")) + "$"), way)
        for way in every_way()
    ]
    return sorted(found, key=lambda each: len(each[2].parameters))


@cache  # pages lead to the same addresses again and again
def way_to(method: str, path: str) -> Way | None:
    """The way that answers at an address."""
    return next((way for of, pattern, way in _patterns() if of == method and pattern.match(path)), None)
