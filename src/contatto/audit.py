"""Audit log of actions and of reads of contact data: hash-chained, with ids only."""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

import sqlalchemy as sa

from contatto.kit.db.statements import write_rows
from contatto.kit.db.tx import Ids, Serial, Tx, instant, metadata, row_of, tenant, text
from contatto.kit.i18n import N_
from contatto.kit.ids import hash_secret


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """Action of an actor on an object; ids and routes, never a contact value.

    ``seen`` of a read has the number of leads or chats shown, and the ids that the log did not have yet.
    """

    business_id: str
    actor_id: str
    actor: str
    act: str
    object: str
    request_id: str
    seen: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry(AuditRecord):
    """Entry of the log.

    ``digest`` covers the entry and ``before``, the digest of the previous entry, so a later change shows.
    """

    seq: int
    at: datetime
    before: str
    digest: str


API_PREFIX: Final = "/open_api/v1.3"
OBJECT_KEYS: Final = frozenset({
    "account_id", "ad_id", "ad_ids", "adgroup_id", "adgroup_ids", "advertiser_id", "app_id", "audience_id",
    "auto_message_id", "conversation_id", "failed_id", "form_id", "merge_id", "other_id", "point_id",
    "token_id", "campaign_id", "campaign_ids", "channel_account_id", "conversion_id", "custom_audience_id",
    "custom_audience_ids", "event_set_id", "event_source_id", "identity_id", "lead_id", "member_id",
    "page_id", "smart_plus_ad_id", "smart_plus_ad_ids", "subscription_id", "task_id",
})  # fmt: skip
"""The fields of requests that name an object; the audit log saves no other field."""
MOST_OBJECTS: Final = 20
MOST_SEEN: Final = 200
"""Ids of one kind that an entry names; a page shows fewer."""
_OBJECT_ID: Final = re.compile(r"(?!\d{6,15}\Z)[A-Za-z0-9_-]{1,64}", re.ASCII)
"""Ids of this installation. A number of six to fifteen digits is not one, and may be a phone number."""
_SEEN: Final = re.compile(r"(?P<kind>\w+)=(?P<count>\d+)\[(?P<ids>[^\]]*)\]", re.ASCII)


