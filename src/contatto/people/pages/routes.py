"""All pages of people in one router; fixed addresses come before those with an id."""

from typing import Final

from fastapi import APIRouter

from contatto.people.pages import joining, members, passwords, profile

router: Final = APIRouter(include_in_schema=False)
for part in (members, joining, passwords, profile):
    router.include_router(part.router)
