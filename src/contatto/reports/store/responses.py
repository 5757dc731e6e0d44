"""First answers in conversations, read from the inbox."""

from datetime import datetime

from sqlalchemy import select

from contatto.inbox.store.conversations import conversations
from contatto.inbox.store.messages import is_answer_of_person, messages
from contatto.kit.db.tx import Tx
from contatto.reports.rules.responses import FirstAnswer


def list_first_answers(
    tx: Tx, business_id: str, between: tuple[datetime, datetime], people: set[str], limit: int
) -> list[FirstAnswer]:
    """The latest conversations that began between two moments, each with the first answer of a person.

    Answers from another tool have no author.
    """
    started = conversations.c.started_at
    answers = messages.alias("answers")
    first = (
        select(answers.c.seq)
        .where(
            answers.c.business_id == business_id,
            answers.c.conversation_id == conversations.c.id,
            is_answer_of_person(answers),
            answers.c.author.in_({*people, ""}),
            answers.c.at >= started,
        )
        .order_by(answers.c.at, answers.c.seq)
        .limit(1)
        .scalar_subquery()
    )
    query = select(started, messages.c.at.label("answered_at"), messages.c.author)
    query = query.select_from(conversations).outerjoin(messages, messages.c.seq == first)
    query = query.where(
        conversations.c.business_id == business_id, started >= between[0], started < between[1]
    )
    return [
        FirstAnswer(row.started_at, row.answered_at, row.author or "")
        for row in tx.execute(query.order_by(started.desc()).limit(limit))
    ]
