"""Visits of people over HTTP: ads, taps, chats, platform webhooks and the desk that answers."""

import asyncio
import random
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import httpx2
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
_KEPT_S: Final = 4.0
"""An idle connection is closed before the server does so after five seconds."""
_CSRF: Final = re.compile(r'<meta name="csrf-token" content="([^"]+)">')
_TRIES: Final = 100

type OpenBrowser = Callable[[], httpx2.AsyncClient]
"""Returns a browser with cookies of its own."""


@asynccontextmanager
async def connect(address: str) -> AsyncIterator[OpenBrowser]:
    """Yield how to open browsers on a server; they share connections that close with this context."""
    limits = httpx2.Limits(
        max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=_KEPT_S
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    async with httpx2.AsyncHTTPTransport(verify=tls, trust_env=False, limits=limits) as connections:
        # Views and taps count from no user agent, but not from the usual one of a program.
        yield partial(
            httpx2.AsyncClient,
            base_url=address,
            transport=connections,
            trust_env=False,
            timeout=None,
            headers={"user-agent": ""},
        )


class UnexpectedReply(Exception):
    """A reply with another status than the simulator expects."""


def expect(answer: httpx2.Response, status: int, what: str) -> httpx2.Response:
    """Return the answer if it has the expected status. Raises UnexpectedReply."""
    if answer.status_code != status:
        raise UnexpectedReply(f"{what}: {answer.status_code} instead of {status}: {answer.content[:200]!r}")
    return answer


@dataclass(slots=True)
class MemberSession:
    """A member's session in the browser; it signs in before its first request."""

    browser: httpx2.AsyncClient
    login: Login
    _signing_in: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _signed_in: bool = field(default=False, init=False)

    async def reply(self, conversation_id: str, text: str) -> None:
        """Answer in the inbox; a conversation that was just begun may take a moment to be there."""
        async with self._signing_in:
            if not self._signed_in:
                await self._take_token("/login")
                values = {"email": self.login.email, "password": self.login.password}
                expect(await self.browser.post("/login", data=values), 303, "signing in")
                await self._take_token("/inbox")
                self._signed_in = True
        for _ in range(_TRIES):
            path = f"/inbox/{conversation_id}/messages"
            answer = await self.browser.post(path, data={"text": text})
            if answer.status_code != 404:
                break
            await asyncio.sleep(0.02)
        expect(answer, 303, "a reply")
        expect(await self.browser.post(f"/inbox/{conversation_id}/read"), 204, "a read mark")

    async def _take_token(self, path: str) -> None:
        page = expect(await self.browser.get(path), 200, path).text
        match = _CSRF.search(page)
        if match is None:
            raise UnexpectedReply(f"{path}: there is no CSRF token")
        self.browser.headers["x-csrf-token"] = match[1]


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


def text_message(
    thread: Thread, message_id: str, text: str, at_ms: int, *, from_person: bool = True
) -> bytes:
    """Return the webhook for a message of the person, or of the business in the platform's app."""
    event = "im_receive_msg" if from_person else "im_send_msg"
    message = {"message_id": message_id, "type": "text", "text": {"body": text}, "is_follower": False}
    return webhook(thread, event, message, at_ms, from_person=from_person)


def opened_from_ad(thread: Thread, advertiser_id: str, ad_id: str, ad_name: str, at_ms: int) -> bytes:
    """Return the webhook for a chat that was opened by a tap on an ad."""
    ad = {"advertiser_id": advertiser_id, "ad_id": ad_id, "ad_name": ad_name, "timestamp": at_ms}
    return webhook(thread, "im_referral_msg", {"referral": {"source": "ad", "ad": ad}}, at_ms)


def webhook(
    thread: Thread, event: str, subject: dict[str, Any], at_ms: int, *, from_person: bool = True
) -> bytes:
    """Return the webhook for an event of the person, or of the business in the platform's app."""
    person = thread.person_handle, {"id": thread.person_open_id, "role": "personal_account"}
    business = thread.business_handle, {"id": thread.business_open_id, "role": "business_account"}
    (sender, from_user), (receiver, to_user) = (person, business) if from_person else (business, person)
    content = {
        "from": sender,
        "to": receiver,
        "unique_identifier": thread.person_open_id,
        "from_user": from_user,
        "to_user": to_user,
        "conversation_id": thread.conversation_id,
        "timestamp": at_ms,
        **subject,
    }
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

    open_browser: OpenBrowser
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
        browser, publisher = self.open_browser(), self.open_browser()
        publisher.headers["access-token"] = self.world.access_token
        for look in visitor.looks:
            await until(look.at_s)
            request = build_ad_request(self.world, visitor, look)
            body = {
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
            answer = expect(await publisher.post("/delivery/decide", json=body), 200, "an ad decision")
            served: dict[str, str] | None = answer.json()["ad"]
            if served is None:
                continue
            expect(await browser.get(served["view_url"]), 200, "a view")
            appeal = self.world.appeal_of(served["ad_id"])
            if visitor.taps(look, appeal):
                moment = look.at_s + visitor.tap_after_s
                await until(moment)
                lines = visitor.lines_after(appeal)
                form_entry = plan_form_entry(visitor, lines)
                visit = _Visit(self, visitor, served, lines, moment, until)
                if visitor.platform is Platform.TIKTOK:
                    person = await visit.chat_on_tiktok()
                else:
                    person = await visit.chat_on_web(browser, form_entry)
                chatted = any(not line.from_business for line in lines)
                shared = [line.contact for line in lines if line.contact]
                contacts = tuple(dict.fromkeys([*shared, *(form_entry.contacts if form_entry else ())]))
                self.truth.append(VisitTruth(person, visitor.platform, served["ad_id"], chatted, contacts))
                return

    def at_ms(self) -> int:
        return int(self.clock.now().timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class _Visit:
    """The chat of a visitor who tapped the served ad at a moment."""

    player: VisitPlayer
    visitor: PlannedVisitor
    served: dict[str, str]
    lines: tuple[ChatLine, ...]
    moment: float
    until: Wait

    async def chat_on_web(self, browser: httpx2.AsyncClient, form_entry: FilledForm | None) -> str:
        """Chat on our own page, send its form, and return the public id that the tap gave to the browser."""
        player, visitor, moment = self.player, self.visitor, self.moment
        copies = 2 if visitor.twice else 1
        account = player.world.accounts[Platform.WEBCHAT]
        tapped = expect(await browser.get(self.served["click_url"]), 303, "a tap")
        page = tapped.headers["location"]
        opened = expect(await browser.get(page), 200, "the chat page")
        cookie, signer = browser.cookies[cookie_name(account.id)], player.vault.signer(VISITOR_KEY)
        secret = open_visitor(cookie, account.id, Carrier.COOKIE, signer)
        person = public_id(secret or "", account.id, player.vault.derivation_key(VISITOR_KEY))
        for number, line in enumerate(self.lines):
            moment += line.after_s
            await self.until(moment)
            if line.from_business:
                await player.desk.reply(conversation_id_of(account, person), line.text)
            else:
                message = {"client_message_id": f"{visitor.viewer_id}-{number}", "text": line.text}
                for _ in range(copies):
                    expect(await browser.post(f"{page}/messages", json=message), 200, "a chat message")
            if form_entry and line.contact:
                # Send the form that the chat page carries, as its script does: again when it was too fast.
                about = dict(_SHEET.findall(opened.text))
                submission = {
                    "page_id": about["page"],
                    "opening": about["opening"],
                    "submission_id": f"form-{visitor.viewer_id}",
                    "language": about["language"],
                    "answers": form_entry.answers,
                    "consents": form_entry.consents,
                }
                for _ in range(copies):
                    answer = await browser.post(f"{page}/form", json=submission)
                    while answer.status_code == 429:
                        await asyncio.sleep(float(answer.headers["retry-after"]))
                        answer = await browser.post(f"{page}/form", json=submission)
                    expect(answer, 200, "a form")
                player.forms += 1
                form_entry = None
        return person

    async def chat_on_tiktok(self) -> str:
        """Chat in the platform's app, with webhooks twice or in disorder; return the person's id there."""
        player, visitor, world, moment = self.player, self.visitor, self.player.world, self.moment
        platform, thread = player.open_browser(), thread_of(world, visitor)

        async def send(bodies: list[bytes]) -> None:
            for body in bodies:
                for _ in range(2 if visitor.twice else 1):
                    signature = sign_body(body, world.app_secret, player.at_ms() // 1000)
                    headers = {"content-type": "application/json", SIGNATURE_HEADER: signature}
                    path = f"/webhooks/tiktok/{quote(world.app_id)}"
                    expect(await platform.post(path, content=body, headers=headers), 200, "a webhook")
                    player.webhooks += 1

        ad_id, ad_name = self.served["ad_id"], self.served["ad_name"]
        late = [opened_from_ad(thread, world.advertiser_id, ad_id, ad_name, player.at_ms())]
        for number, line in enumerate(self.lines):
            if not visitor.disorderly:
                await send(late)
                late = []
            moment += line.after_s
            await self.until(moment)
            message_id, from_person = f"{visitor.viewer_id}.{number}", not line.from_business
            late.append(text_message(thread, message_id, line.text, player.at_ms(), from_person=from_person))
        random.Random(visitor.viewer_id).shuffle(late)
        await send(late)
        if any(line.from_business for line in self.lines):
            at_ms = player.at_ms()  # of a read receipt
            await send([webhook(thread, "im_mark_read_msg", {"read": {"last_read_timestamp": at_ms}}, at_ms)])
        return visitor.viewer_id


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


DAY_S: Final = 86_400.0


async def play_live(
    player: VisitPlayer, people: Sequence[PlannedVisitor], starts_at: datetime, days: int
) -> None:
    """Play visits until cancelled: first the looks that remain of a plan, then new people without end.

    Moments of the plan are seconds after ``starts_at``; later plans span ``days`` each.
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
        coming = []
        for visitor in people:
            moved = [replace(look, at_s=look.at_s + starts_s) for look in visitor.looks]
            if looks := tuple(look for look in moved if look.at_s >= since_s):
                coming.append(replace(visitor, looks=looks))
        yield from sorted(coming, key=lambda visitor: visitor.looks[0].at_s)
        seed, starts_s = seed + 1, starts_s + span_s
        people = plan_people(seed, len(people), span_s)
