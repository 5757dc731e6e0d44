"""What monitoring reads: behind a token, closed without one, and the same sums as the ledger."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from contatto.crm.actions.targets import NewTarget, link_crm, load_target
from contatto.kit.db.tx import Tx
from tests import make
from tests.journeys.running import House, running_house

TOKEN = "a-token-of-the-operator"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path, worker="separate", metrics_token=TOKEN) as opened:
        yield opened


def scrape(house: House, token: str = TOKEN) -> dict[str, float]:
    answer = house.client.get("/metrics", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_without_a_token_in_the_settings_there_is_no_such_page(tmp_path: Path) -> None:
    with running_house(tmp_path, worker="separate") as house:
        for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": f"Bearer {TOKEN}"}):
            assert house.client.get("/metrics", headers=headers).status_code == 404


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x"])
def test_whoever_has_not_the_token_is_told_nothing(house: House, header: str) -> None:
    answer = house.client.get("/metrics", headers={"Authorization": header} if header else {})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert "contatto_" not in answer.text


def test_what_waits_and_how_far_leads_are_is_counted_and_nobody_is_named(house: House) -> None:
    def work(tx: Tx) -> None:
        given = {"database": "crm", "user": "u", "password": "p"}
        new = NewTarget("tryton", "Kopi CRM", "https://crm.example.com", given)
        target = link_crm(tx, house.business_id, new, ())
        for number in range(3):
            make.lead(tx, house.business_id, make.contact(f"+659123456{number}"), person_id=f"p{number}")
        load_target(tx, house.business_id, target.number)

    house.context.db.write_now(work)
    found = scrape(house)
    leads = {name: value for name, value in found.items() if name.startswith("contatto_crm_leads{")}
    (due,) = (value for name, value in leads.items() if 'state="due"' in name)
    assert (due, sum(leads.values())) == (3, 3)
    assert found['contatto_intake{state="received"}'] == 0
    assert found["contatto_outbox_waiting"] > 0
    assert found['contatto_outbound_requests{kind="crm_delivery",state="due"}'] >= 3
    told = house.client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
    assert not [word for word in ("Kopi", "+659", "example.com", house.business_id) if word in told]
