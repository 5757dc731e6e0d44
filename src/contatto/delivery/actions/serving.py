"""The ad servers of a process: live ads, models, granted budgets, and what is to be written."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from starlette.requests import Request

from contatto.accounts import store as accounts
from contatto.accounts.auth import API_HEADER, api_caller
from contatto.accounts.model import Business, BusinessId, Caller
from contatto.ads.actions.publishing import facts_of
from contatto.ads.rules.goals import is_eligible, next_steps
from contatto.ads.store import LiveNodes, load_live_nodes
from contatto.audiences import store as audiences
from contatto.audiences.model import Audience, AudienceKind
from contatto.audiences.rules import conversion_of
from contatto.capture import store as capture
from contatto.channels import store as channels
from contatto.channels.model import Platform
from contatto.delivery.actions.budgets import PROMISE_US, Claims, FrequencyCaps, Till, Used, take_grants
from contatto.delivery.actions.log import Noted, Packer, log_decisions
from contatto.delivery.model import Bidder, Candidate, Home, Member, Price, Promise, Snapshot
from contatto.delivery.rules.targeting import LEAST_VIEW_MICROS, describe_ad, describe_group, gather_bidders
from contatto.delivery.store import ledger, models
from contatto.kit import errors
from contatto.kit.db.database import Database, acting
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.gc_freeze import freeze_new_objects
from contatto.kit.ids import hash_secret, new_id
from contatto.kit.log import logger, where
from contatto.kit.timestamps import micros
from contatto.learning.features import name_hash
from contatto.learning.lines import AdGroupLine, AdLine
from contatto.learning.model import Record
from contatto.learning.replica import AuctionRequest, Replica
from contatto.learning.storage import Damaged, Different
from contatto.measurement import store as measurement
from contatto.operators.actions import OperatorIndex

FRESH: Final = timedelta(seconds=2)
"""A snapshot older than this is read again behind the answers."""
TOO_OLD: Final = timedelta(seconds=20)
"""A snapshot older than this is not used: the answer waits for a new one."""
AUDIENCE_FRESH: Final = timedelta(minutes=1)
"""Members of an audience with a rule, older than this, are read again."""


@dataclass(frozen=True, slots=True)
class _Members:
    """The members of an audience as they were read; ``changed_at`` is its last change that was seen."""

    listed: frozenset[Member]
    changed_at: datetime
    read_at: datetime


@dataclass(slots=True)
class Known:
    """What was read of a business before; of what has not changed since, nothing is made anew."""

    members: dict[str, _Members] = field(default_factory=dict)
    live: LiveNodes | None = None
    beside: tuple[object, ...] = ()
    """Ad accounts, channel accounts, and where capture is on."""
    candidates: tuple[Candidate, ...] = ()
    lines: tuple[AdGroupLine | AdLine, ...] = ()


def load_snapshot(tx: Tx, business_id: str, known: Known | None = None) -> Snapshot:
    """Read what competes in a business now.

    Args:
        tx: an open transaction.
        business_id: whose ads.
        known: what was read before; what is new is put into it.

    Raises:
        Refused: NOT_FOUND.
    """
    business = accounts.find_business(tx, BusinessId(business_id))
    if business is None:
        raise Refused(errors.NOT_FOUND)
    known = Known() if known is None else known
    _load_candidates(tx, business, known)
    return Snapshot(
        business_id,
        business.name,
        tx.now,
        known.candidates,
        _load_members(tx, business_id, known.candidates, known.members),
        known.lines,
        tuple(models.list_states(tx, business_id)),
        models.find_newest_version(tx, business_id),
    )


def _load_candidates(tx: Tx, business: Business, known: Known) -> None:
    """See that the live ads are known as they are now."""
    business_id = str(business.id)
    ad_accounts = accounts.list_ad_accounts(tx, business.id)
    channel_accounts = channels.list_accounts(tx, business_id)
    capturing = capture.list_capturing(tx, business_id)
    beside = (ad_accounts, channel_accounts, capturing)
    live = load_live_nodes(tx, business_id, known.live)
    if live is known.live and beside == known.beside:
        return
    account_of = {str(account.id): account for account in ad_accounts}
    channel_of = {account.id: account for account in channel_accounts}
    capped = {ad.ad_group.id for ad in live.live if ad.ad_group.cap is not None}
    homes = _list_homes(tx, business_id, capped) if capped else {}
    found: list[Candidate] = []
    for each in live.live:
        account, channel = account_of[each.ad.ad_account_id], channel_of[each.ad.channel_account_id]
        facts = facts_of(account, channel, each.ad_group.countries, capture_on=channel.id in capturing)
        goal = each.ad_group.goal
        may_serve = is_eligible(goal, facts) and not next_steps(goal, facts)
        own_chat = channel.platform is Platform.WEBCHAT
        of_group = homes.get(each.ad_group.id, ())
        found.append(Candidate(each, may_serve, account.timezone, own_chat, account.currency, of_group))
    known.live, known.beside = live, beside
    known.candidates, known.lines = tuple(found), tuple(_describe(found))


def _list_homes(tx: Tx, business_id: str, ad_group_ids: Collection[str]) -> dict[str, tuple[Home, ...]]:
    """The channel accounts that the ads of some ad groups lead to, deleted ads too: there is who saw them."""
    homes: defaultdict[str, set[Home]] = defaultdict(set)
    for ad in measurement.list_measured_ads(tx, business_id).values():
        if ad.ad_group_id in ad_group_ids:
            homes[ad.ad_group_id].add((ad.channel_account_id, ad.opens_own_chat))
    return {name: tuple(sorted(places)) for name, places in homes.items()}


def _describe(candidates: Iterable[Candidate]) -> Iterator[AdGroupLine | AdLine]:
    """Each ad group before its ads, as the marketplace knows them."""
    told: set[int] = set()
    for candidate in candidates:
        if candidate.ad_group.number not in told:
            told.add(candidate.ad_group.number)
            yield describe_group(candidate.ad_group, candidate.live.campaign, candidate.timezone)
        yield describe_ad(candidate.live)


def _load_members(
    tx: Tx, business_id: str, candidates: Iterable[Candidate], known: dict[str, _Members]
) -> dict[str, frozenset[Member]]:
    """Members by the number of their audience; only what changed is read."""
    wanted: dict[str, set[int]] = {}
    for candidate in candidates:
        chosen = (*candidate.ad_group.audience_ids, *candidate.ad_group.excluded_audience_ids)
        wanted.setdefault(candidate.ad_group.ad_account_id, set()).update(map(int, chosen))
    members: dict[str, frozenset[Member]] = {}
    for ad_account_id, numbers in wanted.items():
        for audience in audiences.list_audiences(tx, business_id, ad_account_id, numbers) if numbers else ():
            if not _is_current(audience, known.get(audience.id), tx.now):
                listed = _read_members(tx, audience)
                known[audience.id] = _Members(listed, audience.updated_at, tx.now)
            members[str(audience.number)] = known[audience.id].listed
    return members


def _is_current(audience: Audience, read: _Members | None, now: datetime) -> bool:
    if read is None or read.changed_at != audience.updated_at:
        return False
    return audience.kind is not AudienceKind.RULE or now - read.read_at < AUDIENCE_FRESH


def _read_members(tx: Tx, audience: Audience) -> frozenset[Member]:
    if audience.kind is AudienceKind.RULE:
        return _list_converted(tx, audience)
    return audiences.list_members(tx, audience.business_id, audience.id)


def _list_converted(tx: Tx, audience: Audience) -> frozenset[str]:
    """The persons who converted, and the viewers who are one of them: a publisher names only these."""
    persons = measurement.list_converted_persons(tx, audience.business_id, conversion_of(audience))
    links = measurement.list_links(tx, audience.business_id)
    return persons.union(*(links[person_id] for person_id in persons & links.keys()))


class LiveAds:
    """The snapshots of this process."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.name_id = db.vault.named_id
        self._known: dict[str, Snapshot] = {}
        self._before: dict[str, Known] = {}
        self._reading: dict[str, asyncio.Task[Snapshot]] = {}

    async def snapshot(self, business_id: str) -> Snapshot:
        """The live ads of a business; at most ``TOO_OLD``, and for busy ones about ``FRESH``, old.

        A read that fails leaves the snapshot before it in force, until that is too old.
        """
        known = self._known.get(business_id)
        if known is None:
            return await self._read(business_id)
        age = self._db.clock.now() - known.read_at
        if age <= FRESH:
            return known
        reading = self._read(business_id)
        return await reading if age > TOO_OLD else known

    async def refresh(self, business_id: str) -> Snapshot:
        """Read a business's live ads now; for a timer, or after a change that must show at once."""
        return await self._read(business_id)

    def _read(self, business_id: str) -> asyncio.Task[Snapshot]:
        reading = self._reading.get(business_id)
        if reading is None or reading.done():
            reading = self._reading[business_id] = asyncio.create_task(self._read_now(business_id))
            reading.add_done_callback(_note_failure)
        return reading

    async def _read_now(self, business_id: str) -> Snapshot:
        known = self._before.setdefault(business_id, Known())
        fresh = await self._db.read(lambda tx: load_snapshot(tx, business_id, known))
        self._known[business_id] = fresh
        return fresh


