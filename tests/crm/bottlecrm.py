"""A real BottleCRM on the PostgreSQL of the tests, in an environment of its own below .engines.

It is installed from the package index when it is missing there. Its licence is MIT. It wants no broker here:
what it hands to background tasks is dropped.
"""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests import postgres
from tests.crm.trytond import free_port

RELEASE: Final = "django-crm==1.35.0"
HOME: Final = Path(__file__).resolve().parents[2] / ".engines" / "bottlecrm"
READY: Final = HOME / "ready"
ADMIN: Final = "admin@example.com"
PATIENCE_S: Final = 300.0
TOKEN: Final = """
import django
django.setup()
from django.db import connection
from common.models import Org, PersonalAccessToken, Profile
from common.rls import get_set_context_sql
org = Org.objects.first()
with connection.cursor() as cursor:
    cursor.execute(get_set_context_sql(), [str(org.id)])
print(PersonalAccessToken.generate(Profile.objects.filter(org=org).first(), "sync")[0])
"""
"""Prints a token of the one business that the seed has made."""


class Unreachable(Exception):
    """It cannot be installed, as there is no package index."""


def install() -> None:
    """Install it, unless it is there.

    Raises:
        Unreachable.
    """
    if READY.exists():
        return
    make = [sys.executable, "-m", "venv", "--clear", str(HOME)]
    fill = [str(HOME / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", RELEASE]
    for command in (make, fill):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unreachable(done.stderr[-500:])
    READY.touch()


@dataclass
class BottleServer:
    """One business on a server that can be stopped and started again."""

    folder: Path
    database: str
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """An empty business: takes more than a minute of CPU, nearly all of it for its schema."""
        with postgres.admin() as admin:
            admin.execute(f"CREATE DATABASE {self.database} OWNER {postgres.OWNER}")
        self.command("migrate", "-v", "0")
        self.command("create_default_admin")
        self.command("seed_data", "--email", ADMIN, "--orgs", "1", "--leads", "0", "--no-input")

    def command(self, *arguments: str) -> str:
        return self.run("-m", "django", *arguments)

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [self._python(), *arguments],
            env=self._variables(),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2_000:]
        return done.stdout

    def token(self) -> str:
        return self.run("-c", TOKEN).split()[-1]

    def start(self) -> None:
        command = [self._python(), "-m", "uvicorn", "crm.asgi:application", "--port", str(self.port)]
        with (self.folder / "bottlecrm.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=self._variables(), cwd=self.folder, stdout=log, stderr=log
            )
        end = time.monotonic() + PATIENCE_S
        while not self._is_up():
            assert self.process.poll() is None, (self.folder / "bottlecrm.log").read_text()[-2_000:]
            assert time.monotonic() < end, "BottleCRM did not start"
            time.sleep(0.1)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(60)
            self.process = None

    def _is_up(self) -> bool:
        try:
            urllib.request.urlopen(f"http://{self.host}/api/leads/", timeout=30).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    @staticmethod
    def _python() -> str:
        return str(HOME / "bin" / "python")

    def _variables(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "DJANGO_SETTINGS_MODULE": "crm.settings",
            "SECRET_KEY": "made up for tests, and long enough for a key",
            "ENV_TYPE": "dev",
            "DEBUG": "True",
            "ALLOWED_HOSTS": "127.0.0.1",
            "DBNAME": self.database,
            "DBUSER": postgres.OWNER,
            "DBPASSWORD": "",
            "DBHOST": str(postgres.run_dir()),
            "DBPORT": "5432",
            "CELERY_BROKER_URL": "memory://",
            "CELERY_RESULT_BACKEND": "cache+memory://",
            "ADMIN_EMAIL": ADMIN,
            "ADMIN_PASSWORD": "made-up-for-tests-1",
        }
