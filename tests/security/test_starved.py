"""Attacks by work without end: what one tenant has done holds up nobody else's messages."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from contatto.accounts.actions import NewAdAccount, add_ad_account, issue_token
from contatto.accounts.model import BusinessId, Permission
from contatto.app import create_app
from contatto.capture.actions import turn_on_capture
from contatto.channels.actions import register_app
from contatto.channels.connectors.tiktok import sign_body
from contatto.channels.model import ChannelApp, Platform
from contatto.forms.rules import views
from contatto.inbox.store.conversations import count_receipts
from contatto.kit.db.tx import Tx
from contatto.leads.actions import jobs as actions
from contatto.leads.actions.jobs import MOST_WAITING
from contatto.leads.model import LeadJob, LeadJobState
from contatto.leads.pages import bulk
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store.jobs import list_jobs
from contatto.leads.store.listing import count_leads
from contatto.worker import Worker
from tests import make
from tests.journeys.running import (
    API,
    APP_ID,
    APP_SECRET,
    COMPANY,
    OPEN_ID,
    House,
    csrf_of,
    message,
    open_house,
    until,
    webhook_body,
)
from tests.served import serve

PATIENCE_S = 60
"""A test that hangs would be a finding; a busy machine is none."""
ROWS = 600
FLOOD = 1_600
"""Messages of several of the largest batches."""


@dataclass
class Street:
    """A busy tenant, signed in, and a victim whose platform posts webhooks to the same server."""

    busy: House
    url: str
    token: str
    victim_id: str

    def post(self, path: str, **form: Any) -> httpx2.Response:
        """Send a form of the busy tenant's pages."""
        return self.busy.client.post(path, data={"csrf_token": self.token, **form}, follow_redirects=False)

    def start_import(self, number: int, rows: int = ROWS) -> httpx2.Response:
        lines = "".join(f"+6281{number:02}{row:06}\n" for row in range(rows))
        shown = self.post("/leads/import", text=f"phone\n{lines}", country="ID")
        return self.post(f"{shown.headers['location']}/start")

    def write(self, user: str, text: str = "call +65 9123 4567", app: str = "victim") -> None:
        """Post a webhook as the platform does: of the victim, or with APP_ID of the busy tenant."""
        open_id, secret = (OPEN_ID, APP_SECRET) if app == APP_ID else (f"open-{app}", f"secret-{app}")
        at_ms = int(self.busy.context.clock.now().timestamp() * 1_000)
        body = webhook_body("im_receive_msg", message(text, user, at_ms), open_id)
        headers = {"TikTok-Signature": sign_body(body, secret, at_ms // 1_000)}
        url = f"{self.url}/webhooks/tiktok/{app}"
        assert httpx2.post(url, content=body, headers=headers, timeout=PATIENCE_S).status_code == 200

    def has_lead(self) -> bool:
        return bool(self.read(lambda tx: count_leads(tx, self.victim_id, LeadFilter())))

    def read[T](self, look: Callable[[Tx], T]) -> T:
        return self.busy.context.db.read_now(look)

    def jobs(self) -> list[LeadJob]:
        return self.read(lambda tx: list_jobs(tx, self.busy.business_id, make.NOON))


@contextmanager
def open_street(folder: Path, database_url: str, **settings: Any) -> Iterator[Street]:
    context, made = open_house(folder, database_url=database_url, **settings)

    def build(tx: Tx) -> str:
        victim = make.business(tx, "Victim").id
        account = make.channel(tx, victim, external_id="open-victim", capture_on=False)
        register_app(tx, ChannelApp("victim", victim, Platform.TIKTOK, "secret-victim"))
        turn_on_capture(tx, victim, account.id, COMPANY)
        return victim

    with ExitStack() as opened:
        opened.callback(context.db.close)
        victim_id = context.db.write_now(build)
        url = opened.enter_context(serve(context))
        client = opened.enter_context(httpx2.Client(base_url=url, timeout=PATIENCE_S))
        house = House(context=context, client=client, **made)
        house.sign_in()
        yield Street(house, url, csrf_of(client.get("/leads/import").text), victim_id)


@pytest.fixture
def street(tmp_path: Path, database_url: str) -> Iterator[Street]:
    with open_street(tmp_path, database_url) as opened:
        yield opened


@contextmanager
def working(street: Street) -> Iterator[None]:
    """The background's work, in a thread of its own."""
    loop = asyncio.new_event_loop()

    async def work() -> None:
        await Worker(street.busy.context.db, street.busy.context.installation).run()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner, pytest.raises(asyncio.CancelledError):
            runner.run(work())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
        thread.join(PATIENCE_S)


def test_six_imports_at_once_hold_up_no_lead_of_another_and_two_of_them_run(street: Street) -> None:
    for number in range(6):
        assert street.start_import(number).status_code == 303
    assert until(lambda: any(job.done for job in street.jobs()), PATIENCE_S)
    street.write("u1")
    assert until(street.has_lead, PATIENCE_S)
    jobs = street.jobs()
    states = [job.state for job in jobs]
    assert states.count(LeadJobState.RUNNING) <= 2
    assert states.count(LeadJobState.WAITING) >= 3
    assert sum(job.done for job in jobs) < 3 * ROWS
    page = street.busy.client.get("/leads/jobs/history").text
    assert page.count("Waiting for other jobs to finish") >= 3


def test_no_tenant_has_more_work_waiting_than_it_may(street: Street) -> None:
    answers = [street.start_import(number, rows=2_000).status_code for number in range(MOST_WAITING + 20)]
    assert answers[:MOST_WAITING] == [303] * MOST_WAITING
    assert answers[-1] == 409


def test_a_flood_of_webhooks_holds_up_no_lead_of_another(tmp_path: Path, database_url: str) -> None:
    with open_street(tmp_path, database_url, worker="separate") as street:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda n: street.write(f"u{n}", "hello", APP_ID), range(FLOOD)))
        street.write("u1")
        flooded = street.busy.business_id
        with working(street):
            assert until(street.has_lead, PATIENCE_S)
            left = street.read(lambda tx: count_receipts(tx, flooded).waiting)
        assert left >= 200


