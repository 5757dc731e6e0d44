"""All pages of forms in one router."""

from typing import Final

from fastapi import APIRouter

from contatto.forms.pages import answers, builder, overview, pictures

router: Final = APIRouter(include_in_schema=False)
for part in (overview, answers, builder, pictures):
    router.include_router(part.router)
