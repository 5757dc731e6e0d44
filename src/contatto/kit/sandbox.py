"""Sandboxed processes for untrusted bytes, and processes for long computing."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import IO, Any, Final

import msgspec

from contatto.kit import errors, sandbox_child
from contatto.kit.concurrency import slot_released
from contatto.kit.errors import Refused
from contatto.kit.log import logger
from contatto.kit.sandbox_child import DONE, PROCESSOR_S, REFUSED, Work, read_part, write_part

CLOCK_S: Final = 20.0
"""Longer than the processor time that it has: on a busy machine a child waits for its turn."""
_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""A process that works may start no other, nor a thread; libraries of numbers would."""
_CODES: Final = {code.name: code for code in errors.ALL}


class Overworked(Exception):
    """The work broke a limit, or broke on its bytes."""


class SandboxPool:
    """A pool of children, started when they are first needed.

    Args:
        most: how many work at the same time, whatever they work on.
        clock_s: seconds after which a piece of work is ended.
        processor_s: seconds of processor time after which it is.
        prepare: a function at the top of its module that a child calls first: work can open no file, so all
            that a library loads when it is first used is to be loaded here.
    """

    def __init__(
        self,
        most: int = 2,
        clock_s: float = CLOCK_S,
        processor_s: int = PROCESSOR_S,
        prepare: Callable[[], None] | None = None,
    ) -> None:
        self.most = most
        self._clock_s = clock_s
        self._told = (str(processor_s), name_of(prepare) if prepare else "")
        self._threads = ThreadPoolExecutor(most, "confined")
        self._idle: defaultdict[str, list[_Child]] = defaultdict(list)
        self._busy: set[_Child] = set()
        self._lock = threading.Lock()

    async def run(self, work: Work | str, raw: bytes) -> bytes:
        """Have a function of ours work on bytes in a child.

        Args:
            work: a function at the top of its module, where the child finds it by its name; or this name,
                ``module:function``, where the server is not to load what it needs.
            raw: what a stranger sent.

        Raises:
            Refused: as the function raised it.
            Overworked: when it broke, or broke a limit.
        """
        loop = asyncio.get_running_loop()
        async with slot_released():
            kind, answer = await loop.run_in_executor(self._threads, self._call, work, raw)
        if kind == REFUSED:
            raise _refusal(answer)
        if kind != DONE:
            raise Overworked(answer[:100].decode("ascii", "replace"))
        return answer

    def close(self) -> None:
        """End all children, also those that work; the next work starts new ones."""
        with self._lock:
            ended = [child for children in self._idle.values() for child in children]
            self._idle.clear()
            for child in self._busy:
                child.kill()
        for child in ended:
            child.end()
        self._threads.shutdown()
        self._threads = ThreadPoolExecutor(self.most, "confined")

    def _call(self, work: Work | str, raw: bytes) -> tuple[int, bytes]:
        name = work if isinstance(work, str) else name_of(work)
        child = self._take(name)
        try:
            answer = child.call(raw, self._clock_s)
        except BaseException as error:
            logger().warning("confined.ended", work=name, says=str(error))
            self._give_back(name, child, is_good=False)
            raise
        self._give_back(name, child, is_good=True)
        return answer

    def _take(self, name: str) -> "_Child":
        with self._lock:
            waiting = self._idle[name]
            child = waiting.pop() if waiting else None
        if child is not None and not child.is_alive:
            child.end()
            child = None
        child = child or _Child(name, *self._told)
        with self._lock:
            self._busy.add(child)
        return child

    def _give_back(self, name: str, child: "_Child", *, is_good: bool) -> None:
        with self._lock:
            self._busy.discard(child)
            if is_good:
                self._idle[name].append(child)
        if not is_good:
            child.end()


def name_of(function: Callable[..., object]) -> str:
    """The name by which a child finds a function."""
    return f"{function.__module__}:{function.__qualname__}"


class _Child:
    """A child process, as its parent sees it."""

    def __init__(self, *told: str) -> None:
        kept = {key: os.environ[key] for key in ("SYSTEMROOT",) if key in os.environ} | _ONE_THREAD
        self._process = subprocess.Popen(  # noqa: S603  # our own interpreter with a module of ours
            [sys.executable, "-I", "-m", sandbox_child.__name__, sandbox_child.SANDBOX, *told],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=kept,
            start_new_session=True,  # Ctrl+C is for the server, which ends its children itself
        )

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def call(self, raw: bytes, clock_s: float) -> tuple[int, bytes]:
        """What the child answers.

        Raises:
            Overworked: when it dies of a limit, or its time is over.
        """
        watch = threading.Timer(clock_s, self.kill)
        watch.daemon = True
        watch.start()
        to, back = self._pipes()
        try:
            write_part(to, DONE, raw)
            return read_part(back)
        except (OSError, EOFError) as error:
            raise Overworked("the process broke a limit, or broke") from error
        finally:
            watch.cancel()

    def kill(self) -> None:
        """End the child and what it has forked."""
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()

    def end(self) -> None:
        self.kill()
        for pipe in self._pipes():
            with suppress(OSError):  # what could not be written is of no use any more
                pipe.close()
        self._process.wait()

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        to, back = self._process.stdin, self._process.stdout
        assert to is not None and back is not None, "both were asked for"  # noqa: S101, PT018
        return to, back


def _refusal(answer: bytes) -> Refused:
    """What the function refused; its texts are our own, unless somebody has taken the child over."""
    try:
        name, text, values = msgspec.json.decode(answer, type=tuple[str, str, dict[str, Any]])
        return Refused(_CODES[name], text, **values)
    except (msgspec.MsgspecError, KeyError, ValueError, TypeError) as error:
        raise Overworked("the answer cannot be read") from error


_OURS: Final = "CONTATTO_"


class LongProcess:
    """Starts a process for each piece of work; one that is cancelled is ended with it.

    Args:
        clock_s: seconds after which a piece of work is ended.
    """

    def __init__(self, clock_s: float) -> None:
        self._clock_s = clock_s

    async def run(self, work: Work, raw: bytes) -> bytes:
        """Have a function of ours work on bytes.

        Args:
            work: a function at the top of its module, where the child finds it by its name.
            raw: what it is given.

        Raises:
            Overworked: it broke, or took too long.
        """
        name = name_of(work)
        known = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-m", sandbox_child.__name__, sandbox_child.LONG_WORK, name,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env=known, start_new_session=True,
        )  # fmt: skip
        try:
            answer, _ = await asyncio.wait_for(process.communicate(raw), self._clock_s)
        except TimeoutError:
            logger().warning("apart.ended", work=name, says="it took too long")
            raise Overworked("it took too long") from None
        finally:
            await _end(process)
        if process.returncode:
            logger().warning("apart.ended", work=name, says=f"exit {process.returncode}")
            raise Overworked(f"exit {process.returncode}")
        return answer

    def close(self) -> None:
        """Nothing is kept between pieces of work."""


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
