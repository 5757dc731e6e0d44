"""Instant forms, from their sheet to a lead: how many a second, the CPU of each, beside a floor.

A server process is started for real and loaded from this one over keep-alive connections. Each person has the
sheet of the form served, and sends a name, an e-mail address, a phone number and a consent; the answer comes
when the lead is durable. The floors insert the very same rows of answers with the driver alone.
*Settled* is what follows in the background by itself. *Sustained* counts until that is done too, for each
answer with its sheet; ``waiting_half`` and ``waiting_end`` say what was left at two moments, so whether it
lags behind more and more. ``driver_us`` is the CPU of this process, which is in no other figure.

What limits forms to those that a person could send is off, as all of them come from one network.
"""

import json
import os
import time

from bench.harness import Report, options
from bench.intake import Bare, Places, add_engine, run_on_engines
from bench.intake_parts.sending import HOST
from bench.intake_parts.serving import Place, count_events
from bench.journey_parts.measuring import MOST_SENT, Bench, Journey, Paced, Part
from contatto.channels.model import Platform
from contatto.forms.rules.answers import sign_opening
from contatto.inbox import auth
from contatto.inbox.pages.chat import OPENING_KEY
from contatto.kit.rate_limits import RateLimit
from contatto.simulator.world import DemoWorld
from contatto.ui.render import VISITOR_KEY, Carrier, cookie_name, new_visitor, public_id, sign_visitor

SAYS = "instant forms: their sheet served, answers kept, a lead made"
SHEET, ANSWERS = slice(0, 1), slice(1, 2)
_AGO_S = 30


def main() -> None:
    chosen = options(SAYS, add=add_engine)
    report = Report("forms", SAYS, chosen)
    count, sustained_s, paced_s = chosen.size(10_000, 300), chosen.size(120, 4), chosen.size(30, 3)
    run_on_engines(
        report,
        chosen,
        lambda places, workers: bench_engine(report, places, workers, count, sustained_s, paced_s),
    )


def bench_engine(
    report: Report, places: Places, workers: tuple[int, ...], count: int, sustained_s: int, paced_s: int
) -> None:
    bench = Bench(report, places, JOURNEY)
    place = bench.measure_kept(Part("sheets served", SHEET, count), Part("answers kept", ANSWERS, count))
    bench.measure_floor(place, count)
    bench.measure_settled(place, count)
    most = int(min(MOST_SENT, bench.kept.per_second(count) * sustained_s))
    for number in workers:
        pace = Paced(ANSWERS, paced_s) if number == 1 else None
        bench.measure_sustained(most, number, sustained_s, pace)


def allow_all() -> None:
    """Let a network send as much as it can."""
    vars(auth)["RateLimit"] = lambda most, span_s: RateLimit(most * 1_000_000, span_s)


def make_answers(place: Place, world: DemoWorld, numbers: range) -> list[list[bytes]]:
    """For each person the request for the sheet, and that with the request_pairs; it was opened a while ago.

    A number makes a person, with details that are theirs alone.
    """
    context = place.open()
    account = world.accounts[Platform.WEBCHAT]
    signer, opening_signer = context.vault.signer(VISITOR_KEY), context.vault.signer(OPENING_KEY)
    key, opened_s = context.vault.derivation_key(VISITOR_KEY), int(time.time()) - _AGO_S
    request_pairs: list[list[bytes]] = []
    for number in numbers:
        secret = new_visitor()
        cookie = f"{cookie_name(account.id)}={sign_visitor(secret, account.id, Carrier.COOKIE, signer)}"
        visitor = public_id(secret, account.id, key)
        sent = {
            "page_id": world.page_id,
            "opening": sign_opening(int(world.page_id), visitor, opened_s, opening_signer),
            "submission_id": f"submission-{number}",
            "language": "en",
            "answers": _answers(number),
            "consents": ["c1"],
        }
        path = f"/chat/{account.id}/form"
        sheet = _request("GET", f"{path}/{world.page_id}", cookie, b"")
        request_pairs.append([sheet, _request("POST", path, cookie, json.dumps(sent).encode())])
    context.db.close()
    return request_pairs


def _answers(number: int) -> dict[str, str]:
    return {
        "q1": f"Person {number}",
        "q2": f"p{number}@example.com",
        "q3": f"+65 9{number:07d}",
        "q3.country": "SG",
        "q4": "a",
        "q5": "4",
    }


def _request(method: str, path: str, cookie: str, body: bytes) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nhost: {HOST}\r\ncookie: {cookie}\r\n"
    if body:
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


JOURNEY = Journey(
    "lead",
    make_answers,
    2,
    2,
    count_events,
    Bare("form_answers", "id", "id", "business_id, form_id, at, id"),
    "import bench.forms; bench.forms.allow_all()",
)


if __name__ == "__main__":
    os.environ.pop("CONTATTO_DATABASE_URL", None)
    os.environ["CONTATTO_NEW_VISITORS_PER_HOUR"] = "0"
    main()
