"""A real Tryton on SQLite, whose empty company is made once: it can be stopped, killed and started again."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

KEPT: Final = Path(__file__).resolve().parents[2] / ".engines"
PASSWORD = "made up for tests"
PATIENCE_S = 300.0


@dataclass
class Trytond:
    """A server and its folder."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [program("trytond"), "-c", str(self.folder / "trytond.conf"), "-d", "crm"]
        log = (self.folder / "trytond.log").open("ab")
        self.process = subprocess.Popen(command, env=variables_of(self.folder), stdout=log, stderr=log)
        log.close()
        end = time.monotonic() + PATIENCE_S
        while not self._is_up():
            assert self.process.poll() is None, (self.folder / "trytond.log").read_text()[-2_000:]
            assert time.monotonic() < end, "Tryton did not start"
            time.sleep(0.1)

    def _is_up(self) -> bool:
        try:
            urllib.request.urlopen(f"http://{self.host}/", timeout=5).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None


def program(name: str) -> str:
    """A program of the environment that the tests run in."""
    return str(Path(sys.executable).parent / name)


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def find_template() -> Path:
    """An empty company with parties, made once for each release of Tryton and kept in the checkout."""
    KEPT.mkdir(exist_ok=True)
    folder = KEPT / f"tryton-{version('trytond')}-{version('trytond-party')}"
    with (KEPT / "tryton.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            _make_template(folder)
            (folder / "ready").touch()
    return folder


def _make_template(folder: Path) -> None:
    """Takes some ten seconds of CPU."""
    configure(folder, 0)
    (folder / "db").mkdir()
    (folder / "db" / "crm.sqlite").touch()
    command = [program("trytond-admin"), "-c", str(folder / "trytond.conf"), "-d", "crm"]
    options = ["--email", "admin@example.com", "--all", "-u", "party", "--activate-dependencies"]
    subprocess.run([*command, *options], env=variables_of(folder), check=True, capture_output=True)


def variables_of(folder: Path) -> dict[str, str]:
    """Return the environment of a Tryton program in a folder that `configure` has filled."""
    hidden = str(folder / "hidden")
    return {**os.environ, "TRYTONPASSFILE": str(folder / "password"), "PYTHONPATH": hidden}


def configure(folder: Path, port: int) -> None:
    # Where email-validator is installed, Tryton asks the DNS for the domain of each address.
    (folder / "hidden").mkdir(exist_ok=True)
    (folder / "hidden" / "email_validator.py").write_text('raise ImportError("no look-ups in tests")\n')
    (folder / "password").write_text(PASSWORD)
    (folder / "trytond.conf").write_text(
        f"[database]\nuri = sqlite://\npath = {folder / 'db'}\n[web]\nlisten = 127.0.0.1:{port}\n"
        "[session]\nauthentications = password\n"
    )


def started(folder: Path) -> Trytond:
    """A server with a copy of the empty company."""
    shutil.copytree(find_template() / "db", folder / "db")
    server = Trytond(folder, free_port())
    configure(folder, server.port)
    server.start()
    return server
