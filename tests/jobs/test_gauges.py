"""The text format of Prometheus, and its token."""

from contatto.jobs.rules import Gauge, Sample, may_scrape, write_gauges


def test_gauges_are_written_with_help_type_and_labels_that_cannot_break_out() -> None:
    odd = Sample(2, (("of", 'a"b\\c\nd'), ("state", "due")))
    assert write_gauges([Gauge("leads", "Leads\nby state.", (Sample(1.5), odd))]) == (
        "# HELP contatto_leads Leads\\nby state.\n"
        "# TYPE contatto_leads gauge\n"
        "contatto_leads 1.5\n"
        'contatto_leads{of="a\\"b\\\\c\\nd",state="due"} 2\n'
    )


def test_the_token_alone_opens_and_no_token_opens_to_nobody() -> None:
    assert may_scrape("secret", "Bearer secret")
    assert may_scrape("secret", "bearer secret")
    assert not [
        header for header in ("", "secret", "Basic secret", "Bearer secre", "Bearer sécret")
        if may_scrape("secret", header)
    ]  # fmt: skip
    assert not may_scrape("", "Bearer ")
