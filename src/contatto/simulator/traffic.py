"""Visits of people over HTTP: ads, taps, chats, platform webhooks and the desk that answers."""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from contatto.channels.connectors.tiktok import SIGNATURE_HEADER, sign_body
from contatto.channels.model import Platform
from contatto.delivery.rules import AdRequest
from contatto.inbox.actions.incoming import conversation_id_of
from contatto.kit.db.tx import Clock
from contatto.kit.log import logger, where
from contatto.kit.vault import Vault
from contatto.simulator.world import (
    AdMoment,
    ChatLine,
    DemoWorld,
    FilledForm,
    Login,
    PlannedVisitor,
    plan_form_entry,
    plan_people,
)
from contatto.ui.render import VISITOR_KEY, Carrier, cookie_name, open_visitor, public_id

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
        lines = [f"{method} {path} HTTP/1.1", f"host: {self._host}:{self._port}"]
        lines.append(f"content-length: {len(body)}")
        lines += [f"{name}: {value}" for name, value in (profile.headers | dict(headers)).items()]
        if profile.cookies:
            pairs = "; ".join(f"{name}={value}" for name, value in profile.cookies.items())
            lines.append(f"cookie: {pairs}")
        raw = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
        async with self._free:
            while True:
                while self._idle and self._idle[-1][0].at_eof():
                    self._idle.pop()[1].close()
                idle = self._idle.pop() if self._idle else None
                reader, writer = idle or await asyncio.open_connection(self._host, self._port)
                try:
                    writer.write(raw)
                    answer = await _read_answer(reader, profile)
                except (asyncio.IncompleteReadError, ConnectionError):
                    writer.close()
                    if idle is None:
                        raise
                    continue  # the server closed an idle connection meanwhile; another one will do
                except BaseException:
                    writer.close()
                    raise
                self._idle.append((reader, writer))
                return answer


async def _read_answer(reader: asyncio.StreamReader, profile: ClientProfile) -> HttpReply:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in head[1:]:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip()
        if name == "set-cookie":
            pair, _, rest = value.partition(";")
            cookie, _, content = pair.strip().partition("=")
            if "max-age=0" in rest.lower():
                profile.cookies.pop(cookie, None)
            else:
                profile.cookies[cookie] = content
        headers[name] = value
    size = int(headers.get("content-length", "0"))
    body = await reader.readexactly(size) if size else b""
    return HttpReply(int(head[0].split(" ", 2)[1]), headers, body)


_CSRF: Final = re.compile(r'<meta name="csrf-token" content="([^"]+)">')
_TRIES: Final = 100


def expect(answer: HttpReply, status: int, what: str) -> HttpReply:
    """Return the answer if it has the expected status.

    Raises:
        UnexpectedReply: another one, with the beginning of what the server said.
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
        async with self._signing_in:
            if not self._signed_in:
                await self._take_token("/login")
                values = {"email": self._login.email, "password": self._login.password}
                expect(await self._browser.post_form("/login", self._profile, values), 303, "signing in")
                await self._take_token("/inbox")
                self._signed_in = True
        for _ in range(_TRIES):
            path = f"/inbox/{conversation_id}/messages"
            answer = await self._browser.post_form(path, self._profile, {"text": text})
            if answer.status != 404:
                break
            await asyncio.sleep(0.02)
        expect(answer, 303, "a reply")
        path = f"/inbox/{conversation_id}/read"
        expect(await self._browser.post_form(path, self._profile, {}), 204, "a read mark")

    async def _take_token(self, path: str) -> None:
        page = expect(await self._browser.get(path, self._profile), 200, path).body.decode()
        match = _CSRF.search(page)
        if match is None:
            raise UnexpectedReply(f"{path}: there is no CSRF token")
        self._profile.headers["x-csrf-token"] = match[1]


@dataclass(frozen=True, slots=True)
class Thread:
    """Parties of a thread: app, business (open id, handle) and person (open id, handle)."""

    app_id: str
    business_open_id: str
    business_handle: str
    person_open_id: str
    person_handle: str

    @property
    def conversation_id(self) -> str:
        return f"conv_{self.person_open_id}"


def received_message(thread: Thread, message_id: str, text: str, at_ms: int) -> bytes:
    """Return the webhook for a message of the person."""
    content = _between(thread, at_ms, from_person=True) | _text(message_id, text)
    return _envelope(thread, "im_receive_msg", content, at_ms)


def sent_message(thread: Thread, message_id: str, text: str, at_ms: int) -> bytes:
    """Return the webhook for a message that the business wrote in the platform's app."""
    content = _between(thread, at_ms, from_person=False) | _text(message_id, text)
    return _envelope(thread, "im_send_msg", content, at_ms)


