"""The delivery engine as a player: in this process, or as a program behind a pipe."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from contatto.delivery.model import lines
from contatto.delivery.predict.marketplace import Marketplace, Unusable

type Line = dict[str, Any]

_KINDS: Final = {
    "adgroup": lines.AdGroupLine,
    "ad": lines.AdLine,
    "request": lines.RequestLine,
    "view": lines.ViewLine,
    "click": lines.ClickLine,
    "conversation": lines.ConversationLine,
    "spam": lines.SpamLine,
    "lead": lines.LeadLine,
    "quality": lines.QualityLine,
    "rank": lines.RankLine,
    "report": lines.ReportLine,
}
_CHECKED: Final = frozenset({"adgroup", "conversation", "spam", "lead", "quality", "rank"})
"""Lines that hold more than texts, numbers and features, so that they are converted field by field."""
_ANSWERED: Final = frozenset({"request", "rank", "report"})


class Engine:
    """A marketplace of this process. It is told what `contatto deliver` is told, without the text between."""

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
            told: Any = msgspec.convert(line, _KINDS[kind])
        else:
            fields = line.copy()
            del fields["type"]
            told = _KINDS[kind](**fields)
        try:
            found = self._take(told)
        except Unusable as reason:
            self.complaints.append(str(reason))
            return None
        if found is None:
            return None
        return msgspec.structs.asdict(found) if kind == "request" else msgspec.to_builtins(found)


class Piped:
    """Any program that speaks the protocol on its standard input and output."""

    def __init__(self, command: Sequence[str]) -> None:
        self._program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603  # the caller's own

    def answer(self, line: Line) -> Line | None:
        """Tell a line, and wait for the answer where there is one.

        Raises:
            BrokenPipeError: the program has ended.
        """
        into, out = self._program.stdin, self._program.stdout
        if into is None or out is None:
            raise BrokenPipeError
        into.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        if line["type"] not in _ANSWERED:
            return None
        into.flush()
        told = out.readline()
        if not told:
            raise BrokenPipeError("the program has ended")
        answer: Line = json.loads(told)
        return answer

    def close(self) -> int:
        """End the program; its exit code comes back."""
        if self._program.stdin is not None:
            self._program.stdin.close()
        code = self._program.wait(timeout=60)
        if self._program.stdout is not None:
            self._program.stdout.close()
        return code
