"""A try to log in."""

from dataclasses import dataclass

from contatto.accounts.model import Member


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """A try to log in that was counted, before its password is checked.

    ``network`` is where it comes from; ``device`` what is known of the browser, empty when it never signed
    in here. ``candidates`` are the members of the e-mail's accounts; the password decides between them.
    ``knows_device`` and ``knows_network`` say whether one of them signed in from there before.
    """

    email: str
    network: str
    device: str
    candidates: tuple[Member, ...]
    knows_device: bool
    knows_network: bool
