"""A tenant that works without pause, as a program of its own: it imports, edits, searches, calls the API.

It uses the routes of its members' browsers and of its platform. Each line of its input is an order to begin,
and the line after it one to stop. It prints ``ready`` when it works, and counts of requests when it stops.
"""

import asyncio
import csv
import hashlib
import io
import itertools
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import httpx2

from bench.fairness_parts.installation import HOST
from bench.fairness_parts.shop import TOKEN, App, deliver
from bench.pages_parts.filling import EMAIL, PASSWORD

IMPORTS_AT_ONCE = 6
FLOOD_CONNECTIONS = 32
RUNNING = re.compile(r'data-running="true"')
LOOK_S = 0.2
ASKING = 8
"""Requests of a busy tenant at the same time."""
API = "/open_api/v1.3"
PAGES = {
    "inbox search": ("/inbox?q=price+{0}", "/inbox?q=mei+{0}", "/inbox?q=%2B659000{0}"),
    "filters": (
        "/leads/rows?has=email&has=no_phone", "/leads/rows?status=raw&country=SG&any=1&page={0}",
        "/leads/rows?twins=1", "/leads/rows?sort=-score&status=raw", "/leads/rows?q=lin+{0}",
    ),
    "reports": ("/reports", "/reports?by=campaign", "/reports?by=adgroup", "/reports?from=2026-01-0{1}"),
}  # fmt: skip
"""Pages that a busy tenant opens again and again; a number takes the place of {0}, a digit that of {1}."""
CALLS = (
    "/lead/get/?advertiser_id={advertiser}&lead_source=DIRECT_MESSAGE",
    "/campaign/get/?advertiser_id={advertiser}&page_size=100",
    "/dmp/custom_audience/list/?advertiser_id={advertiser}",
    "/report/integrated/get/?advertiser_id={advertiser}&data_level=AUCTION_ADGROUP&dimensions=[%22adgroup_id%22]"
    "&query_lifetime=True&metrics=[%22leads%22]&report_type=BASIC&service_type=AUCTION",
)
"""Reads of the API that a busy tenant makes."""
DIGESTS, EVENTS, PASTED = 15_000, 1_000, 25_000
"""Values of an uploaded file, events of a call, and lines of a pasted list: as many as a body holds."""


