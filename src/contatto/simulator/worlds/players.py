"""Players: the engine in this process, and programs behind a pipe."""

import json
import os
import resource
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from contatto.learning import model
from contatto.learning.marketplace import Marketplace, UnusableLine

type Line = dict[str, Any]

_KINDS: Final = {
    "adgroup": model.AdGroupLine,
    "ad": model.AdLine,
    "request": model.RequestLine,
    "view": model.ViewLine,
    "click": model.ClickLine,
    "conversation": model.ConversationLine,
    "spam": model.SpamLine,
    "lead": model.LeadLine,
    "quality": model.QualityLine,
    "rank": model.RankLine,
    "report": model.ReportLine,
}
_CHECKED: Final = frozenset({"adgroup", "conversation", "spam", "lead", "quality", "rank"})
"""Lines that hold more than texts, numbers and features, so that they are converted field by field."""
_ANSWERED: Final = frozenset({"request", "rank", "report"})
_TIME_LIMIT_S: Final = 120.0
"""A program that takes longer for one answer is ended; starting may compile for a minute."""
_ERROR_LENGTH: Final = 500


class EnginePlayer:
    """A marketplace of this process, which takes the lines of `contatto deliver` as values."""

    def __init__(
        self, seed: int = 0, *, is_random: bool = False, settings: Mapping[str, float] | None = None
    ) -> None:
        self.complaints: list[str] = []
        self._marketplace = Marketplace(
            seed, is_random=is_random, settings=dict(settings or {}), complain=self.complaints.append
        )
        self._take = self._marketplace.take

    def answer(self, line: Line) -> Line | None:
        kind = line["type"]
        if kind in _CHECKED:
            message: Any = msgspec.convert(line, _KINDS[kind])
        else:
            fields = line.copy()
            del fields["type"]
            message = _KINDS[kind](**fields)
        try:
            answer = self._take(message)
        except UnusableLine as reason:
            self.complaints.append(str(reason))
            return None
        if answer is None:
            return None
        return msgspec.structs.asdict(answer) if kind == "request" else msgspec.to_builtins(answer)


class _Choice(msgspec.Struct):
    """An answer to a request that shows no ad."""

    request_id: str
    ad_id: str | None = None


class _GroupSpend(msgspec.Struct):
    adgroup_id: str
    spend_micros: int


class _SpendReport(msgspec.Struct):
    ask_id: str
    adgroups: list[_GroupSpend]


_SCHEMAS: Final[dict[str, Any]] = {"request": _Choice, "rank": model.Ranking, "report": _SpendReport}


class ProgramError(Exception):
    """A program that cannot play on, with the reason and its last error output."""


@dataclass(frozen=True, slots=True)
class Program:
    """A command that speaks the lines protocol, and its name in tables."""

    name: str
    command: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Program":
        """Split a command as a shell does; Python runs a command that starts with a ``.py`` file.

        Raises:
            ValueError: the text is empty, or a quote is not closed.
        """
        words = shlex.split(text)
        if not words:
            raise ValueError("the command is empty")
        script = next((word for word in words if word.endswith(".py")), words[0])
        interpreter = [sys.executable] if words[0].endswith(".py") else []
        return cls(Path(script).stem, (*interpreter, *words))

    def start(self, seed: int) -> "Piped":
        """Start the program as `contatto deliver` is started: with ``--seed N``."""
        return Piped((*self.command, "--seed", str(seed)))


