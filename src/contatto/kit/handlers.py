"""Handlers that only some businesses need, and handlers that take many events at once."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contatto.kit.db.tx import Tx

type Handler = Callable[[Tx, Any], None]
type After = Mapping[type[Any], Mapping[str, Handler]]
"""For each event its handlers by their names, which are kept in jobs and must never change."""
type HandlerOfMany = Callable[[Tx, Sequence[Any]], None]
type IsInterested = Callable[[Handler, str], bool]
type Businesses = Callable[[Tx], Collection[str]]


@dataclass(frozen=True, slots=True)
class Among[K]:
    """The businesses of one kind, where one question tells those of all kinds."""

    ask: Callable[[Tx], Mapping[K, Collection[str]]]
    kind: K

    def __call__(self, tx: Tx) -> Collection[str]:
        return self.ask(tx).get(self.kind, ())


@dataclass(frozen=True, slots=True)
class OnlyFor:
    """A handler for the events of some businesses, which are named anew for each batch of events."""

    businesses: Businesses
    handler: Handler

    def __call__(self, tx: Tx, event: Any) -> None:
        self.handler(tx, event)


@dataclass(frozen=True, slots=True)
class Together:
    """A handler of many events, in their order; to do one is a batch of one.

    It runs as soon as events are handed out, in that transaction, and without a job: many events need a
    statement for each table then. Where it fails, each of these events gets a job, which is tried by itself.
    """

    run: HandlerOfMany

    def __call__(self, tx: Tx, event: Any) -> None:
        self.run(tx, [event])


def interest(tx: Tx) -> IsInterested:
    """Return whether a handler is interested in events of a business, with each question asked once."""
    answers: dict[Callable[[Tx], Any], Any] = {}

    def ask[A](question: Callable[[Tx], A]) -> A:
        if question not in answers:
            answers[question] = question(tx)
        answer: A = answers[question]
        return answer

    def is_interested(handler: Handler, business_id: str) -> bool:
        if not isinstance(handler, OnlyFor):
            return True
        of = handler.businesses
        return business_id in (ask(of.ask).get(of.kind, ()) if isinstance(of, Among) else ask(of))

    return is_interested
