"""What may go wrong when JSON that a stranger wrote is read."""

from typing import Final

import msgspec

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""No JSON, another shape, no UTF-8, nested without end."""
