"""What is compiled once: statements in a process, whatever databases it opens; tests and kernels in a run."""

import fcntl
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine

_first: dict[str, Engine] = {}


@contextmanager
def compiled_once() -> Iterator[None]:
    """All engines of a kind share the dialect and the compiled statements of the first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sqlalchemy.create_engine", _create_engine)
        yield


def _create_engine(*given: Any, **named: Any) -> Engine:
    engine = create_engine(*given, **named)
    first = _first.setdefault(engine.dialect.name, engine)
    engine.dialect, engine._compiled_cache = first.dialect, first._compiled_cache
    return engine


@contextmanager
def kernels_compiled_once(lock: Path) -> Iterator[None]:
    """Let one process at a time compile or load a kernel: who comes second finds it where numba keeps them.

    Else, in a new checkout, each process of a run compiles all of them at the same time, for some seconds.
    """
    if find_spec("numba") is None:
        yield
        return
    from numba.core.dispatcher import Dispatcher  # noqa: PLC0415 — there is none for the newest Python

    compiling = threading.RLock()  # a kernel that calls others has them compiled meanwhile
    compile_kernel, depth = Dispatcher.compile, 0

    def compile_alone(self: Any, signature: Any) -> Any:
        nonlocal depth
        with compiling:
            depth += 1
            try:
                if depth == 1:
                    fcntl.flock(opened, fcntl.LOCK_EX)
                return compile_kernel(self, signature)
            finally:
                depth -= 1
                if depth == 0:
                    fcntl.flock(opened, fcntl.LOCK_UN)

    with lock.open("w") as opened, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dispatcher, "compile", compile_alone)
        yield


def read_own_share(files: Sequence[Path], process: int, processes: int) -> None:
    """Import each n-th of the files of tests, by their paths below the project, before all are collected.

    In a new checkout pytest rewrites what they assert, which would take each process ten seconds and more.
    So each writes a share, and finds the others' when it comes to them. What cannot be imported, or warns, is
    told when it is collected.
    """
    for path in files[process::processes]:
        with suppress(Exception, pytest.skip.Exception), warnings.catch_warnings(action="error"):
            import_module(".".join(path.with_suffix("").parts))