def _note_failure(reading: asyncio.Task[Snapshot]) -> None:
    """A read behind an answer may fail unseen; who waits for one is told by the task itself."""
    error = None if reading.cancelled() else reading.exception()
    if error is not None and not isinstance(error, Refused):
        logger().warning("delivery.index_not_read", error_at=where(error))


FLUSH_S: Final = 0.1
"""Decisions of so long are written down together, behind their answers."""
LATE_S: Final = 1.0
"""The same for decisions that promise nothing, as nobody waits for these. Of many businesses that compete for
a place all but one write down such."""
ASK_S: Final = 1.0
"""So often a process that serves asks for grants anew."""
EMPTY_ASK_S: Final = 0.2
"""The same when a budget that it holds is used up."""
LOW: Final = 0.5
"""Less than this share of what was granted is little: more is asked for with the next decisions."""
_NEVER: Final = 1 << 63
KEPT_MODELS: Final = 128
"""Models of so many businesses are kept in a process; the one that was not asked for longest goes."""


class AdServer:
    """Serves ads in one process; for each business it has the live ads, the model and the grants.

    Args:
        db: storage.
        most_views: how often a viewer sees ads of one ad group in a day at most; 0 for no limit.
        trial_share: the share of viewers for whom ads are drawn by lot; 0 for none.
    """

    def __init__(self, db: Database, most_views: int = 0, trial_share: float = 0.0) -> None:
        self.db = db
        self.live_ads = LiveAds(db)
        self.operators = OperatorIndex(db)
        self.packer = Packer()
        self.server_id = new_id()
        self.most_views = most_views
        self.trial_share = trial_share
        self._shops: dict[str, Shop] = {}
        self._wanted: dict[str, None] = {}
        self._bringing: asyncio.Task[None] | None = None
        self._offers: dict[str, dict[str, float]] = {}
        self._is_warm = False

    async def shop(self, business_id: str) -> "Shop":
        """The ads of a business, ready to compete."""
        if not self._is_warm:
            await asyncio.to_thread(warm_kernels)
            self._is_warm = True
            freeze_new_objects()
        shop = self._shops.pop(business_id, None) or Shop(self, business_id)
        self._shops[business_id] = shop
        if len(self._shops) > KEPT_MODELS:
            idle = next((name for name, each in self._shops.items() if not each.has_waiting), None)
            self._shops.pop(idle or business_id, None)
        await shop.renew()
        return shop

    def has_shop(self, business_id: str) -> bool:
        """Return whether the ads of a business are here."""
        shop = self._shops.get(business_id)
        return shop is not None and shop.snapshot is not None

    def bring_shop(self, business_id: str) -> None:
        """Read the ads of a business behind the answers, one business after the other."""
        self._wanted[business_id] = None
        if self._bringing is None or self._bringing.done():
            self._bringing = asyncio.create_task(self._bring())

    async def _bring(self) -> None:
        while self._wanted:
            business_id = next(iter(self._wanted))
            try:
                with acting(business_id):
                    await self.shop(business_id)
            except Exception as error:  # the next request that wants them tries again
                logger().warning("delivery.shop_not_read", error_at=where(error))
            finally:
                del self._wanted[business_id]

    def offers_in(self, placement_id: str) -> dict[str, float]:
        """What each business offered lately in a placement, in micros; whoever takes offers keeps it."""
        return self._offers.setdefault(placement_id, {})

    async def flush(self) -> None:
        """Write down all that waits, and take the models that are on their way."""
        await self.operators.flush()
        if self._bringing is not None:
            await self._bringing
        for shop in list(self._shops.values()):
            await shop.flush()
            if shop.loading is not None:
                await shop.loading