SENTENCES: Final[Mapping[str, str]] = {
    "POST /login": N_("Logged in"),
    "POST /logout": N_("Logged out"),
    "POST /setup/": N_("Set up the installation"),
    "POST /switch": N_("Switched business"),
    "POST /invitations/": N_("Accepted an invitation"),
    **dict.fromkeys(("POST /password/reset/", "POST /settings/profile/password"), N_("Chose a new password")),
    "POST /settings/alerts": N_("Changed own alerts"),
    "POST /settings/profile": N_("Changed own profile"),
    "POST /settings/profile/sessions/": N_("Ended own sessions"),
    **dict.fromkeys(
        ("GET /inbox", "GET /business/message/", "POST /business/message/media/download/"), N_("Viewed chats")
    ),
    "POST /inbox/{conversation_id}/assign": N_("Assigned a chat"),
    "POST /inbox/{conversation_id}/block": N_("Blocked a person"),
    "POST /inbox/{conversation_id}/unblock": N_("Unblocked a person"),
    "POST /inbox/{conversation_id}/forms": N_("Sent a form in a chat"),
    "POST /inbox/{conversation_id}/labels": N_("Labelled a chat"),
    "POST /inbox/{conversation_id}/labels/{label_id}/remove": N_("Removed a label from a chat"),
    **dict.fromkeys(
        (
            "POST /inbox/{conversation_id}/messages",
            "POST /inbox/{conversation_id}/typing",
            "POST /business/message/send/",
        ),
        N_("Wrote to a customer"),
    ),
    **dict.fromkeys(
        ("POST /inbox/{conversation_id}/photos", "POST /business/message/media/upload/"),
        N_("Sent a photo to a customer"),
    ),
    "POST /inbox/{conversation_id}/notes": N_("Added a private note to a chat"),
    "POST /inbox/{conversation_id}/read": N_("Read a chat"),
    "POST /inbox/{conversation_id}/reopen": N_("Reopened a chat"),
    "POST /inbox/{conversation_id}/resolve": N_("Resolved a chat"),
    "POST /inbox/{conversation_id}/snooze": N_("Snoozed a chat"),
    "POST /inbox/{conversation_id}/scheduled": N_("Scheduled a message"),
    "POST /inbox/{conversation_id}/scheduled/{reply_id}/cancel": N_("Cancelled a scheduled message"),
    "POST /inbox/{conversation_id}/lead": N_("Marked a chat as a lead"),
    "POST /settings/replies": N_("Changed saved replies"),
    "GET /forms/": N_("Viewed form answers"),
    "GET /forms/{form_id}/answers.csv": N_("Downloaded form answers"),
    **dict.fromkeys(("GET /leads", "GET /lead/", "GET /page/lead/mock/"), N_("Viewed leads")),
    "GET /leads/{lead_id}": N_("Viewed a lead"),
    **dict.fromkeys(("GET /leads.", "GET /page/lead/", "POST /page/lead/"), N_("Downloaded leads")),
    **dict.fromkeys(("GET /leads/import", "GET /leads/jobs"), N_("Viewed an import")),
    "POST /leads/import": N_("Imported leads"),
    "POST /leads/bulk": N_("Changed several leads"),
    "POST /leads/erase": N_("Erased people"),
    **dict.fromkeys(("POST /leads/merge", "POST /leads/{lead_id}/merge/"), N_("Merged leads")),
    "POST /leads/views": N_("Changed saved views"),
    "POST /leads/jobs/": N_("Undid a change of several leads"),
    "POST /leads/{lead_id}/labels": N_("Labelled a lead"),
    "POST /leads/{lead_id}/labels/{label_id}/remove": N_("Removed a label from a lead"),
    "POST /leads/{lead_id}/merges/": N_("Undid a merge"),
    "POST /leads/{lead_id}/notes": N_("Changed the notes of a lead"),
    "POST /leads/{lead_id}/owner": N_("Changed the owner of a lead"),
    "POST /leads/{lead_id}/points": N_("Changed contact details of a lead"),
    "POST /leads/{lead_id}/points/{point_id}/reject": N_("Removed a detected contact detail"),
    "POST /leads/{lead_id}/rejected/": N_("Restored a contact detail"),
    "POST /leads/{lead_id}/restore": N_("Restored a lead"),
    "POST /leads/{lead_id}/status": N_("Changed the status of a lead"),
    "POST /leads/{lead_id}/tasks": N_("Changed the tasks of a lead"),
    **dict.fromkeys(
        (
            "POST /ads/",
            "POST /ad/",
            "POST /adgroup/",
            "POST /campaign/",
            "POST /creative/",
            "POST /smart_plus/",
            "POST /identity/",
            "POST /term/",
            "POST /delivery/",
        ),
        N_("Changed ads"),
    ),
    **dict.fromkeys(("POST /ads/audiences", "POST /dmp/"), N_("Changed audiences")),
    **dict.fromkeys(("POST /ads/drafts/", "PUT /ads/drafts/"), N_("Changed a draft of an ad")),
    "POST /forms": N_("Changed forms"),
    "GET /reports/conversions": N_("Viewed conversions"),
    "POST /reports/saved": N_("Changed saved reports"),
    "POST /settings/ad-platforms": N_("Changed external ad accounts"),
    "POST /settings/ad-accounts": N_("Changed ad accounts"),
    "POST /settings/marketplaces": N_("Joined or left a marketplace"),
    "POST /operator/": N_("Changed own marketplace"),
    "POST /settings/auth-codes": N_("Created an auth code"),
    **dict.fromkeys(("POST /settings/capture/", "POST /contatto/capture/"), N_("Changed lead capture")),
    "POST /settings/channels/accounts": N_("Connected a channel account"),
    "POST /settings/channels/accounts/{account_id}/correct": N_("Edited a channel account"),
    "POST /settings/channels/accounts/{account_id}/disconnect": N_("Disconnected a channel account"),
    "POST /settings/channels/accounts/{account_id}/sites": N_("Changed the allowed sites of a chat"),
    "POST /settings/channels/accounts/{account_id}/token": N_(
        "Replaced the access token of a channel account"
    ),
    "POST /settings/channels/apps": N_("Registered an app of a platform"),
    **dict.fromkeys(
        ("POST /settings/chat/", "POST /business/message/auto_message/"), N_("Changed automatic messages")
    ),
    "POST /settings/inbox": N_("Changed the reply target"),
    **dict.fromkeys(
        ("POST /settings/integrations/", "POST /integrations/", "POST /crm/"), N_("Changed a CRM connection")
    ),
    "GET /settings/integrations/": N_("Viewed a CRM connection"),
    "POST /settings/invitations": N_("Invited a colleague"),
    "POST /settings/invitations/": N_("Cancelled an invitation"),
    "POST /settings/jobs/": N_("Retried or dismissed failed jobs"),
    "POST /settings/members/{member_id}/deactivate": N_("Deactivated a member"),
    "POST /settings/members/{member_id}/reactivate": N_("Reactivated a member"),
    "POST /settings/members/{member_id}/reset": N_("Created a password reset link"),
    "POST /settings/members/{member_id}/role": N_("Changed a member's role"),
    **dict.fromkeys(
        (
            "POST /settings/subscriptions",
            "POST /business/webhook/",
            "POST /contatto/hook/",
            "POST /subscription/",
        ),
        N_("Changed webhook subscriptions"),
    ),
    **dict.fromkeys(("POST /settings/tokens", "POST /oauth2/"), N_("Created an API token")),
    "POST /settings/tokens/": N_("Revoked an API token"),
    "POST /page/lead/mock/": N_("Changed a test lead"),
    "POST /event/": N_("Sent lead outcomes to an ad platform"),
    "POST /report/": N_("Exported a report"),
    "contatto ": N_("Ran an operator command"),
}
"""Texts of actions by prefix; the longest matching prefix wins."""


