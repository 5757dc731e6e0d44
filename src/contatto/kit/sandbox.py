"""Sandboxed processes for untrusted bytes, and processes for long computing.

A decoder can take a gigabyte for 46 bytes, or even run code of an attacker. So it never runs in the server. A
child process does the work and ends: with limits of the kernel, without our environment, and unable to open a
file or a socket. Limits of memory, processor time and files need Linux; elsewhere only the clock limits.
"""

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
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from contatto.kit import errors, sandbox_child
from contatto.kit.concurrency import slot_released
from contatto.kit.errors import Refused
from contatto.kit.log import logger
from contatto.kit.sandbox_child import DONE, PROCESSOR_S, REFUSED, Work, read_part, write_part

CLOCK_S: Final = 20.0
"""Longer than the processor time, as children wait on a busy machine."""
_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Numeric libraries would start threads, which the sandbox forbids."""
_CODES: Final = {code.name: code for code in errors.ALL}


class Overworked(Exception):
    """Error of work that failed, or exceeded a limit."""


class SandboxPool:
    """Pool of sandboxed children, started on first use, with limits of wall-clock and processor seconds.

    A child first calls ``prepare``: work can open no file, so it must load all that libraries load lazily.
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
        self._arguments = (str(processor_s), name_of(prepare) if prepare else "")
        self._threads = ThreadPoolExecutor(most, "confined")
        self._idle: defaultdict[str, list[_Child]] = defaultdict(list)
        self._busy: set[_Child] = set()
        self._lock = threading.Lock()

    async def run(self, work: Work | str, raw: bytes) -> bytes:
        """Run a top-level function on untrusted bytes in a child; a name where the server must not import it.

        Raises Refused, as the function did; Overworked, when it failed, or exceeded a limit.
        """
        loop = asyncio.get_running_loop()
        async with slot_released():
            kind, answer = await loop.run_in_executor(self._threads, self._call, work, raw)
        if kind == REFUSED:
            try:  # its texts are ours, unless the child was compromised
                name, text, values = msgspec.json.decode(answer, type=tuple[str, str, dict[str, Any]])
                raise Refused(_CODES[name], text, **values)
            except (msgspec.MsgspecError, KeyError, ValueError, TypeError) as error:
                raise Overworked("the answer cannot be read") from error
        if kind != DONE:
            raise Overworked(answer[:100].decode("ascii", "replace"))
        return answer

    def close(self) -> None:
        """End all children, also working ones; later work starts new ones."""
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
        with self._lock:
            waiting = self._idle[name]
            child = waiting.pop() if waiting else None
        if child is not None and child.process.poll() is not None:  # it has ended
            child.end()
            child = None
        child = child or _Child(name, *self._arguments)
        with self._lock:
            self._busy.add(child)
        try:
            answer = child.call(raw, self._clock_s)
        except BaseException as error:
            logger().warning("confined.ended", work=name, says=str(error))
            with self._lock:
                self._busy.discard(child)
            child.end()
            raise
        with self._lock:
            self._busy.discard(child)
            self._idle[name].append(child)
        return answer


def name_of(function: Callable[..., object]) -> str:
    """Return the name by which a child imports a function."""
    return f"{function.__module__}:{function.__qualname__}"


class _Child:
    """Child process, from the parent's side."""

    def __init__(self, *arguments: str) -> None:
        environment = {key: os.environ[key] for key in ("SYSTEMROOT",) if key in os.environ} | _ONE_THREAD
        self.process = subprocess.Popen(  # noqa: S603  # our own interpreter with a module of ours
            [sys.executable, "-I", "-m", sandbox_child.__name__, sandbox_child.SANDBOX, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # the server handles Ctrl+C, and ends its children
        )
        to, back = self.process.stdin, self.process.stdout
        assert to is not None and back is not None, "both were asked for"  # noqa: S101, PT018
        self._to, self._back = to, back

    def call(self, raw: bytes, clock_s: float) -> tuple[int, bytes]:
        """Return the child's answer; raises Overworked if it exceeded a limit."""
        watch = threading.Timer(clock_s, self.kill)
        watch.daemon = True
        watch.start()
        try:
            write_part(self._to, DONE, raw)
            return read_part(self._back)
        except (OSError, EOFError) as error:
            raise Overworked("the process broke a limit, or broke") from error
        finally:
            watch.cancel()

    def kill(self) -> None:
        """Kill the child and its forks."""
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()

    def end(self) -> None:
        self.kill()
        for pipe in (self._to, self._back):
            with suppress(OSError):  # unwritten bytes are not needed
                pipe.close()
        self.process.wait()


_ENVIRONMENT_PREFIX: Final = "CONTATTO_"


@dataclass(frozen=True, slots=True)
class LongProcess:
    """Runs long computing of our own in a process per piece of work, up to a limit of wall-clock seconds.

    Its input is trusted, so it may read files and take memory. It gets none of our settings, so no key, and
    runs at low priority. A cancelled piece ends its process.
    """

    clock_s: float

    async def run(self, work: Work, raw: bytes) -> bytes:
        """Run a top-level function on bytes; raises Overworked if it failed, or took too long."""
        name = name_of(work)
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(_ENVIRONMENT_PREFIX)
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-m", sandbox_child.__name__, sandbox_child.LONG_WORK, name,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env=environment, start_new_session=True,
        )  # fmt: skip
        try:
            answer, _ = await asyncio.wait_for(process.communicate(raw), self.clock_s)
        except TimeoutError:
            logger().warning("apart.ended", work=name, says="it took too long")
            raise Overworked("it took too long") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode:
            logger().warning("apart.ended", work=name, says=f"exit {process.returncode}")
            raise Overworked(f"exit {process.returncode}")
        return answer

    def close(self) -> None:
        """Do nothing, as no process outlives its work."""
