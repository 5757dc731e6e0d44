# ruff: noqa: SLF001  # plain ways are put in the places of private functions
"""Each piece that is there for speed alone: CPU of its journey with the piece, and with it switched off.

A piece takes the place of a plainer way, which still works: it is switched off by putting the plain way back
in the processes of a run. The server runs for real, loaded over keep-alive connections; settling runs in a
process of its own. Runs with and without a piece alternate, and the middle run of each counts. A piece stays
if its journey costs at least a tenth more without it.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final

import contatto.app
import contatto.cli.serve
from bench.clicks import make_links
from bench.decision_parts.shop import make_requests as make_decisions
from bench.fairness_parts.installation import new_database, running_postgres
from bench.forms import make_answers
from bench.harness import Report, measured, options
from bench.intake_parts.sending import make_requests
from bench.intake_parts.serving import Place, learn, make_world, running
from bench.intake_parts.storing import load
from contatto.inbox.actions.incoming import settle_receipts
from contatto.kit.db import database, statements
from contatto.kit.db.statements import PreparedQuery, Query, QuerySnapshot, WorkBatcher
from contatto.kit.db.tx import Tx
from contatto.simulator.world import DemoWorld
from contatto.ui.render import FragmentCache

SAYS = "CPU of a journey without a piece that is there for speed"
LEAST_PCT: Final = 10.0
"""Gain from which on a piece is kept."""
MOST: Final = 2_000
"""Messages of a round: with more that wait, platforms are answered later."""


def leave_alone() -> None:
    """Switch nothing off."""


def run_by_sqlalchemy() -> None:
    """Run every statement on SQLite through SQLAlchemy, instead of a prepared one through the driver."""

    def rows(query: Any, tx: Tx, values: dict[str, Any]) -> list[Sequence[Any]]:
        return [tuple(row) for row in tx.execute(query._statement, values)]

    def list_all(query: Any, tx: Tx, values: dict[str, Any]) -> list[Any]:
        return tx.list(query._shape, query._statement, values)

    def list_again(query: Any, tx: Tx, values: dict[str, Any], _before: Any = None) -> Any:
        return QuerySnapshot(list_all(query, tx, values), [])

    replace(statements, "_bound", lambda *_: None)
    replace(Query, "rows", rows)
    replace(PreparedQuery, "list", list_all)
    replace(PreparedQuery, "list_again", list_again)


def insert_row_by_row() -> None:
    """Send PostgreSQL a statement for each row, instead of one with an array for each column."""
    replace(statements, "bulk_write", lambda *_: None)


def work_one_by_one() -> None:
    """Give each work of a kind a transaction of its own."""
    begin: Any = WorkBatcher.__init__
    replace(WorkBatcher, "__init__", lambda batcher, run, work, _most=1: begin(batcher, run, work, 1))


def enter_all_layers() -> None:
    """Send direct routes through all layers of the app."""
    replace(contatto.app, "DirectRoute", type("Nothing", (), {}))


def render_each_fragment() -> None:
    """Render each fragment anew."""
    replace(FragmentCache, "find", lambda _cache, _key, draw: draw())


def collect_loaded_objects() -> None:
    """Let the garbage collector look at all that was loaded at the start."""
    replace(contatto.cli.serve, "freeze_loaded_objects", leave_alone)


def plan_without_statistics() -> None:
    """Let SQLite plan queries without statistics of its tables."""
    replace(database, "_analyze", lambda _: False)


def replace(owner: Any, name: str, value: Any) -> None:
    """Put the plain way in the place of a function or a method."""
    setattr(owner, name, value)


@dataclass(frozen=True)
class Piece:
    """A piece for speed, the function that switches it off, and its journeys."""

    name: str
    switch_off: Callable[[], None]
    journeys: tuple[str, ...]
    on_postgres: bool = False


PIECES: Final = (
    Piece(
        "prepared statements of the driver",
        run_by_sqlalchemy,
        ("settle", "settle one by one", "touch", "form"),
    ),
    Piece("arrays of rows", insert_row_by_row, ("settle", "webhook"), on_postgres=True),
    Piece("works of one kind together", work_one_by_one, ("touch", "form")),
    Piece("direct routes", enter_all_layers, ("webhook", "touch", "form", "decision")),
    Piece("cache of fragments", render_each_fragment, ("form",)),
    Piece("frozen objects", collect_loaded_objects, ("webhook", "form", "decision")),
    Piece("table statistics", plan_without_statistics, ("settle",)),
)
SWITCHES: Final = {piece.switch_off.__name__: piece.switch_off for piece in PIECES} | {
    leave_alone.__name__: leave_alone
}


def main() -> None:
    """Measure every piece, or do one run of a journey as a child."""
    chosen = options(SAYS, add=_add)
    if chosen.more.run:
        switch, journey, home, url, count = chosen.more.run
        print(json.dumps(measure_journey(switch, journey, Place(Path(home), url), int(count))))
        return
    report = Report("pieces", SAYS, chosen)
    count, rounds = chosen.size(MOST, 300), chosen.size(3, 1)
    with running_postgres(), tempfile.TemporaryDirectory(prefix="contatto-bench-") as folder:
        for piece in PIECES[: chosen.size(len(PIECES), 1)]:
            for journey in piece.journeys:
                add_piece(report, piece, journey, partial(run_journey, piece, journey, folder, count), rounds)
    report.finish()


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", nargs=5, help=argparse.SUPPRESS)


def run_journey(piece: Piece, journey: str, folder: str, count: int, switch: str) -> float:
    """Return the CPU of one unit of a journey, from a process of its own."""
    home = tempfile.mkdtemp(dir=folder)
    url = new_database(f"d{Path(home).name.lower().replace('-', '_')}") if piece.on_postgres else ""
    command = [sys.executable, "-m", "bench.pieces", "--run", switch, journey, home, url, str(count)]
    child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(child.stdout.splitlines()[-1])


def add_piece(report: Report, piece: Piece, journey: str, run: Callable[[str], float], rounds: int) -> None:
    """Measure one journey with and without a piece, in turns."""
    costs: dict[str, list[float]] = {leave_alone.__name__: [], piece.switch_off.__name__: []}
    for _ in range(rounds):
        for switch, values in costs.items():
            values.append(run(switch))
    with_us, without_us = (statistics.median(values) for values in costs.values())
    gain = 100 * (without_us / with_us - 1)
    report.add(
        f"{piece.name}: {journey}{', PostgreSQL' if piece.on_postgres else ''}",
        with_us=with_us,
        without_us=without_us,
        gain_pct=gain,
        earns_its_place="yes" if gain >= LEAST_PCT else "no",
    )
    print(report.rows[-1], file=sys.stderr)


def measure_journey(switch: str, journey: str, place: Place, count: int) -> float:
    """Return the CPU of one unit of a journey in microseconds, with a piece switched off here and there."""
    SWITCHES[switch]()
    world = make_world(place)
    first = f"import bench.forms, bench.pieces; bench.forms.allow_all(); bench.pieces.SWITCHES[{switch!r}]()"
    with running(place, workers=0, first=first) as server:
        if not journey.startswith("settle"):
            warming, requests = make_load(journey, place, world, count)
            load(server, warming)
            return load(server, requests).cpu_us_per(len(requests))
        load(server, make_requests(world, count).requests)
    learn(place)
    context = place.open()
    limit = 1 if journey == "settle one by one" else 0
    with measured() as cost:
        while context.db.write_now(partial(settle_receipts, limit=limit)):
            pass
    context.db.close()
    return cost.cpu_us_per(count)


def make_load(journey: str, place: Place, world: DemoWorld, count: int) -> tuple[list[bytes], list[bytes]]:
    """Return the requests that warm up, a tenth of the others, and those that are measured."""
    total = count + count // 10
    if journey == "webhook":
        requests = make_requests(world, total).requests
    elif journey == "touch":
        requests = list(chain.from_iterable(make_links(place, world, range(total // 10))))
    elif journey == "form":
        requests = [sheet for sheet, _ in make_answers(place, world, range(total))]
    else:
        requests = make_decisions(world.access_token, total)
    warming = len(requests) // 11
    return requests[:warming], requests[warming:]


if __name__ == "__main__":
    main()
