"""A try to log in."""

from dataclasses import dataclass

from contatto.accounts.model import Member


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """A try to log in that was counted, before its password is checked.

    ``network`` is where it comes from; ``device`` what is known of the browser, empty when it never signed
    in here. ``member`` is None when nobody has the e-mail. ``knows_device`` and ``knows_network`` say whether
    this member signed in from there before.
    """

    email: str
    network: str
    device: str
    member: Member | None
    knows_device: bool
    knows_network: bool
