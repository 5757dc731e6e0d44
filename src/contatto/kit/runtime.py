"""Compiled kernels, and garbage collection of a process."""

import gc
import sys
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from threading import Event, RLock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

type Array = NDArray[Any]
"""Array of numbers; each kernel documents its columns."""


class Kernel:
    """A kernel that numba compiles when it, or one that calls it, is first called; ``py_func`` is its source.

    Numba and its compiler take 60 MiB and most of a second to load, and most processes run no kernel.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.py_func = function
        self.__doc__ = function.__doc__
        self._compiled: Callable[..., Any] | None = None

    def __call__(self, *given: Any) -> Any:
        compiled = self._compiled
        return (self._take_compiled() if compiled is None else compiled)(*given)

    @property
    def _numba_type_(self) -> Any:
        """Return numba's type, for kernels that call this one."""
        return getattr(self._compiled or self._take_compiled(), "_numba_type_")  # noqa: B009 — only numba's have it

    def _take_compiled(self) -> Callable[..., Any]:
        from numba import config, njit  # noqa: PLC0415 — see above

        with _TAKING:
            if self._compiled is None:
                folder = Path(sys.modules[self.py_func.__module__].__file__ or "").parent
                setattr(config, "CACHE_DIR", str(_place_for(folder)))  # noqa: B010 — numba makes its settings when it is loaded
                self._compiled = njit(cache=True, nogil=True, error_model="numpy")(self.py_func)
            compiled: Callable[..., Any] = self._compiled
            return compiled


_TAKING: Final = RLock()


def compiled[F: Callable[..., Any]](function: F) -> F:
    """Compile a kernel on first use, and keep the machine code for the next start."""
    if find_spec("numba") is None:  # a Python that is newer than the newest numba
        np.seterr(over="ignore")  # hashes wrap around
        return function
    kernel: Any = Kernel(function)
    return kernel  # type: ignore[no-any-return]


@cache
def _place_for(folder: Path) -> Path:
    """Return the folder for the machine code of a folder of kernels; a changed file gets a new one.

    A kernel contains those that it calls, but numba checks the kernel's own file only.
    """
    digest = blake2b(digest_size=8)
    for path in sorted(folder.glob("*.py")):
        digest.update(path.read_bytes())
    name = f"kernels-{digest.hexdigest()}"
    home = Path.home() / ".cache" / "contatto"
    for place in (folder / "__pycache__", home):
        try:
            (place / name).mkdir(parents=True, exist_ok=True)
            (place / name / "used").touch()
        except OSError:
            continue
        return place / name
    return home / name


_YOUNG: Final = 20_000
"""New objects between two collections; a batch makes some thousands, and Python's default is 2,000."""
_is_enabled: Final = Event()
"""Set in processes that freeze objects; `gc.get_freeze_count` would count them all."""


def freeze_loaded_objects() -> None:
    """Exclude all current objects from collection, and collect new ones less often.

    A collection of all objects would take a fifth of a second.
    """
    _is_enabled.set()
    gc.collect()
    gc.freeze()
    _, *older = gc.get_threshold()
    gc.set_threshold(_YOUNG, *older)


def freeze_new_objects() -> None:
    """Exclude objects loaded since; without an earlier freeze, do nothing."""
    if _is_enabled.is_set():
        gc.collect()
        gc.freeze()
