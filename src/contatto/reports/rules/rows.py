"""Grouping facts into the rows of a report, and what may not be added up."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from contatto.reports.model import Counts, Fact, Figures, Level, Report, ReportRow, Subject, TimeStep, add_up


def build_report(
    subjects: Sequence[Subject],
    facts: Iterable[Fact],
    owners: Mapping[str, str],
    step: TimeStep,
    *,
    by_country: bool = False,
    by_placement: bool = False,
) -> Report:
    """The rows of subjects, with a total.

    Without days and countries each subject that is not deleted has a row, also one of zeros; with them only
    those with something to report have.

    Args:
        subjects: what may have a row.
        facts: of the ads under them, and maybe of others, which are left out.
        owners: the subject of each ad, by their ids.
        step: whether each day or hour has its own rows.
        by_country: whether each country has its own rows.
        by_placement: whether each placement of a marketplace has its own rows.
    """
    by_day = step is not TimeStep.WHOLE
    sums = add_up(
        (
            (
                owners[fact.ad_id],
                fact.day if by_day else "",
                fact.country if by_country else "",
                fact.placement if by_placement else "",
            ),
            fact.counts,
        )
        for fact in facts
        if fact.ad_id in owners
    )
    known = {subject.key: subject for subject in subjects}
    if step is TimeStep.WHOLE and not by_country and not by_placement:
        for subject in subjects:
            if not subject.deleted:
                sums.setdefault((subject.key, "", "", ""), Counts())
    rows = [
        ReportRow(known[key], day or None, Figures(counts, known[key].goals), country, placement)
        for (key, day, country, placement), counts in sums.items()
        if key in known
    ]
    rows.sort(key=_place)
    return Report(tuple(rows), total_of(rows))


def _place(row: ReportRow) -> tuple[str, int, int, int, str, str, str]:
    subject = row.subject
    numbers = (subject.campaign_number, subject.ad_group_number, subject.ad_number)
    return (
        row.day or "",
        *numbers,
        subject.key if subject.level in (Level.PAGE, Level.GOAL) else "",
        row.country,
        row.placement,
    )


def without_days(facts: Iterable[Fact]) -> list[Fact]:
    """All days together: one fact for each ad."""
    sums = add_up((fact.ad_id, fact.counts) for fact in facts)
    return [Fact(ad_id, "", counts) for ad_id, counts in sums.items()]


def in_an_app(fact: Fact) -> Fact:
    """A fact of an ad that leads to another messaging app."""
    return replace(fact, counts=replace(fact.counts, app_conversations=fact.counts.conversations))


def total_of(rows: Sequence[ReportRow]) -> Figures:
    """All rows together; over unlike goals it keeps their mixture in mind."""
    counts = Counts()
    for row in rows:
        counts += row.figures.counts
    return Figures(counts, frozenset(goal for row in rows for goal in row.figures.goals))
