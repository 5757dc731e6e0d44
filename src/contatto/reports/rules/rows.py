"""Grouping facts into the rows of a report, and what may not be added up."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from contatto.reports.model import Counts, Fact, Figures, Report, ReportRow, Step, Subject


def build_report(
    subjects: Sequence[Subject], facts: Iterable[Fact], owners: Mapping[str, str], step: Step
) -> Report:
    """The rows of subjects, with a total.

    Without days each subject that is not deleted has a row, also one of zeros; with days only those with
    something to report have.

    Args:
        subjects: what may have a row.
        facts: of the ads under them, and maybe of others, which are left out.
        owners: the subject of each ad, by their ids.
        step: whether each day or hour has its own rows.
    """
    sums: defaultdict[tuple[str, str], Counts] = defaultdict(Counts)
    for fact in facts:
        if fact.ad_id in owners:
            sums[owners[fact.ad_id], fact.day if step is not Step.WHOLE else ""] += fact.counts
    known = {subject.key: subject for subject in subjects}
    if step is Step.WHOLE:
        for subject in subjects:
            if not subject.deleted:
                sums[subject.key, ""] += Counts()
    rows = [
        ReportRow(known[key], day or None, Figures(counts, known[key].goals))
        for (key, day), counts in sums.items()
        if key in known
    ]
    rows.sort(key=lambda row: (row.day or "", row.subject.campaign_number, row.subject.ad_group_number))
    return Report(tuple(rows), total_of(rows))


def total_of(rows: Sequence[ReportRow]) -> Figures:
    """All rows together; over unlike goals it keeps their mixture in mind."""
    counts = Counts()
    for row in rows:
        counts += row.figures.counts
    return Figures(counts, frozenset(goal for row in rows for goal in row.figures.goals))
