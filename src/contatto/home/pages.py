"""The start page of owners, admins, managers and analysts."""

from typing import Final

from fastapi import Request
from starlette.responses import HTMLResponse

from contatto.accounts.auth import PageCaller, page_routes
from contatto.accounts.model import Permission
from contatto.guide.rules import STEPS, Step
from contatto.home.actions import load_home
from contatto.kit.db.database import CachedCounts
from contatto.ui.requests import context_of, part_of

router: Final = page_routes()
TALLEST: Final = 72
"""Height of the longest bar, in the units of the drawing."""


@router.get("/home", Permission.READ_REPORTS)
async def show_home(request: Request, caller: PageCaller) -> HTMLResponse:
    context, cached_counts = context_of(request), part_of(request, CachedCounts).begin()
    figures = await context.db.read(lambda tx: load_home(tx, caller, cached_counts))
    step = next((step for step in Step if step not in figures.done_steps), None)
    days = figures.ads.days if figures.ads else ()
    # A pair of bars for each day, its conversations and its leads, on one scale.
    most = max((max(counts.conversations, counts.leads) for _, counts in days), default=0)
    scale = TALLEST / most if most else 0.0
    values = {
        "caller": caller,
        "figures": figures,
        "ads": figures.ads,
        "has_traffic": any(
            counts.spend_micros or counts.clicks or counts.conversations or counts.leads for _, counts in days
        ),
        "bars": [
            {
                "day": day,
                "counts": counts,
                "conversations": max(round(counts.conversations * scale), 2 if counts.conversations else 0),
                "leads": max(round(counts.leads * scale), 2 if counts.leads else 0),
            }
            for day, counts in days
        ],
        "step": STEPS[step] if step else None,
        "steps_done": len(figures.done_steps),
        "steps": len(Step),
    }
    return context.pages.render(request, "home/home.html", values)
