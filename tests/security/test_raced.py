"""Attacks by many requests at once: no limit lets more through than it says."""

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx2

from contatto.app import open_context
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.rate_limits import SharedLimit
from contatto.people.actions import TRIES as ALLOWED
from contatto.people.actions import count_login
from contatto.people.store import failed_logins
from contatto.wiring import install
from tests.journeys.running import EMAIL, PASSWORD
from tests.security.servers import Served, login_form

TRIES = 120


async def post_at_once(
    urls: tuple[str, ...], path: str, forms: list[dict[str, str]], cookies: dict[str, str]
) -> list[int]:
    """Post all forms at once, in turn to each server; give the statuses."""
    limits = httpx2.Limits(max_connections=len(forms))
    async with httpx2.AsyncClient(limits=limits, timeout=120, cookies=cookies) as client:
        asked = [client.post(urls[n % len(urls)] + path, data=form) for n, form in enumerate(forms)]
        return [answer.status_code for answer in await asyncio.gather(*asked)]


def test_of_many_tries_to_log_in_at_once_no_more_than_the_limit_are_looked_at(served: Served) -> None:
    client = served.house.client
    form = login_form(client, EMAIL, "another long password")
    forms = [form | {"password": f"wrong password {n}"} for n in range(TRIES)]
    got = Counter(asyncio.run(post_at_once(served.urls, "/login", forms, dict(client.cookies))))
    looked_at, refused = got.pop(401), got.pop(429)
    assert not got
    assert 0 < looked_at <= ALLOWED
    assert looked_at + refused == TRIES
    for _ in range(ALLOWED - looked_at):  # what was refused because all came at once was not counted
        assert client.post("/login", data=form).status_code == 401
    right = client.post("/login", data=form | {"password": PASSWORD}, follow_redirects=False)
    assert right.status_code == 429


def test_tries_that_are_counted_at_once_by_several_processes_are_all_counted(served: Served) -> None:
    """Below the queue of the log-in page: the transaction alone must hold."""
    first = served.context
    second = open_context(install(first.settings))

    def count(number: int) -> bool:
        def work(tx: Tx) -> None:
            count_login(tx, EMAIL, "203.0.113.9", "")

        try:
            (first, second)[number % 2].db.write_now(work)
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(24) as threads:
        passed = sum(threads.map(count, range(TRIES)))
    second.db.close()
    assert passed == ALLOWED
    rows = first.db.read_now(lambda tx: tx.execute(failed_logins.select()).mappings().all())
    assert [row["count"] for row in rows] == [ALLOWED]


def test_a_shared_limit_gives_its_tries_to_as_many_as_it_has(served: Served) -> None:
    limit = SharedLimit("test", 7, timedelta(hours=1))
    first = served.context
    second = open_context(install(first.settings))

    def take(number: int) -> bool:
        try:
            (first, second)[number % 2].db.write_now(lambda tx: limit.take(tx, "key"))
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(24) as threads:
        assert sum(threads.map(take, range(100))) == 7
    first.db.write_now(lambda tx: limit.give_back(tx, "key"))
    with ThreadPoolExecutor(24) as threads:
        assert sum(threads.map(take, range(100))) == 1
    second.db.close()
