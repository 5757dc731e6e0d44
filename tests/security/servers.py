"""One house behind two servers, each with its own context: what one caches the other knows nothing of."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from contatto.app import open_context
from contatto.ui.requests import Context
from contatto.wiring import install
from tests.journeys.running import PASSWORD, House, csrf_of, open_house
from tests.served import serve


class Stream:
    """An open live stream, read line by line in a thread of its own."""

    def __init__(self, client: httpx2.Client, threads: ThreadPoolExecutor) -> None:
        self.lines: list[str] = []
        self._client = client
        self.end: Future[None] = threads.submit(self._read)
        while not self.lines:
            time.sleep(0.01)
            assert not self.end.done(), self.end.result()

    def _read(self) -> None:
        with self._client.stream("GET", "/live") as answer:
            assert answer.status_code == 200
            for line in answer.iter_lines():
                self.lines.append(line)

    @property
    def names(self) -> set[str]:
        """The names of the events that it told."""
        return {line.removeprefix("event: ") for line in self.lines if line.startswith("event: ")}


@dataclass(frozen=True, slots=True)
class Served:
    """A house of the first server; ``urls`` are those of both, without a final slash."""

    house: House
    urls: tuple[str, str]
    opened: ExitStack
    """Closes browsers after the servers are gone, so that no stream is cut from this side."""
    threads: ThreadPoolExecutor

    def sign_in(self, url: str, email: str, password: str = PASSWORD) -> httpx2.Client:
        """A browser in which somebody has signed in."""
        client = self.opened.enter_context(httpx2.Client(base_url=url, timeout=60))
        answer = client.post("/login", data=login_form(client, email, password), follow_redirects=False)
        assert answer.status_code == 303, answer.text
        return client

    def listen(self, client: httpx2.Client) -> Stream:
        return Stream(client, self.threads)

    @property
    def context(self) -> Context:
        return self.house.context


@contextmanager
def serve_house(folder: Path, database_url: str = "", **settings: Any) -> Iterator[Served]:
    context, made = open_house(folder, database_url=database_url, **settings)
    with ExitStack() as browsers, ExitStack() as opened:
        threads = browsers.enter_context(ThreadPoolExecutor(16))
        opened.callback(context.db.close)
        second = open_context(install(context.settings.model_copy(update={"worker": "separate"})))
        opened.callback(second.db.close)
        urls = opened.enter_context(serve(context)), opened.enter_context(serve(second))
        client = opened.enter_context(httpx2.Client(base_url=urls[0], timeout=60))
        house = House(context=context, client=client, **made)
        yield Served(house, urls, browsers, threads)


def login_form(client: httpx2.Client, email: str, password: str) -> dict[str, str]:
    """What the form of the log-in page sends."""
    page = client.get("/login").text
    return {"email": email, "password": password, "csrf_token": csrf_of(page)}
