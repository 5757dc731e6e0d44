"""An export of all leads, in a process that has loaded what the server has, and nothing of a benchmark."""

import asyncio
import os
from functools import partial
from pathlib import Path

from bench.harness import process_rss_mib
from contatto.app import open_context
from contatto.kit.settings import Settings
from contatto.leads.pages.bulk import _write_xlsx, read_leads
from contatto.leads.rules.records import LeadFilter
from contatto.wiring import install


def export(home: str, database: str) -> None:
    """Write all leads of the one business into a file; print its size, the memory before and at the peak."""
    context = open_context(install(Settings(data_dir=Path(home), database_url=database)))
    with context.db.engine.connect() as connection:
        business_id = connection.exec_driver_sql("SELECT id FROM businesses").scalar()
    before = process_rss_mib(os.getpid())
    path = asyncio.run(_write_xlsx(context, partial(read_leads, str(business_id), LeadFilter(), None)))
    context.db.close()
    print(path.stat().st_size, before, _peak_mib())
    path.unlink()


def _peak_mib() -> float:
    """Return the most memory that this program held (Linux only); `ru_maxrss` still holds its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
