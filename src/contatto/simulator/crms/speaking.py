"""A connector speaks to a CRM: each operation goes over real HTTP until there is a reply."""

import ssl
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import httpx2

from contatto.crm.model import (
    CrmConnector,
    CrmLink,
    Expired,
    FollowUp,
    Operation,
    Payload,
    RenewSecrets,
    Reply,
    SecretsRenewed,
)
from contatto.crm.rules.deliveries import Arrived, Halt, begin_course, next_turn, operation_of
from contatto.kit.outbound.model import HttpAnswer, HttpRequest
from contatto.simulator.crms.server import PATIENCE_S

MOST_REQUESTS: Final = 8
MOST_TRIES: Final = 12


class NoReply(Exception):
    """No answer came, or the requests of one operation never end."""


class Speaker:
    """Does one operation after another with one connector; ``patience_s`` says how long to wait each time."""

    def __init__(
        self, connector: CrmConnector, link: CrmLink, patience_s: Callable[[], float] = lambda: PATIENCE_S
    ) -> None:
        self.connector, self.link, self._patience_s = connector, link, patience_s
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._client = httpx2.Client(trust_env=False, verify=tls)

    def do(self, operation: Operation) -> Reply:
        """The reply to an operation.

        Raises:
            NoReply: there is none.
        """
        asked = self.connector.ask(replace(self.link, now=datetime.now(UTC)), operation)
        memory = ""
        for _ in range(MOST_REQUESTS):
            if not isinstance(asked, HttpRequest):
                return asked
            reply = self.connector.read(self.link, operation, self._send(asked), memory)
            if not isinstance(reply, FollowUp):
                return reply
            asked, memory = reply.request, reply.memory
        raise NoReply

    def deliver(self, payload: Payload, stored_id: str = "") -> Arrived | Halt:
        """Bring a lead there by the rules of the engine, as often as it takes.

        The engine waits between two tries; nobody waits here.
        """
        outcome: Arrived | Halt = Halt("never_tried", is_final=True)
        for _ in range(MOST_TRIES):
            try:
                outcome = self._try(payload, stored_id)
            except NoReply:
                outcome = Halt("answer_lost", is_final=False)
            if isinstance(outcome, Arrived) or outcome.is_final:
                break
        return outcome

    def close(self) -> None:
        self._client.close()

    def _try(self, payload: Payload, stored_id: str) -> Arrived | Halt:
        traits = self.connector.traits
        course = begin_course(traits, payload, (stored_id,) if stored_id else ())
        while True:
            reply = self.do(operation_of(course))
            if isinstance(reply, Expired):
                self._renew()
                reply = self.do(operation_of(course))
            turn = next_turn(traits, course, reply, self.connector.agrees)
            if isinstance(turn, Arrived | Halt):
                return turn
            course = turn

    def _renew(self) -> None:
        """A CRM with a session gives a new one; a token in memory is as good as it was."""
        if self.connector.traits.oauth is None:
            reply = self.do(RenewSecrets())
            if isinstance(reply, SecretsRenewed):
                self.link = replace(self.link, secrets={**self.link.secrets, **reply.secrets})

    def _send(self, request: HttpRequest) -> HttpAnswer:
        try:
            done = self._client.request(
                request.method,
                request.url,
                headers=dict(request.headers),
                content=request.body,
                timeout=self._patience_s(),
            )
        except httpx2.HTTPError as error:
            raise NoReply from error
        headers = {name.lower(): value for name, value in done.headers.items()}
        return HttpAnswer(done.status_code, headers, done.content)
