"""Work on untrusted bytes in sandboxed children, and long computing in processes."""

import ast
import asyncio
import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from contatto.kit import sandbox_child
from contatto.kit.sandbox import LongProcess, Overworked, SandboxPool
from contatto.leads.engines import prepare_trees
from tests.leads.test_quality import needs_trees

PID = b"str(__import__('os').getpid()).encode()"
linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's limits are those of Linux")


@pytest.fixture
def confined(monkeypatch: pytest.MonkeyPatch) -> Iterator[SandboxPool]:
    monkeypatch.setenv("CONTATTO_SECRET_KEYS", "a:secret")
    pool = SandboxPool(clock_s=60)
    yield pool
    pool.close()


def told(confined: SandboxPool, code: bytes) -> bytes:
    return asyncio.run(confined.run(eval, code))


def limits(confined: SandboxPool, name: str) -> tuple[int, int]:
    resource = "__import__('resource')"
    found = told(confined, f"repr({resource}.getrlimit({resource}.{name})).encode()".encode())
    soft, hard = ast.literal_eval(found.decode())
    return soft, hard


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_function_works_on_bytes_in_another_process(confined: SandboxPool) -> None:
    packed = zlib.compress(b"some bytes")
    assert asyncio.run(confined.run(zlib.decompress, packed)) == b"some bytes"
    assert told(confined, PID) != str(os.getpid()).encode()


@linux
def test_nothing_of_one_work_stays_for_the_next(confined: SandboxPool) -> None:
    told(confined, b"[setattr(__import__('builtins'), 'left', b'behind'), b'done'][1]")
    with pytest.raises(Overworked, match="AttributeError"):
        told(confined, b"__import__('builtins').left")
    assert told(confined, b"__import__('os').read(0, 99)") == b"", "it must not read what comes for the next"
    told(confined, b"[__import__('os').write(1, bytes(5) + b'more'), b'of it'][1]")
    assert told(confined, b"b'next'") == b"next"
    assert not is_there(int(told(confined, PID)))


@linux
def test_what_unpacks_to_more_than_its_memory_ends_as_broken_work(confined: SandboxPool) -> None:
    bomb = zlib.compress(bytes(500_000_000), 1)
    with pytest.raises(Overworked, match="MemoryError"):
        asyncio.run(confined.run(zlib.decompress, bomb))
    assert asyncio.run(confined.run(zlib.decompress, zlib.compress(b"x"))) == b"x"


def test_work_without_end_is_ended_and_the_next_is_done(confined: SandboxPool) -> None:
    confined._clock_s = 0.2
    with pytest.raises(Overworked):
        told(confined, b"sum(iter(int, 1))")
    confined._clock_s = 60  # on a busy machine a child waits for its turn
    assert told(confined, b"b'next'") == b"next"


@linux
def test_the_kernel_holds_a_child_to_its_processor_time(confined: SandboxPool) -> None:
    assert limits(confined, "RLIMIT_CPU") == (sandbox_child.PROCESSOR_S, sandbox_child.PROCESSOR_S)


@linux
@pytest.mark.parametrize(
    "code",
    [b"open('/etc/passwd', 'rb').read()", b"__import__('os').open('/etc/passwd', 0)",
     b"__import__('os').memfd_create('x')", b"__import__('os').pipe()", b"open('/tmp/x', 'wb').write(b'x')",
     b"__import__('socket').socket()"],
)  # fmt: skip
def test_a_child_that_was_taken_over_reaches_no_file_and_no_socket(
    confined: SandboxPool, code: bytes
) -> None:
    with pytest.raises(Overworked):
        told(confined, code)


@linux
@pytest.mark.parametrize(
    "name", ["RLIMIT_AS", "RLIMIT_NOFILE", "RLIMIT_FSIZE", "RLIMIT_NPROC", "RLIMIT_CORE"]
)
def test_what_a_child_gave_up_it_does_not_get_back(confined: SandboxPool, name: str) -> None:
    soft, hard = limits(confined, name)
    assert soft == hard >= 0


def test_a_child_has_nothing_of_our_environment(confined: SandboxPool) -> None:
    found = told(confined, b"repr(dict(__import__('os').environ)).encode()")
    threads = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"}
    assert set(ast.literal_eval(found.decode())) <= {"LC_CTYPE", "SYSTEMROOT", *threads}


@needs_trees
def test_what_a_child_prepared_is_there_when_no_file_can_be_opened(confined: SandboxPool) -> None:
    look = b"__import__('lightgbm').__name__.encode()"
    with pytest.raises(Overworked):
        told(confined, look)
    prepared = SandboxPool(clock_s=60, prepare=prepare_trees)
    try:
        assert told(prepared, look) == b"lightgbm"
    finally:
        prepared.close()


def test_an_answer_that_is_no_answer_is_broken_work(confined: SandboxPool) -> None:
    for code in (
        b"1",
        b"None",
        b"__import__('os')._exit(0)",
        b"__import__('os').write(1, b'xxxxxxxxx') and b'y'",
    ):
        with pytest.raises(Overworked):
            told(confined, code)
    assert told(confined, b"b'fine'") == b"fine"


def test_no_more_work_at_once_than_was_said() -> None:
    pool = SandboxPool(most=2)

    parent = b"str(__import__('os').getppid()).encode()"

    async def many() -> set[bytes]:
        return set(await asyncio.gather(*(pool.run(eval, parent) for _ in range(20))))

    assert 1 <= len(asyncio.run(many())) <= 2
    pool.close()


def test_closing_ends_all_children_also_one_that_works(confined: SandboxPool) -> None:
    pid = int(told(confined, b"str(__import__('os').getppid()).encode()"))
    assert is_there(pid)

    async def work_and_close() -> None:
        working = asyncio.create_task(confined.run(eval, b"sum(iter(int, 1))"))
        await asyncio.sleep(0.2)
        confined.close()
        with pytest.raises(Overworked):
            await working

    asyncio.run(work_and_close())
    assert not is_there(pid)
    assert told(confined, b"b'again'") == b"again"


def test_a_child_ends_with_its_parent() -> None:
    script = (
        "import asyncio, os, sys\nfrom contatto.kit.sandbox import SandboxPool\n"
        f"print(asyncio.run(SandboxPool().run(eval, {PID!r})).decode(), flush=True)\nos._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, timeout=300)
    for _ in range(1_200):
        if not is_there(int(done.stdout)):
            break
        asyncio.run(asyncio.sleep(0.05))
    else:
        pytest.fail("the child is still there")


def test_a_process_works_on_bytes_and_gives_bytes_back() -> None:
    raw = b"a" * 300_000
    assert zlib.decompress(asyncio.run(LongProcess(60.0).run(zlib.compress, raw))) == raw


def test_work_that_breaks_is_told() -> None:
    with pytest.raises(Overworked):
        asyncio.run(LongProcess(60.0).run(zlib.decompress, b"nothing of this kind"))


def test_work_that_takes_too_long_is_ended() -> None:
    with pytest.raises(Overworked, match="too long"):
        asyncio.run(LongProcess(0.0).run(zlib.compress, b"a"))


def test_a_process_gets_none_of_our_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTATTO_SECRET", "key")
    monkeypatch.setenv("OTHER_VALUE", "value")
    look_up: Any = os.getenvb
    assert asyncio.run(LongProcess(60.0).run(look_up, b"OTHER_VALUE")) == b"value"
    with pytest.raises(Overworked):  # it is not there, and nothing is no answer
        asyncio.run(LongProcess(60.0).run(look_up, b"CONTATTO_SECRET"))
