"""Memory of a server: empty, under load, and after each kind of rare work.

PSS counts pages that processes share by their share, RSS in full. Children of the server are named apart.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx2

from bench.fairness_parts.installation import end, free_port, wait_until_open
from bench.harness import Report, options, process_rss_mib
from bench.intake_parts.serving import Place, make_world
from contatto.simulator.world import DemoWorld

PAGES = ("/", "/inbox", "/leads", "/ads", "/reports", "/forms", "/settings/members", "/settings/integrations")
CSRF = re.compile(r'name="csrf-token" content="([^"]+)"')
SETTLES_S = 10
MAINTENANCE_S = 75
"""Seconds after which a server has done its first work on files."""


def main() -> None:
    chosen = options(__doc__ or "")
    report = Report("memory", "MiB of a server on SQLite", chosen)
    rounds = chosen.size(100, 15)
    with tempfile.TemporaryDirectory(prefix="contatto-memory-") as folder:
        watch_server(report, Path(folder) / "empty", {})
        home = Path(folder) / "world"
        world = make_world(Place(home))
        work: dict[str, Callable[[httpx2.Client], None]] = {
            "pages": lambda client: read_pages(client, world, rounds),
            "ad decisions": lambda client: decide(client, world, 20 * rounds),
            "pages again": lambda client: read_pages(client, world, rounds),
        }
        if not chosen.quick:
            work["maintenance"] = lambda _: time.sleep(MAINTENANCE_S)
        watch_server(report, home, work)
    report.finish()


def watch_server(report: Report, home: Path, work: dict[str, Callable[[httpx2.Client], None]]) -> None:
    """Start a server, and measure it after each kind of work."""
    port = free_port()
    env = os.environ | {"CONTATTO_DATA_DIR": str(home)}
    program = "from contatto.cli.main import app; app()"
    command = [sys.executable, "-c", program, "serve", "--port", str(port)]
    server = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    try:
        wait_until_open(port)
        time.sleep(SETTLES_S)
        measure(report, f"{home.name}: started", server.pid)
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            for name, act in work.items():
                act(client)
                time.sleep(SETTLES_S / 2)
                measure(report, f"{home.name}: {name}", server.pid)
    finally:
        server.terminate()
        end(server)


def measure(report: Report, case: str, pid: int) -> None:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    report.add(
        case,
        pss_mib=round(pss_mib(pid)),
        rss_mib=round(process_rss_mib(pid)),
        children=len(children),
        children_pss_mib=round(sum(pss_mib(int(child)) for child in children)),
    )


def pss_mib(pid: int) -> float:
    """Return the proportional set size of a process (Linux only)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024


def sign_in(client: httpx2.Client, world: DemoWorld) -> None:
    if client.cookies:
        return
    login = world.logins[0]
    token = CSRF.search(client.get("/login").text)
    values = {"email": login.email, "password": login.password, "csrf_token": token[1] if token else ""}
    answer = client.post("/login", data=values, headers={"X-CSRF-Token": values["csrf_token"]})
    if answer.status_code != 303:
        raise RuntimeError(f"no log-in: {answer.status_code}")


def read_pages(client: httpx2.Client, world: DemoWorld, rounds: int) -> None:
    sign_in(client, world)
    for _ in range(rounds):
        for page in PAGES:
            client.get(page, follow_redirects=True).raise_for_status()


def decide(client: httpx2.Client, world: DemoWorld, count: int) -> None:
    headers = {"Access-Token": world.access_token}
    for number in range(count):
        body = {"viewer_id": f"viewer {number}", "country": "SG"}
        client.post("/delivery/decide", json=body, headers=headers).raise_for_status()


if __name__ == "__main__":
    os.environ.pop("CONTATTO_DATABASE_URL", None)
    main()
