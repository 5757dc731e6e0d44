"""What a CRM posts of changes: signed, taken once, and by the same way as what is asked for."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from standardwebhooks.webhooks import Webhook

from contatto.crm.actions.checks import INCOMING_PATH, open_incoming
from contatto.crm.actions.targets import NewTarget, link_crm, load_target, map_target
from contatto.crm.model import Target
from contatto.crm.store.deliveries import list_records, record_link, save_echoes
from contatto.kit.db.tx import Tx
from contatto.leads.model import HistoryKind, Lead, LeadStatus
from contatto.leads.store.records import find_lead, list_history
from tests import make
from tests.journeys.running import House, csrf_of, running_house

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Desk:
    """A house with a lead that is due at a signed webhook, whose program posts back."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.lead, self.target, self.secret = house.context.db.write_now(self._begin)
        self.numbers = iter(range(10_000))

    def _begin(self, tx: Tx) -> tuple[Lead, Target, str]:
        given = {"secret": SECRET}
        new = NewTarget("webhook", "Desk", "https://crm.example.com", given)
        target = link_crm(tx, self.house.business_id, new, ())
        map_target(tx, target, (), {"gewonnen": "converted"})
        lead = make.lead(tx, self.house.business_id, make.contact())
        secret = open_incoming(tx, target)
        found = load_target(tx, self.house.business_id, target.number)
        return lead, found, secret

    def post(self, data: Any, *, message_id: str = "", age_s: int = 0, **changes: Any) -> httpx2.Response:
        body = json.dumps({"type": "record.changed", "data": data})
        name = message_id or f"msg-{next(self.numbers)}"
        at = datetime.now(UTC) - timedelta(seconds=age_s)
        headers = {
            "webhook-id": name,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(changes.get("secret", self.secret)).sign(name, at, body),
        }
        path = changes.get("path", INCOMING_PATH.format(target_id=self.target.number))
        return self.house.client.post(path, content=changes.get("body", body), headers=headers)

    def told(self) -> list[tuple[str, str]]:
        read = self.house.context.db.read_now
        found = read(lambda tx: list_history(tx, self.house.business_id, self.lead.id))
        return [(each.detail, each.actor) for each in found if each.what is HistoryKind.CRM_EVENT]

    def status(self) -> LeadStatus:
        read = self.house.context.db.read_now
        found = read(lambda tx: find_lead(tx, self.house.business_id, self.lead.id))
        assert found is not None
        return found.status


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Desk]:
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_copy")
    with running_house(tmp_path, database_url=url) as house:
        yield Desk(house)


def test_what_is_signed_is_taken_once_and_shown_with_its_writer(desk: Desk) -> None:
    change = {"lead_id": desk.lead.id, "status": "gewonnen", "owner": "bea@example.com", "by": "Bea"}
    taken = desk.post([change, {"lead_id": "nobody", "status": "x"}], message_id="first")
    assert taken.status_code == 200
    assert taken.json() == {"received": 2}
    assert desk.status() is LeadStatus.CONVERTED
    assert sorted(desk.told()) == [
        ("owner: bea@example.com", "Bea (Desk)"), ("status: gewonnen", "Bea (Desk)")
    ]  # fmt: skip
    desk.post({"lead_id": desk.lead.id, "value": "120.50 EUR"})
    assert len(desk.told()) == 3
    assert desk.post({"lead_id": desk.lead.id, "value": "1 EUR"}, message_id="first").status_code == 200
    assert desk.post(change).status_code == 200, "the same news in another message"
    assert len(desk.told()) == 3, "a message that was seen, or no news, was taken"


def test_what_we_wrote_there_ourselves_is_no_news(desk: Desk) -> None:
    def write(tx: Tx) -> None:
        own = {"target_id": desk.target.id, "lead_id": desk.lead.id}
        (found,) = list_records(tx, desk.house.business_id, **own)
        record_link(tx, found, record_id="r-1", told_at=tx.now)
        save_echoes(tx, desk.target, "r-1", {"status": "gewonnen"})

    desk.house.context.db.write_now(write)
    for named in ({"lead_id": desk.lead.id}, {"record_id": "r-1"}):
        assert desk.post({**named, "status": "gewonnen"}).status_code == 200
    assert desk.told() == []
    assert desk.status() is LeadStatus.RAW


def test_what_is_not_signed_for_this_target_changes_nothing(desk: Desk) -> None:
    change = {"lead_id": desk.lead.id, "status": "gewonnen"}

    def another(tx: Tx) -> tuple[str, str]:
        rival = make.business(tx, "Rivals")
        new = NewTarget("webhook", "", "https://rival.example.com", {"secret": SECRET})
        theirs = link_crm(tx, rival.id, new, ())
        return INCOMING_PATH.format(target_id=theirs.number), open_incoming(tx, theirs)

    path, secret = desk.house.context.db.write_now(another)
    refused = [
        desk.post(change, secret=SECRET),  # what signs the way there does not sign the way back
        desk.post(change, secret=secret),  # another business's
        desk.post(change, path=path),
        desk.post(change, path="/integrations/webhooks/123"),
        desk.post(change, age_s=301),
        desk.post(change, age_s=-301),
        desk.post(change, body='{"type":"record.changed","data":{"lead_id":"forged"}}'),
        desk.house.client.post(
            INCOMING_PATH.format(target_id=desk.target.number),
            json={"type": "record.changed", "data": change},
        ),
    ]
    assert [each.status_code for each in refused] == [401] * len(refused)
    assert desk.post(change, path=path, secret=secret).status_code == 200, "a lead of another business"
    assert desk.post({"status": 7}).status_code == 422
    assert desk.post([change] * 101).status_code == 422
    old = desk.secret
    desk.secret = desk.house.context.db.write_now(lambda tx: open_incoming(tx, desk.target))
    assert desk.post(change, secret=old).status_code == 401
    assert desk.told() == []
    assert desk.post(change).status_code == 200
    assert desk.status() is LeadStatus.CONVERTED


def test_a_member_opens_the_webhook_on_the_page_and_the_secret_is_shown_once(desk: Desk) -> None:
    house, place = desk.house, f"/settings/integrations/{desk.target.number}"
    house.sign_in()
    page = house.client.get(place).text
    assert f"{house.context.settings.base_url}{INCOMING_PATH.format(target_id=desk.target.number)}" in page
    assert desk.secret not in page
    token = {"csrf_token": csrf_of(page)}
    old = desk.secret
    shown = house.client.post(f"{place}/webhook", data=token)
    (desk.secret,) = set(re.findall(r"whsec_[A-Za-z0-9+/=]{40,}", shown.text))
    assert desk.secret != old
    assert desk.secret not in house.client.get(place).text
    change = {"lead_id": desk.lead.id, "status": "gewonnen"}
    assert desk.post(change, secret=old).status_code == 401
    assert desk.post(change).status_code == 200
    closed = house.client.post(f"{place}/webhook/close", data=token, follow_redirects=False)
    assert closed.headers["location"] == place
    assert desk.post(change).status_code == 401
    assert "Turn on webhook" in house.client.get(place).text
