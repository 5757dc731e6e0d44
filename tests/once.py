"""What the first process of a run that needs it makes, and all of them use."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

MADE_DIR: Final = "CONTATTO_TEST_MADE_DIR"
"""The environment variable that names the folder of a run, which goes with it."""


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """The folder of this name that the processes of a run share; the others wait while one makes it.

    Args:
        make: fills the folder, which is empty; where it fails, the next one who asks tries again.
    """
    run = Path(os.environ[MADE_DIR])
    made, begun = run / name, run / f"{name}.begun"
    with (run / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(begun, ignore_errors=True)
            begun.mkdir()
            make(begun)
            begun.rename(made)
    return made
