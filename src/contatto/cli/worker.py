"""`contatto worker`: background work in a process of its own, on PostgreSQL."""

import asyncio

from rich.console import Console

from contatto.cli.installation import bring_up_to_date, check_workers, read_settings
from contatto.kit.background import Installation
from contatto.kit.db.database import Database, open_storage
from contatto.kit.db.tx import Clock
from contatto.kit.runtime import freeze_loaded_objects
from contatto.wiring import PORTS, install
from contatto.worker import Worker

_out = Console(highlight=False)


async def run_worker(db: Database, installation: Installation) -> None:
    """Do the background work until cancelled, and watch for commits of other processes."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(Worker(db, installation).run())
        tasks.create_task(db.watch())


def worker_command() -> None:
    """Do the background work in a process of its own, on PostgreSQL; run as many as you like."""
    settings = read_settings()
    db = open_storage(settings, Clock(), PORTS)
    check_workers(db)
    bring_up_to_date(db)
    freeze_loaded_objects()
    _out.print("The worker runs. Stop it with Ctrl+C.")
    try:
        asyncio.run(run_worker(db, install(settings)))
    except KeyboardInterrupt:
        pass
    finally:
        db.close()
