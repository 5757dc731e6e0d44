"""The report page over a short log and one twenty times as long: its figures and the ratio, side by side.

Each log is ninety days of one business. The views of old days lie in sealed files, all other events in the
database, and the worker's own counting counts them ahead. Each page is asked for through the whole app, in
this process, of one log and of the other in turn, and timed from request to answer, by the clock and by the
processor; the worker rests meanwhile, as it does between two runs. Target: 40 ms at the median, and at most
1.3 times as much over the longer log.

Beside the time stand the statements of a page and the steps of SQLite's machine in them, in thousands: both
are the same on a busy machine.

The short log of a quick run is so short that most ad groups have no conversion in most countries on a day:
its counts by country have 4,200 rows, those of its longer log 7,100, and of any longer one 7,200. So its
ratio by country says little; that of the whole run, where both logs have nearly all of them, does.

With `--data DIR` what was filled and counted stays, and the next run of the same sizes goes on with it.
"""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from starlette.testclient import TestClient

from bench.harness import Options, Report, measured, options
from bench.pages import Timed, sign_in, time_pages
from bench.pages_parts.steps import Steps
from bench.reports_parts.filling import fill, make_world, open_world
from contatto.app import create_app
from contatto.kit.log import set_up_logs
from tests.make import count_days_ahead

SAYS = "the report page over a short log and a long one, from request to answer"
RESTS_S = 30
"""Seconds from the worker's last count to the request of a page."""
PAGES = {
    "7 days": "/reports?period=last_7",
    "30 days": "/reports?period=last_30",
    "30 days, compared": "/reports?period=last_30&compare=yes",
    "30 days by country": "/reports?period=last_30&by=country",
    "30 days by hour": "/reports?period=last_30&by=hour",
    "90 days, compared": "/reports?period=last_90&compare=yes",
    "30 days as CSV": "/reports/csv?period=last_30",
    "the ads, 7 days": "/ads?period=last_7",
}


def main() -> None:
    """Fill two databases, let the worker count, time the pages of both."""
    chosen = options(SAYS, add=add_data)
    set_up_logs("warning", "json")
    report = Report("reports", SAYS, chosen)
    sizes = (chosen.size(1_000_000, 100_000), chosen.size(20_000_000, 2_000_000))
    with folder_of(chosen) as folder, ExitStack() as open_apps:
        logs = [open_log(report, folder / str(size), size, open_apps) for size in sizes]
        for case, path in PAGES.items():
            short, long = time_pages([client for client, _ in logs], path, chosen.size(40, 15))
            add(report, case, short, long, [steps.of(client, path) for client, steps in logs])
    report.finish()


def add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, metavar="DIR", help="keep what is filled, and use it again")


@contextmanager
def folder_of(chosen: Options) -> Iterator[Path]:
    if chosen.data is not None:
        yield chosen.data
        return
    with tempfile.TemporaryDirectory(prefix="contatto-bench-") as folder:
        yield Path(folder)


def open_log(report: Report, home: Path, touches: int, open_apps: ExitStack) -> tuple[TestClient, Steps]:
    """Fill a log and count it, if no run before has, and sign in."""
    filled = home / "filled"
    is_filled = filled.exists()
    context, clock = open_world(home)
    open_apps.callback(context.db.close)
    if not is_filled:
        with measured() as filling:
            fill(make_world(context), touches)
        with measured() as counting:
            while context.db.write_now(count_days_ahead):
                pass
        figures = {"fill_s": filling.wall_s, "count_s": counting.wall_s, "count_cpu_s": counting.cpu_s}
        report.add(f"{touches:,} touches", **figures)
        filled.touch()
    clock.advance(seconds=RESTS_S)
    steps = Steps(context.db.engine)
    app = create_app(context)
    client = open_apps.enter_context(TestClient(app, base_url="http://127.0.0.1:8000"))
    sign_in(client)
    return client, steps


def add(report: Report, case: str, short: Timed, long: Timed, work: list[tuple[int, float]]) -> None:
    (statements, short_steps), (_, long_steps) = work
    report.add(
        case,
        short_ms=short.median_ms,
        long_ms=long.median_ms,
        ratio=round(long.median_ms / short.median_ms, 2),
        short_p95_ms=short.p95_ms,
        long_p95_ms=long.p95_ms,
        short_cpu_ms=short.cpu_ms,
        long_cpu_ms=long.cpu_ms,
        cpu_ratio=round(long.cpu_ms / short.cpu_ms, 2),
        statements=statements,
        short_ksteps=short_steps,
        long_ksteps=long_steps,
    )


if __name__ == "__main__":
    main()
