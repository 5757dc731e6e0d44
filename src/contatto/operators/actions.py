"""Actions of marketplaces: snapshots in memory, admissions, reviews, payments and statements."""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import sqlalchemy as sa

from contatto.accounts.actions import create_business
from contatto.accounts.model import Business, BusinessId
from contatto.accounts.rules import check_timezone
from contatto.accounts.store import list_ad_accounts
from contatto.ads.model import AdGroup
from contatto.ads.store import load_live_nodes, load_nodes
from contatto.kit import errors
from contatto.kit.concurrency import FreshValues
from contatto.kit.db.database import Database, acting
from contatto.kit.db.statements import add_counts, insert_new
from contatto.kit.db.tx import Tx, purging, row_of, rows_of
from contatto.kit.errors import Refused, check_found
from contatto.kit.ids import hash_secret, new_id, new_secret
from contatto.kit.log import logger, where
from contatto.kit.rate_limits import SharedLimit
from contatto.kit.values import MICROS, micros
from contatto.measurement.rules import local_day
from contatto.operators import rules, store
from contatto.operators.model import (
    Admission,
    AdmissionState,
    AdReview,
    Balance,
    BalanceEntry,
    BalanceKey,
    Category,
    Operator,
    OperatorSnapshot,
    PlacedDay,
    Placement,
    RequestDay,
    ReviewState,
)

PROMISED_FOR: Final = timedelta(seconds=10)
"""Time for which the price of a shown ad reduces its balance; by then a snapshot contains the charge."""
FLUSH_S: Final = 0.1
"""Delay before the counts of requests and shown ads are written, in the background."""

type Sighting = tuple[str, str, str, str]
"""Operator, placement, viewer and day."""


def load_operator_snapshot(tx: Tx, operator_id: str) -> OperatorSnapshot | None:
    """Load the businesses, ads and balances of an operator; None for a tenant that is no operator."""
    operator = store.find_operator(tx, operator_id)
    if operator is None:
        return None
    admitted = store.list_admissions(tx, operator_id, AdmissionState.ADMITTED)
    reviews = store.ad_reviews.c
    approved = sa.select(reviews.ad_id, reviews.digest).where(
        reviews.operator_id == operator_id, reviews.state == ReviewState.APPROVED
    )
    return OperatorSnapshot(
        operator,
        {placement.id: placement for placement in store.list_placements(tx, operator_id)},
        {admission.business_id: admission for admission in admitted},
        frozenset((ad_id, digest) for ad_id, digest in map(tuple, tx.execute(approved))),
        {
            balance.ad_account_id: balance.chargeable_micros
            for balance in store.list_balances(tx, operator_id)
        },
    )


