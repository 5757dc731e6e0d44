"""PostgreSQL's processor time beside our processes, and the processors that they share."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bench.harness import process_cpu_s
from bench.intake_parts.serving import Place
from tests import postgres

_PARENT, _ENDED_USER, _ENDED_SYSTEM = 1, 13, 14
_TICKS_PER_S = 100


def postgres_cpu_s(place: Place) -> float:
    """Return the CPU time of all PostgreSQL processes up to now, with those that ended; else 0."""
    if not place.url:
        return 0.0
    main = _main_process()
    running = process_cpu_s(main) + sum(map(_cpu_s_of, _children_of(main)))
    ended = sum(int(_fields(main)[which]) for which in (_ENDED_USER, _ENDED_SYSTEM)) / _TICKS_PER_S
    return running + ended


def most_per_s(cpu_us: float) -> float:
    """Return the most that all processors together could do in a second, at this CPU time for each."""
    return len(os.sched_getaffinity(0)) * 1e6 / cpu_us


def keep_on_cores(pids: Sequence[int], count: int) -> int:
    """Let processes of ours and those of PostgreSQL run on so many cores alone; say on how many they do."""
    main, cores = _main_process(), sorted(os.sched_getaffinity(0))[:count]
    for pid in (main, *_children_of(main), *pids):  # what they start from now on inherits it
        with suppress(OSError):  # it has ended meanwhile
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), cores)
    return len(cores)


def _main_process() -> int:
    return int((postgres.run_dir() / "data" / "postmaster.pid").read_text().splitlines()[0])


def _children_of(main: int) -> list[int]:
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int(_fields(int(folder.name))[_PARENT]) == main:
                found.append(int(folder.name))
        except OSError:  # it has ended meanwhile
            continue
    return found


def _cpu_s_of(child: int) -> float:
    """Return the CPU time of a process; 0 once it has ended, as it then counts among the ended ones."""
    try:
        return process_cpu_s(child)
    except OSError:
        return 0.0


def _fields(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
