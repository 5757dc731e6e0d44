"""Tables of charges, promises and leases, the log of decisions, and its models."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from itertools import batched
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from contatto.ads.model import Spent
from contatto.delivery import rules
from contatto.kit.db.statements import Query, insert_all, write_rows
from contatto.kit.db.tx import (
    SEALED,
    Choice,
    Tx,
    insert_for,
    instant,
    metadata,
    only,
    row_of,
    rows_of,
    sealed,
    text,
    within,
)
from contatto.kit.values import micros
from contatto.kit.vault import Sealed
from contatto.learning import model as learning
from contatto.learning.columns import DAY_US
from contatto.learning.evaluation import add_tallies

charged_days = sa.Table(
    "charged_days",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    sa.Column("ad_group_id", sa.String(36), primary_key=True),
    sa.Column("day", sa.String(10), primary_key=True),
    sa.Column("ad_account_id", sa.String(36), nullable=False),
    sa.Column("views", sa.BigInteger, nullable=False),
    sa.Column("clicks", sa.BigInteger, nullable=False),
    sa.Column("charged_micros", sa.BigInteger, nullable=False),
    sa.Index("ix_charged_days_ad_account_id", "business_id", "ad_account_id", "day"),
)

promises = sa.Table(
    "delivery_promises",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    sa.Column("nonce", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("ad_group_id", sa.String(36), nullable=False),
    sa.Column("ad_account_id", sa.String(36), nullable=False),
    sa.Column("micros", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Column("viewer", sa.String(36), nullable=False, server_default=""),
    sa.Index("ix_delivery_promises_viewer", "business_id", "ad_group_id", "viewer", **only("viewer <> ''")),
    sa.Index("ix_delivery_promises_sums", "business_id", "ad_group_id", "micros"),
    sa.Index("ix_delivery_promises_expires_at", "business_id", "expires_at"),
)
"""Budget that a decision reserves while its view is missing.

Each ad server sums promises by ad group every second from an index alone, and deletes expired ones. The table
has as many rows as the decisions of a quarter of an hour without a view.
"""

grants = sa.Table(
    "delivery_grants",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    sa.Column("ad_group_id", sa.String(36), primary_key=True),
    sa.Column("server_id", sa.String(36), primary_key=True),
    sa.Column("ad_account_id", sa.String(36), nullable=False),
    sa.Column("micros", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
)
"""Budget leases: an ad server may promise this amount without asking others, for some seconds."""


# Frequent statements are built once, because building one costs more than running it.
_BUSINESS: Final = sa.bindparam("business", type_=sa.String)
_EXCEPT_SERVER: Final = sa.bindparam("except_server", type_=sa.String)
_NOW_US: Final = sa.bindparam("now", type_=sa.BigInteger)


_SPENT_TODAY: Final = sa.func.sum(charged_days.c.charged_micros).filter(
    charged_days.c.day == sa.bindparam("day", type_=sa.String)
)
_SPENT: Final = Query(
    sa.select(
        charged_days.c.ad_group_id,
        sa.func.coalesce(_SPENT_TODAY, 0),
        sa.func.sum(charged_days.c.charged_micros),
    )
    .where(charged_days.c.business_id == _BUSINESS, within(charged_days.c.ad_group_id, "named"))
    .group_by(charged_days.c.ad_group_id)
)


def list_spent(tx: Tx, business_id: str, ad_group_ids: Collection[str], day: str) -> dict[str, Spent]:
    """Return the charges of ad groups on a day and in total; ad groups without charges are missing."""
    rows = _SPENT.rows(tx, {"business": business_id, "named": ad_group_ids, "day": day})
    return {name: Spent(int(today), int(total)) for name, today, total in rows}


def list_charged_days(
    tx: Tx, business_id: str, ad_account_id: str, first: str, last: str
) -> list[rules.ChargedDay]:
    """List the charges of an ad account by day and ad group, oldest day first."""
    table = charged_days
    query = sa.select(table).where(
        table.c.business_id == business_id, table.c.ad_account_id == ad_account_id,
        table.c.day.between(first, last),
    )  # fmt: skip
    return tx.list(rules.ChargedDay, query.order_by(table.c.day, table.c.ad_group_id))


CLAIMED_AMOUNT: Final = (
    promises.update()
    .where(
        promises.c.business_id == _BUSINESS, promises.c.nonce == sa.bindparam("of_nonce", type_=sa.BigInteger)
    )
    .values(micros=sa.bindparam("amount", type_=sa.BigInteger))
)


CLAIMED: Final = sa.select(promises.c.expires_at).where(
    promises.c.business_id == _BUSINESS,
    promises.c.ad_group_id == sa.bindparam("of_group", type_=sa.String),
    promises.c.viewer == sa.bindparam("of_viewer", type_=sa.String),
    promises.c.viewer != sa.literal_column("''"),
    promises.c.expires_at > _NOW_US,
)


"""Query of the expiry times of a viewer's claims on views of an ad group."""

