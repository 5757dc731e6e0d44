"""The other side of a pull: a second Contatto on a real socket, and a script of what goes wrong."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx2

from contatto.ad_platforms.actions import PULL_KIND
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.outbound.model import HttpAnswer, HttpOutcome, HttpRequest
from contatto.kit.outbound.queue import OutboundKind
from contatto.kit.values import micros
from contatto.measurement import actions as measurement
from contatto.measurement.model import TouchKind
from contatto.measurement.rules import natural_number
from contatto.measurement.store import find_measured_ad_by_number
from tests.journeys.running import House
from tests.make import record_touch
from tests.outbound import answer, claim_all

type Trick = HttpOutcome | Callable[[HttpRequest, HttpAnswer], HttpOutcome]
MOST_STEPS = 500


@dataclass
class Counterpart:
    """Sends what a pull asks to a server, and tells of everything that was asked.

    ``tricks`` are played one for each request: an outcome in place of asking, or a change of what was
    answered; None lets a request through.
    """

    send_on: Callable[[HttpRequest], HttpAnswer]
    tricks: list[Trick | None] = field(default_factory=list)
    asked: list[HttpRequest] = field(default_factory=list)

    def send(self, request: HttpRequest) -> HttpOutcome:
        self.asked.append(request)
        trick = self.tricks.pop(0) if self.tricks else None
        if trick is None:
            return self.send_on(request)
        return trick(request, self.send_on(request)) if callable(trick) else trick

    @property
    def names(self) -> list[str]:
        """What was asked for, by the endpoints' names."""
        return [httpx2.URL(each.url).path.removeprefix("/open_api/v1.3/").strip("/") for each in self.asked]


def send_for_real(request: HttpRequest) -> HttpAnswer:
    """Send a request through a real socket."""
    with httpx2.Client(trust_env=False) as client:
        found = client.request(
            request.method, request.url, headers=dict(request.headers), content=request.body
        )
    return HttpAnswer(
        found.status_code, {key.lower(): value for key, value in found.headers.items()}, found.content
    )


def pull(db: Database, side: Counterpart, kind: OutboundKind | None = None) -> None:
    """Carry out the pulls that are due, as the machine does: each step in a transaction of its own."""
    used = kind or PULL_KIND
    for claimed in db.write_now(lambda tx: claim_all(tx, used)):
        request, ask = claimed
        for _ in range(MOST_STEPS):
            outcome = side.send(ask.request)
            step = db.write_now(lambda tx: answer(tx, used, (request, ask), outcome))  # noqa: B023
            if step is None:
                break
            ask = step
        else:
            raise AssertionError("the pull never came to an end")


def spend(house: House, ad_id: str, at: datetime, spends: Iterable[float], *, clicks: int = 0) -> None:
    """Have an ad of a house be seen, each view with its price, and tapped for nothing."""
    views = [round(amount * 1_000_000) for amount in spends]

    def record(tx: Tx) -> None:
        ad = find_measured_ad_by_number(tx, house.business_id, int(ad_id))
        assert ad is not None
        for kind, costs in ((TouchKind.VIEW, views), (TouchKind.CLICK, [0] * clicks)):
            for number, cost in enumerate(costs):
                place = (f"{kind}{number}", micros(at), tx.now)
                touch_id = natural_number(ad_id, *map(str, place))
                touch = measurement.stamp_touch(ad, kind, f"somebody {number}", micros(at), touch_id, cost)
                record_touch(tx, touch)

    house.context.db.write_now(record)


def json_answer(text: str, status: int = 200, **headers: str) -> HttpAnswer:
    return HttpAnswer(status, {key.replace("_", "-"): value for key, value in headers.items()}, text.encode())


def noon(day: int, month: int = 1) -> datetime:
    """Noon in Singapore on a day of 2026."""
    return datetime(2026, month, day, 4, tzinfo=UTC)
