"""The consumers of what inspectors answer, and of jobs that inspectors could not survive."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from threading import Event

import structlog

from libs.common.broker import (
    INSPECTION_JOBS,
    INSPECTION_RESULTS,
    Broker,
    DeadLetter,
    Message,
    Requeue,
    dead,
    dead_reason,
)
from libs.common.clock import Clock
from libs.common.errors import Aborted, DeadlineExceeded, NotFound, Unavailable
from libs.common.instants import Micros, to_micros
from libs.common.workers import Worker
from services.accounts.inspection_convert import (
    Unreadable,
    answer_from_message,
    aside_from_message,
    attempt_from_message,
    job_from_message,
    text_of,
)
from services.accounts.job_store import JobStore
from services.accounts.jobs import Attempt

PREFETCH = 4
FIRST_WAIT = timedelta(milliseconds=200)
LONGEST_WAIT = timedelta(seconds=10)

_PASSING = (Unavailable, Aborted, DeadlineExceeded)


class Results:
    """Records answers and dead jobs; a message is acknowledged once that is committed.

    What comes twice, late, or for a job that is gone changes nothing. What cannot be taken goes to
    the dead queue with its reason, and from there into quarantine, where it can be looked at; the
    attempt that it answers counts as a passing failure, so that its job is tried again. While the
    database is away a message is kept, and tried again, instead of wearing out its deliveries.
    """

    def __init__(self, store: JobStore, broker: Broker, clock: Clock) -> None:
        self._store = store
        self._broker = broker
        self._clock = clock
        self._log = structlog.get_logger()

    def workers(self) -> list[Worker]:
        """Return the workers that consume the queues; who calls starts and stops them."""
        return [
            Worker(name, partial(self._consume, queue, handler))
            for name, queue, handler in (
                ("inspection-results", INSPECTION_RESULTS, self.answer),
                ("inspection-dead-jobs", dead(INSPECTION_JOBS), self.bury),
                ("inspection-dead-results", dead(INSPECTION_RESULTS), self.set_aside),
            )
        ]

    def answer(self, message: Message) -> None:
        """Record an inspector's answer; DeadLetter when it is none."""
        try:
            answer = answer_from_message(message)
            counted = self._store.record(answer, self._now())
        except (Unreadable, NotFound) as error:
            raise DeadLetter(str(error)) from None
        self._log.info(
            "inspection.answered",
            account=answer.account_id,
            job=answer.job_id,
            attempt=answer.attempt,
            image=answer.ami_id,
            counted=counted,
        )

    def bury(self, message: Message) -> None:
        """Give up the job whose message is in the dead queue."""
        reason = text_of(dead_reason(message))
        try:
            job = job_from_message(message)
        except Unreadable as error:
            # It came from somewhere else than a relay, so there is no job that waits for it.
            self._keep(INSPECTION_JOBS, message, str(error))
            return
        counted = self._store.bury(job.account_id, job.job_id, job.attempt, reason, self._now())
        self._log.warning(
            "inspection.buried",
            account=job.account_id,
            job=job.job_id,
            attempt=job.attempt,
            image=job.image_id,
            reason=reason,
            counted=counted,
        )

    def set_aside(self, message: Message) -> None:
        """Keep an answer in quarantine that could not be taken, and have its job tried again."""
        self._keep(INSPECTION_RESULTS, message, "", attempt_from_message(message))

    def _keep(
        self, queue: str, message: Message, why: str, answered: Attempt | None = None
    ) -> None:
        aside = aside_from_message(queue, message)
        if why:
            aside = replace(aside, reason=f"{why}; {aside.reason}")
        kept = self._store.set_aside(aside, answered, self._now())
        self._log.error(
            "inspection.message_set_aside",
            queue=queue,
            message_id=message.message_id,
            account=answered.account_id if answered else 0,
            job=answered.job_id if answered else 0,
            image=answered.ami_id if answered else "",
            reason=aside.reason,
            quarantine=kept,
        )

    def _consume(self, queue: str, handler: Callable[[Message], None], stop: Event) -> None:
        self._broker.consume(queue, partial(self._patiently, handler, stop), stop, PREFETCH)

    def _patiently(self, handler: Callable[[Message], None], stop: Event, message: Message) -> None:
        """Handle a message, again and again while the database is away."""
        wait = FIRST_WAIT
        while True:
            try:
                return handler(message)
            except _PASSING as error:
                self._log.warning("inspection.waiting", why=str(error))
            if stop.wait(wait.total_seconds()):
                raise Requeue("stopped while the database was away")
            wait = min(2 * wait, LONGEST_WAIT)

    def _now(self) -> Micros:
        return to_micros(self._clock.now())