_FULFILLED: Final = promises.delete().where(
    promises.c.business_id == _BUSINESS, within(promises.c.nonce, "nonces")
)


def delete_promises(tx: Tx, business_id: str, nonces: Collection[int]) -> None:
    """Delete promises of decisions that have a view, or that did not use their claim."""
    write_rows(tx, _FULFILLED, [{"business": business_id, "nonces": nonces}])


_PROMISED: Final = (
    sa.select(promises.c.ad_group_id, sa.func.sum(promises.c.micros))
    .where(promises.c.business_id == _BUSINESS)
    .group_by(promises.c.ad_group_id)
)
_LEASED: Final = sa.select(grants.c.server_id, grants.c.ad_group_id, grants.c.micros).where(
    grants.c.business_id == _BUSINESS, grants.c.server_id != _EXCEPT_SERVER
)
_COMMITTED: Final = (
    sa.select(promises.c.ad_account_id, sa.func.sum(promises.c.micros))
    .where(promises.c.business_id == _BUSINESS)
    .group_by(promises.c.ad_account_id),
    sa.select(grants.c.ad_account_id, sa.func.sum(grants.c.micros))
    .where(grants.c.business_id == _BUSINESS, grants.c.server_id != _EXCEPT_SERVER)
    .group_by(grants.c.ad_account_id),
)


def list_committed(tx: Tx, business_id: str, except_server: str) -> tuple[Counter[str], int]:
    """Return promises and the leases of all other ad servers by ad group, and the number of these servers."""
    values = {"business": business_id, "except_server": except_server}
    committed, servers = Counter[str](), set()
    for ad_group_id, amount in map(tuple, tx.execute(_PROMISED, {"business": business_id})):
        committed[ad_group_id] += int(amount)
    for server_id, ad_group_id, amount in map(tuple, tx.execute(_LEASED, values)):
        committed[ad_group_id] += int(amount)
        servers.add(server_id)
    return committed, len(servers)


def list_committed_of_accounts(tx: Tx, business_id: str, except_server: str) -> Counter[str]:
    """Return promises and the leases of all other ad servers, by ad account."""
    committed = Counter[str]()
    values = {"business": business_id, "except_server": except_server}
    for statement in _COMMITTED:
        for name, amount in map(tuple, tx.execute(statement, values)):
            committed[name] += int(amount)
    return committed


COUNTS: Final = ("views", "clicks", "charged_micros", "conversations", "leads")

trials = sa.Table(
    "delivery_trials",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    sa.Column("ad_group_id", sa.String(36), primary_key=True),
    sa.Column("day", sa.String(10), primary_key=True),
    sa.Column("trial", sa.Integer, primary_key=True, autoincrement=False),
    *(sa.Column(name, sa.BigInteger, nullable=False) for name in COUNTS),
    sa.Index("ix_delivery_trials_day", "day"),
)
"""Results by day of the random and the learned arm; ``trial`` is a group of viewers (`rules.trial_of`)."""


