"""Views and taps of ads, durable: how many a second, the CPU of each, and what counting them ahead costs.

A server process is started for real and loaded from this one over keep-alive connections, with the signed
links that a decision hands out: nine views to a tap. Each is charged, logged for delivery and durable before
it is answered. The floors insert the very same rows of touches with the driver alone. *Counted* is what the
worker takes to count them for reports, in this process; nothing else follows in the background.
"""

import os

from sqlalchemy import text

from bench.harness import Report, measured, options
from bench.intake import Bare, Places, add_engine, run_on_engines
from bench.intake_parts.sending import HOST
from bench.intake_parts.serving import Place, Statements
from bench.journey_parts.measuring import MOST_SENT, Bench, Journey, Paced, Part
from contatto.kit.db.tx import Tx
from contatto.kit.ids import new_number
from contatto.measurement.model import TicketKind, TrackingTicket
from contatto.measurement.rules import TRACKING_KEY, sign_ticket
from contatto.measurement.store import list_measured_ads
from contatto.simulator.world import DemoWorld
from tests.make import count_days_ahead

SAYS = "signed links of ads, viewed and tapped: charged, kept and counted"
VIEWS = slice(0, 9)
TAPS = slice(9, 10)
_COST_MICROS = 2_000
_HOUR_US = 3_600_000_000


def main() -> None:
    chosen = options(SAYS, add=add_engine)
    report = Report("clicks", SAYS, chosen)
    count, sustained_s, paced_s = chosen.size(6_000, 100), chosen.size(120, 4), chosen.size(30, 3)
    run_on_engines(
        report,
        chosen,
        lambda places, workers: bench_engine(report, places, workers, count, sustained_s, paced_s),
    )


def bench_engine(
    report: Report, places: Places, workers: tuple[int, ...], count: int, sustained_s: int, paced_s: int
) -> None:
    bench = Bench(report, places, JOURNEY)
    place = bench.measure_kept(Part("taps kept", TAPS, count), Part("views kept", VIEWS, count * 9))
    bench.measure_floor(place, count * 9)
    count_ahead(bench, place)
    most = int(min(MOST_SENT, bench.kept.per_second(count * 9) * sustained_s))
    for number in workers:
        pace = Paced(slice(None), paced_s) if number == 1 else None
        bench.measure_sustained(most, number, sustained_s, pace)


def count_ahead(bench: Bench, place: Place) -> None:
    """Count what was kept, as the worker does once it has settled."""
    context = place.open()
    statements = Statements(context)
    move = text(f"UPDATE touches SET ts = ts - {_HOUR_US}")
    kept = context.db.write_now(lambda tx: tx.execute(move).rowcount)
    before = statements.count
    with measured() as cost:
        while context.db.write_now(count_days_ahead):
            pass
    context.db.close()
    each = (statements.count - before) / kept
    bench.add(f"{bench.places.engine}: counted for reports", cost, kept, statements=each)


def make_links(place: Place, world: DemoWorld, numbers: range) -> list[list[bytes]]:
    """Impressions by tens, one ten for each number: nine that are only viewed, and one that is tapped."""
    context = place.open()
    signer = context.vault.signer(TRACKING_KEY)
    ads = sorted(context.db.read_now(lambda tx: list_measured_ads(tx, world.business_id)))

    def request(number: int, kind: TicketKind) -> bytes:
        viewer = f"viewer {number // 5}"
        ticket = TrackingTicket(
            kind, world.business_id, ads[number % len(ads)], new_number(), viewer, _COST_MICROS, "SG"
        )
        path = f"/t/{'v' if kind is TicketKind.VIEW else 'c'}/{sign_ticket(ticket, signer)}"
        return f"GET {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode()

    kinds = [TicketKind.VIEW] * 9 + [TicketKind.CLICK]
    requests = [[request(10 * n + place, kind) for place, kind in enumerate(kinds)] for n in numbers]
    context.db.close()
    return requests


def _nothing_waits(_: Tx) -> int:
    return 0


JOURNEY = Journey(
    "touch",
    make_links,
    10,
    1,
    _nothing_waits,
    Bare("touches", "touch_id", "touch_id", "business_id, ad_account_id, day, ts"),
)


if __name__ == "__main__":
    os.environ.pop("CONTATTO_DATABASE_URL", None)
    main()
