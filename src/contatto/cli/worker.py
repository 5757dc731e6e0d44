"""`contatto worker`, and the worker process that a server starts and ends."""

import asyncio
import os
import sys
import threading
from typing import Final

from rich.console import Console

from contatto.cli.installation import Storage, bring_up_to_date, read_settings
from contatto.kit.background import Installation
from contatto.kit.db.database import Database, open_storage
from contatto.kit.db.tx import SystemClock
from contatto.kit.log import logger
from contatto.kit.runtime import freeze_loaded_objects
from contatto.wiring import PORTS, install
from contatto.worker import Worker

_out = Console(highlight=False)
_AGAIN_S: Final = 1.0
_MOST_S: Final = 60.0
"""A worker that ended early is started again after a second, then after twice as long, up to a minute."""
_ENDS_WITHIN_S: Final = 10.0


async def run_worker(db: Database, installation: Installation) -> None:
    """Do the background work until cancelled, and watch for commits of other processes."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(Worker(db, installation).run())
        tasks.create_task(db.watch())


async def keep_worker(chosen: dict[str, str]) -> None:
    """Keep a worker process running until cancelled; then it finishes its current work.

    Args:
        chosen: settings that the command line named, which the worker's links must carry too.
    """
    env = os.environ | {f"CONTATTO_{name.upper()}": value for name, value in chosen.items()}
    pause_s = _AGAIN_S
    while True:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", __name__, stdin=asyncio.subprocess.PIPE, env=env, start_new_session=True
        )
        try:
            code = await process.wait()
        finally:
            await _end(process)
        logger().error("worker.ended", exit=code, starts_again_s=pause_s)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _MOST_S)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Tell a process to end, as its input does, and wait for it; one that does not is killed."""
    if process.returncode is None and process.stdin:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _ENDS_WITHIN_S)
        except TimeoutError:
            process.kill()
            await process.wait()


def main() -> None:
    """Work until the standard input ends: the server closes it, or has died."""
    settings, db = _open()
    freeze_loaded_objects()

    async def work_until_input_ends() -> None:
        loop, working = asyncio.get_running_loop(), asyncio.create_task(run_worker(db, install(settings)))

        def watch() -> None:
            sys.stdin.buffer.read()
            loop.call_soon_threadsafe(working.cancel)

        threading.Thread(target=watch, name="server-watch", daemon=True).start()
        await asyncio.wait([working])
        if not working.cancelled():
            working.result()

    try:
        asyncio.run(work_until_input_ends())
    finally:
        db.close()


def _open() -> Storage:
    settings = read_settings()
    storage = Storage(settings, open_storage(settings, SystemClock(), PORTS))
    bring_up_to_date(storage.db)
    return storage


def worker_command() -> None:
    """Do the background work in a process of its own; run as many as you like on PostgreSQL."""
    settings, db = _open()
    freeze_loaded_objects()
    _out.print("The worker runs. Stop it with Ctrl+C.")
    try:
        asyncio.run(run_worker(db, install(settings)))
    except KeyboardInterrupt:
        pass
    finally:
        db.close()


if __name__ == "__main__":
    main()
