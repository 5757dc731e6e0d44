"""Commands for work that waits: ads in review, applications, failed jobs."""

from importlib import import_module
from typing import Annotated, Final

import typer
from rich.table import Table

from contatto.accounts import store as account_store
from contatto.ads import store as ad_store
from contatto.ads.actions.campaigns import audit_ad
from contatto.ads.model import Audit
from contatto.capture import actions as capture_actions
from contatto.capture import store as capture_store
from contatto.capture.model import Review
from contatto.cli.installation import (
    BusinessOption,
    business_transaction,
    find_one_business,
    out,
    print_table,
    record_command,
    transaction,
)
from contatto.jobs import actions as job_actions
from contatto.jobs.rules import reason_text, work_text
from contatto.kit.outbound.queue import dismiss_dead_jobs, dismiss_request, replay_request
from contatto.kit.settings import Settings

AdId = Annotated[int, typer.Argument(help="Id of the ad, as the list shows it.")]
ad_review_commands = typer.Typer(
    no_args_is_help=True, help="The operator's commands for the review of ads: list, approve, reject."
)


@ad_review_commands.command("list")
def list_ads_command() -> None:
    """Show the ads that wait for your review."""
    table = Table("ad", "name", "headline", "text", "changed")
    with transaction() as tx:
        ads = ad_store.list_ads_in_review(tx)
    for ad in ads:
        table.add_row(str(ad.number), ad.name, ad.headline, ad.text, f"{ad.updated_at:%Y-%m-%d %H:%M}")
    print_table(table, "No ad waits.")


@ad_review_commands.command("approve")
def approve_ad_command(ad_id: AdId) -> None:
    """Approve an ad: it may be shown."""
    with transaction() as tx:
        ad = audit_ad(tx, ad_id, Audit.PASS)
    out.print(f"Approved {ad.name} ({ad.number}).")


@ad_review_commands.command("reject")
def reject_ad_command(
    ad_id: AdId, reason: Annotated[str, typer.Option(prompt=True, help="What has to change.")]
) -> None:
    """Reject an ad: it is not shown, and the business sees the reason."""
    with transaction() as tx:
        ad = audit_ad(tx, ad_id, Audit.REJECTED, reason)
    out.print(f"Rejected {ad.name} ({ad.number}).")


ChannelAccountId = Annotated[str, typer.Argument(help="Id of the channel account, as the list shows it.")]
capture_commands = typer.Typer(
    no_args_is_help=True,
    help="The operator's commands for applications for automatic lead capture: list, approve, refuse.",
)


@capture_commands.command("list")
def list_applications_command() -> None:
    """Show the applications that wait for you."""
    table = Table("account", "company", "site", "privacy policy", "applied")
    with transaction() as tx:
        applications = capture_store.list_applications(tx)
    for switch in applications:
        applied = f"{switch.applied_at:%Y-%m-%d %H:%M}" if switch.applied_at else ""
        company = switch.company_name, switch.company_site, switch.privacy_policy_url
        table.add_row(switch.channel_account_id, *company, applied)
    print_table(table, "No application waits.")


@capture_commands.command("approve")
def approve_capture_command(account: ChannelAccountId) -> None:
    """Approve an application; the business may turn capture on then."""
    with transaction() as tx:
        switch = capture_actions.review_capture(tx, account, Review.APPROVED)
    out.print(f"Approved {switch.company_name} ({switch.channel_account_id}).")


@capture_commands.command("refuse")
def refuse_capture_command(
    account: ChannelAccountId, reason: Annotated[str, typer.Option(prompt=True, help="What has to change.")]
) -> None:
    """Refuse an application; the business sees the reason, and capture is turned off."""
    with transaction() as tx:
        switch = capture_actions.review_capture(tx, account, Review.REFUSED, reason)
    out.print(f"Refused {switch.company_name} ({switch.channel_account_id}).")


MOST_ROWS: Final = 1_000
JobIds = Annotated[list[str] | None, typer.Argument(help="Ids of failed jobs, such as job-7.")]
AllDead = Annotated[bool, typer.Option("--all", help="All that were given up.")]
job_commands = typer.Typer(
    no_args_is_help=True,
    help="The operator's commands for background work that failed: list, show, replay, dismiss.",
)