class OperatorIndex:
    """Snapshots of operators in this process, with recent promises and unwritten counts.

    A promise is the price of a shown ad that no balance contains yet.
    The snapshot of a tenant that is no operator is None.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self.snapshots = FreshValues(db.clock.now, self._load, "operators.field_not_read")
        self._promises: defaultdict[str, deque[tuple[datetime, int]]] = defaultdict(deque)
        """Times and prices in micros, by ad account."""
        self._promised: Counter[str] = Counter()
        """Their sums in micros."""
        self._sightings: Counter[Sighting] = Counter()
        self._requests: Counter[tuple[str, str, str]] = Counter()
        self._filled: Counter[tuple[str, str, str]] = Counter()
        self._flushing: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()

    async def _load(self, operator_id: str) -> OperatorSnapshot | None:
        with acting(operator_id):
            return await self._db.read(lambda tx: load_operator_snapshot(tx, operator_id))

    def available_balance(self, market: OperatorSnapshot, ad_account_id: str) -> int:
        """Return the amount that an ad account may still spend, in micros, less recent promises."""
        if promises := self._promises.get(ad_account_id):
            since = self._db.clock.now() - PROMISED_FOR
            while promises and promises[0][0] < since:
                self._promised[ad_account_id] -= promises.popleft()[1]
        return max(market.chargeable.get(ad_account_id, 0) - self._promised[ad_account_id], 0)

    async def count_seen(self, placement: Placement, viewer: str, day: str) -> int:
        """Count the ads that a viewer saw in a placement on a day."""
        key = (placement.business_id, placement.id, viewer, day)
        stored = store.sightings.c
        query = sa.select(sa.func.coalesce(sa.func.sum(stored.shown), 0)).where(
            stored.business_id == placement.business_id,
            stored.placement_id == placement.id,
            stored.viewer == viewer,
            stored.day == day,
        )
        with acting(placement.business_id):
            written = await self._db.read(lambda tx: int(tx.scalar(query)))
        return written + self._sightings[key]

    def day_of(self, operator: Operator) -> str:
        """Return the current day in the time zone of an operator."""
        return local_day(micros(self._db.clock.now()), operator.timezone)

    def count_request(
        self, operator: Operator, placement: Placement, viewer: str, *, is_filled: bool
    ) -> None:
        """Count a request for a placement, and the shown ad of an identified viewer."""
        day = self.day_of(operator)
        key = (operator.business_id, placement.id, day)
        self._requests[key] += 1
        if is_filled:
            self._filled[key] += 1
            if viewer and placement.most_views:
                self._sightings[operator.business_id, placement.id, viewer, day] += 1
        if self._flushing is None or self._flushing.done():
            with acting(""):
                self._flushing = asyncio.create_task(self._flush_later())

    def note_promise(self, ad_account_id: str, amount_micros: int) -> None:
        """Note the price of an ad that was just shown."""
        self._promises[ad_account_id].append((self._db.clock.now(), amount_micros))
        self._promised[ad_account_id] += amount_micros

    async def _flush_later(self) -> None:
        await asyncio.sleep(FLUSH_S)
        try:
            await self.flush()
        except Exception as error:  # the next flush tries again
            logger().error("operators.counts_not_written", error_at=where(error))

    async def flush(self) -> None:
        """Write the counts to the database."""
        async with self._writing:
            sightings, requests = self._sightings.copy(), self._requests.copy()
            filled = self._filled.copy()
            if not requests:
                return
            days = [RequestDay(*key, count, filled[key]) for key, count in sorted(requests.items())]
            names = ("business_id", "placement_id", "viewer", "day")
            sighting_rows = [
                dict(zip(names, key, strict=True)) | {"shown": count} for key, count in sightings.items()
            ]

            def write(tx: Tx) -> None:
                add_counts(tx, store.request_days, ("asked", "filled"), map(row_of, days))
                add_counts(tx, store.sightings, ("shown",), sighting_rows)

            with acting(""):
                await self._db.write(write)
            self._sightings, self._requests = self._sightings - sightings, self._requests - requests
            self._filled -= filled


_CODE_TRIES = SharedLimit("admission codes tried", 20, timedelta(hours=1))


def ask_admission(tx: Tx, operator_id: str, business: Business, category: Category) -> Admission:
    """Ask an operator for admission, in a transaction that acts for no tenant.

    Raises NOT_FOUND for an unlisted operator; CONFLICT for a business that asked or is admitted.
    """
    operator = store.find_operator(tx, operator_id)
    if operator is None or not operator.is_listed:
        raise Refused(errors.NOT_FOUND, "Marketplace not found.")
    return _save_admission(tx, operator, business, category, AdmissionState.REQUESTED)


def make_code(tx: Tx, operator: Operator) -> str:
    """Create a code that admits one business; only its hash is stored."""
    code = new_secret("join")
    row = {"code_hash": hash_secret(code), "business_id": operator.business_id, "created_at": tx.now}
    tx.insert(store.admission_codes, row | {"expires_at": tx.now + timedelta(days=rules.CODE_DAYS)})
    return code


def join_by_code(tx: Tx, code: str, business: Business, category: Category) -> Admission:
    """Admit a business by a code that works once, in a transaction that acts for no tenant.

    Raises LINK_OVER for an unknown or expired code; CONFLICT for an admitted business; TOO_MANY.
    """
    _CODE_TRIES.take(tx, business.id)
    codes = store.admission_codes
    is_valid = codes.c.code_hash == hash_secret(code.strip()), codes.c.expires_at > tx.now
    used = tx.execute(codes.delete().where(*is_valid).returning(codes.c.business_id))
    operator_id = used.scalar_one_or_none()
    operator = store.find_operator(tx, operator_id) if operator_id else None
    if operator is None:
        raise Refused(errors.LINK_OVER)
    return _save_admission(tx, operator, business, category, AdmissionState.ADMITTED)


def _save_admission(
    tx: Tx, operator: Operator, business: Business, category: Category, state: AdmissionState
) -> Admission:
    if business.id == operator.business_id:
        raise Refused(errors.CONFLICT, "A marketplace cannot join itself.")
    tx.hold_key("admissions", operator.business_id)
    existing = store.find_admission(tx, operator.business_id, business.id)
    has_code = state is AdmissionState.ADMITTED
    is_pending = existing is not None and existing.state is AdmissionState.REQUESTED
    may_ask = existing is None or existing.state in rules.MAY_ASK_AGAIN
    if not (has_code and is_pending) and not may_ask:
        raise Refused(
            errors.CONFLICT, "Your business has already asked to join this marketplace. Wait for its answer."
        )
    if has_code:
        _check_limit(tx, operator.business_id)
    admission = Admission(
        operator.business_id, business.id, operator.name, business.name, state, category, "", tx.now,
        tx.now if has_code else None,
    )  # fmt: skip
    tx.save(store.admissions, row_of(admission))
    return admission


def _check_limit(tx: Tx, operator_id: str) -> None:
    admissions = store.admissions.c
    admitted = sa.select(sa.func.count()).where(
        admissions.operator_id == operator_id, admissions.state == AdmissionState.ADMITTED
    )
    if tx.scalar(admitted) >= rules.MOST_ADMITTED:
        raise Refused(
            errors.CONFLICT, "The marketplace has reached its limit of businesses. Suspend one first."
        )


def decide_admission(
    tx: Tx, operator: Operator, business_id: str, state: AdmissionState, reason: str = ""
) -> Admission:
    """Admit, refuse or suspend a business, which can read the reason.

    Raises NOT_FOUND for a business that never asked; CONFLICT for a state that cannot follow, and above the
    limit of businesses; INVALID without a required reason.
    """
    tx.hold_key("admissions", operator.business_id)
    admission = check_found(store.find_admission(tx, operator.business_id, business_id))
    if state not in rules.NEXT_STATES[admission.state]:
        raise Refused(
            errors.CONFLICT, "The status of this business has changed. Reload the page and try again."
        )
    rules.check_reason(reason, is_needed=state in rules.NEEDS_REASON)
    if state is AdmissionState.ADMITTED:
        _check_limit(tx, operator.business_id)
    decided = replace(admission, state=state, reason=reason.strip(), decided_at=tx.now)
    tx.save(store.admissions, row_of(decided))
    return decided


purge_admission_codes: Final = purging(store.admission_codes.c.expires_at)


def open_operator(tx: Tx, name: str, timezone: str, *, is_listed: bool = True) -> Operator:
    """Create a tenant that runs a marketplace. Raises INVALID for an invalid name or time zone."""
    if not 0 < len(name.strip()) <= 100:
        raise Refused(errors.INVALID, "name: Enter a name of up to 100 characters.")
    check_timezone(timezone)
    tenant = create_business(tx, name, is_operator=True)
    operator = Operator(tenant.id, tenant.name, timezone, is_listed, tx.now)
    tx.insert_ignore(store.operators, row_of(operator))
    return operator


def load_operator(tx: Tx, operator_id: str) -> Operator:
    """Return the operator of a tenant; NOT_FOUND for a business."""
    return check_found(store.find_operator(tx, operator_id))


def load_placement(tx: Tx, operator: Operator, placement_id: str) -> Placement:
    """Return a placement of an operator; NOT_FOUND for one of another operator."""
    where_id = rows_of(store.placements, operator.business_id, id=placement_id)
    return check_found(tx.find(Placement, sa.select(store.placements).where(*where_id)))


def add_placement(tx: Tx, operator: Operator, draft: Placement) -> Placement:
    """Add a placement with a new id. Raises INVALID for invalid rules, and above the limit of placements."""
    tx.hold_key("placements", operator.business_id)
    placements = store.list_placements(tx, operator.business_id)
    if len(placements) >= rules.MOST_PLACEMENTS:
        raise Refused(
            errors.INVALID, "name: You have reached the limit of placements. Change an existing one instead."
        )
    placement = replace(draft, id=new_id(), business_id=operator.business_id, created_at=tx.now)
    rules.check_placement(placement, [item.name for item in placements])
    tx.save(store.placements, row_of(placement))
    return placement


def change_placement(tx: Tx, operator: Operator, changed: Placement) -> None:
    """Change a placement; its currency stays, because prices and balances use it.

    Raises NOT_FOUND; INVALID for invalid rules.
    """
    tx.hold_key("placements", operator.business_id)
    stored = load_placement(tx, operator, changed.id)
    placement = replace(
        changed, business_id=stored.business_id, currency=stored.currency, created_at=stored.created_at
    )
    placements = store.list_placements(tx, operator.business_id)
    rules.check_placement(placement, [item.name for item in placements if item.id != placement.id])
    tx.save(store.placements, row_of(placement))


type Save = Callable[[Tx], None]


class AdSender:
    """Sender of new ads and ad accounts of admitted businesses to their operators."""

    def __init__(self) -> None:
        self._turns: Iterator[Admission] | None = None

    def start_over(self) -> None:
        """Begin a round through the admissions."""
        self._turns = None

    def read_next(self, tx: Tx) -> Save | None:
        """Find the next business with new ads or accounts; return the function that sends them."""
        if self._turns is None:
            admissions = store.admissions.c
            admitted = sa.select(store.admissions).where(admissions.state == AdmissionState.ADMITTED)
            order = admissions.operator_id, admissions.business_id
            self._turns = iter(tx.list(Admission, admitted.order_by(*order)))
        for admission in self._turns:
            if any(_list_new(tx, admission)):
                return partial(send_ads, admission=admission)
        return None


def send_ads(tx: Tx, admission: Admission) -> None:
    """Send new ads and ad accounts of a business; the transaction acts for the business or for no tenant."""
    ads, balances = _list_new(tx, admission)
    insert_new(tx, store.ad_reviews, list(map(row_of, ads)))
    tx.save(store.balances, list(map(row_of, balances)), changes=("name", "currency"))


def _list_new(tx: Tx, admission: Admission) -> tuple[list[AdReview], list[Balance]]:
    """List revisions of ads, and ad accounts, that the operator does not have yet."""
    operator_id, business_id = admission.operator_id, admission.business_id
    stored_reviews = store.ad_reviews.c
    revisions = sa.select(stored_reviews.ad_id, stored_reviews.digest).where(
        stored_reviews.operator_id == operator_id, stored_reviews.business_id == business_id
    )
    sent = {(ad_id, digest) for ad_id, digest in map(tuple, tx.execute(revisions))}
    reviews = [
        AdReview(
            operator_id, business_id, ad.id, rules.review_digest(ad), ad.number, admission.business_name,
            ad.name, ad.headline, ad.text, ad.ad_format, ad.call_to_action, ad.video_id, ReviewState.PENDING,
            "", tx.now,
        )
        for ad in (live.ad for live in load_live_nodes(tx, business_id).live)
        if (ad.id, rules.review_digest(ad)) not in sent
    ]  # fmt: skip
    stored = {
        balance.ad_account_id: (balance.name, balance.currency)
        for balance in store.list_balances_of_business(tx, business_id)
        if balance.operator_id == operator_id
    }
    balances = [
        Balance(
            operator_id,
            business_id,
            account.id,
            is_limited=True,
            number=account.number,
            name=account.name,
            currency=account.currency,
        )
        for account in list_ad_accounts(tx, BusinessId(business_id))
        if stored.get(account.id) != (account.name, account.currency)
    ]
    return reviews, balances


def decide_review(
    tx: Tx, operator: Operator, ad_id: str, digest: str, state: ReviewState, reason: str = ""
) -> AdReview:
    """Approve or refuse a revision of an ad, and return it as it was before.

    Raises NOT_FOUND; INVALID for a refusal without a reason.
    """
    reviews = store.ad_reviews
    is_revision = (
        reviews.c.operator_id == operator.business_id,
        reviews.c.ad_id == ad_id,
        reviews.c.digest == digest,
    )
    review = check_found(tx.find(AdReview, sa.select(reviews).where(*is_revision)))
    if state is ReviewState.PENDING:
        raise Refused(errors.INVALID, "state: Approve or reject the ad.")
    rules.check_reason(reason, is_needed=state is ReviewState.REFUSED)
    decision = {"state": state, "reason": reason.strip(), "reviewed_at": tx.now}
    tx.execute(sa.update(reviews).where(*is_revision).values(decision))
    return review


MOST_MICROS = 10**15
"""Larger payments are typing errors."""


def load_operator_balance(tx: Tx, operator: Operator, ad_account_id: str) -> Balance:
    """Return the balance of an ad account with an operator; NOT_FOUND for an account of no member."""
    balances = store.balances.c
    is_account = balances.operator_id == operator.business_id, balances.ad_account_id == ad_account_id
    return check_found(tx.find(Balance, sa.select(store.balances).where(*is_account)))


def pay_in(tx: Tx, balance: Balance, timezone: str, amount_micros: int, note: str) -> Balance:
    """Record a payment into a balance, on a day of a time zone; less than 0 is a refund.

    Raises INVALID for an amount of 0, and for more than the maximum.
    """
    if not 0 < abs(amount_micros) <= MOST_MICROS:
        raise Refused(errors.INVALID, "amount: Enter an amount other than 0, of at most 1,000,000,000.")
    place = (balance.operator_id, balance.business_id, balance.ad_account_id)
    day = local_day(micros(tx.now), timezone)
    entry = BalanceEntry(new_id(), *place, tx.now, day, amount_micros, note.strip()[:200])
    tx.insert(store.balance_entries, row_of(entry))
    paid = row_of(Balance(*place, paid_in_micros=amount_micros))
    add_counts(tx, store.balances, store.BALANCE_SUMS, [paid])
    return replace(balance, paid_in_micros=balance.paid_in_micros + amount_micros)


def pay_operator(tx: Tx, operator: Operator, ad_account_id: str, amount_micros: int, note: str) -> Balance:
    """Record a payment of an ad account to an operator; see `pay_in`."""
    balance = load_operator_balance(tx, operator, ad_account_id)
    return pay_in(tx, balance, operator.timezone, amount_micros, note)


def set_balance_limit(tx: Tx, balance: Balance, credit_micros: int, *, is_limited: bool = True) -> Balance:
    """Set whether a balance and its credit limit an ad account. Raises INVALID for a credit out of range."""
    if not 0 <= credit_micros <= MOST_MICROS:
        raise Refused(errors.INVALID, "credit: Enter a credit limit from 0 to 1,000,000,000.")
    limited = replace(balance, is_limited=is_limited, credit_micros=credit_micros)
    tx.save(store.balances, row_of(limited), changes=("is_limited", "credit_micros"))
    return limited


def charge_balances(
    tx: Tx, business_id: str, charged: Mapping[BalanceKey, int], days: Sequence[PlacedDay]
) -> None:
    """Take charges from the balances, and add counts, charges and conversions in placements to their days."""
    counts = ("views", "clicks", "charged_micros", "conversations", "leads")
    add_counts(tx, store.placed_days, counts, map(row_of, days))
    # the balance of the ad account itself (operator "") may be new
    rows = [
        row_of(Balance(operator_id, business_id, ad_account_id, charged_micros=amount))
        for (operator_id, ad_account_id), amount in charged.items()
        if amount
    ]
    add_counts(tx, store.balances, store.BALANCE_SUMS, rows)


def purge_sightings(tx: Tx) -> int:
    """Delete counts of shown ads from before yesterday in any time zone; return their number."""
    return tx.delete_some(store.sightings, store.sightings.c.day < f"{tx.now - timedelta(days=2):%Y-%m-%d}")


_OPERATOR_HEAD: Final = "business,ad account,currency,day,placement,ad group,note,views,clicks,amount,balance"


def name_charged_groups(tx: Tx, operator: Operator) -> dict[str, str]:
    """Return the names of ad groups that an operator charged; the transaction acts for no tenant."""
    ids: dict[str, set[str]] = defaultdict(set)
    for day in store.list_placed_days(tx, operator.business_id):
        ids[day.business_id].add(day.ad_group_id)
    groups = [load_nodes(tx, AdGroup, business_id, names) for business_id, names in ids.items()]
    return {group.id: group.name for of_business in groups for group in of_business.values()}


def operator_statement(tx: Tx, operator: Operator, groups: Mapping[str, str]) -> list[list[str]]:
    """List all payments and charges of an operator by ad account and day; ``groups`` are names by id."""
    names = {placement.id: placement.name for placement in store.list_placements(tx, operator.business_id)}
    businesses = {
        admission.business_id: admission.business_name
        for admission in store.list_admissions(tx, operator.business_id)
    }
    rows = [_OPERATOR_HEAD.split(",")]
    for balance in store.list_balances(tx, operator.business_id):
        business = businesses.get(balance.business_id, "")
        days = store.list_placed_days(tx, operator.business_id, ad_account_id=balance.ad_account_id)
        rows += [[business, *row] for row in statement_rows(tx, balance, days, names, groups)]
    return rows


def statement_rows(
    tx: Tx, balance: Balance, days: Sequence[PlacedDay], names: Mapping[str, str], groups: Mapping[str, str]
) -> list[list[str]]:
    """List a balance's statement: ad account, currency, day, placement, ad group, note, counts and money.

    ``names`` are those of placements, and ``groups`` those of the ad groups that the reader may see, by id;
    others appear by id.
    """
    table = store.balance_entries
    account = {"operator_id": balance.operator_id, "ad_account_id": balance.ad_account_id}
    query = sa.select(table).where(*rows_of(table, balance.business_id, **account))
    payments = tx.list(BalanceEntry, query.order_by(table.c.at, table.c.id))
    entries: list[tuple[str, int, PlacedDay | BalanceEntry]] = [
        *((payment.day, 0, payment) for payment in payments),
        *((day.day, 1, day) for day in days),
    ]
    total_micros, rows = 0, []
    for day, _, entry in sorted(entries, key=lambda item: item[:2]):
        if isinstance(entry, BalanceEntry):
            amount, texts = entry.micros, ["", "", entry.note, "0", "0"]
        else:
            placement = names.get(entry.placement_id, entry.placement_id)
            group = groups.get(entry.ad_group_id, entry.ad_group_id)
            amount, texts = -entry.charged_micros, [placement, group, "", str(entry.views), str(entry.clicks)]
        total_micros += amount
        money = [f"{amount / MICROS:.6f}", f"{total_micros / MICROS:.6f}"]
        rows.append([str(balance.number), balance.currency, day, *texts, *money])
    return rows
