"""Kernels: functions over arrays that numba compiles and keeps; without numba the same source runs as Python.

Both give the same numbers, bit for bit: no fast math, no reordering, and the exponential is the platform's.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

type Array = NDArray[Any]
"""An array of numbers; what its columns are is said in `columns`."""


def compiled[F: Callable[..., Any]](function: F) -> F:
    """Compile a kernel on first use, and keep the machine code beside the source."""
    if find_spec("numba") is None:  # a Python that is newer than the newest numba
        np.seterr(over="ignore")  # hashes wrap around
        return function
    from numba import njit  # noqa: PLC0415 — see above

    made: Any = njit(cache=True, nogil=True, error_model="numpy")(function)
    return made  # type: ignore[no-any-return]
