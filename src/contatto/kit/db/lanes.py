"""Writes that wait for SQLite's one writer, and which of them come next."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final

from contatto.kit.batches import in_time
from contatto.kit.db.database import Waiting, Work
from contatto.kit.db.tx import MadeLater, Row

GROUP_LIMIT: Final = 512
"""Most rows of hot paths that share one commit; more only makes the first of them wait."""
GROUP_S: Final = 0.02
"""How long a commit goes on taking up writes that wait."""


@dataclass(slots=True)
class Write:
    """One write that waits: either work, or an insert that may be grouped with its like."""

    waiting: Waiting[Any]
    business_id: str = ""
    work: Work[Any] | None = None
    statement: Any = None
    row: Row | None = None
    make: MadeLater | None = None
    in_background: bool = False
    result: Any = None
    error: BaseException | None = None


def list_made(writes: list[Write]) -> list[Write]:
    """Those whose rows could be made, or were there; the callers of the others are told what went wrong."""
    made: list[Write] = []
    for write in writes:
        try:
            if write.make is not None:
                write.row, write.make = write.make(), None
        except Exception as error:  # it belongs to the caller, not to the writer
            write.waiting.tell(None, error)
        else:
            made.append(write)
    return made


type Taken = tuple[list[Write], Iterator[Write]]
"""What goes into a commit: rows of hot paths, and writes one by one until the time is up."""


class Lanes:
    """The writes of requests, one business after the other, and those of the background.

    A commit takes rows of hot paths and writes of requests, or some of the background; while both wait they
    alternate. So neither who asks for much nor long work in the background keeps a request waiting for more
    than a batch of it, and requests without end do not stop the background.
    """

    def __init__(self) -> None:
        self._arrived: SimpleQueue[Write | list[Write] | None] = SimpleQueue()
        self._appends: deque[Write] = deque()
        self._requests: dict[str, deque[Write]] = {}
        self._background: deque[Write] = deque()
        self._is_background_next = False
        self._is_closing = False
        self._has_asked = False

    def put(self, write: Write | list[Write]) -> None:
        """Let a write wait, or a list of rows of hot paths."""
        self._arrived.put(write)
        if isinstance(write, Write) and write.work is not None and not write.in_background:
            self._has_asked = True

    def is_awaited(self) -> bool:
        """Return whether a request waits until the commit that is on its way has ended."""
        return self._has_asked or bool(self._requests)

    def close(self) -> None:
        """Let the writer end once it has done what waits."""
        self._arrived.put(None)

    def wait(self, most_s: float | None = None) -> bool:
        """Wait until there is something to write, or for so long; False when nothing comes any more."""
        self._sort_arrived()
        while not (self._appends or self._requests or self._background):
            if self._is_closing:
                return False
            try:
                self._sort(self._arrived.get(timeout=most_s))
            except Empty:
                return True
            self._sort_arrived()
        return True

    def take_appends(self) -> list[Write]:
        """Rows of hot paths that wait, in the order of their arrival; no more than share a commit."""
        self._sort_arrived()
        return [self._appends.popleft() for _ in range(min(len(self._appends), GROUP_LIMIT))]

    def _sort_arrived(self) -> None:
        while True:
            try:
                self._sort(self._arrived.get_nowait())
            except Empty:
                return

    def _sort(self, write: Write | list[Write] | None) -> None:
        if write is None:
            self._is_closing = True
        elif isinstance(write, list):
            self._appends += list_made(write)
        elif write.in_background:
            self._background.append(write)
        elif write.work is None:
            self._appends.append(write)
        else:
            self._requests.setdefault(write.business_id, deque()).append(write)

    def give_back(self, appends: list[Write]) -> None:
        """Let rows that were taken wait again, before all others."""
        self._appends.extendleft(reversed(appends))

    def next_commit(self) -> Taken:
        """Take what goes into the next commit."""
        self._has_asked = False
        has_requests = bool(self._appends or self._requests)
        if self._background and (self._is_background_next or not has_requests):
            self._is_background_next = False
            return [], in_time(self._take_background(), GROUP_S)
        self._is_background_next = bool(self._background)
        return self.take_appends(), in_time(self._take_requests(), GROUP_S)

    def _take_background(self) -> Iterator[Write]:
        while self._background:
            yield self._background.popleft()

    def _take_requests(self) -> Iterator[Write]:
        while self._requests:
            business_id, line = next(iter(self._requests.items()))
            del self._requests[business_id]
            write = line.popleft()
            if line:
                self._requests[business_id] = line  # behind all others
            yield write