class Gate:
    """A read that takes as long as the test wants."""

    def __init__(self, work: Callable[..., Any]) -> None:
        self._work = work
        self.is_reached = threading.Event()
        self.is_open = threading.Event()

    def __call__(self, *given: Any, **options: Any) -> Any:
        self.is_reached.set()
        assert self.is_open.wait(PATIENCE_S), "nobody opened the gate: it holds up who should have"
        return self._work(*given, **options)


@pytest.mark.parametrize("what", ["leads.csv", "leads.xlsx", "preview", "file"])
def test_a_long_export_or_preview_holds_up_no_lead_of_another(
    street: Street, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads until the lead of the other is there."""
    place, name = {
        "preview": (actions, "foresee_import"),
        "file": (views, "lead_table"),
    }.get(what, (bulk, "read_leads"))
    gate = Gate(getattr(place, name))
    monkeypatch.setattr(place, name, gate)
    database = street.busy.context.db
    database.write_now(lambda tx: make.lead(tx, street.busy.business_id))

    def ask() -> httpx2.Response:
        if what == "preview":
            shown = street.post("/leads/import", text="phone\n+6281100000001\n", country="ID")
            return street.busy.client.get(shown.headers["location"])
        if what == "file":
            made = street.busy.make_ad("LEAD")
            body = {"advertiser_id": street.busy.advertiser_id, "ad_id": made["ad_id"]}
            headers = {"Access-Token": street.busy.token}
            return street.busy.client.post(f"{API}/page/lead/task/", json=body, headers=headers)
        return street.busy.client.get(f"/{what}")

    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(ask)
        try:
            assert gate.is_reached.wait(PATIENCE_S)
            street.write("u1")
            assert until(street.has_lead, PATIENCE_S)
            other = httpx2.Client(base_url=street.url, timeout=PATIENCE_S)
            assert other.get("/login").status_code == 200
            other.close()
        finally:
            gate.is_open.set()
        assert asking.result().status_code == 200


def test_a_request_waits_for_at_most_one_of_a_neighbour_that_sends_many(tmp_path: Path) -> None:
    """Counted by the order of answers on SQLite, where reads run on the event loop."""
    with open_street(tmp_path, "") as street:
        assert order_of_answers(street)[:2].count("busy") <= 1


def order_of_answers(street: Street) -> list[str]:
    """Send thirty requests of the busy tenant and then one of the victim; return the order of answers."""
    context = street.busy.context

    def let_victim_in(tx: Tx) -> tuple[str, str]:
        business_id = BusinessId(street.victim_id)
        account = add_ad_account(tx, business_id, NewAdAccount("Main", "SG", "SGD", "Asia/Singapore"))
        return str(account.number), issue_token(tx, business_id, "x", [scope.value for scope in Permission])[
            1
        ]

    victim = context.db.write_now(let_victim_in)
    busy = street.busy.advertiser_id, street.busy.token
    answers: list[str] = []

    async def ask(client: httpx2.AsyncClient, name: str, advertiser_id: str, token: str) -> None:
        path = f"{API}/campaign/get/?advertiser_id={advertiser_id}"
        answer = await client.get(path, headers={"Access-Token": token})
        assert answer.json()["code"] == 0
        answers.append(name)

    async def ask_all() -> None:
        transport = httpx2.ASGITransport(create_app(context))
        async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:
            for caller in (busy, victim):  # notes that the tokens are used
                await asyncio.create_task(ask(client, "first", *caller))
            many = [ask(client, "busy", *busy) for _ in range(30)]
            await asyncio.gather(*many, ask(client, "victim", *victim))

    asyncio.run(ask_all())
    return answers[2:]
