"""How many files of ours each journey enters is said in docs/architecture.md, and no journey grows unseen."""

import asyncio
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import Final

import pytest

import contatto
from contatto.crm.actions.deliveries import schedule_lead
from contatto.crm.actions.targets import NewTarget, link_crm
from contatto.inbox.actions.incoming import settle_receipts
from contatto.inbox.store.conversations import WAITING
from contatto.kit.db.tx import Tx
from contatto.kit.fair_queue import Turns
from contatto.kit.outbound.model import HttpAnswer
from contatto.kit.outbox import Drain
from contatto.leads.rules.records import LeadFilter, person_label
from contatto.leads.store.listing import list_leads
from tests.crm.engine import claim
from tests.crm.engine import settle as settle_request
from tests.crm.test_webhook import SECRET as WEBHOOK_SECRET
from tests.journeys.running import House, ad_group, flush_decisions, message, running_house

PACKAGE: Final = str(Path(contatto.__file__).parent)
MAP: Final = Path(__file__).parents[2] / "docs" / "architecture.md"
ROW: Final = re.compile(r"^\| (?P<journey>[a-z][\w ,]+) \| (?P<files>\d+) \|$", re.MULTILINE)
BESIDE: Final = "ui/live.py"
"""Watches commits and sessions at times of its own, so that it would count for a journey by chance."""
SPARE: Final = 5
"""So many fewer files than the page says may be entered, before the page has to be put right."""
NOW_MS: Final = int(time.time() * 1000)


def told() -> dict[str, int]:
    """What the page says: the most files of each journey."""
    return {row["journey"]: int(row["files"]) for row in ROW.finditer(MAP.read_text(encoding="utf-8"))}


@contextmanager
def entered() -> Iterator[set[str]]:
    """The files of ours whose code begins to run meanwhile, in any thread, without ``BESIDE``."""
    files: set[str] = set()

    def note(code: CodeType, _offset: int) -> object:
        if code.co_filename.startswith(PACKAGE) and not code.co_filename.endswith(BESIDE):
            files.add(code.co_filename.removeprefix(f"{PACKAGE}/"))
        return sys.monitoring.DISABLE

    tool, event = sys.monitoring.PROFILER_ID, sys.monitoring.events.PY_START
    sys.monitoring.use_tool_id(tool, "journeys")
    sys.monitoring.register_callback(tool, event, note)
    sys.monitoring.restart_events()
    sys.monitoring.set_events(tool, event)
    try:
        yield files
    finally:
        sys.monitoring.set_events(tool, 0)
        sys.monitoring.free_tool_id(tool)


def settle(house: House) -> None:
    """What the worker does after a webhook: read what waits, and run the handlers of its events."""
    db = house.context.db
    turns = Turns(WAITING)
    assert db.write_now(lambda tx: settle_receipts(tx, turns=turns))
    asyncio.run(Drain(house.context.installation.after).run_all(db))


def send_message(house: House) -> None:
    content = message("My number is +65 8123 4567", "u1", NOW_MS)
    assert house.webhook("im_receive_msg", content).json() == {"received": True}


def make_ad_group(house: House) -> None:
    campaign = house.data("POST", "/campaign/create/", campaign_name="C", objective_type="LEAD_GENERATION")
    wanted = ad_group(campaign["campaign_id"], "LEAD_GENERATION", house.webchat_id)
    house.data("POST", "/adgroup/create/", **wanted)


def open_a_lead(house: House) -> None:
    of = house.context.db.read_now(lambda tx: list_leads(tx, house.business_id, LeadFilter()))[0]
    assert house.client.get(f"/leads/{of.id}").status_code == 200


def ask_for_an_ad(house: House) -> None:
    asked = {"viewer_id": "viewer", "country": "SG"}
    assert house.client.post("/delivery/decide", json=asked, headers={"Access-Token": house.token}).json()
    flush_decisions(house.client)  # what is written down behind the answer belongs to it


def link_webhook(house: House) -> None:
    new = NewTarget("webhook", "", "https://crm.example.com", {"secret": WEBHOOK_SECRET})
    house.context.db.write_now(lambda tx: link_crm(tx, house.business_id, new, ()))


def deliver_to_crm(house: House) -> None:
    """Change a lead, and send its delivery to a CRM that accepts it."""

    def work(tx: Tx) -> int:
        (lead,) = list_leads(tx, house.business_id, LeadFilter())
        schedule_lead(tx, house.business_id, lead.id)
        requests = claim(tx)
        for request in requests:
            settle_request(tx, request, lambda _: HttpAnswer(204, {}, b""))
        return len(requests)

    assert house.context.db.write_now(work)


PREPARATIONS: Final[dict[str, Callable[[House], object]]] = {"a delivery to a CRM": link_webhook}
"""Steps before a journey that are not counted."""
JOURNEYS: Final[dict[str, Callable[[House], object]]] = {
    "a webhook is stored": send_message,
    "what waits becomes a lead": settle,
    "an ad group is made": make_ad_group,
    "an ad is decided": ask_for_an_ad,
    "a report is read": House.report,
    "the Leads Center is opened": lambda house: house.client.get("/leads"),
    "a lead is opened": open_a_lead,
    "a delivery to a CRM": deliver_to_crm,
}
"""In the order in which they are made, each upon what those before it left."""


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    counts = {}
    with running_house(tmp_path_factory.mktemp("house"), worker="separate") as house:
        house.sign_in()
        house.make_ad("CONVERSATION")
        for name, make in JOURNEYS.items():
            if name in PREPARATIONS:
                PREPARATIONS[name](house)
            with entered() as files:
                make(house)
            counts[name] = len(files)
    return counts


def test_the_map_counts_every_journey() -> None:
    assert set(told()) == set(JOURNEYS)


@pytest.mark.parametrize("journey", JOURNEYS)
def test_a_journey_enters_no_more_files_than_the_map_says(counted: dict[str, int], journey: str) -> None:
    assert told()[journey] - SPARE <= counted[journey] <= told()[journey]


def test_code_that_runs_is_counted_and_what_ran_before_is_not() -> None:
    person_label("Maria", "1")
    with entered() as files:
        pass
    assert files == set()
    with entered() as files:
        person_label("Maria", "1")
    assert files == {"leads/rules/records.py"}