@dataclass
class Tenant:
    """A member who is signed in, and what was done so far."""

    client: httpx2.AsyncClient
    rows: int
    token: str = ""
    number: int = 0
    done: Counter[str] = field(default_factory=Counter)

    async def sign_in(self) -> None:
        self.token = await self._token_of("/login")
        form = {"email": EMAIL, "password": PASSWORD, "csrf_token": self.token}
        answer = await self.client.post("/login", data=form)
        if answer.status_code != 303:
            raise RuntimeError(f"the log-in answers {answer.status_code}")
        self.token = await self._token_of("/leads/import")

    async def _token_of(self, path: str) -> str:
        match = TOKEN.search((await self.client.get(path)).text)
        if match is None:
            raise RuntimeError(f"{path} has no token")
        return match.group(1)

    def _sheet(self) -> str:
        """Rows of people whom nobody has seen yet."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(("name", "phone", "labels"))
        for _ in range(self.rows):
            self.number += 1
            writer.writerow((f"Row {self.number}", f"+6281{self.number:08}", "imported"))
        return text.getvalue()

    async def keep_importing(self) -> None:
        """Look at a file and import it, so that as many imports run as fit in at once."""
        while True:
            page = (await self.client.get("/leads/jobs")).text
            for _ in range(IMPORTS_AT_ONCE - len(RUNNING.findall(page))):
                sheet = {"text": self._sheet(), "country": "ID", "csrf_token": self.token}
                await self._do("previews", "/leads/import", sheet)
                await self._do("imports", "/leads/import/start", sheet)
            await asyncio.sleep(LOOK_S)

    async def keep_editing(self) -> None:
        """Give all leads another label, or take it off again, job after job."""
        while True:
            for do in ("label", "unlabel"):
                form = {"do": do, "all": "1", "label": "edited", "csrf_token": self.token}
                await self._do("edits", "/leads/bulk", form)
                await asyncio.sleep(5 * LOOK_S)

    async def keep_exporting(self, kind: str) -> None:
        while True:
            async with self.client.stream("GET", f"/leads.{kind}") as answer:
                async for _ in answer.aiter_bytes():
                    pass
            self._note("exports", answer.status_code)

    async def open(self, what: str, path: str) -> None:
        self._note(what, (await self.client.get(path)).status_code)

    async def paste(self, form: dict[str, str]) -> None:
        await self._do("pasted lists", "/ads/audiences", form)

    async def _do(self, what: str, path: str, form: dict[str, str]) -> None:
        answer = await self.client.post(path, data=form)
        self._note(what, answer.status_code)

    def _note(self, what: str, status: int) -> None:
        """Count an answer. A tenant that asks for too much may be refused, and goes on."""
        self.done[what if status in {200, 303} else f"{what}_refused"] += 1
        if status >= 500:
            raise RuntimeError(f"{what} answer {status}")


@dataclass(frozen=True)
class Program:
    """Values that a program of the busy tenant needs to call the API."""

    token: str
    advertiser: str
    leads: tuple[str, ...]


async def ask(port: int, kind: str) -> Counter[str]:
    """Open pages of one kind over several connections until stopped."""

    async def keep_opening(tenant: Tenant, first: int) -> None:
        for number in itertools.count(first):
            path = PAGES[kind][number % len(PAGES[kind])].format(number % 97, 1 + number % 9)
            await tenant.open(kind, path)

    async with httpx2.AsyncClient(base_url=f"http://{HOST}:{port}", timeout=120) as client:
        tenant = Tenant(client, 0)
        await tenant.sign_in()
        await _until_stopped(*(keep_opening(tenant, number) for number in range(ASKING)))
        return tenant.done


async def call(port: int, kind: str, program: Program) -> Counter[str]:
    """Call the API over several connections until stopped."""
    done: Counter[str] = Counter()
    headers = {"Access-Token": program.token}

    async def post(path: str, **values: Any) -> Any:
        sent = {"advertiser_id": program.advertiser, **values}
        answer = (await client.post(f"{API}{path}", json=sent)).json()
        done["calls" if answer["code"] in (0, 20001) else f"refused by {path}"] += 1
        return answer["data"]

    async def keep_reading(first: int) -> None:
        for number in itertools.count(first):
            path = CALLS[number % len(CALLS)].format(advertiser=program.advertiser)
            answer = (await client.get(f"{API}{path}")).json()
            done["calls" if answer["code"] == 0 else f"refused by {path[:20]}"] += 1

    async def keep_changing_audiences(first: int) -> None:
        lines = (hashlib.sha256(f"{first} {number}".encode()).hexdigest() for number in range(DIGESTS))
        form = {"advertiser_id": program.advertiser, "calculate_type": "EMAIL_SHA256"}
        file = {"file": ("digests.csv", "\n".join(lines).encode(), "text/csv")}
        sent = await client.post(f"{API}/dmp/custom_audience/file/upload/", data=form, files=file)
        paths = [sent.json()["data"]["file_path"]]
        new = {"custom_audience_name": f"List {first}", "calculate_type": "EMAIL_SHA256"}
        created = await post("/dmp/custom_audience/create/", **new, file_paths=paths)
        for action in itertools.cycle(("REMOVE", "APPEND", "REPLACE")):
            await post("/dmp/custom_audience/update/", **created, action=action, file_paths=paths)

    async def keep_tracking(first: int) -> None:
        created = await post("/crm/create/", name=f"CRM {first} {time.time_ns()}")
        for number in itertools.count():
            events = [
                {"event": "called", "event_time": int(time.time()) - 60, "event_id": f"{number} {place}",
                 "lead": {"lead_id": program.leads[place % len(program.leads)]}}
                for place in range(EVENTS)
            ]  # fmt: skip
            source = {"event_source": "crm", "event_source_id": created["event_set_id"]}
            await post("/event/track/", **source, data=events)

    works = {"API": keep_reading, "audiences": keep_changing_audiences, "events": keep_tracking}
    async with httpx2.AsyncClient(base_url=f"http://{HOST}:{port}", timeout=120, headers=headers) as client:
        await _until_stopped(*(works[kind](number) for number in range(ASKING)))
    return done


async def paste(port: int, program: Program) -> Counter[str]:
    """Make audiences of pasted lists on the page until stopped."""

    async def keep_pasting(tenant: Tenant, first: int) -> None:
        for number in itertools.count():
            lines = (f"p{first}.{number}.{line}@mail.example.com" for line in range(PASTED))
            form = {"advertiser_id": program.advertiser, "name": f"Pasted {first} {number}",
                    "kind": "EMAIL_SHA256", "country": "SG", "once": f"{first} {number} {time.time_ns()}",
                    "text": "email\n" + "\n".join(lines), "csrf_token": tenant.token}  # fmt: skip
            await tenant.paste(form)

    async with httpx2.AsyncClient(base_url=f"http://{HOST}:{port}", timeout=120) as client:
        tenant = Tenant(client, 0)
        await tenant.sign_in()
        await _until_stopped(*(keep_pasting(tenant, number) for number in range(3)))
        return tenant.done


async def work(port: int, rows: int) -> Counter[str]:
    """Import, edit and export until stopped."""
    async with httpx2.AsyncClient(base_url=f"http://{HOST}:{port}", timeout=120) as client:
        tenant = Tenant(client, rows, number=int(time.time()) % 100_000 * 100)
        await tenant.sign_in()
        await _until_stopped(
            tenant.keep_importing(),
            tenant.keep_editing(),
            tenant.keep_exporting("csv"),
            tenant.keep_exporting("xlsx"),
        )
        return tenant.done


async def flood(port: int, app: App) -> Counter[str]:
    """Post one webhook after another over many connections until stopped."""
    done: Counter[str] = Counter()

    async def keep_posting(client: httpx2.AsyncClient) -> None:
        while True:
            done["webhooks"] += 1
            await deliver(client, app, done["webhooks"], "Hello, is this still there?")

    async with httpx2.AsyncClient(base_url=f"http://{HOST}:{port}", timeout=120) as client:
        await _until_stopped(*(keep_posting(client) for _ in range(FLOOD_CONNECTIONS)))
    return done


async def _until_stopped(*works: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.create_task(each) for each in works]
    stop = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
    print("ready", flush=True)
    try:
        done, _ = await asyncio.wait([*tasks, stop], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def main() -> None:
    for line in iter(sys.stdin.readline, ""):
        order = json.loads(line)
        does, port = order["does"], order["port"]
        if does == "flood":
            doing = flood(port, App(**order["app"]))
        elif does == "work":
            doing = work(port, order["rows"])
        elif does in PAGES:
            doing = ask(port, does)
        else:
            program = Program(order["token"], order["advertiser"], tuple(order["leads"]))
            doing = paste(port, program) if does == "pasted lists" else call(port, does, program)
        print(json.dumps(asyncio.run(doing)), flush=True)


if __name__ == "__main__":
    main()
