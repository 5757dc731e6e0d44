"""HTTP and mail client, guarded against requests to private addresses.

It allows https on port 443 to public addresses. A name is resolved once, each of its addresses is checked,
and the connection goes to the checked address, so a second look-up cannot differ. It follows no redirects,
and ignores proxies of the environment and cookies. Hosts in the operator's list (``host:port``) may be
private and use plain http.
"""

import asyncio
import ipaddress
import re
import smtplib
import socket
import ssl
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from email.utils import parseaddr
from functools import cache, partial
from typing import Final
from urllib.parse import unquote, urlsplit

import httpx2

from contatto.kit.concurrency import slot_released
from contatto.kit.log import logger
from contatto.kit.outbound.model import (
    MAIL_ADDRESS,
    MAIL_METHOD,
    HttpAnswer,
    HttpOutcome,
    HttpRequest,
    SendFailure,
)

MAIL_ANSWER_S: Final = 20.0
_PORTS: Final = {"smtp": 25, "smtps": 465}
_LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_NO_MAILBOX: Final = 553
"""Reply code of an unsupported address. Source: RFC 5321, section 4.2.2."""


class Mailer:
    """Sends mails through one server.

    ``smtps`` uses TLS from the start, ``smtp`` as soon as the server offers it. A password never goes over a
    plain connection to another machine.

    Args:
        url: such as ``smtps://user:password@mail.example.com:465``.
        sender: ``From`` of mails; its address receives replies and bounces.
    """

    def __init__(self, url: str, sender: str) -> None:
        parts = urlsplit(url)
        self._is_wrapped = parts.scheme == "smtps"
        self._host, self._port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 25)
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._sender = parseaddr(sender)[1]

    def send(self, request: HttpRequest) -> HttpOutcome:
        """Send a mail once, in a thread; the status is the server's reply code (RFC 5321, section 4.2)."""
        try:
            server = self._open()
        except (OSError, smtplib.SMTPException) as error:
            code = getattr(error, "smtp_code", 0)
            logger().warning("mail.not_reached", kind=type(error).__name__, code=code)
            return SendFailure.UNREACHED
        to = request.headers["to"]
        options = () if to.isascii() else ("SMTPUTF8",)
        try:
            if options and not server.has_extn("smtputf8"):
                return HttpAnswer(_NO_MAILBOX, {}, b"")
            server.sendmail(self._sender, [to], request.body, options)
            return HttpAnswer(250, {}, b"")
        except smtplib.SMTPRecipientsRefused as error:
            return HttpAnswer(next(iter(error.recipients.values()))[0], {}, b"")
        except smtplib.SMTPResponseException as error:
            return HttpAnswer(error.smtp_code, {}, b"")
        except OSError:
            return SendFailure.LOST
        finally:
            server.close()

    def _open(self) -> smtplib.SMTP:
        trust = ssl.create_default_context()
        if self._is_wrapped:
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                self._host, self._port, timeout=MAIL_ANSWER_S, context=trust
            )
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=MAIL_ANSWER_S)
        try:
            server.ehlo_or_helo_if_needed()
            is_private = self._is_wrapped
            if not is_private and server.has_extn("starttls"):
                server.starttls(context=trust)
                server.ehlo()
                is_private = True
            if self._user:
                if not is_private and self._host not in _LOCAL_HOSTS:
                    raise smtplib.SMTPNotSupportedError("a password goes over TLS alone")
                server.login(self._user, self._password)
        except BaseException:
            server.close()
            raise
        return server


CONNECT_S: Final = 5.0
ANSWER_S: Final = 15.0
RESOLVING: Final = 64
"""Concurrent DNS look-ups."""
ANSWER_LIMIT: Final = 256 * 1024
"""Bytes of a response that are read."""
_UNREACHED: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


_TRUST: Final = cache(ssl.create_default_context)
"""The machine's certificate authorities; loading them dominates the start, so they are cached."""


