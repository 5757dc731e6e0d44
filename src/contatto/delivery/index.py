"""Live ads in memory: one snapshot for each business, read again when it is stale; no SQL for a request."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from contatto.accounts import store as accounts
from contatto.accounts.model import Business, BusinessId
from contatto.ads.actions.publishing import facts_of
from contatto.ads.rules.goals import is_eligible, next_steps
from contatto.ads.store import LiveNodes, load_live_nodes
from contatto.audiences import store as audiences
from contatto.audiences.model import Audience, AudienceKind
from contatto.audiences.rules import conversion_of
from contatto.capture import store as capture
from contatto.channels import store as channels
from contatto.channels.model import Platform
from contatto.delivery.model.decisions import Candidate, Home, Member, Snapshot
from contatto.delivery.model.lines import AdGroupLine, AdLine
from contatto.delivery.rules.competing import describe_ad, describe_group
from contatto.delivery.store import models
from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.log import logger, where
from contatto.measurement import store as measurement

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
