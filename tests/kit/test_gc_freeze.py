"""What a process keeps from its collector: what it loaded, once it was told so, and else nothing."""

import subprocess
import sys

PROGRAM = """
import gc
from contatto.kit.runtime import freeze_loaded_objects, freeze_new_objects

gc.freeze()
before = gc.get_freeze_count()
one = [[] for _ in range(1_000)]
freeze_new_objects()
assert gc.get_freeze_count() <= before, "nobody has told it"
freeze_loaded_objects()
kept = gc.get_freeze_count()
assert kept >= before + 1_000
more = [[] for _ in range(1_000)]
freeze_new_objects()
assert gc.get_freeze_count() >= kept + 1_000
"""


def test_a_process_keeps_what_it_loads_once_it_was_told() -> None:
    assert subprocess.run([sys.executable, "-c", PROGRAM], check=False).returncode == 0
