"""Actions of marketplaces, and their placements in memory: admission, reviews, payments and statements."""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from contatto.accounts.actions import create_business
from contatto.accounts.model import AdAccount, Business, BusinessId
from contatto.accounts.rules import check_timezone
from contatto.accounts.store import list_ad_accounts
from contatto.ads.model import Ad
from contatto.ads.store import list_ad_groups_by_id, list_live_ads
from contatto.kit import errors
from contatto.kit.db.database import Database, acting
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import hash_secret, new_id, new_secret
from contatto.kit.log import logger, where
from contatto.kit.numbers import MICROS
from contatto.kit.rate_limits import SharedLimit
from contatto.kit.timestamps import micros
from contatto.measurement.rules import local_day
from contatto.operators import rules, store
from contatto.operators.model import (
    Admission,
    AdmissionState,
    AdReview,
    AskedDay,
    Category,
    Field,
    Operator,
    OperatorBalance,
    OperatorPayment,
    PlacedDay,
    Placement,
    ReviewState,
)

FRESH: Final = timedelta(seconds=2)
"""What is known of an operator is read again behind the answers when it is older than this."""
TOO_OLD: Final = timedelta(seconds=20)
"""What is older than this is not used: the answer waits for a new one."""
PROMISED_FOR: Final = timedelta(seconds=10)
"""For so long an ad that was shown counts against its balance before its charge is read."""
FLUSH_S: Final = 0.1
"""What was shown and asked is written down so long behind the answers."""

type Sighting = tuple[str, str, str, str]


def load_field(tx: Tx, operator_id: str) -> Field | None:
    """Return who may compete in the placements of an operator; None for a tenant that is none."""
    operator = store.find_operator(tx, operator_id)
    if operator is None:
        return None
    placements = store.list_placements(tx, operator_id)
    admitted = store.list_admissions(tx, operator_id, AdmissionState.ADMITTED)
    return Field(
        operator,
        tx.now,
        {placement.id: placement for placement in placements},
        {each.business_id: each for each in admitted},
        store.list_approved(tx, operator_id),
        {balance.ad_account_id: balance.room_micros for balance in store.list_balances(tx, operator_id)},
    )


def placement_of(field: Field, named: str) -> Placement | None:
    """A placement by its id or its name."""
    known = field.placements.get(named)
    return known or next(
        (placement for placement in field.placements.values() if placement.name == named), None
    )


class _Promised:
    """What was promised of one balance lately, in micros, and its sum."""

    def __init__(self) -> None:
        self._amounts: deque[tuple[datetime, int]] = deque()
        self._sum = 0

    def add(self, at: datetime, amount_micros: int) -> None:
        self._amounts.append((at, amount_micros))
        self._sum += amount_micros

    def since(self, limit: datetime) -> int:
        """The sum from a time on; what is older is forgotten."""
        while self._amounts and self._amounts[0][0] < limit:
            self._sum -= self._amounts.popleft()[1]
        return self._sum


