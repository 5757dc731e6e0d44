"""Handing a mail to the operator's mail server: in a thread, over TLS, and never raising for what it does."""

import asyncio
import smtplib
import ssl
from email.utils import parseaddr
from typing import Final
from urllib.parse import unquote, urlsplit

from contatto.kit.exchange import HttpAnswer, HttpOutcome, HttpRequest, NoAnswer, SendFailure
from contatto.kit.log import logger

ANSWER_S: Final = 20.0
_PORTS: Final = {"smtp": 25, "smtps": 465}
_AT_HOME: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_NO_MAILBOX: Final = 553
"""An address that this server cannot take. Source: RFC 5321, section 4.2.2."""


class Mailer:
    """Sends mails through one server.

    ``smtps`` speaks TLS from the start, ``smtp`` as soon as the server offers it. A password never goes over
    a plain connection to another machine.

    Args:
        url: such as ``smtps://user:password@mail.example.com:465``.
        sender: what stands in ``From``; its address is the one that replies and failures go to.
    """

    def __init__(self, url: str, sender: str) -> None:
        parts = urlsplit(url)
        self._is_wrapped = parts.scheme == "smtps"
        self._host, self._port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 25)
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._sender = parseaddr(sender)[1]

    async def send(self, request: HttpRequest) -> HttpOutcome:
        """Send a mail once; the answer's status is the server's reply code (RFC 5321, section 4.2)."""
        return await asyncio.to_thread(self._send, request)

    def _send(self, request: HttpRequest) -> HttpOutcome:
        try:
            server = self._open()
        except (OSError, smtplib.SMTPException) as error:
            code = getattr(error, "smtp_code", 0)
            logger().warning("mail.not_reached", kind=type(error).__name__, code=code)
            return NoAnswer(SendFailure.UNREACHED)
        try:
            return HttpAnswer(self._hand_over(server, request), {}, b"")
        except (OSError, smtplib.SMTPServerDisconnected):
            return NoAnswer(SendFailure.LOST)
        finally:
            server.close()

    def _open(self) -> smtplib.SMTP:
        trust = ssl.create_default_context()
        if self._is_wrapped:
            server: smtplib.SMTP = smtplib.SMTP_SSL(self._host, self._port, timeout=ANSWER_S, context=trust)
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=ANSWER_S)
        try:
            server.ehlo_or_helo_if_needed()
            is_private = self._is_wrapped
            if not is_private and server.has_extn("starttls"):
                server.starttls(context=trust)
                server.ehlo()
                is_private = True
            if self._user:
                if not is_private and self._host not in _AT_HOME:
                    raise smtplib.SMTPNotSupportedError("a password goes over TLS alone")
                server.login(self._user, self._password)
        except BaseException:
            server.close()
            raise
        return server

    def _hand_over(self, server: smtplib.SMTP, request: HttpRequest) -> int:
        to = request.headers["to"]
        options = () if to.isascii() else ("SMTPUTF8",)
        if options and not server.has_extn("smtputf8"):
            return _NO_MAILBOX
        try:
            server.sendmail(self._sender, [to], request.body, options)
        except smtplib.SMTPRecipientsRefused as error:
            return next(iter(error.recipients.values()))[0]
        except smtplib.SMTPResponseException as error:
            return error.smtp_code
        return 250
