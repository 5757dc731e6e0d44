"""All routes of business messages in the API v1.3, in one router."""

from typing import Final

from fastapi import APIRouter

from contatto.inbox.api import automatic, conversations, media, sending

router: Final = APIRouter()
for part in (sending, media, conversations, automatic):
    router.include_router(part.router)
