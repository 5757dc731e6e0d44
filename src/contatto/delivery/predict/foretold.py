"""What the learner hears came of impressions, counted beside what had been foretold of them."""

from typing import Final

from contatto.delivery.model.foretold import Question, Tally
from contatto.delivery.predict.market import SEEN, Market
from contatto.delivery.rules.columns import CLICK, CONVERSATION
from contatto.delivery.rules.foretelling import note_came, tell_chance
from contatto.kit.timestamps import from_micros

HEAD_OF: Final = {question: head for head, question in enumerate(Question)}
_ASKED_BY: Final = {
    SEEN: (Question.CLICK,),
    CLICK: (Question.CONVERSATION,),
    CONVERSATION: (Question.LEAD, Question.SPAM),
}
"""The questions that arise with what happens."""
_ANSWERS: Final = dict(enumerate(Question))

type Key = tuple[int, str, Question]
"""Number of an ad group, day (UTC) and question."""


def count_happened(market: Market, tallies: dict[Key, Tally]) -> None:
    """Count what a market has noted since the last time, and let it begin anew."""
    for what, shown in market.happened or ():
        number = int(market.groups.groups[shown.group].line.adgroup_id)
        day = from_micros(shown.asked_at).date().isoformat()
        if (answered := _ANSWERS.get(what)) is not None:
            note_came(tallies.setdefault((number, day, answered), Tally()), shown.p[what])
        for asked in _ASKED_BY.get(what, ()):
            tell_chance(tallies.setdefault((number, day, asked), Tally()), shown.p[HEAD_OF[asked]])
    if market.happened:
        market.happened.clear()
