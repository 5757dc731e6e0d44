"""Long computing of our own in a process of its own: on files that it may open, beside all that answers.

Unlike the work of `confined` it is on nothing that strangers sent, so it may read files and take memory. It
gets none of our settings, so it knows no key, and gives way to every other process.
"""

import asyncio
import os
import sys
from contextlib import suppress
from typing import Final

from contatto.kit import apart_child
from contatto.kit.confined import Overworked, name_of
from contatto.kit.confined_child import Work
from contatto.kit.log import logger

_OURS: Final = "CONTATTO_"


class Apart:
    """Starts a process for each piece of work; one that is cancelled is ended with it.

    Args:
        clock_s: seconds after which a piece of work is ended.
    """

    def __init__(self, clock_s: float) -> None:
        self._clock_s = clock_s

    async def run(self, work: Work, raw: bytes) -> bytes:
        """Have a function of ours work on bytes.

        Args:
            work: a function at the top of its module, where the child finds it by its name.
            raw: what it is given.

        Raises:
            Overworked: it broke, or took too long.
        """
        name = name_of(work)
        known = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-m", apart_child.__name__, name, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env=known,
            start_new_session=True,
        )  # fmt: skip
        try:
            answer, _ = await asyncio.wait_for(process.communicate(raw), self._clock_s)
        except TimeoutError:
            logger().warning("apart.ended", work=name, says="it took too long")
            raise Overworked("it took too long") from None
        finally:
            await _end(process)
        if process.returncode:
            logger().warning("apart.ended", work=name, says=f"exit {process.returncode}")
            raise Overworked(f"exit {process.returncode}")
        return answer

    def close(self) -> None:
        """Nothing is kept between pieces of work."""


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
