"""No request holds the writer for longer than a turn, whatever its size: others write between its pieces.

The writer is measured by the processor time of its thread, so that a busy machine changes nothing.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import BaseModel, TypeAdapter
from sqlalchemy import Table, func, insert, select

from contatto.audiences.store import audience_changes, audience_members
from contatto.kit.db.database import Write, attempt
from contatto.kit.db.postgres import PostgresDatabase
from contatto.kit.db.tx import Tx
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store.listing import list_leads
from contatto.leads.store.tables import leads
from tests.forms.edges import post
from tests.journeys.running import API, House, csrf_of, running_house, until
from tests.security.routes import Way, every_way
from tests.security.samples import _operations, _resolved

TURN_S: Final = 0.05
"""Processor time of one write. A batch ends after 30 ms; its last piece adds to that."""
TRIES: Final = 3
"""A first statement is compiled, and a neighbour on the core slows a thread down: the best try counts."""
MANY: Final = 100
LONG: Final = 50_000
"""A list or text of a body that may have so many items or characters stands in CASES, or in SMALL."""


@dataclass
class Turns:
    """Processor time of the writes that ran."""

    seconds: list[float] = field(default_factory=list)

    @contextmanager
    def timed(self) -> Iterator[None]:
        started = time.thread_time()
        try:
            yield
        finally:
            self.seconds.append(time.thread_time() - started)


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Turns:
    measured = Turns()
    write_now = PostgresDatabase.write_now

    def timed_attempt(tx: Tx, write: Write) -> None:
        with measured.timed():
            attempt(tx, write)

    def timed_write[T](self: PostgresDatabase, work: Callable[[Tx], T], *, in_background: bool = False) -> T:
        def timed_work(tx: Tx) -> T:
            with measured.timed():
                return work(tx)

        return write_now(self, timed_work, in_background=in_background)

    monkeypatch.setattr("contatto.kit.db.database.attempt", timed_attempt)
    monkeypatch.setattr(PostgresDatabase, "write_now", timed_write)
    return measured


@pytest.fixture
def house(tmp_path: Path, database_url: str, turns: Turns) -> Iterator[House]:
    with running_house(tmp_path, database_url=database_url) as running:
        running.sign_in()
        yield running


def digests(start: int, count: int) -> bytes:
    lines = (hashlib.sha256(str(number).encode()).hexdigest() for number in range(start, start + count))
    return "\n".join(lines).encode()


def upload(house: House, content: bytes) -> str:
    answer = house.client.post(
        f"{API}/dmp/custom_audience/file/upload/",
        data={"advertiser_id": house.advertiser_id, "calculate_type": "EMAIL_SHA256"},
        files={"file": ("digests.csv", content, "text/csv")}, headers={"Access-Token": house.token},
    )  # fmt: skip
    assert answer.json()["code"] == 0, answer.text
    return str(answer.json()["data"]["file_path"])


def hundred_files(house: House) -> list[str]:
    """Return the paths of two files of a whole body, and of 98 small ones."""
    large = [upload(house, digests(number * 20_000, 15_800)) for number in range(2)]
    return large + [upload(house, digests(10**7 + number, 1)) for number in range(98)]


def change_audience_of_files(house: House) -> None:
    paths = hundred_files(house)
    new = {"custom_audience_name": "Regulars", "calculate_type": "EMAIL_SHA256", "file_paths": paths}
    made = house.data("POST", "/dmp/custom_audience/create/", **new)
    for action in ("REMOVE", "APPEND", "REPLACE"):
        house.data("POST", "/dmp/custom_audience/update/", **made, action=action, file_paths=paths)
    ids = [made["custom_audience_id"]]
    house.data("POST", "/dmp/custom_audience/delete/", custom_audience_ids=ids)
    assert until(lambda: count_rows(house, audience_members) + count_rows(house, audience_changes) == 0)


def count_rows(house: House, table: Table) -> int:
    rows = select(func.count()).select_from(table)
    return int(house.context.db.read_now(lambda tx: tx.scalar(rows)))


def make_list_on_the_page(house: House) -> None:
    text = "email\n" + "".join(f"person{number}@mail.example.com\n" for number in range(25_000))
    form = {"advertiser_id": house.advertiser_id, "name": "Pasted", "kind": "EMAIL_SHA256", "text": text}
    answer = post(house, "/ads/audiences", "/ads/audiences/new", **form, country="SG", once="large-list-1")
    assert answer.status_code == 303, answer.text[-500:]


def track_events(house: House) -> None:
    """Send 1,000 events of leads that become qualified, converted and so on."""
    numbers = make_leads(house, 250)
    names = ("contacted", "qualified_lead", "closed_won", "called")
    events = [
        {"event": name, "event_time": int(time.time()) - 60, "event_id": f"{name} {number}",
         "lead": {"lead_id": number, "lead_event_source": "crm"}}
        for name in names for number in numbers
    ]  # fmt: skip
    made = house.data("POST", "/crm/create/", name=f"CRM {time.time_ns()}")
    body = {"event_source": "crm", "event_source_id": made["event_set_id"]}
    house.data("POST", "/event/track/", **body, data=events)


def make_leads(house: House, count: int) -> list[str]:
    """Import leads and return their numbers."""
    start = time.time_ns() // 1_000_000 % 10_000_000
    rows = "".join(f"Row {number},row{start}.{number}@example.com\n" for number in range(count))
    before, rows_before = {lead.id for lead in leads_of(house)}, count_rows(house, leads)
    import_text(house, "name,email\n" + rows)
    assert until(lambda: count_rows(house, leads) >= rows_before + count, seconds=180)
    return [str(lead.number) for lead in leads_of(house) if lead.id not in before]


def leads_of(house: House) -> list[Any]:
    return house.context.db.read_now(
        lambda tx: list_leads(tx, house.business_id, LeadFilter(), limit=100_000)
    )


def import_text(house: House, text: str) -> None:
    answer = post(house, "/leads/import", "/leads/import", text=text, country="SG")
    assert answer.status_code == 303, answer.text[-500:]
    started = post(house, f"{answer.headers['location']}/start", "/leads/import")
    assert started.status_code == 303


def keep_large_draft(house: House) -> None:
    """Choose a file of 4 MB, say what its columns hold, and start nothing."""
    note = "a note about what they asked for, " * 4
    row = "Person {0},person{0}@mail.example.com,+65 9{0:07},{1}\n"
    rows = "".join(row.format(number, note) for number in range(19_000))
    content = ("name,email,phone,notes\n" + rows).encode()
    assert 3.4 * 1024 * 1024 < len(content) <= 4 * 1024 * 1024
    token = csrf_of(house.client.get("/leads/import").text)
    headers = {"content-type": "application/octet-stream", "x-csrf-token": token}
    sent = house.client.post("/leads/import/file", params={"country": "SG"}, content=content, headers=headers)
    assert sent.status_code == 200, sent.text[-500:]
    path = sent.json()["href"]
    columns = {"column": ["name", "email", "phone", "notes"], "country": "SG"}
    assert post(house, path, "/leads/import", **columns).status_code == 303


def upload_ad_figures(house: House) -> None:
    head = "Campaign name,Ad group name,Ad name,Ad ID,Day,Cost,Impressions,Clicks\n"
    row = "C{0},G{0},Ad {0},18012345678{1:05},2026-01-{2:02},1.00,10,1\n"
    rows = "".join(row.format(number % 500, number % 500, 1 + number // 500 % 28) for number in range(14_000))
    form = {"platform": "tiktok", "external_id": "7400000000000000001", "currency": "SGD", "timezone": "UTC"}
    home = "/settings/ad-platforms/upload"
    answer = post(house, f"{home}/start", home, text=head + rows, **form)
    assert answer.status_code == 303, answer.text[-800:]


def change_many_leads(house: House) -> None:
    make_leads(house, 500)
    ids = [lead.id for lead in leads_of(house)][:500]
    for do in ("label", "unlabel"):
        assert post(house, "/leads/bulk", "/leads", do=do, ids=ids, label="many").status_code in (200, 303)
    asked = post(house, "/leads/merge/ask", "/leads", ids=ids)
    assert asked.status_code < 500
    assert post(house, "/leads/erase/ask", "/leads", ids=ids).status_code < 500


CASES: Final[dict[str, tuple[Callable[[House], None], tuple[str, ...]]]] = {
    "audience of a hundred files": (change_audience_of_files, (
        "POST /open_api/v1.3/dmp/custom_audience/create/", "POST /open_api/v1.3/dmp/custom_audience/update/",
        "POST /open_api/v1.3/dmp/custom_audience/delete/",
        "POST /open_api/v1.3/dmp/custom_audience/file/upload/", "POST /ads/audiences/{number}/delete",
    )),
    "list of customers": (make_list_on_the_page, ("POST /ads/audiences",)),
    "thousand events": (track_events, ("POST /open_api/v1.3/event/track/",)),
    "file of leads": (keep_large_draft, (
        "POST /leads/import", "POST /leads/import/file", "POST /leads/import/{job_id}",
        "POST /leads/import/{job_id}/start",
    )),
    "file of ad figures": (upload_ad_figures, (
        "POST /settings/ad-platforms/upload", "POST /settings/ad-platforms/upload/start",
    )),
    "many leads": (change_many_leads, ("POST /leads/bulk", "POST /leads/merge/ask", "POST /leads/erase/ask")),
}  # fmt: skip
"""Requests with the largest bodies, and the routes that they measure."""

TARGETING: Final = "one row, whatever its lists hold"
SMALL: Final = {
    f"POST {API}/adgroup/create/": TARGETING,
    f"POST {API}/adgroup/update/": TARGETING,
    f"POST {API}/smart_plus/adgroup/create/": TARGETING,
    f"POST {API}/smart_plus/adgroup/update/": TARGETING,
    f"POST {API}/smart_plus/ad/create/": "the list is refused",
    f"POST {API}/smart_plus/ad/update/": "the list is refused",
    f"POST {API}/creative/auto_message/create/": "one row of up to 100 questions",
    f"POST {API}/dmp/custom_audience/lookalike/create/": TARGETING,
    f"POST {API}/report/task/create/": "one row; the worker makes the file",
    "POST /operator/placements": TARGETING,
    "POST /settings/auth-codes": "one row with ids of ad accounts",
    "POST /settings/tokens": "one row with ids of ad accounts",
    "POST /settings/integrations/{target_id}/mapping": "one row of the mapping",
}  # fmt: skip
"""Routes with long lists in their bodies whose writes do not grow with them, and why."""


def slowest_turn(house: House, turns: Turns, case: Callable[[House], None]) -> float:
    """Return the longest write of a case, of the best of some tries."""
    best = float("inf")
    for _ in range(TRIES):
        turns.seconds.clear()
        case(house)
        best = min(best, max(turns.seconds))
        if best <= TURN_S:
            break
    return best


@pytest.mark.parametrize("name", CASES)
def test_no_request_holds_the_writer_longer_than_a_turn(house: House, turns: Turns, name: str) -> None:
    slowest = slowest_turn(house, turns, CASES[name][0])
    assert slowest <= TURN_S, f"a write of {name} took {slowest * 1e3:.0f} ms"


def test_a_write_without_bounds_is_seen(house: House, turns: Turns) -> None:
    rows = [
        {"audience_id": "a", "business_id": house.business_id, "fingerprint": number.to_bytes(16)}
        for number in range(100_000)
    ]

    def plant(house: House) -> None:
        with house.context.db.engine.connect() as connection:
            connection.rollback()
        house.context.db.write_now(lambda tx: tx.execute(audience_members.delete()))
        house.context.db.write_now(lambda tx: tx.execute(insert(audience_members), rows))

    assert slowest_turn(house, turns, plant) > TURN_S


def long_parts(schema: Any, path: str = "") -> Iterator[str]:
    """Yield the parts of a body that may hold many items or a long text."""
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "array" and (schema.get("maxItems") or MANY) >= MANY:
        yield path
    if schema.get("type") == "string" and schema.get("maxLength", 0) >= LONG:
        yield path
    yield from long_parts(schema.get("items"), f"{path}[]")
    for name, part in schema.get("properties", {}).items():
        yield from long_parts(part, f"{path}.{name}")
    for part in schema.get("anyOf", ()):
        yield from long_parts(part, path)


def body_schemas(way: Way) -> Iterator[Any]:
    operation = _operations().get(way.name)
    if operation is not None:
        for content in operation.get("requestBody", {}).get("content", {}).values():
            yield content["schema"]
        return
    for parameter in way.dependant.body_params if way.dependant else ():
        kind = parameter.field_info.annotation
        is_model = isinstance(kind, type) and issubclass(kind, BaseModel)
        schema = kind.model_json_schema() if is_model else TypeAdapter(kind).json_schema()
        yield _resolved(schema, schema)


def test_every_route_with_a_large_body_is_measured_or_excused() -> None:
    measured = {route for _, routes in CASES.values() for route in routes}
    large = {
        way.name
        for way in every_way()
        if way.changes and any(True for schema in body_schemas(way) for _ in long_parts(schema))
    }
    assert large - measured - set(SMALL) == set()
    assert set(SMALL) - large == set(), "an excuse that nothing needs"
    assert (measured | set(SMALL)) - {way.name for way in every_way()} == set()
