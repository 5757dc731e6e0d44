"""Time to decide which ad is shown and to learn: scoring, the endpoint, lines, training.

Scoring stands beside peers that estimate one head for as many rows. The endpoint is loaded as publishers do:
requests come at their own times, and each counts from when it was due. `contatto deliver` is asked line by
line through its pipe. Training is told in observations of one core, beside all that a line takes. Where the
machine is busy with other work, `cpu_us` tells more than the percentiles.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import msgspec

from bench.decision_parts.loading import load
from bench.decision_parts.parts import parts_of_answers
from bench.decision_parts.scoring import Scorer, latencies_us, request_lines, scorers, shop_lines
from bench.decision_parts.shop import issue_token, make_requests, publish_model, running_shop
from bench.decision_parts.training import measure_rates
from bench.harness import Report, options, percentile, process_cpu_s

SAYS: Final = "time to choose an ad: scoring, the endpoint, a program in lock-step, training"
CANDIDATES: Final = 500
ADS: Final = 200
LINE_ADS: Final = 20
"""As many ads as the protocol of lines names for its speed."""
WARM: Final = 300


def main() -> None:
    """Run all three parts, and print one table."""
    chosen = options(SAYS)
    report = Report("decision", SAYS, chosen)
    add_scoring(report, times=chosen.size(full=20_000, quick=2_000), within_s=chosen.size(full=10, quick=2))
    for ad_groups in (40,) if chosen.quick else (40, ADS):
        with tempfile.TemporaryDirectory(prefix="contatto-bench-") as folder:
            add_endpoint(report, Path(folder), ad_groups, seconds=chosen.size(full=20, quick=3))
            add_parts(report, Path(folder), ad_groups, count=chosen.size(full=5_000, quick=1_000))
    for ads in (LINE_ADS, ADS):
        add_lock_step(report, ads, count=chosen.size(full=100_000, quick=5_000))
    add_training(report, requests=chosen.size(full=50_000, quick=5_000))
    report.finish()


def add_scoring(report: Report, times: int, within_s: float) -> None:
    for name, work in scorers(CANDIDATES):
        case = f"{CANDIDATES} candidates: {name}"
        if isinstance(work, str):
            report.add(f"{case}: skipped, {work}; `make bench B=decision` installs it")
            continue
        took = latencies_us(work, times, within_s)
        p50, p99 = percentile(took, 0.5) / 1_000, percentile(took, 0.99) / 1_000
        report.add(case, p50_ms=_ms(p50), p99_ms=_ms(p99), cpu_us=_cpu_us(work, len(took) // 10 + 1))


def _cpu_us(work: Scorer, times: int) -> float:
    """CPU time of one call, in microseconds: that of other programs does not count."""
    started = time.process_time_ns()
    for _ in range(times):
        work()
    return (time.process_time_ns() - started) / 1_000 / times


def add_endpoint(report: Report, home: Path, ad_groups: int, seconds: int) -> None:
    """Load one server process; it has a model, as any has that was asked a minute ago."""
    case = f"endpoint, {ADS} ads in {ad_groups} groups"
    with running_shop(home, ADS, ad_groups) as shop:
        asyncio.run(load(shop.port, make_requests(shop.token, WARM), 100.0))
        publish_model(home)
        asyncio.run(load(shop.port, make_requests(shop.token, WARM), 75.0))  # meanwhile it takes the model
        for per_s in (100, 250, 500):
            requests = make_requests(shop.token, per_s * seconds)
            before = process_cpu_s(shop.pid)
            found = asyncio.run(load(shop.port, requests, per_s))
            cpu_us = (process_cpu_s(shop.pid) - before) * 1e6 / len(requests)
            p50, p99 = percentile(found.took_ms, 0.5), percentile(found.took_ms, 0.99)
            figures = {"per_s": len(requests) / found.wall_s, "ads": found.ads / len(requests)}
            report.add(f"{case}, {per_s}/s", p50_ms=_ms(p50), p99_ms=_ms(p99), cpu_us=cpu_us, **figures)


def add_parts(report: Report, home: Path, ad_groups: int, count: int) -> None:
    """Take an answer apart; what is logged behind it is of another thread."""
    case = f"parts of an answer, {ADS} ads in {ad_groups} groups"
    requests = make_requests(issue_token(home), count)
    for name, cpu_us in parts_of_answers(home, requests).items():
        report.add(f"{case}: {name}", cpu_us=cpu_us)


def add_lock_step(report: Report, ads: int, count: int) -> None:
    """Ask `contatto deliver` line by line: each request is answered before the next one is written.

    The program and who asks share one core, as the protocol has it: of two, one would sleep in between, and
    each answer would wait for it to wake.
    """
    with _on_one_core():
        _lock_step(report, ads, count)


@contextmanager
def _on_one_core() -> Iterator[None]:
    """Keep this process, and those that it starts, on one core."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _lock_step(report: Report, ads: int, count: int) -> None:
    program = [str(Path(sys.executable).with_name("contatto")), "deliver", "--seed", "1"]
    process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    into, out = process.stdin, process.stdout
    if into is None or out is None:
        raise RuntimeError("the program has no pipes")
    encode = msgspec.json.Encoder().encode
    for line in shop_lines(ads, ads // 5):
        into.write(encode(line) + b"\n")
    _ask(into, out, request_lines(0, WARM))
    lines = request_lines(WARM, count)
    cpu, started = process_cpu_s(process.pid), time.perf_counter()
    took = _ask(into, out, lines)
    wall_s, cpu_s = time.perf_counter() - started, process_cpu_s(process.pid) - cpu
    into.close()
    process.wait(60)
    case = f"contatto deliver, lock-step, {ads} ads"
    p50, p99 = percentile(took, 0.5), percentile(took, 0.99)
    report.add(case, p50_ms=_ms(p50), p99_ms=_ms(p99), cpu_us=cpu_s * 1e6 / count, per_s=count / wall_s)


def add_training(report: Report, requests: int) -> None:
    """Take lines with all that becomes of the ads, and train on what became of them."""
    measure_rates(WARM, LINE_ADS)
    rates = measure_rates(requests, LINE_ADS)
    case = f"lines without a pipe, {LINE_ADS} ads, views and more"
    for name, per_s in rates._asdict().items():
        report.add(f"{case}: {name}", cpu_us=1e6 / per_s, per_s=per_s)


def _ask(into: IO[bytes], out: IO[bytes], lines: list[bytes]) -> list[float]:
    took = []
    for line in lines:
        before = time.perf_counter_ns()
        into.write(line)
        into.flush()
        if not out.readline():
            raise RuntimeError("the program ended")
        took.append((time.perf_counter_ns() - before) / 1e6)
    return took


def _ms(value: float) -> str:
    return f"{value:,.3f}"


if __name__ == "__main__":
    main()
