"""`contatto serve` with a worker's process beside it: started, started again, and ended with the server."""

import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.cli.test_serve import answers, free_port, start
from tests.journeys.running import until

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in /proc")


@contextmanager
def serving(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    port = free_port()
    server = start(home, port, CONTATTO_WORKER="beside")
    try:
        assert until(lambda: answers(port) or server.poll() is not None, seconds=90)
        yield server
    finally:
        server.kill()
        server.wait()


def workers_of(server: subprocess.Popen[bytes]) -> list[int]:
    """The processes that the server started."""
    tasks = Path(f"/proc/{server.pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGKILL])
def test_the_worker_ends_with_its_server_however_that_ends(tmp_path: Path, name: signal.Signals) -> None:
    with serving(tmp_path) as server:
        (worker,) = workers_of(server)
        server.send_signal(name)
        assert server.wait(60) == (0 if name is signal.SIGTERM else -name)
        assert until(lambda: not is_alive(worker), seconds=60)
    with closing(sqlite3.connect(tmp_path / "contatto.sqlite3")) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_worker_that_ends_by_itself_is_started_again(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        (worker,) = workers_of(server)
        os.kill(worker, signal.SIGKILL)
        assert until(lambda: workers_of(server) not in ([], [worker]), seconds=60)
        assert server.poll() is None