class Client:
    """Sends requests; ``allowed`` hosts may be private and use plain http, mails need a mailer."""

    def __init__(
        self, allowed: Collection[str] = (), answer_s: float = ANSWER_S, mailer: Mailer | None = None
    ) -> None:
        self._allowed = frozenset(allowed)
        self._mailer = mailer
        self._answer_s = answer_s
        # in threads of their own, as unresolvable names take long
        self._resolver = ThreadPoolExecutor(RESOLVING, thread_name_prefix="names")
        timeout = httpx2.Timeout(answer_s, connect=CONNECT_S)
        self._http = httpx2.AsyncClient(
            timeout=timeout,
            follow_redirects=False,
            trust_env=False,
            verify=_TRUST(),
            # names may share an address, but must not share a connection
            limits=httpx2.Limits(max_keepalive_connections=0),
        )

    async def send(self, request: HttpRequest) -> HttpOutcome:
        """Send a request once; failures of network or outside system are values, not exceptions."""
        if (request.method, request.url) == (MAIL_METHOD, MAIL_ADDRESS):
            mailer = self._mailer
            return await asyncio.to_thread(mailer.send, request) if mailer else SendFailure.FORBIDDEN
        async with slot_released():
            try:
                url, host = await self._checked(request.url)
            except ValueError:
                return SendFailure.FORBIDDEN
            except OSError:
                return SendFailure.UNREACHED
            # Uncompressed: some kilobytes could decompress to gigabytes.
            headers = {**request.headers, "Host": host, "Accept-Encoding": "identity"}
            name = host.rpartition(":")[0] if ":" in host else host
            exchange = self._http.stream(
                request.method, url, headers=headers, content=request.body, extensions={"sni_hostname": name}
            )
            body = bytearray()
            try:
                async with asyncio.timeout(CONNECT_S + self._answer_s), exchange as answer:
                    async for part in answer.aiter_raw():
                        body += part
                        if len(body) > ANSWER_LIMIT:
                            break
                    self._http.cookies.clear()
            except _UNREACHED:
                return SendFailure.UNREACHED
            except (httpx2.HTTPError, httpx2.StreamError, TimeoutError):
                return SendFailure.LOST
            response_headers = {key.lower(): value for key, value in answer.headers.items()}
            return HttpAnswer(answer.status_code, response_headers, bytes(body[:ANSWER_LIMIT]))

    async def _checked(self, text: str) -> tuple[httpx2.URL, str]:
        """Return the URL with the checked IP address, and the name of the host.

        Raises:
            ValueError: the address is forbidden.
            OSError: the name does not resolve.
        """
        url, is_listed = read_address(text, self._allowed)
        if is_listed:
            return url, url.netloc.decode()
        look_up = partial(socket.getaddrinfo, url.host, 443, type=socket.SOCK_STREAM)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_S):  # a TimeoutError is an OSError
            entries = await loop.run_in_executor(self._resolver, look_up)
        addresses = [str(entry[4][0]) for entry in entries]
        if not addresses or not all(is_public(address) for address in addresses):
            raise ValueError("not every address of this name is public")
        return url.copy_with(host=addresses[0]), url.host

    async def close(self) -> None:
        self._resolver.shutdown(wait=False, cancel_futures=True)
        await self._http.aclose()


def read_address(text: str, allowed: Collection[str]) -> tuple[httpx2.URL, bool]:
    """Parse an address, and return whether the operator lists its host; names are not resolved.

    Raises:
        ValueError: the address is forbidden.
    """
    try:
        url = httpx2.URL(text)
        if not _HOST.fullmatch(url.raw_host.decode()) or text.split() != [text]:
            raise ValueError("this is no host")
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise ValueError("this is no address") from error
    port = url.port or {"https": 443, "http": 80}.get(url.scheme, 0)
    is_listed = f"{url.host}:{port}" in allowed or f"{url.host}:*" in allowed
    if is_listed and url.scheme in ("https", "http"):
        return url, True
    if url.scheme != "https" or port != 443 or url.userinfo or not url.host:
        raise ValueError("only https on its own port")
    return url, False


_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_.])?|[0-9a-fA-F:.]+")
"""DNS name (international names in ASCII), or IP address."""


def is_public(text: str) -> bool:
    """Return whether an address belongs to the public internet.

    IPv6 is public only within 2000::/3, the allocated range. Addresses that embed or lead to IPv4, or stay
    with the next gateway, never count, independent of Python's version.

    Source: IANA, IPv4 and IPv6 Special-Purpose Address Registries; RFC 3879 (fec0::/10), RFC 6052 and 2765
    (IPv4 translated), RFC 5214 (5efe), RFC 7723 (anycast of the next gateway), RFC 9637 (3fff::/20).
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        embeds = address.sixtofour or (int(address) >> 32) & 0xFDFF_FFFF == _ISATAP
        if embeds or address.scope_id or address not in _GLOBAL_UNICAST:
            return False
    is_special = any(address.version == net.version and address in net for net in _SPECIAL)
    return address.is_global and not address.is_multicast and not is_special


_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
_ISATAP: Final = 0x0000_5EFE
_SPECIAL: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)
"""Protocol assignments (Teredo among them), 6to4 and its relays, documentation."""
