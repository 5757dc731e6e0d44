"""`contatto serve` ends as a service must: soon and with 0, also while pages listen."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journeys.running import until

PROGRAM = str(Path(sys.executable).with_name("contatto"))


def start(home: Path, port: int) -> subprocess.Popen[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONTATTO_")}
    settings = {"CONTATTO_DATA_DIR": str(home), "CONTATTO_LOG_LEVEL": "error"}
    command = [PROGRAM, "serve", "--port", str(port)]
    return subprocess.Popen(command, env=kept | settings, cwd=home, stdout=subprocess.DEVNULL)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


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


def test_a_server_starts_without_the_engine_that_only_sealing_and_attributing_need() -> None:
    program = "import sys, contatto.app, contatto.cli.main; assert 'duckdb' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
