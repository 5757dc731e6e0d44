"""The pages of marketplaces together."""

from typing import Final

from fastapi import APIRouter

from contatto.operators.pages import joining, operating

router: Final = APIRouter()
for each in (operating.router, joining.router):
    router.include_router(each)
