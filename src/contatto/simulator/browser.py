"""HTTP client of the simulator, and a member's session in the browser."""

import asyncio
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

from contatto.simulator.world import Login

CONNECTIONS: Final = 24
_FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class HttpReply:
    """Reply of the server; header names are in lower case, the last of a name wins."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class ClientProfile:
    """Cookies that the server set, and headers that go with each request."""

    cookies: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def take_cookie(self, line: str) -> None:
        pair, _, rest = line.partition(";")
        name, _, value = pair.strip().partition("=")
        if "max-age=0" in rest.lower():
            self.cookies.pop(name, None)
        else:
            self.cookies[name] = value


class UnexpectedReply(Exception):
    """A reply with another status than the simulator expects."""


type _Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class HttpClient:
    """Sends requests to one server. General clients cost more than the server does, so this one is plain."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._idle: list[_Connection] = []
        self._free = asyncio.Semaphore(CONNECTIONS)

    async def get(self, path: str, profile: ClientProfile) -> HttpReply:
        return await self._exchange("GET", path, profile, b"", {})

    async def post(
        self, path: str, profile: ClientProfile, body: bytes, headers: Mapping[str, str]
    ) -> HttpReply:
        return await self._exchange("POST", path, profile, body, headers)

    async def post_json(self, path: str, profile: ClientProfile, body: bytes) -> HttpReply:
        return await self.post(path, profile, body, {"content-type": "application/json"})

    async def post_form(self, path: str, profile: ClientProfile, values: Mapping[str, str]) -> HttpReply:
        return await self.post(path, profile, urlencode(values).encode(), {"content-type": _FORM})

    def close(self) -> None:
        while self._idle:
            self._idle.pop()[1].close()

    async def _exchange(
        self, method: str, path: str, profile: ClientProfile, body: bytes, headers: Mapping[str, str]
    ) -> HttpReply:
        raw = _request(method, path, f"{self._host}:{self._port}", profile, body, headers)
        async with self._free:
            while True:
                idle = self._kept_connection()
                reader, writer = idle or await asyncio.open_connection(self._host, self._port)
                try:
                    writer.write(raw)
                    answer = await _read_answer(reader, profile)
                except (asyncio.IncompleteReadError, ConnectionError):
                    writer.close()
                    if idle is None:
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
    method: str, path: str, host: str, profile: ClientProfile, body: bytes, headers: Mapping[str, str]
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (profile.headers | dict(headers)).items()]
    if profile.cookies:
        lines.append("cookie: " + "; ".join(f"{name}={value}" for name, value in profile.cookies.items()))
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def _read_answer(reader: asyncio.StreamReader, profile: ClientProfile) -> HttpReply:
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
    return HttpReply(int(head[0].split(" ", 2)[1]), headers, body)


_CSRF: Final = re.compile(r'<meta name="csrf-token" content="([^"]+)">')
_LEADS: Final = re.compile(r'href="/leads/([0-9a-f-]{36})"')
NEXT_STATUSES: Final = {
    "raw": (("contacted", 6), ("unqualified", 2), ("qualified", 1)),
    "contacted": (("qualified", 5), ("unqualified", 3)),
    "qualified": (("converted", 4), ("unqualified", 1)),
}
"""From a status to those that the desk gives next, with weights."""
_TRIES: Final = 100


def expect(answer: HttpReply, status: int, what: str) -> HttpReply:
    """Return the answer if it has the expected status.

    Raises:
        Unexpected: another one, with the beginning of what the server said.
    """
    if answer.status != status:
        raise UnexpectedReply(f"{what}: {answer.status} instead of {status}: {answer.body[:200]!r}")
    return answer


class MemberSession:
    """A member's session in the browser; it signs in before its first request."""

    def __init__(self, browser: HttpClient, login: Login) -> None:
        self._browser = browser
        self._login = login
        self._profile = ClientProfile()
        self._signing_in = asyncio.Lock()
        self._signed_in = False

    async def reply(self, conversation_id: str, text: str) -> None:
        """Answer in the inbox; a conversation that was just begun may take a moment to be there."""
        await self._sign_in()
        for _ in range(_TRIES):
            path = f"/inbox/{conversation_id}/messages"
            answer = await self._browser.post_form(path, self._profile, {"text": text})
            if answer.status != 404:
                break
            await asyncio.sleep(0.02)
        expect(answer, 303, "a reply")
        path = f"/inbox/{conversation_id}/read"
        expect(await self._browser.post_form(path, self._profile, {}), 204, "a read mark")

    async def work_through_leads(self, rng: random.Random, share: float) -> int:
        """Give a share of the leads of each status their next one; say how many."""
        await self._sign_in()
        moved = 0
        for current, choices in reversed(NEXT_STATUSES.items()):
            page = await self._browser.get(f"/leads/rows?status={current}&sort=created", self._profile)
            lead_ids = dict.fromkeys(_LEADS.findall(expect(page, 200, "the leads").body.decode()))
            for lead_id in lead_ids:
                if rng.random() < share:
                    words, weights = zip(*choices, strict=True)
                    await self._move(lead_id, current, rng.choices(words, weights)[0])
                    moved += 1
        return moved

    async def _move(self, lead_id: str, current: str, status: str) -> None:
        values = {"status": status, "seen": current}
        answer = await self._browser.post_form(f"/leads/{lead_id}/status", self._profile, values)
        if answer.status != 409:  # somebody else at the desk was faster
            expect(answer, 303, "a status")

    async def _sign_in(self) -> None:
        async with self._signing_in:
            if self._signed_in:
                return
            await self._take_token("/login")
            values = {"email": self._login.email, "password": self._login.password}
            expect(await self._browser.post_form("/login", self._profile, values), 303, "signing in")
            await self._take_token("/inbox")
            self._signed_in = True

    async def _take_token(self, path: str) -> None:
        page = expect(await self._browser.get(path, self._profile), 200, path).body.decode()
        match = _CSRF.search(page)
        if match is None:
            raise UnexpectedReply(f"{path}: there is no CSRF token")
        self._profile.headers["x-csrf-token"] = match[1]
