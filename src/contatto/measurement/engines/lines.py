"""Events and their configuration as JSON Lines: what each line may hold, read in bulk, faults by line."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Final, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from contatto.measurement.model import AttributionPolicy, ConversionKind, Goal, TouchKind

CHUNK: Final = 4 << 20
"""Bytes that are read at once, and the longest line that is taken."""
LINE: Final = ":line"
"""What the number of a line is called among its fields: no field of a file is taken for it."""
_BOM: Final = b"\xef\xbb\xbf"
_DAY_US: Final = 86_400_000_000
EARLIEST: Final = -719_161 * _DAY_US
LATEST: Final = 2_932_895 * _DAY_US
"""The years 1 to 9999, with a day to spare at both ends for the zones."""


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes | None: ...


type Id = str | int
type Whole = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
type Moment = Annotated[int, msgspec.Meta(ge=EARLIEST, le=LATEST)]
type Cost = Annotated[int, msgspec.Meta(ge=-(1 << 53), le=1 << 53)]
type Complaint = Callable[[int, str], None]
"""Callback with the number of a line and its fault."""


class Config(msgspec.Struct, tag="config", tag_field="type"):
    policy: AttributionPolicy


class BusinessSetup(msgspec.Struct, tag="business", tag_field="type"):
    business_id: Id
    timezone: str


class AdGroupSetup(msgspec.Struct, tag="adgroup", tag_field="type"):
    adgroup_id: Id
    business_id: Id
    goal: Goal
    campaign_id: Id


class Window(msgspec.Struct, tag="window", tag_field="type"):
    """The windows in force from a moment on; null means that touches of that kind never count."""

    adgroup_id: Id
    from_ts: Moment
    click_s: Whole | None
    view_s: Whole | None


class TouchLine(msgspec.Struct, tag="touch", tag_field="type", gc=False):
    touch_id: Whole
    user_id: Id
    adgroup_id: Id
    ad_id: Id
    kind: TouchKind
    ts: Moment
    cost_micros: Cost
    line: int = msgspec.field(default=0, name=LINE)


class ConversionLine(msgspec.Struct, tag="conversion", tag_field="type", gc=False):
    conversion_id: Whole
    user_id: Id
    business_id: Id
    kind: ConversionKind
    ts: Moment
    line: int = msgspec.field(default=0, name=LINE)


type Row = Config | BusinessSetup | AdGroupSetup | Window | TouchLine | ConversionLine
_DECODER: Final = msgspec.json.Decoder(Row)


@dataclass(slots=True)
class Setup:
    """The configuration rows of a file by their ids; ids are texts, whether the file has strings or numbers.

    Of two rows about the same thing the later one counts. Windows are kept with the numbers of their lines.
    """

    policy: AttributionPolicy = AttributionPolicy.CLICK_FIRST
    businesses: dict[str, BusinessSetup] = field(default_factory=dict)
    adgroups: dict[str, tuple[int, AdGroupSetup]] = field(default_factory=dict)
    windows: dict[str, list[tuple[int, Window]]] = field(default_factory=dict)

    def add(self, number: int, row: Config | BusinessSetup | AdGroupSetup | Window) -> None:
        """Keep a configuration row.

        Raises:
            ValueError: it names a time zone that does not exist.
        """
        match row:
            case Config():
                self.policy = row.policy
            case BusinessSetup():
                check_zone(row.timezone)
                self.businesses[str(row.business_id)] = row
            case AdGroupSetup():
                self.adgroups[str(row.adgroup_id)] = (number, row)
            case Window():
                self.windows.setdefault(str(row.adgroup_id), []).append((number, row))

    def check(self, complain: Complaint) -> None:
        """Report and drop rows with unknown references; call it at the end of the file."""
        for key, (number, adgroup) in list(self.adgroups.items()):
            if str(adgroup.business_id) not in self.businesses:
                complain(number, f"business_id {adgroup.business_id!r} has no row of its own")
                del self.adgroups[key]
        for key in set(self.windows) - set(self.adgroups):
            for number, _ in self.windows[key]:
                complain(number, f"adgroup_id {key!r} has no row of its own")


@dataclass(slots=True)
class Events:
    """Touches and conversions of one chunk, each with the number of its line."""

    touches: list[TouchLine] = field(default_factory=list)
    conversions: list[ConversionLine] = field(default_factory=list)


class LineReader:
    """Reader of JSON Lines in chunks: configuration goes to ``setup``, faults to ``complain``."""

    def __init__(self, complain: Complaint) -> None:
        self.setup = Setup()
        self._complain = complain
        self._number = 1

    def events(self, source: Readable) -> Iterator[tuple[int, Events]]:
        """Yield the size and the events of each chunk."""
        for chunk in self._chunks(source):
            events = Events()
            touches, conversions = events.touches.append, events.conversions.append
            for number, row in self._rows(chunk):
                if type(row) is TouchLine:
                    row.line = number
                    touches(row)
                elif type(row) is ConversionLine:
                    row.line = number
                    conversions(row)
                else:
                    self._keep(number, row)  # type: ignore[arg-type]  # the two kinds of events went elsewhere
            yield len(chunk), events

    def _chunks(self, source: Readable) -> Iterator[bytes]:
        """Yield some megabytes of whole lines; a line that is too long is reported and left out."""
        rest = (source.read(len(_BOM)) or b"").removeprefix(_BOM)
        while more := source.read(CHUNK):
            end = more.rfind(b"\n") + 1
            if end:
                yield rest + more[:end]
                rest = b""
            rest += more[end:]
            if len(rest) > CHUNK:
                self._complain(self._number, f"is longer than {CHUNK:,} bytes")
                self._number += 1
                rest = _past_this_line(source)
        if rest:
            yield rest

    def _rows(self, chunk: bytes) -> list[tuple[int, Row]]:
        first = self._number
        count = chunk.count(b"\n") + (not chunk.endswith(b"\n") and bool(chunk))
        self._number = first + count
        try:
            rows = _DECODER.decode_lines(chunk)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            rows = []
        if len(rows) == count and b"\n\n" not in chunk:
            return list(enumerate(rows, first))
        return self._one_by_one(chunk, first)

    def _one_by_one(self, chunk: bytes, first: int) -> list[tuple[int, Row]]:
        """Decode each line of a chunk with blank lines or faults."""
        rows: list[tuple[int, Row]] = []
        for number, line in enumerate(chunk.split(b"\n"), first):
            if not line.strip():
                continue
            try:
                rows.append((number, _DECODER.decode(line)))
            except msgspec.MsgspecError as error:
                self._complain(number, str(error))
            except UnicodeDecodeError:
                self._complain(number, "is not UTF-8")
            except RecursionError:
                self._complain(number, "is nested too deeply")
        return rows

    def _keep(self, number: int, row: Config | BusinessSetup | AdGroupSetup | Window) -> None:
        try:
            self.setup.add(number, row)
        except ValueError as error:
            self._complain(number, str(error))


def _past_this_line(source: Readable) -> bytes:
    while more := source.read(CHUNK):
        if end := more.find(b"\n") + 1:
            return more[end:]
    return b""


def check_zone(name: str) -> None:
    """Refuse a time zone that does not exist.

    Raises:
        ValueError: with a text of the problem.
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"timezone {name!r} is no IANA time zone") from error