@job_commands.command("list")
def list_jobs_command(business: BusinessOption = "") -> None:
    """Show what failed, given up first, of all businesses or one."""
    with transaction() as tx:
        chosen = [find_one_business(tx, business)] if business else account_store.list_businesses(tx)
        failed_of = [
            (
                one_business,
                job_actions.count_failed_work(tx, one_business.id),
                job_actions.list_failed_work(tx, one_business.id, MOST_ROWS),
            )
            for one_business in chosen
        ]
    has_failed = False
    for one_business, counts, jobs in failed_of:
        table = Table("id", "what", "state", "since", "tries", "why")
        for failed in jobs:
            job = failed.job
            state = "given up" if failed.is_dead else f"again at {job.due_at:%Y-%m-%d %H:%M}"
            since = f"{job.failed_at:%Y-%m-%d %H:%M}" if job.failed_at else ""
            why = str(reason_text(job.kind, job.reason))
            table.add_row(failed.id, str(work_text(job.kind)), state, since, str(job.attempts), why)
        if jobs:
            has_failed = True
            out.print(f"{one_business.name}: {counts.dead:,} given up, {counts.waiting:,} tried again.")
            print_table(table)
    if not has_failed:
        out.print("No failed jobs.")


@job_commands.command("show")
def show_job_command(
    failed_id: Annotated[str, typer.Argument(help="Id of a failed job.")], business: BusinessOption = ""
) -> None:
    """Show one failed job: its subject, since when it fails, and why."""
    with business_transaction(business) as (tx, one_business):
        failed = job_actions.load_failed_work(tx, one_business.id, failed_id)
    job = failed.job
    table = Table(show_header=False)
    rows = {
        "id": failed.id,
        "what": f"{work_text(job.kind)} ({job.kind})",
        "to": job.destination,
        **dict(failed.about),
        "state": "given up" if failed.is_dead else "tried again",
        "since": f"{job.failed_at:%Y-%m-%d %H:%M:%S}" if job.failed_at else "",
        "tried again at": "" if failed.is_dead else f"{job.due_at:%Y-%m-%d %H:%M:%S}",
        "tries": str(job.attempts),
        "why": f"{reason_text(job.kind, job.reason)} ({job.reason})",
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    print_table(table)


@job_commands.command("replay")
def replay_jobs_command(
    failed_ids: JobIds = None, all_dead: AllDead = False, business: BusinessOption = ""
) -> None:
    """Do failed jobs again, as if they had never been tried: some by their ids, or all that were given up."""
    chosen = _chosen_jobs(failed_ids, all_dead)
    kinds = import_module("contatto.wiring").outbound_kinds(Settings())  # `list` and `show` need none
    with business_transaction(business) as (tx, one_business):
        done, refused = len(chosen), 0
        after: int | None = 0 if all_dead else None
        while after is not None:
            batch = job_actions.replay_dead_work(tx, kinds, one_business.id, after)
            done, refused, after = done + batch.done, refused + batch.refused, batch.last
        for job_id in chosen:
            replay_request(tx, kinds, job_actions.load_failed_work(tx, one_business.id, job_id).job)
        record_command(tx, one_business, "jobs replay", " ".join(f"failed_id={job_id}" for job_id in chosen))
    out.print(f"{done:,} jobs are due again.")
    if refused:
        out.print(f"{refused:,} may not be sent any more, and stay as they are.")


@job_commands.command("dismiss")
def dismiss_jobs_command(
    failed_ids: JobIds = None,
    all_dead: AllDead = False,
    business: BusinessOption = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Give failed jobs up: some by their ids, or all that were given up already."""
    chosen = _chosen_jobs(failed_ids, all_dead)
    if not yes:
        typer.confirm("They are not done any more. Dismiss them?", abort=True)
    kinds = import_module("contatto.wiring").outbound_kinds(Settings())  # `list` and `show` need none
    with business_transaction(business) as (tx, one_business):
        count = dismiss_dead_jobs(tx, one_business.id) if all_dead else len(chosen)
        for job_id in chosen:
            dismiss_request(tx, kinds, job_actions.load_failed_work(tx, one_business.id, job_id).job)
        record_command(tx, one_business, "jobs dismiss", " ".join(f"failed_id={job_id}" for job_id in chosen))
    out.print(f"{count:,} jobs are dismissed.")


def _chosen_jobs(failed_ids: list[str] | None, all_dead: bool) -> list[str]:
    """Return the ids of the arguments, each once. Raises typer.BadParameter: with ``--all``, or neither."""
    chosen = list(dict.fromkeys(failed_ids or ()))
    if bool(chosen) is all_dead:
        raise typer.BadParameter("give ids, or --all.")
    return chosen
