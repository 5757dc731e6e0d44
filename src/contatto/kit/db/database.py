"""The door to storage: read and write transactions on either engine, from async or plain code."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

from sqlalchemy import Engine

from contatto.kit.clock import Clock
from contatto.kit.db.tx import Row, Tx
from contatto.kit.vault import Vault

type Work[T] = Callable[[Tx], T]

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


class Database(ABC):
    """Storage of one installation.

    ``read`` and ``write`` are for the event loop, ``read_now`` and ``write_now`` for plain code. A write
    returns after its commit is durable; when its work raises, nothing of it is kept.
    """

    def __init__(self, engine: Engine, clock: Clock, vault: Vault) -> None:
        self.engine = engine
        self.clock = clock
        self.vault = vault
        self._listeners: list[Callable[[], None]] = []

    @abstractmethod
    async def read[T](self, work: Work[T]) -> T: ...

    @abstractmethod
    async def write[T](self, work: Work[T]) -> T: ...

    @abstractmethod
    def read_now[T](self, work: Work[T]) -> T: ...

    @abstractmethod
    def write_now[T](self, work: Work[T]) -> T: ...

    @abstractmethod
    async def append(self, statement: Any, row: Row) -> None:
        """Run one insert of a hot path, grouped with others that wait for the same commit."""

    @abstractmethod
    def close(self) -> None: ...

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after every commit that changed something, from whichever thread committed.

        It must return at once. A commit without a change tells nobody: the worker would wake itself for ever.
        """
        self._listeners.append(listener)

    def _committed(self) -> None:
        for listener in self._listeners:
            with suppress(RuntimeError):  # its event loop is closed: nobody listens any more
                listener()


class Waiting[T]:
    """The caller of a write: a future of its event loop, or of its thread."""

    __slots__ = ("future", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self.loop = loop
        self.future: asyncio.Future[T] | Future[T] = loop.create_future() if loop else Future()

    def settle(self, result: T | None, error: BaseException | None) -> None:
        """Hand over the outcome; to be called in the loop's own thread if there is a loop."""
        if self.future.cancelled() or self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)  # type: ignore[arg-type]  # None is a T where there was no error
