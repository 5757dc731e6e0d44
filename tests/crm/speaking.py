"""A connector speaks to a server: each operation goes over real HTTP until there is a reply."""

import ssl
from dataclasses import replace

import httpx2

from contatto.crm.model.operations import Link, Onward, Operation, Reply
from contatto.crm.registry import CONNECTORS
from contatto.kit.exchange import HttpAnswer, HttpRequest

MOST_REQUESTS = 8


class Speaker:
    """Does one operation after another; an answer that does not come is None."""

    def __init__(self, connector: str, link: Link) -> None:
        self.connector, self.link = CONNECTORS[connector], link
        self._client = httpx2.Client(
            timeout=2.0, trust_env=False, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        )

    def do(self, operation: Operation) -> Reply | None:
        asked = self.connector.ask(self.link, operation)
        memory = ""
        for _ in range(MOST_REQUESTS):
            if not isinstance(asked, HttpRequest):
                return asked
            answer = self._send(asked)
            if answer is None:
                return None
            reply = self.connector.read(self.link, operation, answer, memory)
            if not isinstance(reply, Onward):
                return reply
            asked, memory = reply.request, reply.memory
        raise AssertionError("it never ends")

    def with_secrets(self, **secrets: str) -> None:
        self.link = replace(self.link, secrets={**self.link.secrets, **secrets})

    def close(self) -> None:
        self._client.close()

    def _send(self, request: HttpRequest) -> HttpAnswer | None:
        try:
            done = self._client.request(
                request.method, request.url, headers=dict(request.headers), content=request.body
            )
        except httpx2.HTTPError:
            return None
        headers = {name.lower(): value for name, value in done.headers.items()}
        return HttpAnswer(done.status_code, headers, done.content)
