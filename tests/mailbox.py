"""A mail server on this machine that takes every mail, or turns them away as it is told."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller

from tests.journeys.running import until


@dataclass
class Mailbox:
    """What arrived. ``refusals`` are the reply codes of the next mails that are turned away."""

    url: str = ""
    mails: list[EmailMessage] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802  # aiosmtpd's name
        if self.refusals:
            return self.refusals.pop(0)
        mail = message_from_bytes(envelope.content, policy=default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"

    def to(self, email: str) -> list[EmailMessage]:
        return [mail for mail in self.mails if mail["To"] == email]

    def next_to(self, email: str, number: int = 1) -> EmailMessage:
        """The mail of this number to somebody, as soon as it is there."""
        assert until(lambda: len(self.to(email)) >= number), [mail["To"] for mail in self.mails]
        return self.to(email)[number - 1]


@contextmanager
def running_mailbox() -> Iterator[Mailbox]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    box = Mailbox(f"smtp://127.0.0.1:{port}")
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()


def text_of(mail: EmailMessage) -> str:
    return str(mail.get_content())