class OperatorIndex:
    """The fields of this process, what it promised in them, and what it counts until that is written down."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: dict[str, tuple[datetime, Field | None]] = {}
        self._reading: dict[str, asyncio.Task[Field | None]] = {}
        self._promised: dict[str, _Promised] = {}
        self._seen: Counter[Sighting] = Counter()
        self._asked: Counter[tuple[str, str, str]] = Counter()
        self._filled: Counter[tuple[str, str, str]] = Counter()
        self._flushing: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()

    async def field(self, operator_id: str) -> Field | None:
        """Return who may compete in an operator's placements; None for a tenant that is no operator.

        A read that fails leaves what was known in force, until that is too old.
        """
        known = self._known.get(operator_id)
        if known is None:
            return await self._read(operator_id)
        age = self._db.clock.now() - known[0]
        if age <= FRESH:
            return known[1]
        reading = self._read(operator_id)
        return await reading if age > TOO_OLD else known[1]

    async def refresh(self, operator_id: str) -> Field | None:
        """Read it now."""
        return await self._read(operator_id)

    def _read(self, operator_id: str) -> asyncio.Task[Field | None]:
        reading = self._reading.get(operator_id)
        if reading is None or reading.done():
            with acting(operator_id):
                reading = self._reading[operator_id] = asyncio.create_task(self._read_now(operator_id))
            reading.add_done_callback(_note_failure)
        return reading

    async def _read_now(self, operator_id: str) -> Field | None:
        read_at, fresh = await self._db.read(lambda tx: (tx.now, load_field(tx, operator_id)))
        self._known[operator_id] = read_at, fresh
        return fresh

    def room_of(self, field: Field, ad_account_id: str) -> int:
        """What may still be promised of a balance, in micros: what was shown just now is taken off."""
        room = field.rooms.get(ad_account_id, 0)
        promised = self._promised.get(ad_account_id)
        if promised is None:
            return room
        return max(room - promised.since(self._db.clock.now() - PROMISED_FOR), 0)

    async def count_seen(self, placement: Placement, viewer: str, day: str) -> int:
        """Return how often somebody was shown an ad in a placement today."""
        key = (placement.business_id, placement.id, viewer, day)
        with acting(placement.business_id):
            written = await self._db.read(lambda tx: store.count_sightings(tx, *key))
        return written + self._seen[key]

    def day_of(self, operator: Operator) -> str:
        """The day of an operator."""
        return local_day(micros(self._db.clock.now()), operator.timezone)

    def note(self, operator: Operator, placement: Placement, viewer: str, *, is_filled: bool) -> None:
        """Count a request of a placement, and for a viewer who is known that an ad was shown."""
        day = self.day_of(operator)
        key = (operator.business_id, placement.id, day)
        self._asked[key] += 1
        if is_filled:
            self._filled[key] += 1
            if viewer and placement.most_views:
                self._seen[operator.business_id, placement.id, viewer, day] += 1
        if self._flushing is None or self._flushing.done():
            with acting(""):
                self._flushing = asyncio.create_task(self._flush_later())

    def note_promise(self, ad_account_id: str, amount_micros: int) -> None:
        """An ad of an account was shown, which will be charged soon."""
        self._promised.setdefault(ad_account_id, _Promised()).add(self._db.clock.now(), amount_micros)

    async def _flush_later(self) -> None:
        await asyncio.sleep(FLUSH_S)
        try:
            await self.flush()
        except Exception as error:  # the next flush tries again
            logger().error("operators.counts_not_written", error_at=where(error))

    async def flush(self) -> None:
        """Write down what was counted."""
        async with self._writing:
            seen, asked, filled = self._seen.copy(), self._asked.copy(), self._filled.copy()
            if not asked:
                return
            days = [AskedDay(*key, count, filled[key]) for key, count in sorted(asked.items())]

            def write(tx: Tx) -> None:
                store.save_asked(tx, days)
                store.save_sightings(tx, seen)

            with acting(""):
                await self._db.write(write)
            self._seen, self._asked = self._seen - seen, self._asked - asked
            self._filled -= filled


def _note_failure(reading: asyncio.Task[Field | None]) -> None:
    error = None if reading.cancelled() else reading.exception()
    if error is not None:
        logger().warning("operators.field_not_read", error_at=where(error))


_CODES = SharedLimit("admission codes tried", 20, timedelta(hours=1))


def ask_admission(tx: Tx, operator_id: str, business: Business, category: Category) -> Admission:
    """Ask an operator to be admitted. The transaction must act for nobody: it looks for the operator.

    Raises:
        Refused: NOT_FOUND for an operator that is not open to all; CONFLICT for who asked or is in already.
    """
    operator = store.find_operator(tx, operator_id)
    if operator is None or not operator.is_listed:
        raise Refused(errors.NOT_FOUND, "Marketplace not found.")
    return _enter(tx, operator, business, category, AdmissionState.ASKED)


def make_code(tx: Tx, operator: Operator) -> str:
    """A code that lets one business in at once; it is shown now and kept as its hash."""
    code = new_secret("join")
    store.save_code(tx, hash_secret(code), operator.business_id, tx.now + timedelta(days=rules.CODE_DAYS))
    return code


def join_by_code(tx: Tx, code: str, business: Business, category: Category) -> Admission:
    """Be admitted by a code, which is used up. The transaction must act for nobody.

    Raises:
        Refused: LINK_OVER for a code that is not good (any more); CONFLICT for who is in already; TOO_MANY.
    """
    _CODES.take(tx, business.id)
    operator_id = store.delete_code(tx, hash_secret(code.strip()))
    operator = store.find_operator(tx, operator_id) if operator_id else None
    if operator is None:
        raise Refused(errors.LINK_OVER)
    return _enter(tx, operator, business, category, AdmissionState.ADMITTED)


def _enter(
    tx: Tx, operator: Operator, business: Business, category: Category, state: AdmissionState
) -> Admission:
    if business.id == operator.business_id:
        raise Refused(errors.CONFLICT, "A marketplace cannot join itself.")
    tx.hold_key("admissions", operator.business_id)
    admission = store.find_admission(tx, operator.business_id, business.id)
    by_code = (
        state is AdmissionState.ADMITTED and admission is not None and admission.state is AdmissionState.ASKED
    )
    if not by_code and not rules.may_ask(admission):
        raise Refused(
            errors.CONFLICT, "Your business has already asked to join this marketplace. Wait for its answer."
        )
    if state is AdmissionState.ADMITTED:
        _check_room(tx, operator.business_id)
    decided_at = tx.now if state is AdmissionState.ADMITTED else None
    made = Admission(
        operator.business_id, business.id, operator.name, business.name, state, category, "", tx.now,
        decided_at,
    )  # fmt: skip
    store.save_admission(tx, made)
    return made


def _check_room(tx: Tx, operator_id: str) -> None:
    if store.count_admitted(tx, operator_id) >= rules.MOST_ADMITTED:
        raise Refused(
            errors.CONFLICT, "The marketplace has reached its limit of businesses. Suspend one first."
        )


def decide_admission(
    tx: Tx, operator: Operator, business_id: str, wanted: AdmissionState, reason: str = ""
) -> Admission:
    """Admit, refuse or suspend a business; it reads the reason.

    Raises:
        Refused: NOT_FOUND for a business that never asked; CONFLICT for a step that there is not, and where
            too many are admitted; INVALID without a reason where one is needed.
    """
    tx.hold_key("admissions", operator.business_id)
    admission = store.find_admission(tx, operator.business_id, business_id)
    if admission is None:
        raise Refused(errors.NOT_FOUND)
    rules.check_decision(admission, wanted, reason)
    if wanted is AdmissionState.ADMITTED:
        _check_room(tx, operator.business_id)
    decided = replace(admission, state=wanted, reason=reason.strip(), decided_at=tx.now)
    store.save_admission(tx, decided)
    return decided


def set_category(tx: Tx, operator: Operator, business_id: str, category: Category) -> None:
    """Correct what a business says that it advertises; NOT_FOUND for one that never asked."""
    admission = store.find_admission(tx, operator.business_id, business_id)
    if admission is None:
        raise Refused(errors.NOT_FOUND)
    store.save_admission(tx, replace(admission, category=category))


def leave_operator(tx: Tx, business_id: str, operator_id: str) -> None:
    """Take part no more: none of the business's ads competes there from then on.

    Raises:
        Refused: NOT_FOUND; CONFLICT for who was refused or left already.
    """
    tx.hold_key("admissions", operator_id)
    admission = store.find_admission(tx, operator_id, business_id)
    if admission is None:
        raise Refused(errors.NOT_FOUND)
    if admission.state in (AdmissionState.REFUSED, AdmissionState.LEFT, AdmissionState.SUSPENDED):
        raise Refused(errors.CONFLICT, "Your business is not a member of this marketplace.")
    store.save_admission(tx, replace(admission, state=AdmissionState.LEFT, reason="", decided_at=tx.now))


def purge_admission_codes(tx: Tx) -> int:
    """Delete codes whose time is over; say how many."""
    return store.delete_old_codes(tx)


def open_operator(tx: Tx, name: str, timezone: str, *, is_listed: bool = True) -> Operator:
    """Make a tenant that runs a marketplace; its members are invited as those of a business are.

    Raises:
        Refused: INVALID for a name or a zone that cannot be.
    """
    if not 0 < len(name.strip()) <= 100:
        raise Refused(errors.INVALID, "name: Enter a name of up to 100 characters.")
    check_timezone(timezone)
    tenant = create_business(tx, name, is_operator=True)
    operator = Operator(tenant.id, tenant.name, timezone, is_listed, tx.now)
    store.save_operator(tx, operator)
    return operator


def load_operator(tx: Tx, operator_id: str) -> Operator:
    """The operator that a tenant is; NOT_FOUND for a business."""
    operator = store.find_operator(tx, operator_id)
    if operator is None:
        raise Refused(errors.NOT_FOUND)
    return operator


def list_operator(tx: Tx, operator: Operator, *, is_listed: bool) -> None:
    """Let every business of the installation ask to be admitted, or only those with a code in."""
    store.record_operator(tx, operator.business_id, is_listed=is_listed)


def load_placement(tx: Tx, operator: Operator, placement_id: str) -> Placement:
    """A placement of an operator; NOT_FOUND for one of another."""
    placement = store.find_placement(tx, operator.business_id, placement_id)
    if placement is None:
        raise Refused(errors.NOT_FOUND)
    return placement


def add_placement(tx: Tx, operator: Operator, wanted: Placement) -> Placement:
    """Add a placement; what ``wanted`` says of its id, its owner and its time is not looked at.

    Raises:
        Refused: INVALID for what cannot be, and where there are too many.
    """
    tx.hold_key("placements", operator.business_id)
    placements = store.list_placements(tx, operator.business_id)
    if len(placements) >= rules.MOST_PLACEMENTS:
        raise Refused(
            errors.INVALID, "name: You have reached the limit of placements. Change an existing one instead."
        )
    made = replace(wanted, id=new_id(), business_id=operator.business_id, created_at=tx.now)
    rules.check_placement(made, [placement.name for placement in placements])
    store.save_placement(tx, made)
    return made


def change_placement(tx: Tx, operator: Operator, changed: Placement) -> None:
    """Change a placement; its currency stays, as prices and balances are in it.

    Raises:
        Refused: NOT_FOUND; INVALID for what cannot be.
    """
    tx.hold_key("placements", operator.business_id)
    placement = load_placement(tx, operator, changed.id)
    kept = replace(
        changed,
        business_id=placement.business_id,
        currency=placement.currency,
        created_at=placement.created_at,
    )
    placements = store.list_placements(tx, operator.business_id)
    rules.check_placement(kept, [each.name for each in placements if each.id != placement.id])
    store.save_placement(tx, kept)


type Keep = Callable[[Tx], None]


class Sender:
    """Sends what admitted businesses have anew to their operators: ads to be reviewed, and ad accounts."""

    def __init__(self) -> None:
        self._turns: Iterator[Admission] | None = None

    def start_over(self) -> None:
        """Begin a round through the admissions."""
        self._turns = None

    def read_next(self, tx: Tx) -> Keep | None:
        """Look for what is new of the next business; what keeps that comes back, None at the end."""
        if self._turns is None:
            self._turns = iter(store.list_admitted(tx))
        for admission in self._turns:
            ads, balances = _list_new(tx, admission)
            if ads or balances:
                return lambda tx: _keep(tx, ads, balances)
        return None


def send_ads(tx: Tx, admission: Admission) -> None:
    """Send what is new of one business at once; the transaction must act for the business, or for nobody."""
    _keep(tx, *_list_new(tx, admission))


def _keep(tx: Tx, ads: list[AdReview], balances: list[OperatorBalance]) -> None:
    store.save_sent_ads(tx, ads)
    store.save_balances(tx, balances)


def _list_new(tx: Tx, admission: Admission) -> tuple[list[AdReview], list[OperatorBalance]]:
    sent = store.list_sent(tx, admission.operator_id, admission.business_id)
    found = [live.ad for live in list_live_ads(tx, admission.business_id)]
    ads = [_sent(tx, admission, ad) for ad in found if (ad.id, rules.review_digest(ad)) not in sent]
    known = {
        balance.ad_account_id: (balance.name, balance.currency)
        for balance in store.list_balances_of_business(tx, admission.business_id)
        if balance.operator_id == admission.operator_id
    }
    fresh = [
        _balance(admission, account)
        for account in list_ad_accounts(tx, BusinessId(admission.business_id))
        if known.get(account.id) != (account.name, account.currency)
    ]
    return ads, fresh


def _sent(tx: Tx, admission: Admission, ad: Ad) -> AdReview:
    return AdReview(
        admission.operator_id, admission.business_id, ad.id, rules.review_digest(ad), ad.number,
        admission.business_name, ad.name, ad.headline, ad.text, ad.ad_format, ad.call_to_action,
        ad.video_id, ReviewState.PENDING, "", tx.now,
    )  # fmt: skip


def _balance(admission: Admission, account: AdAccount) -> OperatorBalance:
    return OperatorBalance(
        admission.operator_id, admission.business_id, account.id, account.number, account.name,
        account.currency,
    )  # fmt: skip


def decide_review(
    tx: Tx, operator: Operator, ad_id: str, digest: str, wanted: ReviewState, reason: str = ""
) -> AdReview:
    """Approve or refuse a revision of an ad, also one that was decided before; the business reads why.

    Raises:
        Refused: NOT_FOUND; INVALID for a refusal without a reason.
    """
    review = store.find_review(tx, operator.business_id, ad_id, digest)
    if review is None:
        raise Refused(errors.NOT_FOUND)
    if wanted is ReviewState.PENDING:
        raise Refused(errors.INVALID, "state: Approve or reject the ad.")
    rules.check_reason(reason, is_needed=wanted is ReviewState.REFUSED)
    store.record_review(tx, review, wanted, reason.strip())
    return review


MOST_MICROS = 10**15
"""A payment of a thousand million is a slip of the hand."""


def load_operator_balance(tx: Tx, operator: Operator, ad_account_id: str) -> OperatorBalance:
    """What an ad account has with an operator; NOT_FOUND for one of no business that it admitted."""
    operator_balance = store.find_operator_balance(tx, operator.business_id, ad_account_id)
    if operator_balance is None:
        raise Refused(errors.NOT_FOUND)
    return operator_balance


def pay_operator(
    tx: Tx, operator: Operator, ad_account_id: str, amount_micros: int, note: str
) -> OperatorBalance:
    """Note a payment of an ad account to an operator; less than 0 is one back.

    Raises:
        Refused: NOT_FOUND; INVALID for nothing, and for more than anybody pays.
    """
    balance = load_operator_balance(tx, operator, ad_account_id)
    if not 0 < abs(amount_micros) <= MOST_MICROS:
        raise Refused(errors.INVALID, "amount: Enter an amount other than 0, of at most 1,000,000,000.")
    day = local_day(micros(tx.now), operator.timezone)
    payment = OperatorPayment(
        new_id(), operator.business_id, balance.business_id, ad_account_id, tx.now, day, amount_micros,
        note.strip()[:200],
    )  # fmt: skip
    store.append_payment(tx, balance, payment)
    return load_operator_balance(tx, operator, ad_account_id)


def set_credit(tx: Tx, operator: Operator, ad_account_id: str, credit_micros: int) -> OperatorBalance:
    """Say what an ad account may owe an operator.

    Raises:
        Refused: NOT_FOUND; INVALID for less than 0, and for more than anybody lends.
    """
    balance = load_operator_balance(tx, operator, ad_account_id)
    if not 0 <= credit_micros <= MOST_MICROS:
        raise Refused(errors.INVALID, "credit: Enter a credit limit from 0 to 1,000,000,000.")
    store.record_credit(tx, balance, credit_micros)
    return load_operator_balance(tx, operator, ad_account_id)


def charge_placements(tx: Tx, charged: Sequence[PlacedDay]) -> None:
    """Count what views and clicks in placements cost, and take it from the balances."""
    if charged:
        store.save_placed_days(tx, charged)


def count_earned_in_placements(tx: Tx, days: Sequence[PlacedDay]) -> None:
    """Count the conversations and leads that placements earned, beside what was charged there."""
    if days:
        store.save_earned_days(tx, days)


@dataclass(frozen=True, slots=True)
class PlacedLine:
    """A payment, or a day's charges of an ad group in a placement; ``balance_micros`` is left after it."""

    day: str
    placement_id: str
    ad_group_id: str
    note: str
    views: int
    clicks: int
    micros: int
    balance_micros: int


