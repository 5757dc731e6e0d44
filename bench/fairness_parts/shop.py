"""A tenant with an account on TikTok, whose customers share a number, and the time until that is a lead."""

import asyncio
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx2
import psycopg
from sqlalchemy.engine import make_url

from bench.fairness_parts.installation import HOST
from bench.pages_parts.filling import PASSWORD
from contatto.accounts import actions as accounts
from contatto.accounts.actions import NewMember
from contatto.accounts.model import Role
from contatto.capture.actions import CompanyData, turn_on_capture
from contatto.channels.actions import NewAccount, connect_account, register_app
from contatto.channels.connectors.tiktok import SIGNATURE_HEADER, sign_body
from contatto.channels.model import ChannelAccount, ChannelApp, Platform
from contatto.inbox.actions.incoming import conversation_id_of
from contatto.kit.db.tx import Tx
from contatto.simulator.traffic import Thread, text_message

LOOK_S = 0.005
PATIENCE_S = 30
"""Time for one answer; a slower server fails the benchmark."""
TOKEN = re.compile(r'name="csrf[_-]token" (?:value|content)="([\w-]{43})"')
LEADS = "SELECT conversation_id FROM leads WHERE business_id = '{}'"
COMPANY = CompanyData("Kopi and Co", "", "https://kopi.example.com/privacy")


@dataclass(frozen=True)
class App:
    """Ids and secret that are needed to write to an account as its platform does."""

    open_id: str
    app_id: str
    secret: str

    def thread(self, number: int) -> Thread:
        """Between the account and one of many people."""
        return Thread(self.app_id, self.open_id, "kopi", f"p{number}", f"handle_{number}")


@dataclass(frozen=True)
class Shop:
    """A tenant; its member opens the inbox."""

    account: ChannelAccount
    app: App
    email: str


def open_shop(tx: Tx, name: str, business_id: str = "") -> Shop:
    """Give a business an account with capture on; a new business where none is named."""
    of, email = business_id, f"{name}@example.com"
    if not of:
        of = accounts.create_business(tx, name).id
        hashed = accounts.hash_password(PASSWORD)
        accounts.add_member(tx, of, NewMember(email, "Owner", Role.OWNER), hashed)
    account = connect_account(tx, of, NewAccount(Platform.TIKTOK, f"open-{name}", name, name, "SG"))
    app = App(account.external_id, f"app-{name}", f"secret-{name}")
    register_app(tx, ChannelApp(app.app_id, of, Platform.TIKTOK, app.secret))
    turn_on_capture(tx, of, account.id, COMPANY)
    return Shop(account, app, email)


async def deliver(client: httpx2.AsyncClient, app: App, number: int, text: str) -> None:
    """Post one signed webhook of a person of their own."""
    now = time.time()
    body = text_message(app.thread(number), f"m{number}", text, int(now * 1000))
    headers = {SIGNATURE_HEADER: sign_body(body, app.secret, int(now)), "Content-Type": "application/json"}
    answer = await client.post(f"/webhooks/tiktok/{app.app_id}", content=body, headers=headers)
    if answer.status_code != 200:
        raise RuntimeError(f"the webhook answers {answer.status_code}")


def conversation_of(shop: Shop, number: int) -> str:
    """Return the id of a person's conversation."""
    return conversation_id_of(shop.account, shop.app.thread(number).conversation_id)


class Watch:
    """Looks at the table of leads, past the product, and notes when each conversation has its lead."""

    def __init__(self, url: str, business_id: str) -> None:
        self._read = _reader(url, LEADS.format(business_id))
        self.seen: dict[str, float] = {}
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(LOOK_S):
            now = time.perf_counter()
            for conversation in self._read():
                self.seen.setdefault(conversation, now)

    def stop(self) -> None:
        self._stopped.set()


@contextmanager
def watching(url: str, business_id: str) -> Iterator[Watch]:
    watch = Watch(url, business_id)
    thread = threading.Thread(target=watch.run)
    thread.start()
    try:
        yield watch
    finally:
        watch.stop()
        thread.join()


def _reader(url: str, statement: str) -> Callable[[], list[str]]:
    where = make_url(url)
    if where.get_backend_name() == "sqlite":
        file = sqlite3.connect(f"file:{where.database}?mode=ro", uri=True, check_same_thread=False)
        return lambda: [row[0] for row in file.execute(statement)]
    plain = where.set(drivername="postgresql").render_as_string(hide_password=False)
    opened = psycopg.connect(plain, autocommit=True)
    return lambda: [row[0] for row in opened.execute(statement).fetchall()]


@dataclass
class Waits:
    """Seconds of pages, and from each webhook to its answer and its lead; ``lost`` never became one."""

    pages: list[float]
    answers: list[float]
    leads: list[float]
    lost: int


async def sign_in(client: httpx2.AsyncClient, email: str) -> None:
    match = TOKEN.search((await client.get("/login")).text)
    form = {"email": email, "password": PASSWORD, "csrf_token": match.group(1) if match else ""}
    if (await client.post("/login", data=form)).status_code != 303:
        raise RuntimeError("the quiet tenant cannot sign in")


async def open_pages(client: httpx2.AsyncClient, every_s: float, pages: list[float]) -> None:
    """Open the inbox until cancelled, and note the seconds of each page."""
    while True:
        started = time.perf_counter()
        answer = await client.get("/inbox")
        pages.append(time.perf_counter() - started)
        if answer.status_code != 200:
            raise RuntimeError(f"the inbox answers {answer.status_code}")
        await asyncio.sleep(every_s)


async def write_steadily(
    port: int, url: str, shop: Shop, span: tuple[int, int], every_s: float, patience_s: float
) -> Waits:
    """Post the webhooks of so many people at a steady pace, whatever happens to the earlier ones."""
    posted: dict[int, float] = {}
    answers: list[float] = []

    async def write_one(client: httpx2.AsyncClient, number: int) -> None:
        posted[number] = time.perf_counter()
        await deliver(client, shop.app, number, f"Hi, call me: +65 9{number:03} {number % 7_919:04}")
        answers.append(time.perf_counter() - posted[number])

    numbers, pages = range(*span), list[float]()
    with watching(url, shop.account.business_id) as watch:
        server = f"http://{HOST}:{port}"
        async with (
            httpx2.AsyncClient(base_url=server, timeout=PATIENCE_S) as client,
            httpx2.AsyncClient(base_url=server, timeout=PATIENCE_S) as browser,
        ):
            tasks = []
            await sign_in(browser, shop.email)
            opening = asyncio.create_task(open_pages(browser, every_s, pages))
            for number in numbers:
                tasks.append(asyncio.create_task(write_one(client, number)))
                await asyncio.sleep(every_s)
            await asyncio.gather(*tasks)
            if opening.done():
                opening.result()
            opening.cancel()
        keys = {number: conversation_of(shop, number) for number in numbers}
        limit = time.perf_counter() + patience_s
        while not set(keys.values()) <= set(watch.seen) and time.perf_counter() < limit:
            await asyncio.sleep(0.05)
    found = [watch.seen[keys[number]] - posted[number] for number in numbers if keys[number] in watch.seen]
    return Waits(pages, answers, found, len(numbers) - len(found))
