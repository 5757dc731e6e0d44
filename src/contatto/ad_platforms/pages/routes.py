"""All pages of ad accounts elsewhere as one router; fixed addresses come before those with an id."""

from typing import Final

from fastapi import APIRouter

from contatto.ad_platforms.pages import accounts, authorizing, uploads

router: Final = APIRouter()
for part in (uploads, authorizing, accounts):
    router.include_router(part.router)
