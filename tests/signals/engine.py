"""Signals without a worker or a network: a lead of a platform's ad, and a test that says what is answered."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import insert

from contatto.ad_platforms.actions import NewOutsideAccount, connect_outside_account, replace_outside_token
from contatto.ad_platforms.model import PULL, AdPlatform, OutsideAccount
from contatto.capture.model import Field
from contatto.channels.model import ChannelAccount, Platform
from contatto.inbox.model import AdReferral
from contatto.inbox.store.conversations import persons
from contatto.inbox.store.messages import ad_referrals
from contatto.integrations.model import DeliveryState
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.ids import new_id
from contatto.kit.outbound.model import Ask, HttpOutcome, OutboundRequest
from contatto.kit.outbound.queue import delete_requests_of
from contatto.kit.settings import Settings
from contatto.leads.model import Lead
from contatto.signals import actions
from contatto.signals.actions import NewSignalSettings, change_signal_settings
from contatto.signals.model import AdSignal, ConsentRule, SignalSettings, SignalStep
from contatto.signals.store import find_signal_settings, ledger
from contatto.simulator.ad_platforms import TOKEN, MetaFake, TikTokFake
from contatto.simulator.ad_platforms import AdPlatformFake as InMemory
from contatto.wiring import PORTS, outbound_kinds
from tests import make
from tests.crm.engine import claim
from tests.outbound import next_step

KINDS: Final = outbound_kinds(Settings(base_url="https://contatto.example.com"))
ALL: Final = tuple(SignalStep)
EMAIL: Final = make.contact("Ada@example.com", Field.EMAIL)
PHONE: Final = make.contact("+6591234567")
ADVERTISER: Final = "7001"


@dataclass
class Side:
    """A business with a connected ad account whose signals are on, a chat, and the platform in memory."""

    business_id: str
    account: OutsideAccount
    channel: ChannelAccount
    platform: InMemory

    def tap(self, tx: Tx, conversation_id: str, at: datetime = make.NOON, **changes: Any) -> None:
        told = AdReferral(new_id(), self.business_id, conversation_id, 31, "click-1", "",
                          "", at, ADVERTISER)  # fmt: skip
        tx.insert_ignore(ad_referrals, tx.sealed_row(replace(told, **changes)))

    def lead(self, tx: Tx, user: str = "u1", *contacts: Any, is_tapped: bool = True, **changes: Any) -> Lead:
        """A lead of this chat, which an ad opened."""
        person_id = new_id()
        row = {"id": person_id, "business_id": self.business_id, "channel_account_id": self.channel.id,
               "external_id": f"scoped-{user}", "name_key": "", "created_at": make.NOON}  # fmt: skip
        tx.execute(insert(persons).values(**row))
        if is_tapped:
            self.tap(tx, f"chat-{user}", **changes)
        return make.lead(
            tx, self.business_id, *(contacts or (EMAIL, PHONE)), person_id=person_id,
            channel_account_id=self.channel.id, conversation_id=f"chat-{user}",
        )  # fmt: skip

    def signals(self, tx: Tx, *states: DeliveryState) -> list[AdSignal]:
        return ledger.list_entries(tx, self.business_id, self.account.id, states)[::-1]

    def standing(self, tx: Tx) -> list[tuple[str, str, str]]:
        return [(each.step.value, each.state.value, each.reason) for each in self.signals(tx)]

    def settings(self, tx: Tx) -> SignalSettings:
        found = find_signal_settings(tx, self.business_id, self.account.id)
        assert found is not None
        return found


def begun(tx: Tx, name: str = "tiktok", **changes: Any) -> Side:
    """Connected, and turned on for people who were not asked, too."""
    business_id = make.business(tx).id
    of = AdPlatform(name)
    channel = make.channel(tx, business_id, Platform.TIKTOK if name == "tiktok" else Platform.WHATSAPP,
                           external_id="page-1")  # fmt: skip
    new = NewOutsideAccount(platform=of, external_id=ADVERTISER, access_token=TOKEN)
    account = connect_outside_account(tx, business_id, new, ())
    delete_requests_of(tx, business_id, PULL, [account.id])
    platform: InMemory = TikTokFake(clock_at=tx.now) if name == "tiktok" else MetaFake(clock_at=tx.now)
    side = Side(business_id, account, channel, platform)
    turn_on(tx, side, **changes)
    return side


def turn_on(tx: Tx, side: Side, **changes: Any) -> None:
    chosen = NewSignalSettings(
        side.platform.dataset, ALL, ConsentRule.NOT_REFUSED, whatsapp_id="901", currency="EUR",
        value_micros=50_000_000,
    )  # fmt: skip
    change_signal_settings(tx, side.business_id, side.account.id, replace(chosen, **changes))


def with_ports(tx: Tx) -> Tx:
    return replace(tx, ports=PORTS)


def later(tx: Tx, side: Side, **by: float) -> Tx:
    """The same a while later, here and there."""
    moved = replace(tx, now=tx.now + timedelta(**by))
    side.platform.clock_at = moved.now
    return moved


def settle(tx: Tx, claimed: tuple[OutboundRequest, Ask], outcome: HttpOutcome) -> None:
    request, ask = claimed
    assert next_step(tx, KINDS[request.kind], request, (ask, outcome), float) is None


def run_all(tx: Tx, side: Side, rounds: int = 20) -> None:
    """Let all go that is due now."""
    for _ in range(rounds):
        actions.resume_renewed(tx)
        actions.release_signals(tx)
        begun_now = claim(tx)
        if not begun_now:
            return
        for each in begun_now:
            settle(tx, each, side.platform.send(each[1].request))
    raise AssertionError("it never ends")


def run_for(tx: Tx, side: Side, hours: float) -> Tx:
    """Let time pass hour by hour, and all go that is due on the way."""
    for _ in range(int(hours)):
        run_all(tx, side)
        tx = later(tx, side, hours=1)
    run_all(tx, side)
    return tx


def reconnect(tx: Tx, side: Side, token: str) -> None:
    """Give the account another token; its ads are not read here."""
    replace_outside_token(tx, side.business_id, side.account.id, token)
    delete_requests_of(tx, side.business_id, PULL, [side.account.id])


def in_house(database: Database, work: Any) -> None:
    database.write_now(lambda tx: work(with_ports(tx)))
