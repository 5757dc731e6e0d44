"""Texts, numbers, money, instants and days, as values from outside."""

import base64
import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl

import email_validator
import msgspec
from pydantic import Field

from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_

JSON_ERRORS: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""Errors of malformed JSON: syntax, shape, encoding, nesting."""


_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
"""PostgreSQL rejects NUL, and UTF-8 half surrogate pairs."""


def check_texts(value: Any) -> Any:
    """Return the value; raises ValueError if one of its texts cannot be stored."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str) and _UNSTORABLE.search(part):
            raise ValueError("a text holds a character that cannot be kept")
        if isinstance(part, dict):
            waiting += [*part, *part.values()]
        elif isinstance(part, list):
            waiting += part
    return value


def read_pairs(query: str, most: int) -> list[tuple[str, str]]:
    """Return the pairs of a query in a form or a saved view; raises INVALID for more than ``most``."""
    try:
        return parse_qsl(query, max_num_fields=most)
    except ValueError as error:
        raise Refused(errors.INVALID, "query: use at most %(most)s values.", most=most) from error


_LEAST_TOP_LEVEL: Final = 2
# Companies use `.local` inside their own network, and an installation may serve one of them.
email_validator.SPECIAL_USE_DOMAIN_NAMES = [
    name for name in email_validator.SPECIAL_USE_DOMAIN_NAMES if name != "local"
]


class InvalidEmail(ValueError):
    """A text that is not an e-mail address."""


def checked_email(text: str) -> str:
    """Return an address with its domain in lower case, without a DNS query.

    Raises:
        InvalidEmail: the text is not one plain address; ``<a@b>`` and ``a;b@example.com`` are none.
    """
    try:
        address = email_validator.validate_email(text.strip(), check_deliverability=False, strict=True)
    except email_validator.EmailNotValidError as error:
        raise InvalidEmail(str(error)) from error
    top_level = (address.ascii_domain or address.domain).rpartition(".")[2]
    if len(top_level) < _LEAST_TOP_LEVEL or top_level.isdigit():
        raise InvalidEmail("The domain must end in letters.")
    return address.normalized


def to_base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def from_base64url(text: str) -> bytes:
    """Decode base64url; raises ValueError for another spelling, so that a link has only one form."""
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if to_base64url(raw) != text:
        raise ValueError("another spelling of these bytes")
    return raw


LARGEST: Final = (1 << 63) - 1
"""What a 64-bit column holds."""
type PageNumber = Annotated[int, Field(ge=-1_000_000, le=1_000_000)]
"""Page of a list in an address; below 1 it means the first."""
type Revision = Annotated[int, Field(ge=0, lt=(1 << 31) - 1)]
"""Version of a row that the writer has read; the next one still fits 32 bits."""
type WindowDays = Annotated[int, Field(ge=0, le=365)]
_MOST_DIGITS: Final = len(str(LARGEST))


def read_number(text: str) -> int | None:
    """Parse ASCII digits; return None for any other text, and for numbers beyond ``LARGEST``."""
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        return None
    number = int(text)
    return number if number <= LARGEST else None


MICROS: Final = 1_000_000
MOST_UNITS: Final = 10**12
"""Greatest amount that we read: its micros fit a 64-bit column."""
USUAL_DECIMALS: Final = 2
_ZERO: Final = "BIF CLP DJF GNF IDR ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE: Final = "BHD IQD JOD KWD LYD OMR TND"
_FOUR: Final = "CLF UYW"
DECIMALS: Final = {
    currency: places for places, some in ((0, _ZERO), (3, _THREE), (4, _FOUR)) for currency in some.split()
}
"""Decimals of the currencies that have not two. IDR has none by custom. Source: ISO 4217, minor units."""


def to_micros(amount: Decimal | float | int | str) -> int:
    """Turn units (``12.5``) into micros; raises ValueError for no number, or above a trillion."""
    try:
        value = Decimal(str(amount))
    except InvalidOperation as error:
        raise ValueError(f"not an amount: {amount!r}") from error
    if not value.is_finite() or not -MOST_UNITS <= value <= MOST_UNITS:
        raise ValueError(f"not an amount: {amount!r}")
    return int((value * MICROS).to_integral_value(ROUND_HALF_EVEN))


def to_units(amount_micros: int) -> Decimal:
    """Turn micros into units, exact."""
    return Decimal(amount_micros) / MICROS


def decimal_places(currency: str) -> int:
    """Return how many decimals people write in amounts of a currency."""
    return DECIMALS.get(currency, USUAL_DECIMALS)