def load_operator_statement(tx: Tx, operator_id: str, ad_account_id: str) -> list[PlacedLine]:
    """All payments of an ad account to an operator, and its charges there, by day."""
    days = store.list_placed_days(tx, operator_id, ad_account_id=ad_account_id)
    paid = store.list_payments(tx, operator_id, ad_account_id)
    moves: list[tuple[str, int, PlacedDay | OperatorPayment]] = [
        *((each.day, 0, each) for each in paid),
        *((each.day, 1, each) for each in days),
    ]
    left, lines = 0, []
    for day, _, each in sorted(moves, key=lambda move: move[:2]):
        if isinstance(each, OperatorPayment):
            left += each.micros
            lines.append(PlacedLine(day, "", "", each.note, 0, 0, each.micros, left))
        else:
            left -= each.charged_micros
            counts = (each.views, each.clicks, -each.charged_micros)
            lines.append(PlacedLine(day, each.placement_id, each.ad_group_id, "", *counts, left))
    return lines


def purge_sightings(tx: Tx) -> int:
    """Forget what people were shown before yesterday, in whatever zone; say how much."""
    return store.delete_old_sightings(tx, f"{tx.now - timedelta(days=2):%Y-%m-%d}")


_OPERATOR_HEAD: Final = "business,ad account,currency,day,placement,ad group,note,views,clicks,amount,balance"


