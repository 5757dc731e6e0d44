"""What the command writes, whichever of it, is for its owner alone: names lie in clear in a database."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from contatto.app import open_context
from contatto.kit.settings import Settings
from contatto.wiring import install
from tests.cli.test_serve import answers, free_port
from tests.journeys.running import until

PROGRAM = str(Path(sys.executable).with_name("contatto"))
NEW = ("--business", "Kopi", "--email", "o@example.com", "--country", "SG", "--currency", "SGD",
       "--timezone", "Asia/Singapore", "--password", "a long enough password")  # fmt: skip


def program(home: Path, *arguments: str) -> dict[str, Any]:
    """How the command is started: with the usual umask, under which others may read."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONTATTO_")}
    chosen = {"CONTATTO_DATA_DIR": str(home / "data"), "TMPDIR": str(home)}
    return {"args": [PROGRAM, *arguments], "env": kept | chosen, "cwd": home, "umask": 0o022}


def run(home: Path, *arguments: str, said: str = "") -> None:
    subprocess.run(**program(home, *arguments), input=said, text=True, check=True, timeout=120)


@contextmanager
def running(home: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that goes on until it is told to end."""
    process = subprocess.Popen(**program(home, *arguments))
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    finally:
        process.kill()
        process.wait()


def open_to_others(folder: Path) -> list[str]:
    """A folder, and what is below it, that others than the owner may read, write or enter."""
    found = [folder, *folder.rglob("*")]
    return [f"{stat.S_IMODE(path.stat().st_mode):o} {path}" for path in found if path.stat().st_mode & 0o077]


def test_an_installation_of_the_command_is_its_owners_alone(tmp_path: Path) -> None:
    run(tmp_path, "init", *NEW)
    run(tmp_path, "keys", "rotate")
    run(tmp_path, "seal", "--folder", str(tmp_path / "out" / "sealed"))
    port = free_port()
    with running(tmp_path, "serve", "--port", str(port)) as server:
        assert until(lambda: answers(port) or server.poll() is not None, seconds=90)
        names = {path.name for path in (tmp_path / "data").iterdir()}
        assert {"secret.keys", "contatto.sqlite3", "contatto.sqlite3-wal"} <= names
        assert open_to_others(tmp_path) == []
    assert (tmp_path / "out" / "sealed").exists()
    assert open_to_others(tmp_path) == []


def test_a_demo_world_is_its_owners_alone(tmp_path: Path) -> None:
    ready = tmp_path / "ready" / "ready.json"
    places = ("--port", "0", "--data-dir", str(tmp_path / "data"), "--ready-file", str(ready))
    with running(tmp_path, "demo", *places, "--people", "10", "--days", "1", "--no-live") as demo:
        assert until(lambda: ready.exists() or demo.poll() is not None, seconds=120)
        assert ready.exists()
        assert open_to_others(tmp_path) == []
    assert open_to_others(tmp_path) == []


def test_what_other_commands_write_for_people_is_for_the_owner_too(tmp_path: Path) -> None:
    found = tmp_path / "found.jsonl"
    run(tmp_path, "detect", "--country", "SG", "--output", str(found), said="+65 8123 4567")
    assert found.stat().st_size
    assert open_to_others(tmp_path) == []


@pytest.fixture
def loose(tmp_path: Path) -> Any:
    """An installation that somebody copied back with rights for all."""
    settings = Settings(data_dir=tmp_path / "data")
    open_context(install(settings)).db.close()
    loosened = [settings.data_dir / "secret.keys", settings.data_dir / "contatto.sqlite3"]
    for path in loosened:
        path.chmod(0o644)
    return settings


def test_files_that_were_there_before_are_taken_from_others(loose: Settings) -> None:
    with closing(open_context(install(loose)).db):
        assert [path for path in open_to_others(loose.data_dir) if "/data/" in path] == []
