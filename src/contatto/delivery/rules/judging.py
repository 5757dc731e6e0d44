"""Whether what was learned again may serve: a pure function of how it foretold days that it did not learn."""

from collections.abc import Sequence
from typing import Final

from contatto.delivery.model.relearnings import Compared, Stage

LEAST_CAME: Final = 20
"""A question of which fewer came, or did not, has no say: its losses are chance."""
WORST: Final = 0.02
"""No question may be foretold worse than what serves by a larger share of its loss."""


def judge_again(compared: Sequence[Compared]) -> Stage:
    """LEARNING where it may serve, else how it ends.

    Questions count alike, whatever they are asked of: clicks would else outvote leads. On the whole it has to
    be no worse than what served in those days, which had learned them all along.
    """
    heard = [each for each in compared if min(each.came, each.asked - each.came) >= LEAST_CAME]
    if not heard:
        return Stage.TOO_LITTLE
    worse = [each.loss / each.served - 1.0 for each in heard if each.served > 0.0]
    # a loss that is no number is neither above nor below: it must not pass
    is_good = all(share <= WORST for share in worse) and sum(worse) <= 0.0
    return Stage.LEARNING if is_good and worse else Stage.KEPT
