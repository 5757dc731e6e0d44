"""An operator with a placement, and businesses whose ads compete in it, through the same doors as ever."""

import asyncio
from dataclasses import dataclass, field, replace

from sqlalchemy import func, select

from contatto.delivery import store as delivery_store
from contatto.delivery.actions.serving import AdServer, serve_placement
from contatto.delivery.rules import AdRequest, ServedAd
from contatto.kit.db.database import Database, act_for
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.ids import new_id
from contatto.kit.values import micros
from contatto.measurement import actions as measurement
from contatto.measurement import store as measured
from contatto.measurement.actions import record_views
from contatto.measurement.model import Impression, Tap, TicketKind
from contatto.measurement.rules import impression_of
from contatto.operators import actions, store
from contatto.operators.model import AdmissionState, Category, Operator, Placement, ReviewState
from tests.ads.world import Chain, World, add_chain, add_world
from tests.delivery.learning import KEY, ticket_of

PLACEMENT = Placement("", "", "Front page", "SGD", 2_000_000, (), (), 0, True, None)  # type: ignore[arg-type]  # its time is set
ASKED = AdRequest("reader", "SG", placement="Front page", has_consent=True)
MILLION = 1_000_000


@dataclass
class Marketplace:
    """An operator, its placement, two admitted businesses with money, and a process that serves."""

    db: Database
    clock: FixedClock
    operator: Operator
    placement: Placement
    worlds: list[World]
    chains: list[Chain]
    server: AdServer
    served: list[ServedAd] = field(default_factory=list)

    def ask(self, count: int = 1, **changes: object) -> list[ServedAd]:
        """Ask for ads for one viewer after another, and write the decisions down."""

        async def work() -> list[ServedAd]:
            act_for(self.operator.business_id)
            found = []
            for number in range(count):
                asked = replace(ASKED, viewer_id=f"viewer {len(self.served) + number}")
                asked = replace(asked, **changes)  # type: ignore[arg-type]  # a test names real fields
                known = await self.server.operators.snapshots.get(self.operator.business_id)
                assert known is not None
                now = self.clock.now()
                served = await serve_placement(self.server, known, asked, lambda _: (), now, KEY)
                if served is not None:
                    found.append(served)
            await self.server.flush()
            return found

        found = asyncio.run(work())
        self.served += found
        return found

    def refresh(self) -> None:
        """See what changed at once."""

        async def work() -> None:
            act_for(self.operator.business_id)
            await self.server.operators.snapshots.refresh(self.operator.business_id)

        asyncio.run(work())

    def decide(self, business: int, state: AdmissionState, reason: str = "") -> None:
        name = self.worlds[business].id
        self.db.write_now(lambda tx: actions.decide_admission(tx, self.operator, name, state, reason))
        self.refresh()

    def change(self, **changes: object) -> None:
        """Change the rules of the placement."""
        self.placement = replace(self.placement, **changes)  # type: ignore[arg-type]  # a test names real fields
        self.db.write_now(lambda tx: actions.change_placement(tx, self.operator, self.placement))
        self.refresh()

    def send(self) -> None:
        send_all(self.db)

    def review(self, state: ReviewState, reason: str = "") -> int:
        count = review_all(self.db, self.operator, state, reason)
        self.refresh()
        return count

    def pay(self, business: int, amount_micros: int) -> None:
        name = self.worlds[business].ad_account.id
        self.db.write_now(lambda tx: actions.pay_operator(tx, self.operator, name, amount_micros, ""))
        self.refresh()

    def see(self, served: ServedAd, times: int = 1) -> None:
        ticket = ticket_of(served.view_url, TicketKind.VIEW)

        def work(tx: Tx) -> None:
            ad = measured.find_measured_ad(tx, ticket.business_id, ticket.ad_id)
            assert ad is not None
            touch = measurement.stamp_ticket(ad, ticket, None, micros(tx.now))
            record_views(tx, [Impression(touch, ticket.nonce, ticket.placement)])

        for _ in range(times):
            self.db.write_now(work)

    def tap(self, served: ServedAd) -> str:
        """Tap an ad; the person who did comes back."""
        ticket, person = ticket_of(served.click_url, TicketKind.CLICK), new_id()

        def work(tx: Tx) -> None:
            ad = measured.find_measured_ad(tx, ticket.business_id, ticket.ad_id)
            assert ad is not None
            touch = measurement.stamp_ticket(ad, ticket, person, micros(tx.now))
            measurement.record_taps(tx, [Tap(impression_of(touch, ticket))])

        self.db.write_now(work)
        return person

    def owner_of(self, served: ServedAd) -> int:
        """Which business an ad is of."""
        return [str(chain.ad.number) for chain in self.chains].index(served.ad_id)

    def totals(self, business: int) -> tuple[int, int, int, int]:
        """What a business was charged: by its ledger, the operator's, its touches, and its balances."""
        world = self.worlds[business]
        touches = measured.touches

        def work(tx: Tx) -> tuple[int, int, int, int]:
            days = delivery_store.list_charged_days(tx, world.id, world.ad_account.id, "", "9999-99-99")
            placed = store.list_placed_days_of_account(tx, world.id, world.ad_account.id)
            of_business = touches.c.business_id == world.id
            spend = tx.scalar(select(func.coalesce(func.sum(touches.c.cost_micros), 0)).where(of_business))
            own = store.find_balance(tx, world.id, world.ad_account.id)
            with_operators = store.list_balances_of_business(tx, world.id)
            lost = own.charged_micros + sum(each.charged_micros for each in with_operators)
            charged = sum(day.charged_micros for day in days)
            return charged, sum(day.charged_micros for day in placed), int(spend), lost

        return self.db.read_now(work)


def send_all(db: Database) -> None:
    """Do what the worker does by the clock."""
    sender = actions.AdSender()
    sender.start_over()
    while (keep := db.read_now(sender.read_next)) is not None:
        db.write_now(keep)


def review_all(db: Database, operator: Operator, state: ReviewState, reason: str = "") -> int:
    """Say the same of all that waits; how many those were."""

    def work(tx: Tx) -> int:
        waiting = store.list_reviews(tx, operator.business_id, ReviewState.PENDING)
        for each in waiting:
            actions.decide_review(tx, operator, each.ad_id, each.digest, state, reason)
        return len(waiting)

    return db.write_now(work)


def add_marketplace(
    db: Database, clock: FixedClock, *, businesses: int = 2, **changes: object
) -> Marketplace:
    def work(tx: Tx) -> tuple[Operator, Placement, list[World], list[Chain]]:
        operator = actions.open_operator(tx, "The Forum", "Asia/Singapore")
        placement = actions.add_placement(tx, operator, PLACEMENT)
        worlds = [add_world(tx) for _ in range(businesses)]
        chains = [add_chain(tx, world, **changes) for world in worlds]
        for world in worlds:
            actions.ask_admission(tx, operator.business_id, world.business, Category.FOOD)
            actions.decide_admission(tx, operator, world.id, AdmissionState.ADMITTED)
        return operator, placement, worlds, chains

    operator, placement, worlds, chains = db.write_now(work)
    send_all(db)
    review_all(db, operator, ReviewState.APPROVED)

    def pay(tx: Tx) -> None:
        for world in worlds:
            actions.pay_operator(tx, operator, world.ad_account.id, MILLION, "first payment")

    db.write_now(pay)
    return Marketplace(db, clock, operator, placement, worlds, chains, AdServer(db))