def amount_written(amount_micros: int, currency: str) -> str:
    """Format an amount for a terminal: with all decimals of its currency, and commas between thousands."""
    return f"{to_units(amount_micros):,.{decimal_places(currency)}f}"


_Z: Final = 1.959964
"""Quantile of a 95 % interval."""
_LEAST: Final = 1e-9
"""Least distance of probabilities from 0 and 1."""


def interval_of(hits: int, trials: int) -> tuple[float, float]:
    """Return the 95 % interval of a share; 0 to 1 without trials.

    Source: Wilson 1927.
    """
    if trials <= 0:
        return 0.0, 1.0
    share, squared = hits / trials, _Z * _Z
    middle = share + squared / (2.0 * trials)
    reach = _Z * math.sqrt(share * (1.0 - share) / trials + squared / (4.0 * trials * trials))
    below = 1.0 + squared / trials
    return max((middle - reach) / below, 0.0), min((middle + reach) / below, 1.0)


def interval_of_count(n: int) -> tuple[float, float]:
    """Return the 95 % interval of a Poisson rate, given one count.

    Source: Byar's approximation to the exact interval of Poisson.
    """
    low = n * (1.0 - 1.0 / (9.0 * n) - _Z / (3.0 * math.sqrt(n))) ** 3 if n else 0.0
    more = n + 1.0
    return max(low, 0.0), more * (1.0 - 1.0 / (9.0 * more) + _Z / (3.0 * math.sqrt(more))) ** 3


def loss_of_rate(hits: int, trials: int, rate: float) -> float:
    """Return the mean log loss, in nats, of a constant prediction."""
    if not trials:
        return 0.0
    share, loss = hits / trials, 0.0
    if share > 0.0:
        loss -= share * math.log(max(rate, _LEAST))
    if share < 1.0:
        loss -= (1.0 - share) * math.log1p(-min(rate, 1.0 - _LEAST))
    return loss


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_YEAR: Final = re.compile(r"\+?([0-9]{4,6})-[0-9]{2}-[0-9]{2}")
"""The start of a date. Browsers offer years up to 275760. Source: ECMA-262, time values and time range."""
YEARS: Final = range(1970, 2200)
"""Years that days and times from outside may lie in: beside the calendar's ends, reckoning overflows."""
_MICROSECOND: Final = timedelta(microseconds=1)


def micros(moment: datetime) -> int:
    """Microseconds since 1970-01-01T00:00:00Z, exact."""
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(value: int) -> datetime:
    """Return the UTC instant that many microseconds after 1970-01-01T00:00:00Z."""
    return _EPOCH + timedelta(0, 0, value)


def day_of(text: str) -> date | None:
    """Read the day of a text, YYYY-MM-DD; None for any other text, and for years beyond ``YEARS``."""
    if not _DAY.fullmatch(text) or int(text[:4]) not in YEARS:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def check_year(field: str, text: str) -> None:
    """Raise INVALID for a typed date or time in a year outside ``YEARS``; other texts pass."""
    date_start = _YEAR.match(text.strip())
    if date_start and int(date_start[1]) not in YEARS:
        raise Refused(
            errors.INVALID,
            "%(field)s: Enter a year from %(first)s to %(last)s.",
            field=field,
            first=str(YEARS[0]),
            last=str(YEARS[-1]),
        )


def instant_of(text: str) -> datetime | None:
    """Read the instant of a text in ISO 8601, in UTC as a text without a zone is; None as in ``day_of``."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    if instant.year not in YEARS:
        return None
    return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)


BRANDS: Final = {
    "linkedin": "LinkedIn",
    "line": "LINE",
    "tiktok": "TikTok",
    "wechat": "WeChat",
    "whatsapp": "WhatsApp",
}
"""Platforms that write their names with capitals inside."""


def brand_of(name: str) -> str:
    """Spell a platform's name as the platform does; it is the same in every language."""
    return BRANDS.get(name.lower(), name.capitalize())


UNREADABLE: Final = N_("This value cannot be read")


def is_unreadable(text: object) -> bool:
    """Report whether a text stands in place of a sealed one that does not open.

    The object itself counts: somebody may have written the same words.
    """
    return text is UNREADABLE


@dataclass(frozen=True, slots=True)
class SealedIn:
    """The place of a sealed text: ``name: Annotated[str, SealedIn("leads.name")]``.

    A transaction opens the text as it reads the row. A missing value reads as an empty text.

    Attributes:
        column: the table and the column, as the vault names them.
        row: the columns that identify the row, as in `contatto.kit.db.tx.row_columns`.
    """

    column: str
    row: tuple[str, ...] = ("id",)