def warm_kernels() -> None:
    """Have the kernels compiled or loaded, which takes a while the first time."""
    replica = Replica(0)
    replica.set_live(
        [AdGroupLine(ts=1, adgroup_id="1", advertiser_id="1"), AdLine(ts=1, ad_id="1", adgroup_id="1")]
    )
    replica.decide(AuctionRequest(1, 1_000_000, "somebody", "SG", {"kind": "none"}, 1, [1], {1: 1.0}))


class Shop:
    """The live ads of one business in one process."""

    def __init__(self, server: AdServer, business_id: str) -> None:
        self.server = server
        self._db = server.db
        self.business_id = business_id
        self.seed = seed_of(business_id)
        self.snapshot: Snapshot | None = None
        self.replica = Replica(self.seed)
        self._prepared: tuple[Replica | None, object] = (None, None)
        """Which copy of the model knows which ads."""
        self.bidders: tuple[Bidder, ...] = ()
        self.limits_views = False
        """An ad group has a frequency cap, or the installation limits views."""
        self.terms: list[Candidate] = []
        """An ad of each kind of terms of the bidders, by its number."""
        self.candidates: dict[int, Candidate] = {}
        self.revisions: dict[int, tuple[str, str]] = {}
        """Ads as operators approve them, by id and digest, as far as one was asked."""
        self.caps = FrequencyCaps(server.db, business_id)
        self._dropped: list[int] = []
        """Decisions that claimed a view under a frequency cap and did not use it."""
        self._tills: dict[str, Till] = {}
        self._held: dict[str, float] = {}
        self._used: dict[str, Used] = {}
        self._waiting: list[Noted] = []
        self._until = 0
        """When the first of the tills ends."""
        self._asked_at = 0.0
        self._is_wanted = False
        self._asks = False
        self._writing: dict[asyncio.AbstractEventLoop, asyncio.Lock] = {}
        self._flushing: dict[float, asyncio.Task[None]] = {}
        self.loading: asyncio.Task[None] | None = None
        self._refused_version = 0

    async def renew(self) -> None:
        """See that ads, model and grants are not too old."""
        found = await self.server.live_ads.snapshot(self.business_id)
        if found is not self.snapshot:
            await self._take_snapshot(found)
        elif self._prepared[0] is None and self.loading is not None:  # others ask for the first model too
            await asyncio.wait({self.loading})
            self._prepare()
        now = micros(self._db.clock.now())
        if self._until <= now or not self._asked_at:
            await self.flush()
        elif time.monotonic() - self._asked_at > ASK_S:
            self.flush_soon(asks=True)

    async def _take_snapshot(self, found: Snapshot) -> None:
        before, self.snapshot = self.snapshot, found
        if before is None or before.candidates is not found.candidates:
            self.bidders = gather_bidders(found.candidates)
            self.limits_views = bool(self.server.most_views) or any(bidder.cap for bidder in self.bidders)
            self.terms = list({each.terms: each.candidate for each in self.bidders}.values())
            self.candidates = {candidate.live.ad.number: candidate for candidate in found.candidates}
            self.revisions = {}
        if found.version not in (self.replica.version, self._refused_version) and self.loading is None:
            self.loading = asyncio.create_task(self._load(found.version))
            self.loading.add_done_callback(self._loaded)
            if before is None:
                await self.loading
        self._prepare()

    def _prepare(self) -> None:
        if self.snapshot is not None:
            if self._prepared[0] is not self.replica or self._prepared[1] is not self.snapshot.lines:
                self.replica.set_live(self.snapshot.lines)
                self._prepared = (self.replica, self.snapshot.lines)
            self.replica.set_multipliers({state.number: state.multiplier for state in self.snapshot.states})

    def _loaded(self, loading: asyncio.Task[None]) -> None:
        self.loading = None
        error = None if loading.cancelled() else loading.exception()
        if error is not None:
            logger().error("delivery.model_not_loaded", error_at=where(error))

    async def _load(self, newest: int) -> None:
        """Take the newest model that is whole."""
        made = await self._db.run_aside(
            lambda: self._db.read_now(lambda tx: load_replica(tx, self.business_id)), self.business_id
        )
        if made is None or made.version != newest:
            self._refused_version = newest
        if made is not None and made.version != self.replica.version:
            self.replica = made
            self._prepare()

    @property
    def has_waiting(self) -> bool:
        """Return whether something is still to be written down."""
        return bool(self._waiting)

    @property
    def held(self) -> Mapping[str, float]:
        """What this process may still promise of budgets today, in micros, by ad group."""
        return self._held

    def note(self, record: Record, candidate: Candidate | None, price: Price | None) -> None:
        """Keep a decision, and a place in the budget for its view; both are written down soon."""
        promise = None
        if candidate is not None and price is not None:
            ad_group, amount = candidate.ad_group, record.price_micros // 1_000
            left = self._held[ad_group.id] = self._held.get(ad_group.id, 0.0) - amount
            till = self._tills.get(ad_group.id)
            self._asks |= till is None or left < LOW * till.micros
            used = self._used.get(ad_group.id, Used())
            self._used[ad_group.id] = Used(used.micros + amount, max(amount, LEAST_VIEW_MICROS))
            promise = Promise(
                self.business_id, record.nonce, ad_group.id, ad_group.ad_account_id, amount,
                record.ts + PROMISE_US, "" if ad_group.cap is None else record.viewer,
            )  # fmt: skip
        noted = Noted(record, promise)
        self._waiting.append(noted)
        self.server.packer.add(noted)
        self.flush_soon(asks=self._asks, within_s=FLUSH_S if promise is not None or self._asks else LATE_S)

    def settle_claims(self, claims: Claims, record: Record, *, is_shown: bool = True) -> None:
        """Give back a claim of a decision that shows another ad, or none."""
        if claims.granted and not (is_shown and record.ad_group == claims.granted):
            self._dropped.append(record.nonce)
            self.caps.give_back(record.viewer, claims.granted)

    def note_empty(self) -> None:
        """A budget that this process holds is used up: perhaps there is more."""
        if time.monotonic() - self._asked_at > EMPTY_ASK_S:
            self.flush_soon(asks=True)

    def flush_soon(self, *, asks: bool, within_s: float = FLUSH_S) -> None:
        """Have what was decided written down behind the answers, and grants taken if it ``asks`` for them."""
        self._is_wanted = True
        self._asks |= asks
        flushing = self._flushing.get(within_s)
        if flushing is None or flushing.done():
            self._flushing[within_s] = asyncio.create_task(self._flush_later(within_s))

    async def _flush_later(self, within_s: float) -> None:
        await asyncio.sleep(within_s)
        if not self._is_wanted:  # somebody has done it meanwhile
            return
        try:
            await self.flush(asks=self._asks)
        except Exception as error:  # the next flush tries again
            logger().error("delivery.log_not_written", error_at=where(error))

    async def flush(self, *, asks: bool = True) -> None:
        """Write down what was decided, and take grants anew if this process ``asks`` for them."""
        async with self._one_at_a_time():
            if self.snapshot is None:
                return
            self._is_wanted = self._asks = False
            snapshot, waiting, used = self.snapshot, self._waiting, self._used if asks else {}
            dropped = self._dropped
            self._waiting, self._dropped = [], []
            if asks:  # what a view cost last is still what the next one costs, however rare requests are
                self._used = {name: Used(0, each.view_micros) for name, each in self._used.items()}
            server_id = self.server.server_id

            def write(tx: Tx) -> dict[str, Till] | None:
                if dropped:
                    ledger.delete_promises(tx, self.business_id, dropped)
                log_decisions(tx, self.business_id, waiting)
                if not asks:
                    return None
                return take_grants(tx, self.business_id, server_id, snapshot.candidates, used)

            try:
                with acting(self.business_id):  # whoever asked for the ads
                    tills = await self._db.write(write)
            except BaseException:
                self._waiting, self._dropped = waiting + self._waiting, dropped + self._dropped
                self._used = used | self._used
                self._asks |= asks
                raise
            if tills is not None:
                self._take_tills(tills)

    def _one_at_a_time(self) -> asyncio.Lock:
        """The lock of writing in this event loop; a server has one, commands and tests have one a run."""
        loop = asyncio.get_running_loop()
        if loop not in self._writing:
            self._writing = {loop: asyncio.Lock()}
        return self._writing[loop]

    def _take_tills(self, tills: dict[str, Till]) -> None:
        self._asked_at = time.monotonic()
        self._tills = tills
        self._until = min((till.until for till in tills.values()), default=_NEVER)
        since = self._used
        self._held = {name: till.micros - since.get(name, Used()).micros for name, till in tills.items()}


