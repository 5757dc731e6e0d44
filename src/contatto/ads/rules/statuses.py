"""The moves of a status, as a table, and what they are called in the API."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal

from contatto.ads.model import AdGroup, Audit, Campaign, NodeStatus
from contatto.kit import errors
from contatto.kit.errors import Refused

MOVES: Final = {
    NodeStatus.ACTIVE: frozenset({NodeStatus.ACTIVE, NodeStatus.PAUSED, NodeStatus.DELETED}),
    NodeStatus.PAUSED: frozenset({NodeStatus.ACTIVE, NodeStatus.PAUSED, NodeStatus.DELETED}),
    NodeStatus.DELETED: frozenset({NodeStatus.DELETED}),
}
"""From each status, where it may go; to stay is always allowed, so a repeated request is harmless."""

type Operation = Literal["ENABLE", "DISABLE", "DELETE"]
"""What the API wants done with a campaign, an ad group or an ad; of one that is, how it stands."""
OPERATIONS: Final[Mapping[Operation, NodeStatus]] = {
    "ENABLE": NodeStatus.ACTIVE,
    "DISABLE": NodeStatus.PAUSED,
    "DELETE": NodeStatus.DELETED,
}
OPERATION_OF: Final = {status: operation for operation, status in OPERATIONS.items()}

PRIMARY_STATUSES: Final = {
    "STATUS_NOT_DELETE": frozenset({NodeStatus.ACTIVE, NodeStatus.PAUSED}),
    "STATUS_ALL": frozenset(NodeStatus),
    "STATUS_DELETE": frozenset({NodeStatus.DELETED}),
    "STATUS_DELIVERY_OK": frozenset({NodeStatus.ACTIVE}),
    "STATUS_DISABLE": frozenset({NodeStatus.PAUSED}),
    "STATUS_NOT_DELIVERY": frozenset({NodeStatus.PAUSED}),
    "STATUS_TIME_DONE": frozenset[NodeStatus](),
}
"""The API's filters and the statuses that they select."""


def check_move(now: NodeStatus, wanted: NodeStatus) -> None:
    """Refuse a move that the table does not have.

    Raises:
        Refused: INVALID.
    """
    if wanted not in MOVES[now]:
        raise Refused(
            errors.INVALID,
            "operation_status: %(now)s cannot change to %(wanted)s.",
            now=now.value,
            wanted=wanted.value,
        )


def check_alive(field: str, now: NodeStatus) -> None:
    """Refuse to change what is deleted.

    Raises:
        Refused: INVALID.
    """
    if now is NodeStatus.DELETED:
        raise Refused(errors.INVALID, "%(field)s: deleted items cannot be changed.", field=field)


def check_seen(changed_at: datetime, seen_at: datetime | None) -> None:
    """Refuse to write over a change that its writer has not seen; None stands for "whatever is there".

    Raises:
        Refused: CONFLICT.
    """
    if seen_at is not None and seen_at != changed_at:
        raise Refused(errors.CONFLICT)


def secondary_status(
    prefix: str,
    own: NodeStatus,
    ad_group: AdGroup | None,
    campaign: Campaign | None,
    audit: Audit = Audit.PASS,
) -> str:
    """The API's delivery status: the first reason that holds; prefixes are CAMPAIGN, ADGROUP and AD."""
    if own is NodeStatus.DELETED:
        return f"{prefix}_STATUS_DELETE"
    if campaign is not None and campaign.status is not NodeStatus.ACTIVE:
        return f"{prefix}_STATUS_CAMPAIGN_DISABLE"
    if ad_group is not None and ad_group.status is not NodeStatus.ACTIVE:
        return f"{prefix}_STATUS_ADGROUP_DISABLE"
    if own is NodeStatus.PAUSED:
        return f"{prefix}_STATUS_DISABLE"
    if audit is not Audit.PASS:
        return f"{prefix}_STATUS_AUDIT" if audit is Audit.AUDITING else f"{prefix}_STATUS_AUDIT_DENY"
    return "CAMPAIGN_STATUS_ENABLE" if prefix == "CAMPAIGN" else f"{prefix}_STATUS_DELIVERY_OK"
