"""Entry points of the child processes of `contatto.kit.sandbox`.

On Linux a sandbox child imports the function, and forks a limited process for each piece of work, which takes
a few milliseconds. Elsewhere the child does the work itself, without these limits.
"""

import importlib
import os
import signal
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, Final

import msgspec

from contatto.kit.errors import Refused

type Work = Callable[[bytes], bytes]

MEMORY_BYTES: Final = 320 * 1024 * 1024
"""Memory limit of a piece of work, beyond that of its modules."""
PROCESSOR_S: Final = 5
"""Default limit of processor seconds."""
ANSWER_LIMIT: Final = 64 * 1024 * 1024
DONE, REFUSED, BROKEN = 0, 1, 2
_NICE: Final = 5
_LONG_WORK_NICE: Final = 10
SANDBOX, LONG_WORK = "sandbox", "long"
"""Modes of a child: untrusted bytes in a sandbox, or long computing on files of ours."""
_MOST_FILES: Final = 64
"""Upper bound of open files in a new child."""
_HEAD: Final = struct.Struct("!BI")


def write_part(pipe: IO[bytes], kind: int, body: bytes) -> None:
    """Write a message: a piece of work, or its answer."""
    pipe.write(_HEAD.pack(kind, len(body)))
    pipe.write(body)
    pipe.flush()


def read_part(pipe: IO[bytes]) -> tuple[int, bytes]:
    """Return the kind and the body of a message; raises EOFError if it is cut off or too long."""
    kind, size = _HEAD.unpack(_read_exactly(pipe, _HEAD.size))
    if size > ANSWER_LIMIT:
        raise EOFError("that is too long")
    return kind, _read_exactly(pipe, size)


def _read_exactly(pipe: IO[bytes], size: int) -> bytes:
    body = pipe.read(size)
    if len(body) != size:
        raise EOFError("the pipe ended")
    return body


def _import_function(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    named: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return named


def _answer(work: Work, raw: bytes) -> tuple[int, bytes]:
    try:
        return DONE, work(raw)
    except Refused as refused:
        return REFUSED, msgspec.json.encode((refused.code.name, refused.text, refused.values))
    except Exception as error:  # any effect of malformed bytes
        return BROKEN, type(error).__name__.encode()


if sys.platform == "linux":
    import resource


def _run_forked(work: Work, raw: bytes, processor_s: int) -> tuple[int, bytes]:
    """Return the answer of a forked process, so that an attacker cannot reach later work."""
    if sys.platform != "linux":  # without limits
        return _answer(work, raw)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(writer, 1)
            os.closerange(3, _MOST_FILES)
            # Give up all rights and resources that the work does not need.
            os.nice(_NICE)
            with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:  # noqa: PTH123 - pathlib is not loaded
                score.write("1000")  # the kernel ends this process first when memory is short
            with open("/proc/self/statm") as state:  # noqa: PTH123 - pathlib is not loaded
                size = int(state.read().split()[0]) * resource.getpagesize()
            for name, most in (
                (resource.RLIMIT_AS, size + MEMORY_BYTES),
                (resource.RLIMIT_CPU, processor_s),
                (resource.RLIMIT_FSIZE, 0),
                (resource.RLIMIT_CORE, 0),
                (resource.RLIMIT_NPROC, 0),
                (resource.RLIMIT_NOFILE, 3),  # only the pipe stays open
            ):
                _, hard = resource.getrlimit(name)
                limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
                resource.setrlimit(name, (limit, limit))
            with open(1, "wb", closefd=False) as to:  # it is no path
                write_part(to, *_answer(work, raw))
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as back:  # noqa: PTH123  # it is no path
        try:
            answer = read_part(back)
        except EOFError:
            answer = BROKEN, b"ended"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return answer


if __name__ == "__main__":
    with suppress(KeyboardInterrupt, BrokenPipeError):
        if sys.argv[1] == SANDBOX:
            name, processor_s, prepare = sys.argv[2:]
            if prepare:
                _import_function(prepare)()
            work: Work = _import_function(name)
            while True:  # until the pipe closes
                try:
                    _, raw = read_part(sys.stdin.buffer)
                except EOFError:
                    break
                write_part(sys.stdout.buffer, *_run_forked(work, raw, int(processor_s)))
        else:
            name = sys.argv[2]
            os.nice(_LONG_WORK_NICE)
            answer = os.dup(sys.stdout.fileno())
            os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
            done: bytes = _import_function(name)(sys.stdin.buffer.read())
            with os.fdopen(answer, "wb") as to:
                to.write(done)