def load_replica(tx: Tx, business_id: str) -> Replica | None:
    """The newest model of a business that is whole; None when there is none."""
    for model in models.list_models(tx, business_id):
        raw = models.load_model(tx, business_id, model.version) if model.has_blob else None
        if raw is None:
            if model.has_blob:
                logger().error("delivery.model_damaged", version=model.version)
            continue
        try:
            return Replica(seed_of(business_id), model.version, raw)
        except (Damaged, Different) as error:
            logger().error("delivery.model_damaged", version=model.version, says=str(error))
    return None


def seed_of(business_id: str) -> int:
    """The seed of a business's marketplace: the same in every process."""
    return name_hash("delivery", business_id) >> 1


KEEP_S: Final = 0.5
"""For so long after it was revoked a token may still get ads; a busy one is looked up twice a second."""


RENEW_S: Final = 0.25
"""What is older than this is looked up behind the answer."""


_MOST: Final = 1_000


class RecentCallers:
    """Callers by the hash of their token; unknown tokens are not kept."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, Caller]] = {}
        self._asking: dict[str, asyncio.Task[Caller]] = {}

    async def caller_of(self, request: Request) -> Caller:
        """The caller of a request; one that asks all the time is looked up behind the answers.

        Raises:
            Refused: SIGN_IN, BAD_TOKEN.
        """
        key = hash_secret(request.headers.get(API_HEADER, ""))
        known = self._known.get(key)
        age_s = KEEP_S if known is None else time.monotonic() - known[0]
        if known is None or age_s >= KEEP_S:
            return await self._look_up(key, request)
        if age_s >= RENEW_S and key not in self._asking:
            asking = self._asking[key] = asyncio.create_task(self._look_up(key, request))
            asking.add_done_callback(partial(self._asked, key))
        return known[1]

    async def _look_up(self, key: str, request: Request) -> Caller:
        caller = await api_caller(request)
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[key] = (time.monotonic(), caller)
        return caller

    def _asked(self, key: str, asking: asyncio.Task[Caller]) -> None:
        """Forget a token that does not let in any more; where the look-up failed, the next one asks."""
        del self._asking[key]
        if asking.cancelled() or asking.exception() is not None:
            self._known.pop(key, None)
