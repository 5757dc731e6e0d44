"""A tenant that works without pause, as a program of its own: imports, exports, edits, or webhooks.

It goes through the routes that its members' browsers and its platform use. At its end it prints what it did.
"""

import asyncio
import csv
import io
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
from bench.fairness_parts.shop import App, deliver
from bench.pages_parts.filling import EMAIL, PASSWORD

IMPORTS_AT_ONCE = 6
FLOOD_CONNECTIONS = 32
RUNNING = re.compile(r'data-running="true"')
TOKEN = re.compile(r'name="csrf[_-]token" (?:value|content)="([\w-]{43})"')
LOOK_S = 0.2


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
        found = TOKEN.search((await self.client.get(path)).text)
        if found is None:
            raise RuntimeError(f"{path} has no token")
        return found.group(1)

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

    async def _do(self, what: str, path: str, form: dict[str, str]) -> None:
        answer = await self.client.post(path, data=form)
        self._note(what, answer.status_code)

    def _note(self, what: str, status: int) -> None:
        """A tenant that asks for too much may be turned down, and goes on."""
        self.done[what if status in {200, 303} else f"{what}_refused"] += 1
        if status >= 500:
            raise RuntimeError(f"{what} answer {status}")


async def work(port: int, seconds: float, rows: int) -> Counter[str]:
    """Import, edit and export until the time is up."""
    async with httpx2.AsyncClient(base_url=f"http://{HOST}:{port}", timeout=120) as client:
        tenant = Tenant(client, rows, number=int(time.time()) % 100_000 * 100)
        await tenant.sign_in()
        await _until_time_is_up(
            seconds,
            tenant.keep_importing(),
            tenant.keep_editing(),
            tenant.keep_exporting("csv"),
            tenant.keep_exporting("xlsx"),
        )
        return tenant.done


async def flood(port: int, seconds: float, app: App) -> Counter[str]:
    """Post one webhook after another over many connections until the time is up."""
    done: Counter[str] = Counter()

    async def keep_posting(client: httpx2.AsyncClient) -> None:
        while True:
            done["webhooks"] += 1
            await deliver(client, app, done["webhooks"], "Hello, is this still there?")

    async with httpx2.AsyncClient(base_url=f"http://{HOST}:{port}", timeout=120) as client:
        await _until_time_is_up(seconds, *(keep_posting(client) for _ in range(FLOOD_CONNECTIONS)))
    return done


async def _until_time_is_up(seconds: float, *works: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.create_task(each) for each in works]
    try:
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def main() -> None:
    asked = json.loads(sys.argv[1])
    if asked["does"] == "flood":
        done = asyncio.run(flood(asked["port"], asked["seconds"], App(**asked["app"])))
    else:
        done = asyncio.run(work(asked["port"], asked["seconds"], asked["rows"]))
    print(json.dumps(done))


if __name__ == "__main__":
    main()