class Piped:
    """A program that reads lines from its standard input and answers on its standard output.

    A watch thread ends the program when one answer takes longer than the time limit. So neither reading nor
    writing can block for ever.
    """

    def __init__(self, command: tuple[str, ...], time_limit_s: float = _TIME_LIMIT_S) -> None:
        """Start the program.

        Raises:
            ProgramError: the program cannot be started.
        """
        self.cpu_s = 0.0
        self._name, self._time_limit_s = shlex.join(command), time_limit_s
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the program
        self._started_children_s = _children_cpu_s()
        try:
            self._program = subprocess.Popen(  # noqa: S603  # the caller's own command
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,
            )
        except OSError as error:
            self._errors.close()
            raise ProgramError(f"{self._name} cannot be started: {error.strerror}") from error
        self._waits_since: float | None = None
        self._is_late = False
        self._ended = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def answer(self, line: Line) -> Line | None:
        """Write a line, and read the answer of a line that has one.

        Raises:
            ProgramError: the program has ended, took too long, or its answer cannot be used.
        """
        into, out = self._program.stdin, self._program.stdout
        if into is None or out is None:  # for the type checker: both are pipes
            raise ProgramError(f"{self._name} has no pipes")
        self._waits_since = time.monotonic()
        try:
            into.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
            if line["type"] not in _ANSWERED:
                return None
            into.flush()
            text = out.readline()
        except BrokenPipeError:
            text = b""
        finally:
            self._waits_since = None
        if not text.endswith(b"\n"):
            raise self._failure(line)
        return _read_answer(self._name, line, text)

    def close(self) -> int:
        """End the input, wait until the program has ended, and return its exit code."""
        self._ended.set()
        if self._program.stdin is not None:
            with suppress(BrokenPipeError):
                self._program.stdin.close()
        try:
            code = self._program.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._kill()
            code = self._program.wait()
        if self._program.stdout is not None:
            self._program.stdout.close()
        self._errors.close()
        self.cpu_s = _children_cpu_s() - self._started_children_s
        return code

    def _watch(self) -> None:
        while not self._ended.wait(min(1.0, self._time_limit_s / 4)):
            since = self._waits_since
            if since is not None and time.monotonic() - since > self._time_limit_s:
                self._is_late = True
                self._kill()
                return

    def _kill(self) -> None:
        """End the program with the processes that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._program.pid, signal.SIGKILL)

    def _failure(self, line: Line) -> ProgramError:
        """End the program, and say why its answer is missing."""
        name = f"{line['type']} {line.get('request_id') or line.get('ask_id') or ''}".strip()
        self._kill()
        code = self._program.wait()
        self._errors.seek(0)
        error_output = self._errors.read().decode(errors="replace").strip()[-_ERROR_LENGTH:]
        why = (
            f"did not answer {name} within {self._time_limit_s:g} s"
            if self._is_late
            else (f"ended with exit code {code} before it answered {name}")
        )
        return ProgramError(f"{self._name} {why}" + (f": {error_output}" if error_output else ""))


class TimedPlayer:
    """Clocks of a player in lock-step.

    The wait for a decision includes the lines before it that need no answer, because a program works through
    them first. The first decision is left out: it may compile.
    """

    def __init__(self, answer: Callable[[Line], Line | None]) -> None:
        self.longest_wait_s = 0.0
        self.requests = 0
        self.cpu_s = 0.0
        """CPU time of this thread within answers."""
        self._answer = answer
        self._wait_s = 0.0

    def answer(self, line: Line) -> Line | None:
        wall, cpu = time.perf_counter(), time.thread_time()
        answer = self._answer(line)
        self.cpu_s += time.thread_time() - cpu
        self._wait_s += time.perf_counter() - wall
        kind = line["type"]
        if kind in _ANSWERED:
            if kind == "request":
                self.requests += 1
                if self.requests > 1 and self._wait_s > self.longest_wait_s:
                    self.longest_wait_s = self._wait_s
            self._wait_s = 0.0
        return answer


def _read_answer(name: str, line: Line, text: bytes) -> Line:
    """Read an answer and check the fields that the world computes with.

    Raises:
        ProgramError: the answer is not JSON, belongs to another line, or lacks a field.
    """
    kind = line["type"]
    key = "request_id" if kind == "request" else "ask_id"
    try:
        answer: Any = msgspec.json.decode(text)
        schema = _SCHEMAS[kind]
        if kind == "request" and msgspec.convert(answer, _Choice).ad_id is not None:
            schema = model.Decision
        checked: Line = msgspec.structs.asdict(msgspec.convert(answer, schema))
        if checked[key] != line[key]:
            raise ValueError(f"{key} is {checked[key]}")
        if kind == "rank" and len(checked["scores"]) != len(line["candidates"]):
            raise ValueError("not one score for each candidate")
    except ValueError as error:
        shown = text.decode(errors="replace").strip()[:_ERROR_LENGTH]
        raise ProgramError(f"{name} answered {kind} {line[key]} badly ({error}): {shown}") from error
    return checked | ({"adgroups": answer["adgroups"]} if kind == "report" else {})


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