def name_charged_groups(tx: Tx, operator: Operator) -> dict[str, str]:
    """Return the names of the ad groups that were charged in an operator's placements, by id.

    They belong to the advertisers, so the transaction acts for no single tenant.
    """
    ids: dict[str, set[str]] = defaultdict(set)
    for day in store.list_placed_days(tx, operator.business_id):
        ids[day.business_id].add(day.ad_group_id)
    groups = [
        group for business_id, some in ids.items() for group in list_ad_groups_by_id(tx, business_id, some)
    ]
    return {group.id: group.name for group in groups}


def operator_statement(tx: Tx, operator: Operator, groups: Mapping[str, str]) -> list[list[str]]:
    """List all payments and charges in an operator's placements by ad account and day, under a head.

    Args:
        tx: reads for the operator.
        operator: its placements are those charged.
        groups: names of ad groups by id, from `name_charged_groups`.
    """
    names = {placement.id: placement.name for placement in store.list_placements(tx, operator.business_id)}
    businesses = {
        admission.business_id: admission.business_name
        for admission in store.list_admissions(tx, operator.business_id)
    }
    rows = [_OPERATOR_HEAD.split(",")]
    for balance in store.list_balances(tx, operator.business_id):
        business = businesses.get(balance.business_id, "")
        rows += [[business, *row] for row in statement_rows(tx, balance, names, groups)]
    return rows


def statement_rows(
    tx: Tx, balance: OperatorBalance, names: Mapping[str, str], groups: Mapping[str, str]
) -> list[list[str]]:
    """List a balance's statement: ad account, currency, day, placement, ad group, note, counts and money.

    ``groups`` has the names of ad groups that the reader may know; others go by their ids.
    """
    lines = load_operator_statement(tx, balance.operator_id, balance.ad_account_id)
    return [
        [
            str(balance.number), balance.currency, line.day, names.get(line.placement_id, line.placement_id),
            groups.get(line.ad_group_id, line.ad_group_id), line.note,
            str(line.views), str(line.clicks), f"{line.micros / MICROS:.6f}",
            f"{line.balance_micros / MICROS:.6f}",
        ]
        for line in lines
    ]  # fmt: skip
