"""Settings page of failed jobs with replay and dismiss, and of the nightly training."""

from functools import partial
from typing import Final

from fastapi import Request
from starlette.responses import HTMLResponse, RedirectResponse

from contatto.accounts.auth import FormCaller, PageCaller, page_routes
from contatto.accounts.model import Permission
from contatto.delivery.store import find_relearning
from contatto.jobs.actions import (
    count_failed_work,
    dismiss_failed_work,
    list_failed_work,
    replay_dead_work,
    replay_failed_work,
)
from contatto.jobs.rules import reason_text, work_text
from contatto.kit.i18n import LazyText
from contatto.kit.languages import Translator
from contatto.kit.outbound.queue import dismiss_dead_jobs
from contatto.ui.render import translator_of
from contatto.ui.requests import context_of

router: Final = page_routes("/settings/jobs")
MOST_ROWS: Final = 100


@router.get("", Permission.ADMINISTER)
async def show_failed_jobs(request: Request, caller: PageCaller) -> HTMLResponse:
    """Show failed background work to owners and admins."""
    words, context, business_id = translator_of(request), context_of(request), caller.business_id
    failed_work, counts, relearning = await context.db.read(
        lambda tx: (
            list_failed_work(tx, business_id, MOST_ROWS),
            count_failed_work(tx, business_id),
            find_relearning(tx, business_id),
        )
    )
    rows = [
        {
            "failed": failed,
            "work": _translate(work_text(failed.job.kind), words),
            "reason": _translate(reason_text(failed.job.kind, failed.job.reason), words),
        }
        for failed in failed_work
    ]
    values = {"caller": caller, "rows": rows, "counts": counts, "most": MOST_ROWS, "relearned": relearning}
    return context.pages.render(request, "jobs/failed.html", values)


@router.post("/replay", Permission.ADMINISTER)
async def post_replay_all(request: Request, caller: FormCaller) -> RedirectResponse:
    """Replay all dead letters; requests that may not be sent any more stay."""
    db, kinds = context_of(request).db, context_of(request).installation.outbound
    replay_batch = partial(replay_dead_work, kinds=kinds, business_id=caller.business_id)
    last = (await db.write(partial(replay_batch, after=0))).last
    while last is not None:
        last = (await db.write_more(partial(replay_batch, after=last))).last
    return _redirect()


@router.post("/dismiss", Permission.ADMINISTER)
async def post_dismiss_all(request: Request, caller: FormCaller) -> RedirectResponse:
    """Dismiss all dead letters."""
    await context_of(request).db.write(partial(dismiss_dead_jobs, business_id=caller.business_id))
    return _redirect()


@router.post("/{failed_id}/replay", Permission.ADMINISTER)
async def post_replay(request: Request, caller: FormCaller, failed_id: str) -> RedirectResponse:
    kinds = context_of(request).installation.outbound
    await context_of(request).db.write(
        lambda tx: replay_failed_work(tx, kinds, caller.business_id, failed_id)
    )
    return _redirect()


@router.post("/{failed_id}/dismiss", Permission.ADMINISTER)
async def post_dismiss(request: Request, caller: FormCaller, failed_id: str) -> RedirectResponse:
    kinds = context_of(request).installation.outbound
    await context_of(request).db.write(
        lambda tx: dismiss_failed_work(tx, kinds, caller.business_id, failed_id)
    )
    return _redirect()


def _translate(text: LazyText | str, words: Translator) -> str:
    return text if isinstance(text, str) else text.in_language(words)


def _redirect() -> RedirectResponse:
    return RedirectResponse("/settings/jobs", 303)
