"""What only a phone number looks like: a plus, a bracketed code, the groups of its country."""

import re

from contatto.capture.fields.numbers import (
    Run,
    is_another_shape,
    is_grouped_as_usual,
    plain_digits,
    read_number,
)

#: Groups of three behind the first are how amounts are written as well: "12 345 678", "1.500.000".
_AMOUNT = re.compile(r"[0-9]{1,3}(?:[ .][0-9]{3})+")
_BRACKETED = re.compile(r"\+? ?\([0-9 ]{1,5}\)[ \-]*[0-9]")
_PLUS = re.compile(r"\(?\+")
_HOME_CODE = re.compile(r"1[ .\-]?(?=\(?[2-9])")
#: A price, a number in a list or a time, and then what may be a number of its own: "$20.50 650-253-0000".
_FIGURE_FIRST = re.compile(r"[0-9]{1,6}(?:\.[0-9]{2})?(?:[.)]|:[0-9]{2})?[ \t]+(?=[+(0-9])")


def is_written_out(written: str, country: str) -> bool:
    """Whether what is written can hardly be anything but a phone number of `country`, or one with a plus."""
    reading = None if is_another_shape(written) else read_number(plain_digits(written), country)
    if reading is None:
        return False
    if _PLUS.match(written) or _BRACKETED.match(written):
        return True
    if written.isdigit() or "." in written or _AMOUNT.fullmatch(written):
        return False
    return is_grouped_as_usual(written, reading) or is_grouped_as_usual(
        _HOME_CODE.sub("", written, count=1), reading
    )


def without_figure(text: str, run: Run, country: str) -> Run:
    """The run without the figure before it, if what follows is written out; else the run as it is."""
    figure = _FIGURE_FIRST.match(text, run.start, run.end)
    if figure is None or not is_written_out(text[figure.end() : run.end], country):
        return run
    rest = text[figure.end() : run.end]
    return Run(figure.end(), run.end, plain_digits(rest).lstrip("+"))
