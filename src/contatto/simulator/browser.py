"""A small HTTP client: keep-alive connections, cookies by profile, no redirects followed."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

CONNECTIONS: Final = 24
_FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said; header names are in lower case, the last of a name wins."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Profile:
    """Whose request it is: cookies that the server set, and headers that go with each request."""

    cookies: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def take_cookie(self, line: str) -> None:
        pair, _, rest = line.partition(";")
        name, _, value = pair.strip().partition("=")
        if "max-age=0" in rest.lower():
            self.cookies.pop(name, None)
        else:
            self.cookies[name] = value


class Unexpected(Exception):
    """The server answered something else than the simulator asked for."""


type _Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Browser:
    """Sends requests to one server. General clients cost more than the server does, so this one is plain."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._idle: list[_Connection] = []
        self._free = asyncio.Semaphore(CONNECTIONS)

    async def get(self, path: str, profile: Profile) -> Answer:
        return await self._exchange("GET", path, profile, b"", {})

    async def post(self, path: str, profile: Profile, body: bytes, headers: Mapping[str, str]) -> Answer:
        return await self._exchange("POST", path, profile, body, headers)

    async def post_json(self, path: str, profile: Profile, body: bytes) -> Answer:
        return await self.post(path, profile, body, {"content-type": "application/json"})

    async def post_form(self, path: str, profile: Profile, values: Mapping[str, str]) -> Answer:
        return await self.post(path, profile, urlencode(values).encode(), {"content-type": _FORM})

    def close(self) -> None:
        while self._idle:
            self._idle.pop()[1].close()

    async def _exchange(
        self, method: str, path: str, profile: Profile, body: bytes, headers: Mapping[str, str]
    ) -> Answer:
        raw = _request(method, path, f"{self._host}:{self._port}", profile, body, headers)
        async with self._free:
            while True:
                kept = self._kept_connection()
                reader, writer = kept or await asyncio.open_connection(self._host, self._port)
                try:
                    writer.write(raw)
                    answer = await _read_answer(reader, profile)
                except (asyncio.IncompleteReadError, ConnectionError):
                    writer.close()
                    if kept is None:
                        raise
                    continue  # the server closed a kept connection meanwhile; another one will do
                except BaseException:
                    writer.close()
                    raise
                self._idle.append((reader, writer))
                return answer

    def _kept_connection(self) -> _Connection | None:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return None


def _request(
    method: str, path: str, host: str, profile: Profile, body: bytes, headers: Mapping[str, str]
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (profile.headers | dict(headers)).items()]
    if profile.cookies:
        lines.append("cookie: " + "; ".join(f"{name}={value}" for name, value in profile.cookies.items()))
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def _read_answer(reader: asyncio.StreamReader, profile: Profile) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in head[1:]:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip()
        if name == "set-cookie":
            profile.take_cookie(value)
        headers[name] = value
    size = int(headers.get("content-length", "0"))
    body = await reader.readexactly(size) if size else b""
    return Answer(int(head[0].split(" ", 2)[1]), headers, body)
