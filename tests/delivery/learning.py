"""A business whose ads are asked for, seen, tapped and talked about, through the same doors as ever."""

import asyncio
from dataclasses import dataclass, field, replace

from sqlalchemy import select

from contatto.delivery import store
from contatto.delivery.actions import ledger
from contatto.delivery.actions.ledger import load_added, read_record
from contatto.delivery.actions.serving import AdServer, serve_ad
from contatto.delivery.actions.training import Trainer
from contatto.delivery.rules import AdRequest, ServedAd
from contatto.inbox.model import ConversationStarted
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.ids import new_id
from contatto.kit.values import micros
from contatto.kit.vault import Vault
from contatto.leads.model import LeadCaptured, LeadStatusChanged
from contatto.learning.model import Entry, EntryKind, GroupState, Record
from contatto.measurement import actions as measurement
from contatto.measurement import store as measured
from contatto.measurement.actions import NewConversion, record_views
from contatto.measurement.model import ConversionKind, Tap, TicketKind, TrackingTicket
from contatto.measurement.rules import impression_of, read_ticket
from tests.ads.world import Chain, World, add_chain, add_world

KEY = Vault({"k": bytes(32)}).signer("tracking")
ASKED = AdRequest("viewer", "SG", language="en", age=30, has_consent=True)


@dataclass
class Market:
    """A small business: two ad groups, a server, and what was served."""

    db: Database
    clock: FixedClock
    world: World
    chains: list[Chain]
    server: AdServer
    served: list[ServedAd] = field(default_factory=list)
    trainer: Trainer = field(default_factory=lambda: Trainer(14, is_hasty=True))

    @property
    def id(self) -> str:
        return self.world.id

    def ask(self, count: int = 1, server: AdServer | None = None, **changes: object) -> list[ServedAd]:
        """Ask for ads for different viewers, some seconds apart, and write the decisions down."""
        used = server or self.server

        async def work() -> list[ServedAd]:
            found = []
            for number in range(count):
                asked = replace(ASKED, viewer_id=f"viewer {len(self.served) + number}")
                asked = replace(asked, **changes)  # type: ignore[arg-type]  # a test names real fields
                served = await serve_ad(used, self.id, asked, self.clock.now(), KEY)
                self.clock.advance(seconds=2)
                if served is not None:
                    found.append(served)
            await used.flush()
            return found

        found = asyncio.run(work())
        self.served += found
        return found

    def see(self, served: ServedAd) -> None:
        ticket = ticket_of(served.view_url, TicketKind.VIEW)

        def work(tx: Tx) -> None:
            ad = measured.find_measured_ad(tx, ticket.business_id, ticket.ad_id)
            assert ad is not None
            person = self.db.vault.named_id(ad.channel_account_id, f"viewer:{ticket.viewer}")
            touch = measurement.stamp_ticket(ad, ticket, person, micros(tx.now))
            record_views(tx, [impression_of(touch, ticket)])

        self.db.write_now(work)

    def tap(self, served: ServedAd) -> str:
        """Tap an ad; the person who did comes back."""
        ticket, person = ticket_of(served.click_url, TicketKind.CLICK), new_id()

        def work(tx: Tx) -> None:
            ad = measured.find_measured_ad(tx, ticket.business_id, ticket.ad_id)
            assert ad is not None
            touch = measurement.stamp_ticket(ad, ticket, person, micros(tx.now))
            viewer = self.db.vault.named_id(ad.channel_account_id, f"viewer:{ticket.viewer}")
            measurement.record_taps(tx, [Tap(impression_of(touch, ticket), viewer)])

        self.db.write_now(work)
        return person

    def talk(self, person: str, *, is_lead: bool = True) -> str:
        """The person writes, and becomes a lead; the id of the chat and of the lead comes back."""
        subject = new_id()

        def work(tx: Tx) -> None:
            ts = micros(tx.now)
            chat = NewConversion(self.id, person, ConversionKind.CONVERSATION, subject, ts)
            measurement.record_conversions(tx, [chat])
            ledger.learn_conversations(tx, [ConversationStarted(self.id, subject, person)])
            if is_lead:
                measurement.record_conversions(tx, [replace(chat, kind=ConversionKind.LEAD)])
                ledger.learn_leads(tx, [LeadCaptured(self.id, subject, subject, "chat", (), tx.now)])

        self.db.write_now(work)
        return subject

    def find_lead_to_be(self, subject: str, status: str) -> None:
        event = LeadStatusChanged(self.id, subject, "raw", status)
        self.db.write_now(lambda tx: ledger.learn_qualities(tx, [event]))

    def play(self, count: int) -> None:
        """Ask, see all, tap every third, talk after every second tap."""
        for number, served in enumerate(self.ask(count)):
            self.see(served)
            if number % 3 == 0:
                person = self.tap(served)
                if number % 6 == 0:
                    self.talk(person)

    def train(self, trainer: Trainer | None = None) -> None:
        """Learn all that waits and publish it."""
        used = trainer or self.trainer
        used.start_over()
        while (keep := self.db.read_now(used.read_next)) is not None:
            self.db.write_now(keep)

    def entries(self) -> list[Entry]:
        """What happened: all of the log but the ad groups and ads that decisions name."""
        return [each for each in self.whole_log() if each.kind is not EntryKind.LINES]

    def whole_log(self) -> list[Entry]:
        return self.db.read_now(lambda tx: store.list_entries(tx, self.id, 0, 100_000))

    def decisions(self) -> list[Record]:
        """Decisions with all that it takes to make them again."""
        made = [read_record(each.body) for each in self.entries() if each.kind is EntryKind.DECISION]
        assert all(self.db.read_now(lambda tx: [load_added(tx, self.id, each) for each in made]))
        return made

    def states(self) -> dict[int, GroupState]:
        found = self.db.read_now(lambda tx: store.list_states(tx, self.id))
        return {state.number: state for state in found}

    def newest(self) -> bytes:
        """The bytes of the newest model."""

        def work(tx: Tx) -> bytes | None:
            return store.load_model(tx, self.id, store.find_newest_version(tx, self.id))

        found = self.db.read_now(work)
        assert found is not None
        return found


def add_market(db: Database, clock: FixedClock, **changes: object) -> Market:
    def work(tx: Tx) -> tuple[World, list[Chain]]:
        world = add_world(tx)
        return world, [add_chain(tx, world, **changes) for _ in range(2)]

    world, chains = db.write_now(work)
    return Market(db, clock, world, chains, AdServer(db))


def ticket_of(url: str, kind: TicketKind) -> TrackingTicket:
    return read_ticket(url.rpartition("/")[2], {kind}, KEY)


def count_rows(db: Database) -> int:
    return len(db.read_now(lambda tx: tx.execute(select(store.log.c.seq)).all()))
