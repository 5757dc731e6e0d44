"""Shared parts of all benchmarks: options, measuring of time and memory, the table and the JSON."""

import argparse
import gc
import json
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

MIB = 1024 * 1024
# Linux counts ru_maxrss in KiB, macOS in bytes.
RSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Options:
    """Options that the person who runs a benchmark chose."""

    quick: bool
    json: Path | None
    data: Path | None = None
    database: str = ""
    more: argparse.Namespace = field(default_factory=argparse.Namespace)
    """The options that one benchmark alone takes."""

    def size(self, full: int, quick: int) -> int:
        """Return how much work to do: a quick run ends within a minute."""
        return quick if self.quick else full


@dataclass
class Cost:
    """Cost of a block of code to this process (and the children that it waited for)."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_rss_mib: float = 0.0

    def cpu_us_per(self, count: int) -> float:
        return self.cpu_s * 1e6 / count

    def per_second(self, count: int) -> float:
        return count / self.wall_s


@dataclass
class Report:
    """The rows of one benchmark, each a name with its figures."""

    name: str
    says: str
    options: Options
    rows: list[dict[str, object]] = field(default_factory=list)

    def add(self, case: str, /, **figures: object) -> None:
        """Add one row; figures of one name form a column, so give each the same unit everywhere."""
        self.rows.append({"case": case, **figures})

    def finish(self) -> None:
        """Print the table, and write the JSON when it was asked for."""
        console = Console()
        # A table that goes into a file keeps its columns whole.
        (console if console.is_terminal else Console(width=220)).print(self._table())
        if self.options.json:
            self.options.json.parent.mkdir(parents=True, exist_ok=True)
            self.options.json.write_text(json.dumps(self._document(), indent=2, default=str) + "\n")

    def _table(self) -> Table:
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        table = Table(title=f"{self.name}: {self.says}", title_justify="left")
        for name in columns:
            table.add_column(name, justify="left" if name == "case" else "right")
        for row in self.rows:
            table.add_row(*(_text(row.get(name, "")) for name in columns))
        return table

    def _document(self) -> dict[str, object]:
        machine = {"python": platform.python_version(), "machine": platform.machine()}
        options = {"quick": self.options.quick}
        return {"name": self.name, "says": self.says, **options, **machine, "rows": self.rows}


def options(
    says: str,
    arguments: Sequence[str] | None = None,
    *,
    keeps_data: bool = False,
    add: Callable[[argparse.ArgumentParser], None] = lambda _: None,
) -> Options:
    """Read --quick and --json FILE, the two options that every benchmark takes.

    With `keeps_data` also --data DIR and --database URL: where what it fills is kept. `add` adds options that
    one benchmark alone takes, which come back in `more`.
    """
    parser = argparse.ArgumentParser(description=says)
    parser.add_argument("--quick", action="store_true", help="a smaller run that ends within a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE as JSON")
    if keeps_data:
        parser.add_argument("--data", type=Path, metavar="DIR", help="keep what is filled, and use it again")
        parser.add_argument("--database", default="", metavar="URL", help="a PostgreSQL database to fill")
    add(parser)
    given = vars(parser.parse_args(arguments))
    common = {name: given.pop(name) for name in ("quick", "json", "data", "database") if name in given}
    return Options(**common, more=argparse.Namespace(**given))


@contextmanager
def measured(*, children: bool = False) -> Iterator[Cost]:
    """Measure the block; the figures are filled in when it ends.

    With `children`, the CPU time of child processes that have ended and were waited for counts too.
    """
    cost = Cost()
    gc.collect()
    cpu, wall = _cpu_s(children=children), time.perf_counter()
    yield cost
    cost.wall_s = time.perf_counter() - wall
    cost.cpu_s = _cpu_s(children=children) - cpu
    cost.peak_rss_mib = _peak_rss_mib(children=children)


def best_of(rounds: int, work: Callable[[], object]) -> Cost:
    """Do the same work several times and keep the round that took the least CPU: the rest is noise."""
    costs: list[Cost] = []
    for _ in range(rounds):
        with measured() as cost:
            work()
        costs.append(cost)
    return min(costs, key=lambda cost: cost.cpu_s)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share (0–1) of the values lies; of no values, 0."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def process_cpu_s(pid: int) -> float:
    """Return the CPU time of another process up to now, such as a server under load (Linux only)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    ticks = int(fields[11]) + int(fields[12])
    return ticks / _TICKS_PER_S


def process_rss_mib(pid: int) -> float:
    """Return the memory that another process holds now (Linux only)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / MIB


_TICKS_PER_S = 100  # Linux fixes this for every program that reads /proc


def _cpu_s(*, children: bool) -> float:
    return sum(usage.ru_utime + usage.ru_stime for usage in _usages(children=children))


def _peak_rss_mib(*, children: bool) -> float:
    peak = _own_peak_mib()
    if not children:
        return peak
    return max(peak, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * RSS_UNIT / MIB)


def _own_peak_mib() -> float:
    """Return the most memory that this program held; not ``ru_maxrss``, which Linux hands on to a child."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT / MIB
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024 / MIB


def _usages(*, children: bool) -> list[resource.struct_rusage]:
    who = [resource.RUSAGE_SELF, *([resource.RUSAGE_CHILDREN] if children else [])]
    return [resource.getrusage(each) for each in who]


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
