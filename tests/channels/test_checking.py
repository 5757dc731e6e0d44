"""A platform is asked whether it takes an account's token: when it is saved, on demand, and daily."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from contatto.channels import store
from contatto.channels.actions import ask_platform, disconnect_account, set_access_token
from contatto.channels.model import (
    AccountAccess,
    AccountSeen,
    ChannelAccount,
    CheckState,
    Platform,
    TokenCheck,
)
from contatto.channels.rules import CHECK_EVERY_S, check_text
from contatto.channels.store import CONNECTORS
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock
from contatto.kit.errors import Refused
from contatto.kit.outbound.model import Failed, HttpAnswer
from contatto.kit.outbox import list_events
from tests import make
from tests.channels.vendor import Vendor, running_vendor

ASKING = [each for each in Platform if CONNECTORS[each].dialect.base_url]


@dataclass
class Checked:
    db: Database
    clock: FixedClock
    vendor: Vendor
    account: ChannelAccount

    def work(self) -> int:
        return self.vendor.take_due(self.db)

    def ask(self) -> None:
        self.db.write_now(lambda tx: ask_platform(tx, self.account.business_id, self.account.id))

    def save_token(self) -> None:
        of = self.account.business_id, self.account.id
        self.db.write_now(lambda tx: set_access_token(tx, *of, "a-token"))

    def check(self) -> TokenCheck:
        checks = self.db.read_now(lambda tx: store.list_token_checks(tx, self.account.business_id))
        return checks[self.account.id]


@pytest.fixture
def checked(database: Database, clock: FixedClock) -> Iterator[Checked]:
    shop = database.write_now(make.shop)
    with running_vendor() as vendor:
        made = Checked(database, clock, vendor, shop.tiktok)
        made.save_token()
        yield made


def test_a_token_that_is_taken_brings_what_the_platform_calls_the_account(checked: Checked) -> None:
    assert checked.check().state is CheckState.UNTRIED
    checked.ask()
    assert checked.check().state is CheckState.ASKED
    assert checked.work() == 1
    [asked] = checked.vendor.taken
    assert asked.path.startswith(f"/open_api/v1.3/business/get/?business_id={make.OPEN_ID}&fields=")
    assert asked.headers["access-token"] == "a-token"
    check = checked.check()
    assert (check.state, check.name, check.handle) == (CheckState.WORKS, "Kopi & Cake", "kopi.cake")
    assert check.checked_at == checked.clock.now()


def test_a_token_is_tried_again_every_day_and_its_loss_is_told_before_a_reply_fails(
    checked: Checked,
) -> None:
    checked.ask()
    checked.work()
    checked.clock.advance(seconds=int(CHECK_EVERY_S) - 1)
    assert checked.work() == 0
    checked.clock.advance(seconds=1)
    checked.vendor.plays = ["401"]
    assert checked.work() == 1
    check = checked.check()
    assert (check.state, check.reason) == (CheckState.REFUSED, "token_refused")
    told = checked.db.read_now(lambda tx: list_events(tx, 0, business_id=checked.account.business_id))
    assert [event.name for event in told] == ["channel_checked", "channel_lost", "channel_checked"]


def test_a_platform_that_is_away_is_asked_again_by_itself(checked: Checked) -> None:
    checked.vendor.plays = ["500", "reset"]
    checked.ask()
    for _ in range(2):
        assert checked.work() == 1
        assert checked.check().state is CheckState.AWAY
        checked.clock.advance(minutes=1)
    assert checked.work() == 1
    assert checked.check().state is CheckState.WORKS


def test_a_new_token_is_untried_and_asking_twice_asks_once(checked: Checked) -> None:
    checked.ask()
    checked.ask()
    assert checked.work() == 1
    checked.save_token()
    assert checked.check().state is CheckState.UNTRIED


def test_who_disconnects_is_not_asked_for_any_more(checked: Checked) -> None:
    of = checked.account.business_id, checked.account.id
    checked.ask()
    checked.db.write_now(lambda tx: disconnect_account(tx, *of))
    assert checked.work() == 0
    with pytest.raises(Refused, match="Save one first"):
        checked.ask()
    with pytest.raises(Refused, match="Channel account not found"):
        checked.db.write_now(lambda tx: ask_platform(tx, "other", checked.account.id))


@pytest.mark.parametrize("platform", ASKING)
def test_every_platform_is_asked_for_the_account_by_its_id_with_the_token_in_a_header(
    platform: Platform,
) -> None:
    asked = CONNECTORS[platform].ask_account(AccountAccess("https://x.example.com", "17/89?", "a-token"))
    assert asked.method == "GET"
    assert "17%2F89%3F" in asked.url
    assert "a-token" in " ".join(asked.headers.values())
    assert "a-token" not in asked.url


@pytest.mark.parametrize("platform", ASKING)
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"code": 0, "data": []}', b'{"name": 7}', b"\xff"])
def test_an_answer_that_makes_no_sense_is_a_reason_and_no_crash(platform: Platform, body: bytes) -> None:
    assert isinstance(CONNECTORS[platform].read_account(HttpAnswer(200, {}, body)), Failed | AccountSeen)
    refused = CONNECTORS[platform].read_account(HttpAnswer(401, {}, body))
    assert isinstance(refused, Failed)
    assert "%" not in str(check_text(refused.reason))