streams = sa.Table(
    "delivery_streams",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    sa.Column("last_seq", sa.BigInteger, nullable=False),
    sa.Column("trained_seq", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("published_seq", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("published_at", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("lease_by", sa.String(36), nullable=False, server_default=""),
    sa.Column("lease_until", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("sealed_seq", sa.BigInteger, nullable=False, server_default="0"),
)
"""Progress of the log of a business, and the lease of its learner; sealed entries are in decision files."""

log = sa.Table(
    "delivery_log",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", Choice(learning.EntryKind), nullable=False),
    sa.Column("ts", sa.BigInteger, nullable=False),
    sa.Column("nonce", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("ad_id", sa.String(36), nullable=False, server_default=""),
    sa.Column("touch_id", sa.BigInteger),
    sa.Column("person_id", sa.String(36)),
    sealed("body"),
    sa.Column("arrived_ts", sa.BigInteger, nullable=False, server_default="0"),
    sa.Index("ix_delivery_log_nonce", "business_id", "nonce"),
    sa.Index("ix_delivery_log_touch_id", "business_id", "touch_id"),
    sa.Index("ix_delivery_log_person_id", "business_id", "person_id", "ad_id"),
    sa.Index("ix_delivery_log_ts", "ts"),
)
"""Log of decisions and outcomes, by ``seq`` in the order of commits.

``nonce`` is the number of the decision, or in an entry of ad groups and ads their digest.
"""

LEARNER_LEASE_US: Final = 60_000_000
"""Lease of a learner on the log of a business."""
AT_ONCE: Final = 500
"""Maximum number of ids in one statement."""
PUBLISH_US: Final = 60_000_000
"""Shortest time between two published models."""


def append_entries(tx: Tx, business_id: str, entries: Sequence[rules.NewEntry]) -> int:
    """Append entries in their order; return the number of the last one.

    The row of the stream stays locked until the commit, so numbers follow the order of commits. A reader up
    to one number has read all entries before it.
    """
    count = len(entries)
    values = {"business_id": business_id, "last_seq": count}
    last = int(tx.execute(_stream_advance(tx.connection.dialect.name), values).scalar_one())
    now_us = micros(tx.now)
    rows = [
        row_of(entry)
        | {
            "business_id": business_id,
            "seq": last - count + place + 1,
            "body": tx.vault.seal_bytes(
                entry.body, business_id, "delivery_log.body", str(last - count + place + 1)
            ),
            "arrived_ts": now_us,
        }
        for place, entry in enumerate(entries)
    ]
    insert_all(tx, log, rows)
    return last


@cache
def _stream_advance(dialect: str) -> Any:
    """Return the statement that adds to ``last_seq`` and returns it; cached, as building it is slow."""
    insert = insert_for(dialect, streams)
    counted = streams.c.last_seq + insert.excluded.last_seq
    more = insert.on_conflict_do_update(index_elements=["business_id"], set_={"last_seq": counted})
    return more.returning(streams.c.last_seq)


def list_entries(
    tx: Tx, business_id: str, after_seq: int, limit: int, through: int | None = None
) -> list[learning.Entry]:
    """List decrypted entries of a business after a number, in their order."""
    where = [log.c.seq > after_seq] if through is None else [log.c.seq > after_seq, log.c.seq <= through]
    return list_log(tx, business_id, *where, order=log.c.seq, limit=limit)


def list_all_entries(tx: Tx, business_id: str, after_seq: int, at_once: int) -> Iterator[learning.Entry]:
    """Yield all entries of a business after a number, in their order; read ``at_once`` at a time."""
    while batch := list_entries(tx, business_id, after_seq, at_once):
        yield from batch
        after_seq = batch[-1].seq


def list_lines(tx: Tx, business_id: str, digests: Collection[int], since_ts: int = 0) -> list[learning.Entry]:
    """List the entries of ad groups and ads with these digests, since a time; decisions refer to them."""
    where = log.c.nonce.in_(digests), log.c.kind == learning.EntryKind.LINES, log.c.ts >= since_ts
    return list_log(tx, business_id, *where)


def list_decisions(
    tx: Tx, business_id: str, limit: int, before_seq: int | None = None
) -> list[learning.Entry]:
    """List the latest decisions of a business before a number, latest first."""
    where = [log.c.kind == learning.EntryKind.DECISION]
    where += [] if before_seq is None else [log.c.seq < before_seq]
    return list_log(tx, business_id, *where, order=log.c.seq.desc(), limit=limit)


_NONCES: Final[Any] = sa.bindparam("nonces", type_=sa.BigInteger, expanding=True)
_TOUCHES: Final = (
    sa.select(*(log.c[name] for name in ("kind", "ts", "nonce", "ad_id", "touch_id", "person_id")))
    .where(
        log.c.business_id == sa.bindparam("business", type_=sa.String),
        log.c.nonce.in_(_NONCES),
        log.c.kind.in_((learning.EntryKind.VIEW, learning.EntryKind.CLICK)),
    )
    .order_by(log.c.seq)
)


def list_touches_of(tx: Tx, business_id: str, nonces: Collection[int]) -> list[rules.NewEntry]:
    """List the stored views and clicks of some impressions, in their order."""
    values = {"business": business_id, "nonces": list(nonces)}
    return tx.list(rules.NewEntry, _TOUCHES, values) if nonces else []


def list_nonces_of_persons(tx: Tx, business_id: str, persons: Collection[str]) -> set[int]:
    """Return the impressions that some persons viewed or clicked."""
    where = log.c.business_id == business_id, log.c.person_id.in_(sorted(persons)), log.c.nonce != 0
    return set(tx.execute(sa.select(log.c.nonce).where(*where).distinct()).scalars())


def list_decisions_of(tx: Tx, business_id: str, nonces: Collection[int]) -> list[learning.Entry]:
    decisions: list[learning.Entry] = []
    for chunk in batched(sorted(nonces), AT_ONCE):
        where = log.c.nonce.in_(chunk), log.c.kind == learning.EntryKind.DECISION
        decisions += list_log(tx, business_id, *where)
    return decisions


def find_stream(tx: Tx, business_id: str) -> rules.Stream | None:
    return tx.find(rules.Stream, sa.select(streams).where(streams.c.business_id == business_id))


def list_streams_to_learn(tx: Tx, learner: str) -> list[rules.Stream]:
    """List logs with entries to learn or to publish, without a lease of another learner."""
    now_us = micros(tx.now)
    stale = sa.and_(
        streams.c.published_seq < streams.c.trained_seq, streams.c.published_at < now_us - PUBLISH_US
    )
    free = sa.or_(streams.c.lease_by == learner, streams.c.lease_until < now_us)
    query = sa.select(streams).where(sa.or_(streams.c.last_seq > streams.c.trained_seq, stale), free)
    return tx.list(rules.Stream, query.order_by(streams.c.business_id))


def record_progress(tx: Tx, business_id: str, **values: int | str) -> None:
    """Record up to which entry a log is published, learned or sealed."""
    tx.execute(sa.update(streams).where(streams.c.business_id == business_id).values(**values))


def list_log(
    tx: Tx, business_id: str, *where: sa.ColumnElement[bool], order: Any = None, limit: int | None = None
) -> list[learning.Entry]:
    """List decrypted entries of a business by columns of the log."""
    query = sa.select(log).where(log.c.business_id == business_id, *where)
    query = query if order is None else query.order_by(order)
    query = query if limit is None else query.limit(limit)
    entries = []
    for row in tx.execute(query).mappings():
        place = row["business_id"], "delivery_log.body", str(row["seq"])
        entries.append(learning.Entry(**dict(row) | {"body": tx.vault.open_bytes(row["body"], *place)}))
    return entries


decision_files = sa.Table(
    "decision_files",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(120), primary_key=True),
    text("folder"),
    sa.Column("day", sa.String(10), nullable=False),
    sa.Column("first_seq", sa.BigInteger, nullable=False),
    sa.Column("last_seq", sa.BigInteger, nullable=False),
    sa.Column("entries", sa.BigInteger, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
)
"""List of sealed files; readers ignore files that it lacks."""

forgotten = sa.Table(
    "forgotten_viewers",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    sa.Column("person_id", sa.String(36), primary_key=True),
    instant("forgotten_at"),
)
"""Ids of erased persons that a file may still contain."""


def list_decision_files(tx: Tx, business_id: str = "", first_day: str = "") -> list[rules.DecisionFile]:
    """List the files of a business, or of all, from a day on, in the order of the log."""
    query = sa.select(decision_files).where(decision_files.c.day >= first_day)
    if business_id:
        query = query.where(decision_files.c.business_id == business_id)
    order = decision_files.c.business_id, decision_files.c.first_seq
    return tx.list(rules.DecisionFile, query.order_by(*order))


def record_decision_file(tx: Tx, file: rules.DecisionFile) -> None:
    """Record the new folder, size and digest of a file that was moved or rewritten."""
    statement = sa.update(decision_files).where(*rows_of(decision_files, file.business_id, name=file.name))
    tx.execute(statement.values(folder=file.folder, size=file.size, sha256=file.sha256))


models = sa.Table(
    "delivery_models",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("through", sa.BigInteger, nullable=False),
    sa.Column("made_at", sa.BigInteger, nullable=False),
    sa.Column("origin", sa.String(64), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("entries", sa.BigInteger, nullable=False),
    sa.Column("blob", sa.LargeBinary, info={SEALED: True}),
)
"""One statement writes a model with its row, so no partial model exists. Older rows lose their bytes."""

states = sa.Table(
    "delivery_states",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
"""Current state of each ad group in the learner: value of a conversion, and learning phase."""

NEWEST: Final = 3
"""This many of the newest models keep their bytes, besides one of each day."""


def save_model(tx: Tx, model: learning.ModelVersion, raw: bytes) -> bool:
    """Publish a model; return False when its version exists."""
    row = {
        "business_id": model.business_id, "version": model.version, "through": model.through,
        "made_at": model.made_at, "origin": model.origin, "size": len(raw),
        "sha256": hashlib.sha256(raw).hexdigest(), "entries": model.entries,
        "blob": tx.vault.seal_bytes(raw, model.business_id, "delivery_models.blob", str(model.version)),
    }  # fmt: skip
    return tx.insert_ignore(models, row)


def list_models(tx: Tx, business_id: str) -> list[learning.ModelVersion]:
    """List the models of a business, newest first."""
    columns = [column for column in models.c if column.name != "blob"]
    has_blob = models.c.blob.is_not(None).label("has_blob")
    query = sa.select(*columns, has_blob).where(models.c.business_id == business_id)
    return tx.list(learning.ModelVersion, query.order_by(models.c.version.desc()))


_NEWEST: Final = Query(
    sa.select(models.c.version)
    .where(models.c.business_id == _BUSINESS)
    .order_by(models.c.version.desc())
    .limit(1)
)
_STATES: Final = Query(sa.select(states.c.body).where(states.c.business_id == _BUSINESS))


def find_newest_version(tx: Tx, business_id: str) -> int:
    """Return the version of the newest model; 0 without any."""
    rows = _NEWEST.rows(tx, {"business": business_id})
    return int(rows[0][0]) if rows else 0


def load_model(tx: Tx, business_id: str, version: int) -> bytes | None:
    """Return the bytes of a model; None when they were deleted, or cannot be decrypted, or differ."""
    where = models.c.business_id == business_id, models.c.version == version
    row = tx.execute(sa.select(models.c.blob, models.c.sha256).where(*where)).first()
    if row is None or row.blob is None:
        return None
    try:
        raw = tx.vault.open_bytes(row.blob, business_id, "delivery_models.blob", str(version))
    except Sealed:
        return None
    return raw if hashlib.sha256(raw).hexdigest() == row.sha256 else None


def delete_old_models(tx: Tx, business_id: str, keep_days: int) -> None:
    """Delete the bytes of models that no decision in the log needs, and rows older than the log."""
    newest_first = list_models(tx, business_id)
    oldest = micros(tx.now) - keep_days * DAY_US
    needed: set[int] = {model.version for model in newest_first[:NEWEST]}
    days: set[int] = set()
    for model in newest_first:
        if model.made_at >= oldest and model.made_at // DAY_US not in days:
            days.add(model.made_at // DAY_US)
            needed.add(model.version)
    before = [model for model in newest_first if model.made_at < oldest and model.has_blob]
    if before:  # learning from the oldest entries of the log starts from this model
        needed.add(before[0].version)
    unneeded = [model.version for model in newest_first if model.version not in needed and model.has_blob]
    where = models.c.business_id == business_id
    if unneeded:
        tx.execute(sa.update(models).where(where, models.c.version.in_(unneeded)).values(blob=None))
    tx.execute(sa.delete(models).where(where, models.c.blob.is_(None), models.c.made_at < oldest))


def list_states(tx: Tx, business_id: str) -> list[learning.GroupState]:
    """List the latest state of each ad group of a business."""
    rows = _STATES.rows(tx, {"business": business_id})
    return msgspec.msgpack.decode(rows[0][0], type=list[learning.GroupState]) if rows else []


tallies: Final = sa.Table(
    "delivery_foretold",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    sa.Column("ad_account_id", sa.String(36), primary_key=True),
    sa.Column("day", sa.String(10), primary_key=True),
    sa.Column("question", Choice(learning.Question), primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index("ix_delivery_foretold_day", "day"),
)
"""Anonymous counts of predicted and actual outcomes: about 1 kB for each question and day."""

influences: Final = sa.Table(
    "delivery_influences",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sealed("body"),
)
"""Influences on predictions; encrypted, because they contain values that requests sent."""

type TallyKey = tuple[str, str, learning.Question]
"""Ad account, day, question."""


def save_tallies(tx: Tx, business_id: str, new: Mapping[TallyKey, learning.PredictionTally]) -> None:
    """Add to the counts; one learner at a time counts for a business (see `streams`)."""
    if not new:
        return
    accounts, days = {account for account, _, _ in new}, {day for _, day, _ in new}
    listed = list_tallies(tx, business_id, min(days), accounts)
    stored = {(row.ad_account_id, row.day, row.question): row.tally for row in listed}
    rows = [
        {
            "business_id": business_id, "ad_account_id": key[0], "day": key[1], "question": key[2],
            "body": msgspec.msgpack.encode(add_tallies([stored.get(key, learning.PredictionTally()), tally])),
        }
        for key, tally in sorted(new.items())
    ]  # fmt: skip
    tx.save(tallies, rows)


def list_tallies(
    tx: Tx, business_id: str, since: str, ad_account_ids: Collection[str] | None = None
) -> list[learning.PredictionDay]:
    """List the counts from a day on, of all ad accounts or of some."""
    where = [tallies.c.business_id == business_id, tallies.c.day >= since]
    if ad_account_ids is not None:
        where.append(tallies.c.ad_account_id.in_(sorted(ad_account_ids)))
    return [
        learning.PredictionDay(
            row.ad_account_id,
            row.day,
            row.question,
            msgspec.msgpack.decode(row.body, type=learning.PredictionTally),
        )
        for row in tx.execute(sa.select(tallies).where(*where))
    ]


def save_influences(tx: Tx, business_id: str, new: list[learning.Influence]) -> None:
    """Replace the influences on the predictions of the newest model."""
    body = tx.vault.seal_bytes(msgspec.msgpack.encode(new), business_id, "delivery_influences.body", "")
    tx.save(influences, {"business_id": business_id, "at": micros(tx.now), "body": body})


def list_influences(tx: Tx, business_id: str) -> list[learning.Influence]:
    """List the influences on predictions, strongest first; none before they were computed."""
    body = tx.scalar(sa.select(influences.c.body).where(influences.c.business_id == business_id))
    if body is None:
        return []
    raw = tx.vault.open_bytes(body, business_id, "delivery_influences.body", "")
    return msgspec.msgpack.decode(raw, type=list[learning.Influence])


relearnings: Final = sa.Table(
    "delivery_relearnings",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    instant("started_at"),
    instant("told_at"),
    sa.Column("stage", Choice(rules.Stage), nullable=False),
    sa.Column("views", sa.BigInteger, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("compared", sa.LargeBinary, nullable=False),
)
"""Last relearning run of each business; ``told_at`` is the time of its last change."""


def find_relearning(tx: Tx, business_id: str) -> rules.Relearning | None:
    """Return the last relearning run; None before the first."""
    row = (
        tx.execute(sa.select(relearnings).where(relearnings.c.business_id == business_id)).mappings().first()
    )
    if row is None:
        return None
    compared = msgspec.msgpack.decode(row["compared"], type=tuple[rules.LossComparison, ...])
    return rules.Relearning(**dict(row) | {"compared": compared})
