"""Sending a request to an outside system, guarded against being led to inside ones.

Only https on port 443 to public addresses. The name is looked up once, each of its addresses is checked, and
the connection goes to the checked address, so that a second look-up cannot lead elsewhere. No redirects, no
proxies of the environment, no cookies. Hosts that the operator lists (``host:port``) may be private and plain
http.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Collection
from typing import Final

import httpx2

from contatto.kit.exchange import Exchange, HttpAnswer, HttpRequest, NoAnswer, Trouble

CONNECT_S: Final = 5.0
ANSWER_S: Final = 15.0
ANSWER_LIMIT: Final = 256 * 1024
"""Most bytes of an answer that are read."""
_UNREACHED: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class Client:
    """Sends requests; close it at the end."""

    def __init__(self, allowed: Collection[str] = (), answer_s: float = ANSWER_S) -> None:
        self._allowed = frozenset(allowed)
        self._answer_s = answer_s
        timeout = httpx2.Timeout(answer_s, connect=CONNECT_S)
        self._http = httpx2.AsyncClient(
            timeout=timeout,
            follow_redirects=False,
            trust_env=False,
            verify=ssl.create_default_context(),
            # two names may share an address: a connection that was made for one is not used for the other
            limits=httpx2.Limits(max_keepalive_connections=0),
        )

    async def send(self, request: HttpRequest) -> Exchange:
        """Send a request once; never raises for what the other side or the network does."""
        try:
            url, host = await self._checked(request.url)
        except ValueError:
            return NoAnswer(Trouble.FORBIDDEN)
        except OSError:
            return NoAnswer(Trouble.UNREACHED)
        try:
            async with asyncio.timeout(CONNECT_S + self._answer_s):
                return await self._exchange(request, url, host)
        except _UNREACHED:
            return NoAnswer(Trouble.UNREACHED)
        except (httpx2.HTTPError, httpx2.StreamError, TimeoutError):
            return NoAnswer(Trouble.LOST)

    async def _exchange(self, request: HttpRequest, url: httpx2.URL, host: str) -> HttpAnswer:
        headers = {**request.headers, "Host": host}
        name = host.rpartition(":")[0] if ":" in host else host
        async with self._http.stream(
            request.method,
            url,
            headers=headers,
            content=request.body,
            extensions={"sni_hostname": name},
        ) as answer:
            body = bytearray()
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > ANSWER_LIMIT:
                    break
            found = {key.lower(): value for key, value in answer.headers.items()}
            self._http.cookies.clear()
            return HttpAnswer(answer.status_code, found, bytes(body[:ANSWER_LIMIT]))

    async def _checked(self, text: str) -> tuple[httpx2.URL, str]:
        """The address to connect to and the host's own name.

        Raises:
            ValueError: nobody may be sent there.
            OSError: the name is not known.
        """
        url, is_listed = read_address(text, self._allowed)
        if is_listed:
            return url, url.netloc.decode()
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(url.host, 443, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in found]
        if not addresses or not all(is_public(address) for address in addresses):
            raise ValueError("not every address of this name is public")
        return url.copy_with(host=addresses[0]), url.host

    async def close(self) -> None:
        await self._http.aclose()


def read_address(text: str, allowed: Collection[str]) -> tuple[httpx2.URL, bool]:
    """The address that a text names, and whether the operator lists its host; names are not looked up.

    Raises:
        ValueError: nobody may be sent there, wherever its name leads.
    """
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL as error:
        raise ValueError("this is no address") from error
    port = url.port or {"https": 443, "http": 80}.get(url.scheme, 0)
    is_listed = f"{url.host}:{port}" in allowed or f"{url.host}:*" in allowed
    if is_listed and url.scheme in ("https", "http"):
        return url, True
    if url.scheme != "https" or port != 443 or url.userinfo or not url.host:
        raise ValueError("only https on its own port")
    return url, False


def is_public(text: str) -> bool:
    """Whether an address belongs to the public internet; an IPv4 address inside an IPv6 one never does."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        embeds = address.ipv4_mapped or address.sixtofour or address.teredo
        if embeds or address in _NAT64 or address in _COMPATIBLE:
            return False
    return address.is_global and not address.is_multicast


_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE: Final = ipaddress.ip_network("::/96")
