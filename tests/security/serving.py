"""`contatto serve` on a real socket, with its memory and that of its children."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.journeys.running import open_house

PAGE = os.sysconf("SC_PAGE_SIZE")


class Server:
    """A server in a process of its own, with one business."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, ids: dict[str, str]) -> None:
        self.process = process
        self.port = port
        self.ids = ids

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def memory(self) -> int:
        """Bytes in memory of the server and all that it has started; what they share counts once for each."""
        return sum(_resident(pid) for pid in [self.process.pid, *_children(self.process.pid)])


def _children(pid: int) -> Iterator[int]:
    try:
        found = [
            int(text)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for text in (task / "children").read_text().split()
        ]
    except OSError:
        return
    for child in found:
        yield child
        yield from _children(child)


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0


@contextmanager
def peak_memory(server: Server) -> Iterator[list[int]]:
    """The most memory that a server takes meanwhile, looked at 100 times a second."""
    peak = [server.memory()]
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.01):
            peak[0] = max(peak[0], server.memory())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


@contextmanager
def serving(home: Path, database_url: str = "", before: str = "", **settings: str) -> Iterator[Server]:
    """A server on data with one business, ended with the block.

    ``before`` is what its process does first, such as making a time shorter; settings have the names of the
    environment, without ``CONTATTO_``.
    """
    context, ids = open_house(home, database_url=database_url)
    context.db.close()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    program = f"{before}\nfrom contatto.cli.main import app\napp()"
    command = [sys.executable, "-c", program, "serve", "--port", str(port)]
    chosen = {"data_dir": str(home), "log_level": "error", "database_url": database_url, **settings}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONTATTO_")}
    env = kept | {f"CONTATTO_{name.upper()}": value for name, value in chosen.items() if value}
    process = subprocess.Popen(command, env=env, cwd=home, stdout=subprocess.DEVNULL)
    try:
        _wait_until_open(process, port)
        yield Server(process, port, ids)
    finally:
        process.terminate()
        process.wait(60)


def _wait_until_open(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None, "the server has ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the server did not open its port")
