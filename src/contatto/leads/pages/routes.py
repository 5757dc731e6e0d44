"""All pages of the Leads Center in one router; fixed addresses come before those with an id."""

from typing import Final

from fastapi import APIRouter

from contatto.leads.pages import (
    annotations,
    bulk,
    bulk_merge,
    center,
    detail,
    downloads,
    erasing,
    importing,
    merging,
    points,
    statuses,
    views,
)

router: Final = APIRouter(include_in_schema=False)
for part in (
    center,
    downloads,
    views,
    bulk,
    importing,
    erasing,
    bulk_merge,
    detail,
    statuses,
    points,
    annotations,
    merging,
):
    router.include_router(part.router)
