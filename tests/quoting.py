"""Whether a text quotes a number of a person."""

import re


def quotes(text: str, digits: str) -> bool:
    """Whether the digits stand in the text, together or parted by signs as people write them.

    All digits of a number are asked for: four of them stand in a random id now and then.
    """
    return re.search(r"[\s.\-()]{0,3}".join(digits), text) is not None
