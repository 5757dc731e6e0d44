"""Pages of the Leads Center over many leads and messages: server time, and the memory of an XLSX export.

The database is filled straight through its own tables, with sealed contact values and messages as the product
writes them. Each page is then asked for through the whole app, in this process, and timed from request to
answer: by the clock, by the processor of this process, and by that of a PostgreSQL server on this machine.
On a machine that other work shares the clock says little; the processor's time is what a page costs.
Beside it stand the statements of the page and the steps of SQLite's machine in them, in thousands, which
are the same on a busy machine.
Targets: under 50 ms at the median and under 150 ms at p95; an export of all leads under 150 MiB, of which a
good half is the program itself.

With `--data DIR` what was filled stays, and the next run with as many leads and messages goes on with it.
With `--database URL` the pages come from PostgreSQL: the URL of a database without tables.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.testclient import TestClient

from bench.harness import Options, Report, measured, options, percentile
from bench.pages_parts.filling import EMAIL, PASSWORD, fill
from bench.pages_parts.server_time import ServerTime
from bench.pages_parts.steps import Steps
from contatto.app import create_app, open_context
from contatto.kit.log import set_up_logs
from contatto.kit.settings import Settings
from contatto.ui.requests import Context
from contatto.wiring import install

SAYS = "pages of the Leads Center, from request to answer"
WORLD = "world.json"
"""File beside the database: the ids that the pages ask for, and how much was filled."""


def main() -> None:
    """Fill a database, time the pages, weigh the export."""
    chosen = options(SAYS, keeps_data=True)
    set_up_logs("warning", "json")
    report = Report("pages", SAYS, chosen)
    leads, messages = chosen.size(100_000, 10_000), chosen.size(1_000_000, 50_000)
    with _home(chosen) as home:
        context = open_context(
            install(Settings(data_dir=home, database_url=chosen.database, worker="separate"))
        )
        world = read_world(report, context, leads, messages)
        server, steps = ServerTime(context.settings.url), Steps(context.db.engine)
        with TestClient(create_app(context), base_url="http://127.0.0.1:8000") as client:
            sign_in(client)
            for case, path in pages(world).items():
                add_page(report, client, case, path, chosen.size(60, 20), (server, steps))
        server.close()
        context.db.close()
        add_export(report, home, chosen.database, leads)
    report.finish()


@contextmanager
def _home(chosen: Options) -> Iterator[Path]:
    if chosen.data is not None:
        chosen.data.mkdir(parents=True, exist_ok=True)
        yield chosen.data
        return
    with tempfile.TemporaryDirectory(prefix="contatto-bench-") as folder:
        yield Path(folder)


def read_world(report: Report, context: Context, leads: int, messages: int) -> dict[str, str]:
    """Read the world of an earlier run from the folder, or fill a new one."""
    kept, size = context.settings.data_dir / WORLD, f"{leads:,} leads, {messages:,} messages"
    if kept.exists():
        world: dict[str, str] = json.loads(kept.read_text())
        if world["size"] != size:
            raise SystemExit(f"{kept.parent} holds {world['size']}; remove it or choose another folder")
        return world
    with measured() as filling:
        world = fill(context, leads, messages) | {"size": size}
    kept.write_text(json.dumps(world))
    report.add(f"fill: {size}", rows_per_s=(leads + messages) / filling.wall_s)
    return world


def pages(world: dict[str, str]) -> dict[str, str]:
    """Return the paths of the timed pages by their names."""
    return {
        "first page": "/leads",
        "rows alone, as a live refresh": "/leads/rows",
        "last page": "/leads?page=999999",
        "filter: status": "/leads/rows?status=qualified",
        "filter: owner and country": f"/leads/rows?owner={world['member']}&country=SG",
        "filter: label": f"/leads/rows?label={world['label']}",
        "filter: no label": "/leads/rows?label=none",
        "filter: ad group": f"/leads/rows?ad_group={world['ad_group']}",
        "filter: has an e-mail, no phone": "/leads/rows?has=email&has=no_phone",
        "filter: possible duplicates": "/leads/rows?twins=1",
        "filter: source": "/leads/rows?source=form",
        "filter: unread": "/leads/rows?thread=unread",
        "filter: campaign": "/leads/rows?campaign=9001",
        "filter: any of three": f"/leads/rows?status=raw&country=SG&label={world['label']}&any=1",
        "sort: name": "/leads/rows?sort=name",
        "sort: last activity": "/leads/rows?sort=-last_activity",
        "sort: status": "/leads/rows?sort=status",
        "sort: score, with its column": "/leads/rows?sort=-score&column=score",
        "sort: score, among raw leads": "/leads/rows?sort=-score&status=raw",
        "filter: high score": "/leads/rows?score=high&column=score",
        "search: part of a name": "/leads/rows?q=lila",
        "search: a phone number": "/leads/rows?q=%2B65900000042",
        "search: an ad": "/leads/rows?q=Spring+7",
        "search: nothing found": "/leads/rows?q=zzzzzz",
        "one lead": f"/leads/{world['lead']}",
        "inbox": "/inbox",
        "inbox: mine, resolved": "/inbox?tab=mine&show=resolved",
        "one conversation": f"/inbox/{world['conversation']}",
        "counts of the navigation": "/nav",
    }


@dataclass(frozen=True, slots=True)
class Timed:
    """Time of a page by the clock and by the processor of this process, in ms, and its size."""

    took: list[float]
    used: list[float]
    kib: float

    @property
    def median_ms(self) -> float:
        return percentile(self.took, 0.5)

    @property
    def p95_ms(self) -> float:
        return percentile(self.took, 0.95)

    @property
    def cpu_ms(self) -> float:
        return percentile(self.used, 0.5)


def time_pages(clients: Sequence[TestClient], path: str, rounds: int) -> list[Timed]:
    """Time one page of each of some apps, in turn: none is always the first."""
    for _ in range(2):  # these fill caches
        answers = [client.get(path) for client in clients]
    timed = [Timed([], [], len(answer.content) / 1024) for answer in answers]
    pairs = list(zip(clients, timed, strict=True))
    for _ in range(rounds):
        pairs.reverse()
        for client, page in pairs:
            started, cpu = time.perf_counter(), time.process_time()
            answer = client.get(path)
            page.took.append((time.perf_counter() - started) * 1e3)
            page.used.append((time.process_time() - cpu) * 1e3)
            if answer.status_code != 200:
                raise RuntimeError(f"{path} answered {answer.status_code}")
    return timed


def add_page(
    report: Report,
    client: TestClient,
    case: str,
    path: str,
    rounds: int,
    outsiders: tuple[ServerTime, Steps],
) -> None:
    """Time one page and add its row, with the time of the database's server and what it is asked."""
    server, steps = outsiders
    statements, ksteps = steps.of(client, path)
    outside = server.used_s()
    (page,) = time_pages([client], path, rounds)
    outside = server.used_s() - outside
    report.add(
        case,
        median_ms=page.median_ms,
        p95_ms=page.p95_ms,
        cpu_ms=page.cpu_ms,
        cpu_p95_ms=percentile(page.used, 0.95),
        **({"database_cpu_ms": outside * 1e3 / (rounds + 2)} if outside else {}),
        kib=page.kib,
        statements=statements,
        **({"ksteps": ksteps} if ksteps else {}),
    )


def add_export(report: Report, home: Path, database: str, leads: int) -> None:
    """Export in a process of its own, so that its memory is the export's alone."""
    code = "import sys; from bench.pages_parts.exporting import export; export(*sys.argv[1:])"
    with measured(children=True) as cost:
        done = subprocess.run(
            [sys.executable, "-c", code, str(home), database], check=True, capture_output=True, text=True
        )
    size, before, peak = (float(part) for part in done.stdout.split())
    report.add(
        "XLSX of all leads",
        seconds=cost.wall_s,
        cpu_s=cost.cpu_s,
        peak_mib=peak,
        added_mib=peak - before,
        kib=size / 1024,
        rows_per_s=leads / cost.wall_s,
    )


def sign_in(client: TestClient) -> None:
    page = client.get("/login").text
    token = page.split('name="csrf_token" value="')[1].partition('"')[0]
    form = {"email": EMAIL, "password": PASSWORD, "csrf_token": token}
    if client.post("/login", data=form, follow_redirects=False).status_code != 303:
        raise RuntimeError("the log-in failed")


if __name__ == "__main__":
    main()