def act_text(act: str) -> str:
    """Return the text of an action, to be translated; empty without a matching prefix."""
    prefixes = [prefix for prefix in SENTENCES if act.startswith(prefix)]
    return SENTENCES[max(prefixes, key=len)] if prefixes else ""


def act_of(method: str, route: str) -> str:
    """Return the name of an action in the log: method and route, without the API prefix."""
    return f"{method} {route.removeprefix(API_PREFIX)}"


def objects_of(fields: Mapping[str, Any]) -> str:
    """Return the ids in a request, as ``name=id`` separated by spaces."""
    objects: list[str] = []
    for name in sorted(OBJECT_KEYS & set(fields)):
        value = fields[name]
        for item in value if isinstance(value, list) else [value]:
            text = str(item) if isinstance(item, (str, int)) and not isinstance(item, bool) else ""
            if _OBJECT_ID.fullmatch(text):
                objects.append(f"{name}={text}")
    return " ".join(objects[:MOST_OBJECTS])


def seen_text(counts: Mapping[str, int], fresh: Mapping[str, Sequence[str]]) -> str:
    """Format the ids that a read showed, such as ``lead_id=50[id,id]``: the number, and the new ids."""
    rows = ((kind, count, ",".join(fresh.get(kind, ())[:MOST_SEEN])) for kind, count in counts.items())
    return " ".join(f"{kind}={count}[{ids}]" for kind, count, ids in rows)


def read_seen(text: str) -> dict[str, tuple[int, list[str]]]:
    """Parse the ids that a read showed: per kind the number, and the new ids."""
    matches = filter(None, map(_SEEN.fullmatch, text.split()))
    return {row["kind"]: (int(row["count"]), list(filter(None, row["ids"].split(",")))) for row in matches}


def entry_digest(entry: AuditEntry) -> str:
    """Return the hash of an entry, which covers all entries before it."""
    at = entry.at.isoformat(timespec="microseconds")
    parts = (
        entry.before, entry.business_id, at, entry.actor_id, entry.actor, entry.act, entry.object,
        entry.request_id, *([entry.seen] if entry.seen else []),
    )  # fmt: skip
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def chain_holds(entries: Sequence[AuditEntry]) -> bool:
    """Verify that consecutive entries, oldest first, are unchanged and complete."""
    linked = all(later.before == earlier.digest for earlier, later in pairwise(entries))
    return linked and all(entry.digest == entry_digest(entry) for entry in entries)


