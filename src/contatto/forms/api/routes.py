"""All routes of forms and leads in the API, in one router."""

from typing import Final

from fastapi import APIRouter

from contatto.forms.api import files, leads, mocks, pages

router: Final = APIRouter()
for part in (pages, mocks, files, leads):
    router.include_router(part.router)