def opened_from_ad(thread: Thread, advertiser_id: str, ad_id: str, ad_name: str, at_ms: int) -> bytes:
    """Return the webhook for a chat that was opened by a tap on an ad."""
    ad = {"advertiser_id": advertiser_id, "ad_id": ad_id, "ad_name": ad_name, "timestamp": at_ms}
    content = _between(thread, at_ms, from_person=True) | {"referral": {"source": "ad", "ad": ad}}
    return _envelope(thread, "im_referral_msg", content, at_ms)


def read_by_person(thread: Thread, at_ms: int) -> bytes:
    """Return the webhook for a read receipt of the person."""
    content = _between(thread, at_ms, from_person=True) | {"read": {"last_read_timestamp": at_ms}}
    return _envelope(thread, "im_mark_read_msg", content, at_ms)


def _between(thread: Thread, at_ms: int, *, from_person: bool) -> dict[str, Any]:
    person = {"id": thread.person_open_id, "role": "personal_account"}
    business = {"id": thread.business_open_id, "role": "business_account"}
    sides = [(thread.person_handle, person), (thread.business_handle, business)]
    (sender, from_user), (receiver, to_user) = sides if from_person else reversed(sides)
    return {
        "from": sender,
        "to": receiver,
        "unique_identifier": thread.person_open_id,
        "from_user": from_user,
        "to_user": to_user,
        "conversation_id": thread.conversation_id,
        "timestamp": at_ms,
    }


def _text(message_id: str, text: str) -> dict[str, Any]:
    return {"message_id": message_id, "type": "text", "text": {"body": text}, "is_follower": False}


def _envelope(thread: Thread, event: str, content: dict[str, Any], at_ms: int) -> bytes:
    envelope = {
        "client_key": thread.app_id,
        "event": event,
        "create_time": at_ms // 1000,
        "user_openid": thread.business_open_id,
        "content": msgspec.json.encode(content).decode(),
    }
    return msgspec.json.encode(envelope)


_SHEET: Final = re.compile(r'data-(page|opening|language)="([^"]*)"')
"""Attributes of the form on the chat page."""


type Wait = Callable[[float], Awaitable[None]]
"""Wait for a moment, in seconds from the beginning: no time in history, real time when live."""


@dataclass(frozen=True, slots=True)
class VisitTruth:
    """True actions of a person who tapped an ad; the platform must find the same."""

    person: str
    """Id of the person on the platform, or in our own chat."""
    platform: Platform
    ad_id: str
    chatted: bool
    contacts: tuple[str, ...]


