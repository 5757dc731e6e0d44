"""All pages of delivery in one router."""

from typing import Final

from fastapi import APIRouter

from contatto.delivery.pages import learning, model, statement

router: Final = APIRouter(include_in_schema=False)
for part in (learning, model, statement):
    router.include_router(part.router)
