"""The pool of slow hashes: one at a time, behind a queue that ends."""

import asyncio
import threading
import time
from contextlib import ExitStack

import pytest

from contatto.kit.concurrency import KEPT_FOR_KNOWN, OF_ONE_NETWORK, PLACES, THREADS, HashPool
from contatto.kit.errors import Refused


def test_no_more_hashes_run_at_a_time_than_there_are_threads() -> None:
    pool, running, most, lock = HashPool(), 0, 0, threading.Lock()

    def slow(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.005)
        with lock:
            running -= 1
        return number

    async def one(number: int) -> int:
        with pool.place(str(number)):
            return await pool.run(slow, number)

    async def work() -> list[int]:
        return await asyncio.gather(*(one(number) for number in range(PLACES - KEPT_FOR_KNOWN)))

    assert asyncio.run(work()) == list(range(PLACES - KEPT_FOR_KNOWN))
    assert 0 < most <= THREADS
    pool.close()


def test_who_comes_when_all_places_are_taken_is_told_when_to_come_again() -> None:
    pool = HashPool()
    with ExitStack() as taken:
        for number in range(PLACES - KEPT_FOR_KNOWN):
            taken.enter_context(pool.place(str(number)))
        with pytest.raises(Refused) as refused:
            taken.enter_context(pool.place("stranger"))
        assert refused.value.retry_after_s
        for number in range(KEPT_FOR_KNOWN):
            taken.enter_context(pool.place(f"known {number}", is_known=True))
        with pytest.raises(Refused):
            taken.enter_context(pool.place("one more", is_known=True))
    with pool.place("stranger"):
        pass


def test_one_network_holds_only_some_places_and_gives_them_back() -> None:
    pool = HashPool()
    for _ in range(3):
        with ExitStack() as taken:
            for _ in range(OF_ONE_NETWORK):
                taken.enter_context(pool.place("a"))
            with pytest.raises(Refused):
                taken.enter_context(pool.place("a"))
            taken.enter_context(pool.place("b"))


def test_what_goes_wrong_in_the_thread_is_raised_where_it_was_asked_for() -> None:
    pool = HashPool()
    with pytest.raises(ZeroDivisionError):
        asyncio.run(pool.run(lambda: 1 // 0))
    pool.close()