@dataclass(slots=True)
class VisitPlayer:
    """Player of visits, with the record of their events."""

    browser: HttpClient
    world: DemoWorld
    desk: MemberSession
    clock: Clock
    vault: Vault
    """Lets the players know who is who in our own chat: the server gives them no more than anybody else."""
    webhooks: int = 0
    """Signed webhooks so far, each copy counted."""
    forms: int = 0
    truth: list[VisitTruth] = field(default_factory=list)

    async def visit(self, visitor: PlannedVisitor, until: Wait) -> None:
        """Play one person from the first ad to the last message."""
        profile = ClientProfile()
        for look in visitor.looks:
            await until(look.at_s)
            body = msgspec.json.encode(encode_ad_request(build_ad_request(self.world, visitor, look)))
            publisher = ClientProfile(headers={"access-token": self.world.access_token})
            answer = await self.browser.post_json("/delivery/decide", publisher, body)
            expect(answer, 200, "an ad decision")
            served: dict[str, str] | None = msgspec.json.decode(answer.body)["ad"]
            if served is None:
                continue
            expect(await self.browser.get(served["view_url"], profile), 200, "a view")
            appeal = self.world.ad(served["ad_id"]).appeal
            if visitor.taps(look, appeal):
                moment = look.at_s + visitor.tap_after_s
                await until(moment)
                lines = visitor.lines_after(appeal)
                form_entry = plan_form_entry(visitor, lines)
                if visitor.platform is Platform.TIKTOK:
                    await _TikTokVisit(self, visitor, served, lines, []).chat(until, moment)
                    person = visitor.viewer_id
                else:
                    visit = _WebVisit(self, visitor, served, (lines, form_entry), profile)
                    await visit.chat(until, moment)
                    person = visit.person
                chatted = any(not line.from_business for line in lines)
                shared = [line.contact for line in lines if line.contact]
                contacts = tuple(dict.fromkeys([*shared, *(form_entry.contacts if form_entry else ())]))
                self.truth.append(VisitTruth(person, visitor.platform, served["ad_id"], chatted, contacts))
                return

    def at_ms(self) -> int:
        return int(self.clock.now().timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class _WebVisit:
    """A chat on our own page: tap link, page, chat API, and for some people the form."""

    player: VisitPlayer
    visitor: PlannedVisitor
    served: dict[str, str]
    plan: tuple[tuple[ChatLine, ...], FilledForm | None]
    profile: ClientProfile

    async def chat(self, until: Wait, moment: float) -> None:
        browser = self.player.browser
        tapped = await browser.get(self.served["click_url"], self.profile)
        expect(tapped, 303, "a tap")
        page = tapped.headers["location"]
        opened = expect(await browser.get(page, self.profile), 200, "the chat page")
        lines, form_entry = self.plan
        for number, line in enumerate(lines):
            moment += line.after_s
            await until(moment)
            if line.from_business:
                account = self.player.world.accounts[Platform.WEBCHAT]
                await self.player.desk.reply(conversation_id_of(account, self.person), line.text)
            else:
                await self._say(page, f"{self.visitor.viewer_id}-{number}", line)
            if form_entry and line.contact:
                # Send the form that the chat page carries, as its script does: again when it was too fast.
                shown = opened.body.decode()
                about = dict(_SHEET.findall(shown))
                body = msgspec.json.encode(
                    {
                        "page_id": about["page"],
                        "opening": about["opening"],
                        "submission_id": f"form-{self.visitor.viewer_id}",
                        "language": about["language"],
                        "answers": form_entry.answers,
                        "consents": form_entry.consents,
                    }
                )
                for _ in range(2 if self.visitor.twice else 1):
                    answer = await self.player.browser.post_json(f"{page}/form", self.profile, body)
                    while answer.status == 429:
                        await asyncio.sleep(float(answer.headers["retry-after"]))
                        answer = await self.player.browser.post_json(f"{page}/form", self.profile, body)
                    expect(answer, 200, "a form")
                self.player.forms += 1
                form_entry = None

    async def _say(self, page: str, message_id: str, line: ChatLine) -> None:
        body = msgspec.json.encode({"client_message_id": message_id, "text": line.text})
        for _ in range(2 if self.visitor.twice else 1):
            answer = await self.player.browser.post_json(f"{page}/messages", self.profile, body)
            expect(answer, 200, "a chat message")

    @property
    def person(self) -> str:
        """Return the public id of the visitor that the tap gave to this browser."""
        place = self.player.world.accounts[Platform.WEBCHAT].id
        vault, cookie = self.player.vault, self.profile.cookies[cookie_name(place)]
        secret = open_visitor(cookie, place, Carrier.COOKIE, vault.signer(VISITOR_KEY))
        return public_id(secret or "", place, vault.derivation_key(VISITOR_KEY))


@dataclass(frozen=True, slots=True)
class _TikTokVisit:
    """A chat in the platform's app; its webhooks may come twice, late or in disorder."""

    player: VisitPlayer
    visitor: PlannedVisitor
    served: dict[str, str]
    lines: tuple[ChatLine, ...]
    late: list[bytes]

    async def chat(self, until: Wait, moment: float) -> None:
        player, thread = self.player, thread_of(self.player.world, self.visitor)
        advertiser_id, ad_id, ad_name = (
            player.world.advertiser_id,
            self.served["ad_id"],
            self.served["ad_name"],
        )
        await self._tell(opened_from_ad(thread, advertiser_id, ad_id, ad_name, player.at_ms()))
        for number, line in enumerate(self.lines):
            moment += line.after_s
            await until(moment)
            make_body = sent_message if line.from_business else received_message
            await self._tell(
                make_body(thread, f"{self.visitor.viewer_id}.{number}", line.text, player.at_ms())
            )
        random.Random(self.visitor.viewer_id).shuffle(self.late)
        for body in self.late:
            await self._send(body)
        if any(line.from_business for line in self.lines):
            await self._send(read_by_person(thread, player.at_ms()))

    async def _tell(self, body: bytes) -> None:
        if self.visitor.disorderly:
            self.late.append(body)
        else:
            await self._send(body)

    async def _send(self, body: bytes) -> None:
        world = self.player.world
        path = f"/webhooks/tiktok/{quote(world.app_id)}"
        for _ in range(2 if self.visitor.twice else 1):
            signature = sign_body(body, world.app_secret, self.player.at_ms() // 1000)
            headers = {"content-type": "application/json", SIGNATURE_HEADER: signature}
            expect(await self.player.browser.post(path, ClientProfile(), body, headers), 200, "a webhook")
            self.player.webhooks += 1


def thread_of(world: DemoWorld, visitor: PlannedVisitor) -> Thread:
    """Return the thread of a person and the business in the platform's app."""
    account = world.accounts[Platform.TIKTOK]
    return Thread(world.app_id, account.external_id, account.handle, visitor.viewer_id, visitor.handle)


def build_ad_request(world: DemoWorld, visitor: PlannedVisitor, look: AdMoment) -> AdRequest:
    """Return the request of a publisher with a place to sell, and its knowledge of the person."""
    request = AdRequest(
        visitor.viewer_id,
        visitor.country,
        world.accounts[visitor.platform].id,
        visitor.language,
        has_consent=visitor.consent,
        floor_micros=look.floor_micros,
    )
    if not visitor.consent:
        return request
    traits = visitor.traits
    features = {"follows": list(traits.follows)}
    return replace(request, age=traits.age, device=traits.device, features=features)


def encode_ad_request(request: AdRequest) -> dict[str, Any]:
    """Return a request for an ad as the body of `/delivery/decide`."""
    return {
        "viewer_id": request.viewer_id,
        "country": request.country,
        "channel_account_id": request.channel_account_id,
        "language": request.language,
        "age": request.age,
        "device": request.device or None,
        "features": request.features,
        "consent": request.has_consent,
        "floor_micros": request.floor_micros,
    }


DAY_S: Final = 86_400.0


async def play_live(
    player: VisitPlayer, people: Sequence[PlannedVisitor], starts_at: datetime, days: int
) -> None:
    """Play visits until cancelled: first the looks that remain of a plan, then new people without end.

    Args:
        player: where they come.
        people: visitors of the plan from ``starts_at`` on.
        starts_at: the moment from which they count their time.
        days: how many days are planned at once.
    """
    since_s = (player.clock.now() - starts_at).total_seconds()
    loop = asyncio.get_running_loop()
    began_at = loop.time() - since_s

    async def until(at_s: float) -> None:
        await asyncio.sleep(max(0.0, began_at + at_s - loop.time()))

    async def visit(visitor: PlannedVisitor) -> None:
        try:
            await player.visit(visitor, until)
        except Exception as error:  # such as paused ads: one visit that fails must not end all
            logger().warning("simulator.visit_failed", error_at=where(error))

    async with asyncio.TaskGroup() as group:
        for visitor in list_coming(people, since_s, days):
            await until(visitor.looks[0].at_s)
            group.create_task(visit(visitor))


def list_coming(people: Sequence[PlannedVisitor], since_s: float, days: int) -> Iterator[PlannedVisitor]:
    """Yield people from a moment on without end, by their next look."""
    seed, starts_s, span_s = 0, 0.0, days * DAY_S
    while True:
        # The looks that are left, without those that are over.
        coming = [visitor.from_moment(since_s) for visitor in people]
        remaining = [visitor for visitor in coming if visitor.looks]
        yield from sorted(remaining, key=lambda visitor: visitor.looks[0].at_s)
        seed, starts_s = seed + 1, starts_s + span_s
        people = [visitor.moved(starts_s) for visitor in plan_people(seed, len(people), span_s)]
