"""What an installation is made of: one frozen value, built by `wiring` and handed to the app and the worker.

Nothing registers itself at import. What a process can do stands in this value. Tests build their own, and
what is missing is an error where it is built.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from contatto.kit.db.database import Database
from contatto.kit.handlers import After
from contatto.kit.maintenance import MaintenanceJob
from contatto.kit.making import Making
from contatto.kit.outbound.kinds import OutboundKind
from contatto.kit.parts import Parts
from contatto.kit.settings import Settings
from contatto.kit.work import PeriodicCount, PeriodicJob, PeriodicStudy, QueuedWork


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """The tables that tie the capabilities of one process together.

    Attributes:
        ports: what capabilities ask of those above them; every transaction carries them.
        after: the handlers of each event, by their durable names.
        told_to: the permission that an open page needs to be told of an event, by the event's name.
        prepare: loads what the first work would wait for, in a thread of its own.
        queued_work: work that waits in tables, for so many batches at a time; its turns are new.
        makings: files that are made in the background.
        outbound: the kinds of requests to outside systems, by the names that are kept with them.
        periodic_jobs: work by the clock.
        maintenance: long work on files by the clock.
        resources: what one app has for itself, such as rate limits, indexes and pools.
    """

    settings: Settings
    ports: Parts
    after: After
    told_to: Mapping[str, str]
    prepare: Callable[[Database], None]
    queued_work: Callable[[int], tuple[QueuedWork, ...]]
    makings: tuple[Making[Any], ...]
    outbound: Mapping[str, OutboundKind]
    periodic_jobs: Callable[[], tuple[PeriodicJob | PeriodicCount | PeriodicStudy, ...]]
    maintenance: tuple[MaintenanceJob, ...]
    resources: Callable[[Database, Settings], Parts]
