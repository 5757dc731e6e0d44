"""`contatto serve` ends as a service must: soon and with 0, also while pages listen."""

import os
import re
import signal
import socket
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest

from contatto.kit.settings import Settings
from tests.journeys.running import until

PROGRAM = str(Path(sys.executable).with_name("contatto"))


def start(home: Path, port: int, said: int = subprocess.DEVNULL, **named: str) -> subprocess.Popen[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONTATTO_")}
    settings = {"CONTATTO_DATA_DIR": str(home), "CONTATTO_LOG_LEVEL": "error"} | named
    command = [PROGRAM, "serve", "--port", str(port)]
    return subprocess.Popen(command, env=kept | settings, cwd=home, stdout=said)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def serves(port: int) -> bool:
    """Whether the log-in page comes; a listening socket alone would let us connect."""
    connection = HTTPConnection("127.0.0.1", port, timeout=90)
    try:
        connection.request("GET", "/login")
        return connection.getresponse().status == 200
    finally:
        connection.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_with_zero(tmp_path: Path, name: signal.Signals) -> None:
    port = free_port()
    server = start(tmp_path, port)
    try:
        assert until(lambda: answers(port) or server.poll() is not None, seconds=90)
        server.send_signal(name)
        assert server.wait(60) == 0
    finally:
        server.kill()
        server.wait()


def test_a_port_that_is_taken_ends_it_with_a_failure(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = start(tmp_path, taken.getsockname()[1])
        try:
            assert server.wait(90) != 0
        finally:
            server.kill()
            server.wait()


def test_a_server_starts_without_what_only_sealing_attributing_and_delivering_need() -> None:
    loaded = "import sys, contatto.app, contatto.cli.main; "
    program = f"{loaded}assert not {{'duckdb', 'numba', 'psycopg'}} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("named", "links"),
    [
        ({}, "http://127.0.0.1:PORT"),
        ({"CONTATTO_BASE_URL": "https://leads.example.com/"}, "https://leads.example.com"),
        ({"CONTATTO_HOST": "0.0.0.0"}, "http://127.0.0.1:PORT"),  # noqa: S104  (that is the point)
    ],
)
def test_a_start_says_what_links_carry_and_they_follow_the_port(
    tmp_path: Path, named: dict[str, str], links: str
) -> None:
    server = start(tmp_path, 0, subprocess.PIPE, **named)
    assert server.stdout
    try:
        first, second = (server.stdout.readline().decode().strip() for _ in range(2))
        found = re.search(r"port (\d+)", first)
        assert found
        assert second == f"Links carry {links.replace('PORT', found[1])}"
        assert serves(int(found[1]))
        assert Settings(data_dir=tmp_path).link_address == links.replace("PORT", found[1]).rstrip("/")
        warned = server.stdout.readline().decode() if "CONTATTO_HOST" in named else ""
        assert ("CONTATTO_BASE_URL" in warned) == ("CONTATTO_HOST" in named)
    finally:
        server.send_signal(signal.SIGTERM)
        ended = server.wait(60)
        server.stdout.close()
    assert ended == 0


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_worker_of_its_own_is_refused_on_sqlite(tmp_path: Path, command: str) -> None:
    settings = {"CONTATTO_DATA_DIR": str(tmp_path), "CONTATTO_WORKER": "separate"}
    run = subprocess.run([PROGRAM, command], env=os.environ | settings, capture_output=True, text=True)
    assert run.returncode == 2
    assert "CONTATTO_DATABASE_URL" in run.stderr
