"""The business's side: somebody signs in, answers in the inbox and works in the Leads Center."""

import asyncio
import random
import re
from typing import Final

from contatto.simulator.browser import Answer, Browser, Profile, Unexpected
from contatto.simulator.world import Login

_CSRF: Final = re.compile(r'<meta name="csrf-token" content="([^"]+)">')
_LEADS: Final = re.compile(r'href="/leads/([0-9a-f-]{36})"')
NEXT_STATUSES: Final = {
    "raw": (("contacted", 6), ("unqualified", 2), ("qualified", 1)),
    "contacted": (("qualified", 5), ("unqualified", 3)),
    "qualified": (("converted", 4), ("unqualified", 1)),
}
"""From a status to those that the desk gives next, with weights."""
_TRIES: Final = 100


def expect(answer: Answer, status: int, what: str) -> Answer:
    """The answer, if it has the status that it should have.

    Raises:
        Unexpected: another one, with the beginning of what the server said.
    """
    if answer.status != status:
        raise Unexpected(f"{what}: {answer.status} instead of {status}: {answer.body[:200]!r}")
    return answer


class Desk:
    """One member's browser; it signs in when it is first needed."""

    def __init__(self, browser: Browser, login: Login) -> None:
        self._browser = browser
        self._login = login
        self._profile = Profile()
        self._signing_in = asyncio.Lock()
        self._signed_in = False

    async def reply(self, conversation_id: str, text: str) -> None:
        """Answer in the inbox; a conversation that was just begun may take a moment to be there."""
        await self._sign_in()
        for _ in range(_TRIES):
            path = f"/inbox/{conversation_id}/messages"
            answer = await self._browser.post_form(path, self._profile, {"text": text})
            if answer.status != 404:
                break
            await asyncio.sleep(0.02)
        expect(answer, 303, "a reply")
        path = f"/inbox/{conversation_id}/read"
        expect(await self._browser.post_form(path, self._profile, {}), 204, "a read mark")

    async def work_through_leads(self, rng: random.Random, share: float) -> int:
        """Give a share of the leads of each status their next one; say how many."""
        await self._sign_in()
        moved = 0
        for seen, choices in reversed(NEXT_STATUSES.items()):
            page = await self._browser.get(f"/leads/rows?status={seen}&sort=created", self._profile)
            found = dict.fromkeys(_LEADS.findall(expect(page, 200, "the leads").body.decode()))
            for lead_id in found:
                if rng.random() < share:
                    words, weights = zip(*choices, strict=True)
                    await self._move(lead_id, seen, rng.choices(words, weights)[0])
                    moved += 1
        return moved

    async def _move(self, lead_id: str, seen: str, status: str) -> None:
        values = {"status": status, "seen": seen}
        answer = await self._browser.post_form(f"/leads/{lead_id}/status", self._profile, values)
        if answer.status != 409:  # somebody else at the desk was faster
            expect(answer, 303, "a status")

    async def _sign_in(self) -> None:
        async with self._signing_in:
            if self._signed_in:
                return
            await self._take_token("/login")
            values = {"email": self._login.email, "password": self._login.password}
            expect(await self._browser.post_form("/login", self._profile, values), 303, "signing in")
            await self._take_token("/inbox")
            self._signed_in = True

    async def _take_token(self, path: str) -> None:
        page = expect(await self._browser.get(path, self._profile), 200, path).body.decode()
        match = _CSRF.search(page)
        if match is None:
            raise Unexpected(f"{path}: there is no CSRF token")
        self._profile.headers["x-csrf-token"] = match[1]
