"""An installation as an operator runs it: `contatto serve`, `contatto worker`, a PostgreSQL of its own."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests import postgres

HOST = "127.0.0.1"
READY_WITHIN_S = 300.0
# What the tests leave out to be quick is on here: each commit is on the disk before it is answered.
DURABLE = ("fsync = on", "synchronous_commit = on", "full_page_writes = on", "autovacuum = on")


@dataclass(frozen=True)
class Layout:
    """A layout: the database of the rows, and whether the worker is a process of its own."""

    name: str
    on_postgres: bool
    worker: str


@contextmanager
def running_postgres() -> Iterator[None]:
    """Run a PostgreSQL server of our own, as durable as in production."""
    folder = tempfile.mkdtemp(prefix="contatto-bench-")
    os.environ[postgres.RUN_DIR] = folder
    try:
        postgres.start_server()
        with postgres.admin() as admin:
            for setting in DURABLE:
                admin.execute(f"ALTER SYSTEM SET {setting}")
            admin.execute("SELECT pg_reload_conf()")
        yield
    finally:
        postgres.stop_server(Path(os.environ.pop(postgres.RUN_DIR)))


def new_database(name: str) -> str:
    """Create a database in the running PostgreSQL and return its URL."""
    with postgres.admin() as admin:
        admin.execute(f"CREATE DATABASE {name} OWNER {postgres.OWNER}")
    return postgres.url_of(name)


@contextmanager
def serving(layout: Layout, home: Path, url: str, settings: dict[str, str]) -> Iterator[int]:
    """Start the server, and the worker where it is one of its own; give the port; end both."""
    port = free_port()
    given = {"DATA_DIR": str(home), "DATABASE_URL": url, "LOG_LEVEL": "error", "WORKER": layout.worker}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONTATTO_")}
    env = kept | {f"CONTATTO_{name}": value for name, value in (given | settings).items()}
    commands = [["serve", "--port", str(port)], *([["worker"]] if layout.worker == "separate" else [])]
    program = str(Path(sys.executable).with_name("contatto"))
    processes = [
        subprocess.Popen([program, *command], env=env, cwd=home, stdout=subprocess.DEVNULL)
        for command in commands
    ]
    try:
        wait_until_open(port)
        yield port
    finally:
        for process in processes:
            process.send_signal(signal.SIGINT)
        for process in processes:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process that was asked to end; one that does not is killed."""
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until_open(port: int) -> None:
    limit = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.05)
        else:
            return


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
