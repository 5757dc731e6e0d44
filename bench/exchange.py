"""Costs of an auction between many businesses: one decision, its memory, and reading it anew.

Every admitted business has a few approved ads and money, so that all of them want every place. The rows tell
how the costs grow with the number of businesses. CPU is that of the thread that answers, and of the process
with all that follows behind the answers: what is written down, and live ads that are read anew.
"""

import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.exchange_parts.forum import Forum, open_forum
from bench.harness import Report, options, percentile, process_rss_mib
from contatto.delivery.actions.serving import AdServer, serve_placement
from contatto.delivery.rules import AdRequest
from contatto.kit.db.database import act_for
from contatto.measurement.rules import TRACKING_KEY

SAYS: Final = "an auction between many businesses: a decision, memory, reading live ads anew"
ADS: Final = 4
WARM: Final = 20


def main() -> None:
    """Measure marketplaces of growing size, and print one table."""
    chosen = options(SAYS)
    report = Report("exchange", SAYS, chosen)
    for businesses in (10, 50) if chosen.quick else (10, 50, 200, 500):
        with tempfile.TemporaryDirectory(prefix="contatto-bench-") as folder:
            forum = open_forum(Path(folder), businesses, ADS)
            try:
                asyncio.run(measure(report, forum, businesses, count=chosen.size(full=500, quick=100)))
            finally:
                forum.context.db.close()
    report.finish()


async def measure(report: Report, forum: Forum, businesses: int, count: int) -> None:
    """Ask for ads for one viewer after another."""
    act_for(forum.operator.business_id)
    case = f"{businesses} businesses, {ADS} ads each"
    server = AdServer(forum.context.db)
    before_mib, started = process_rss_mib(os.getpid()), time.process_time()
    await ask(server, forum, 0)
    first_ms = (time.process_time() - started) * 1_000
    for number in range(1, WARM):
        await ask(server, forum, number)
    await server.flush()
    memory_mib = process_rss_mib(os.getpid()) - before_mib
    took, cpu = [], time.process_time()
    for number in range(WARM, WARM + count):
        thread = time.thread_time_ns()
        await ask(server, forum, number)
        took.append((time.thread_time_ns() - thread) / 1_000)
    await server.flush()
    whole_us = (time.process_time() - cpu) * 1e6 / count
    report.add(f"{case}: the first decision, which reads all", cpu_ms=first_ms, memory_mib=memory_mib)
    report.add(f"{case}: a decision", p50_us=percentile(took, 0.5), p99_us=percentile(took, 0.99))
    report.add(f"{case}: a decision with all that follows", whole_us=whole_us)
    report.add(f"{case}: reading all anew", cpu_ms=await refresh_ms(server, forum))


async def ask(server: AdServer, forum: Forum, number: int) -> None:
    """One request of a viewer who agreed to be remembered."""
    field = await server.operators.snapshots.get(forum.operator.business_id)
    if field is None:
        raise RuntimeError("no operator")
    context = forum.context
    ad_request = AdRequest(f"v{number}", "SG", placement=forum.placement.id, has_consent=True)
    signer = context.vault.signer(TRACKING_KEY)
    await serve_placement(server, field, ad_request, lambda _: (), context.clock.now(), signer)
    await asyncio.sleep(0)


async def refresh_ms(server: AdServer, forum: Forum) -> float:
    """CPU of reading the operator and the live ads of each business anew, which happens every two seconds."""
    started = time.process_time()
    field = await server.operators.snapshots.refresh(forum.operator.business_id)
    for business_id in () if field is None else field.admitted:
        await server.live_ads.refresh(business_id)
    return (time.process_time() - started) * 1_000


if __name__ == "__main__":
    main()
