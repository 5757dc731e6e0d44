"""How often each class of attack was tried in a run, out of the reports of all its processes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

SEED: Final = "CONTATTO_FUZZ_SEED"
"""The environment variable with the seed of what is drawn."""


def summary(reports: Sequence[Any]) -> Iterator[str]:
    """A line for each file of tests/security that sent requests, and the seed."""
    requests: Counter[str] = Counter()
    tests: Counter[str] = Counter()
    seeds = set()
    for report in reports:
        if getattr(report, "when", "") != "teardown" or "tests/security/" not in report.nodeid:
            continue
        said = dict(report.user_properties)
        name = PurePosixPath(report.nodeid.partition("::")[0]).stem.removeprefix("test_").replace("_", " ")
        requests[name] += said.get("requests", 0)
        tests[name] += 1
        seeds |= {said["seed"]} if "seed" in said else set()
    if requests.total():
        yield f"attacks: {requests.total():,} requests in {tests.total():,} tests"
        yield from (f"  {name}: {requests[name]:,} in {tests[name]:,}" for name in sorted(requests))
    if seeds:
        yield f"  seed of what was drawn: {SEED}={seeds.pop()}"
