"""Settings page of failed jobs with replay and dismiss, and of the nightly training."""

from functools import partial
from typing import Any, Final

from fastapi import Request
from starlette.responses import RedirectResponse

from contatto.accounts.auth import FormCaller, page_routes
from contatto.accounts.model import Caller, Permission
from contatto.delivery.store import find_relearning
from contatto.jobs.actions import (
    count_failed_work,
    list_failed_work,
    load_failed_work,
    replay_dead_work,
)
from contatto.jobs.rules import reason_text, work_text
from contatto.kit.db.tx import Tx
from contatto.kit.i18n import LazyText
from contatto.kit.languages import Translator
from contatto.kit.outbound.queue import dismiss_dead_jobs, dismiss_request, replay_request
from contatto.ui.render import translator_of
from contatto.ui.requests import context_of

JOBS_PAGE: Final = "/settings/jobs"
router: Final = page_routes(JOBS_PAGE)
MOST_ROWS: Final = 100


@router.page("", Permission.ADMINISTER, "jobs/failed.html")
def show_failed_jobs(tx: Tx, request: Request, caller: Caller) -> dict[str, Any]:
    """Show failed background work to owners and admins."""
    words = translator_of(request)
    rows = [
        {
            "failed": failed,
            "work": _translate(work_text(failed.job.kind), words),
            "reason": _translate(reason_text(failed.job.kind, failed.job.reason), words),
        }
        for failed in list_failed_work(tx, caller.business_id, MOST_ROWS)
    ]
    return {
        "rows": rows,
        "counts": count_failed_work(tx, caller.business_id),
        "most": MOST_ROWS,
        "relearned": find_relearning(tx, caller.business_id),
    }


@router.post("/replay", Permission.ADMINISTER)
async def post_replay_all(request: Request, caller: FormCaller) -> RedirectResponse:
    """Replay all dead letters; requests that may not be sent any more stay."""
    db, kinds = context_of(request).db, context_of(request).installation.outbound
    replay_batch = partial(replay_dead_work, kinds=kinds, business_id=caller.business_id)
    last = (await db.write(partial(replay_batch, after=0))).last
    while last is not None:
        last = (await db.write_more(partial(replay_batch, after=last))).last
    return RedirectResponse(JOBS_PAGE, 303)


@router.form("/dismiss", Permission.ADMINISTER)
def post_dismiss_all(tx: Tx, request: Request, caller: Caller) -> str:
    """Dismiss all dead letters."""
    dismiss_dead_jobs(tx, caller.business_id)
    return JOBS_PAGE


@router.form("/{failed_id}/replay", Permission.ADMINISTER)
def post_replay(tx: Tx, request: Request, caller: Caller, failed_id: str) -> str:
    job = load_failed_work(tx, caller.business_id, failed_id).job
    replay_request(tx, context_of(request).installation.outbound, job)
    return JOBS_PAGE


@router.form("/{failed_id}/dismiss", Permission.ADMINISTER)
def post_dismiss(tx: Tx, request: Request, caller: Caller, failed_id: str) -> str:
    job = load_failed_work(tx, caller.business_id, failed_id).job
    dismiss_request(tx, context_of(request).installation.outbound, job)
    return JOBS_PAGE


def _translate(text: LazyText | str, words: Translator) -> str:
    return text if isinstance(text, str) else text.in_language(words)
