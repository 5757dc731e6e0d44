"""Access to storage: read and write transactions on either engine, from async or plain code."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, Final

from sqlalchemy import Engine

from contatto.kit.clock import Clock, in_time
from contatto.kit.db.changes import Listener, Tables, concerns
from contatto.kit.db.row_security import acting_for
from contatto.kit.db.tx import MadeLater, Row, Tx
from contatto.kit.parts import Parts
from contatto.kit.places import Places, turn_given_up
from contatto.kit.vault import Vault

type Work[T] = Callable[[Tx], T]

LONG_AT_ONCE: Final = 2
"""Long reads of one process at a time, one for each business: they take time from all that is quick."""

STATEMENTS_KEPT: Final = 2_000
"""Compiled statements, of some 25 kB each. Pages, API and jobs have over a thousand; one that was dropped is
compiled again, which takes a millisecond."""

FOLLOW: ContextVar[Callable[[Tx, Any], None] | None] = ContextVar("follow", default=None)
"""What is done at the end of each write of the running task, in its transaction and with its result."""


def followed[T](work: Work[T]) -> Work[T]:
    """A write with what follows it; both are kept, or neither."""
    follow = FOLLOW.get()
    if follow is None:
        return work

    def both(tx: Tx) -> T:
        result = work(tx)
        follow(tx, result)
        return result

    return both


def _run_some[I, R](tx: Tx, items: Sequence[I], work: Callable[[Tx, I], R]) -> list[R]:
    return [work(tx, item) for item in in_time(items)]


class Database(ABC):
    """Storage of one installation.

    ``read`` and ``write`` are for the event loop, ``read_now`` and ``write_now`` for plain code. A write
    returns after its commit is durable; when its work raises, nothing of it is kept. What reads for long goes
    through ``read_long`` or ``run_aside``, and long work writes in batches, ``in_background``: they give way.
    A request that may change many rows writes with ``write_each``, so that others write in between.
    """

    def __init__(self, engine: Engine, clock: Clock, vault: Vault, ports: Parts) -> None:
        self.engine = engine
        self.clock = clock
        self.vault = vault
        self.ports = ports
        self._listeners: list[tuple[Listener, Tables]] = []
        self._long = Places(LONG_AT_ONCE, 1)
        self._aside = ThreadPoolExecutor(LONG_AT_ONCE, thread_name_prefix="aside")

    parallel_batches: int
    """How many batches of one kind of work, or requests of one business, are worth doing at the same time."""

    @abstractmethod
    async def read[T](self, work: Work[T]) -> T: ...

    @abstractmethod
    async def write[T](self, work: Work[T], *, in_background: bool = False) -> T: ...

    async def write_each[I, R](self, items: Sequence[I], work: Callable[[Tx, I], R]) -> list[R]:
        """Run a write for each item, as many in one transaction as fit into the time of a batch.

        Writes of other tenants come in between. When an item raises, the transactions before its own remain.
        What follows a write, such as its audit entry, follows the first transaction alone.
        """
        results: list[R] = []
        while len(results) < len(items):
            some = partial(_run_some, items=items[len(results) :], work=work)
            results += await (self.write_more(some) if results else self.write(some))
        return results

    async def write_more[T](self, work: Work[T]) -> T:
        """Write for a request whose audit entry exists already."""
        before = FOLLOW.set(None)
        try:
            return await self.write(work)
        finally:
            FOLLOW.reset(before)

    @abstractmethod
    def read_now[T](self, work: Work[T]) -> T: ...

    @abstractmethod
    def write_now[T](self, work: Work[T], *, in_background: bool = False) -> T: ...

    async def read_long[T](self, work: Work[T], business_id: str = "") -> T:
        """A read that may take long, beside the event loop; few run at once, in turn by business."""
        return await self.run_aside(lambda: self.read_now(work), business_id)

    async def run_aside[T](self, work: Callable[[], T], business_id: str = "") -> T:
        """Plain code that reads for long, in a thread; few run at once, in turn by business.

        Without a business it is that of the request.
        """
        async with turn_given_up(), self._long.of(business_id or acting_for()):
            here = copy_context()
            return await asyncio.get_running_loop().run_in_executor(self._aside, here.run, work)

    @abstractmethod
    async def append(self, statement: Any, row: Row | MadeLater) -> None:
        """Run one insert of a hot path, grouped with others that wait for the same commit.

        What makes a row later runs in another thread, and what it raises is raised here.
        """

    def close(self) -> None:
        """End what runs aside; storage closes the rest."""
        self._aside.shutdown(wait=True, cancel_futures=True)

    @abstractmethod
    async def watch(self) -> None:
        """Tell the listeners of commits of other processes too, until cancelled."""

    def on_commit(self, listener: Listener, tables: Tables = None) -> None:
        """Call ``listener`` after every commit that changed something, from whichever thread committed.

        It must return at once. A commit without a change tells nobody: the worker would wake itself for ever.
        With ``tables`` it is told of changes of those alone, and of those of which it is not known: such as
        the commits of other processes.
        """
        self._listeners.append((listener, tables))

    def _committed(self, changed: Tables = None) -> None:
        for listener, tables in self._listeners:
            if concerns(tables, changed):
                with suppress(RuntimeError):  # its event loop is closed: nobody listens any more
                    listener()


class Waiting[T]:
    """The caller of a write: a future of its event loop, or of its thread."""

    __slots__ = ("future", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self.loop = loop
        self.future: asyncio.Future[T] | Future[T] = loop.create_future() if loop else Future()

    def tell(self, result: T | None, error: BaseException | None) -> None:
        """Hand over the outcome from any thread."""
        if self.loop is None:
            self.settle(result, error)
            return
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(self.settle, result, error)

    def settle(self, result: T | None, error: BaseException | None) -> None:
        """Hand over the outcome; to be called in the loop's own thread if there is a loop."""
        if self.future.done():  # or cancelled
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)  # type: ignore[arg-type]  # None is a T where there was no error
