"""Port of measurement to the package that charges for views and clicks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from contatto.kit.db.tx import Tx
from contatto.measurement.model import Impression, Touch


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargePort:
    """Charge for touches in their transaction.

    Attributes:
        charge: before the touches of impressions are appended: gives them back in their order, each with what
            it is charged, which may be less than its price. Those that are there already stay as they are.
        note_click: after a click was appended that came of no link of an impression.
    """

    charge: Callable[[Tx, Sequence[Impression]], list[Touch]]
    note_click: Callable[[Tx, Touch], None]