audit_entries = sa.Table(
    "audit_entries",
    metadata,
    sa.Column("seq", Serial, primary_key=True, autoincrement=True),
    tenant(),
    instant("at"),
    sa.Column("actor_id", sa.String(64), nullable=False),
    text("actor"),
    text("act"),
    text("object"),
    sa.Column("request_id", sa.String(64), nullable=False),
    sa.Column("before", sa.String(64), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    text("seen", default=""),
    sa.Index("ix_audit_entries_business_id", "business_id", "seq"),
    sa.Index("ix_audit_entries_of_object", "business_id", "object", "seq"),
)


_INSERT: Final = audit_entries.insert()
_LAST: Final = (
    sa.select(audit_entries.c.digest)
    .where(audit_entries.c.business_id == sa.bindparam("of_business"))
    .order_by(audit_entries.c.seq.desc())
    .limit(1)
)
"""Last digest of a business; both statements are built once, as most requests need them."""


def append_records(tx: Tx, records: Sequence[AuditRecord]) -> list[None]:
    """Append an entry for each record, chained to the one before in the log of its business.

    The result has None for each record, as `WorkBatcher` expects.
    """
    by_business: dict[str, list[AuditRecord]] = {}
    for record in records:
        by_business.setdefault(record.business_id, []).append(record)
    # Always in the same order, so that two writers never wait for each other.
    locks = {name: int(hash_secret(f"audit:{name}")[:15], 16) for name in by_business}
    for lock, business_id in sorted((lock, name) for name, lock in locks.items()):
        tx.advisory_locks([lock])
        before = tx.execute(_LAST, {"of_business": business_id}).scalar() or ""
        rows: list[dict[str, Any]] = []
        for record in by_business[business_id]:
            entry = AuditEntry(seq=0, at=tx.now, before=before, digest="", **row_of(record))
            before = entry_digest(entry)
            rows.append(row_of(replace(entry, digest=before), without={"seq"}))
        write_rows(tx, _INSERT, rows)
    return [None] * len(records)


def list_audit_entries(
    tx: Tx, business_id: str, span: tuple[int, int], *where: sa.ColumnElement[bool]
) -> list[AuditEntry]:
    """Return entries, latest first; ``span`` is offset and limit."""
    in_business = sa.select(audit_entries).where(audit_entries.c.business_id == business_id, *where)
    latest = in_business.order_by(audit_entries.c.seq.desc()).offset(span[0]).limit(span[1])
    return tx.list(AuditEntry, latest)


def count_audit_entries(tx: Tx, business_id: str) -> int:
    in_business = sa.select(sa.func.count()).where(audit_entries.c.business_id == business_id)
    return int(tx.scalar(in_business))


FOLDED: Final = timedelta(minutes=5)
"""A repeat through the same route within this time continues the read, without a new entry."""
LONGEST: Final = timedelta(hours=1)
"""Time after which a continued read is logged again, since a page may be open for days."""
_MOST: Final = 200_000
"""Most reads that a process remembers."""

type _ReadKey = tuple[str, str, str, str]
"""Actor, route, kind of object, and its id."""


@dataclass(slots=True)
class _ContinuedRead:
    """Times at which a read was logged, and last repeated."""

    logged_at: datetime
    repeated_at: datetime


@dataclass(eq=False)
class FoldedReads:
    """Logged reads that continue in this process; other processes log them again."""

    _reads: OrderedDict[_ReadKey, _ContinuedRead] = field(default_factory=OrderedDict)

    def fresh(self, actor_id: str, act: str, seen: Ids, now: datetime) -> Ids:
        """Return the ids to log, and extend the reads of the others, which continue."""
        new_ids: Ids = {}
        for kind, ids in seen.items():
            for id_ in ids:
                key = (actor_id, act, kind, id_)
                earlier = self._reads.get(key)
                if (
                    earlier is None
                    or now - earlier.repeated_at >= FOLDED
                    or now - earlier.logged_at >= LONGEST
                ):
                    new_ids.setdefault(kind, []).append(id_)
                else:
                    earlier.repeated_at = now
                    self._reads.move_to_end(key)
        return new_ids

    def keep(self, actor_id: str, act: str, written: Ids, now: datetime) -> None:
        """Remember logged ids; drop reads that have ended or exceed the limit."""
        for kind, ids in written.items():
            for id_ in ids:
                key = (actor_id, act, kind, id_)
                self._reads[key] = _ContinuedRead(now, now)
                self._reads.move_to_end(key)
        while self._reads:
            key, oldest = next(iter(self._reads.items()))
            if len(self._reads) <= _MOST and now - oldest.repeated_at < FOLDED:
                break
            del self._reads[key]
