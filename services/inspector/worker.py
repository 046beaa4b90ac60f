"""The jobs of accounts: taken from the queue, worked on, answered, and only then acknowledged."""

from threading import Event

import structlog
from google.protobuf.message import DecodeError

from cloudigrade.inspector.v1 import inspection_pb2
from libs.common.broker import (
    INSPECTION_JOBS,
    INSPECTION_RESULTS,
    REQUEST_ID,
    Broker,
    BrokerError,
    DeadLetter,
    Message,
    Requeue,
)
from services.inspector import convert
from services.inspector.inspector import ImageInspector

JOB = inspection_pb2.InspectionJob.DESCRIPTOR.full_name
RESULT = inspection_pb2.InspectionResult.DESCRIPTOR.full_name

_PAUSE = 2.0
"""Seconds between two tries to publish a result while the broker is away."""


class JobWorker:
    """Consumes `inspection.jobs` and publishes `inspection.results`.

    A result is confirmed by the broker before its job is acknowledged: a worker that dies in
    between has its job done again, and accounts knows the second result by job and attempt.
    Failures are results too; accounts decides on another attempt.
    """

    def __init__(self, broker: Broker, inspector: ImageInspector, at_once: int) -> None:
        self._broker = broker
        self._inspector = inspector
        self._at_once = at_once

    def __call__(self, stop: Event) -> None:
        """Work until `stop` is set (for a Worker)."""
        self._broker.consume(
            INSPECTION_JOBS, lambda message: self._handle(message, stop), stop, self._at_once
        )

    def _handle(self, message: Message, stop: Event) -> None:
        job = _job(message)

        def progress(_what: str, _blocks: int) -> None:
            if stop.is_set():
                raise Requeue("the inspector stops")

        with structlog.contextvars.bound_contextvars(job=job.job_id, attempt=job.attempt):
            inspected = self._inspector.inspect(convert.target_of_job(job), progress)
            self._publish(convert.result(job, inspected), message, stop)

    def _publish(self, result: inspection_pb2.InspectionResult, job: Message, stop: Event) -> None:
        """Publish until the broker confirms; what was read is not read again for its sake."""
        trace = {key: job.headers[key] for key in (REQUEST_ID,) if key in job.headers}
        answer = Message(
            type=RESULT,
            message_id=f"{result.job_id}/{result.attempt}",
            body=result.SerializeToString(),
            headers=trace,
        )
        while True:
            try:
                self._broker.publish(INSPECTION_RESULTS, answer)
            except BrokerError as error:
                structlog.get_logger().warning("inspection.result_waits", why=str(error))
                if stop.wait(_PAUSE):
                    raise Requeue("the inspector stops, and its result is not confirmed") from error
            else:
                return


def _job(message: Message) -> inspection_pb2.InspectionJob:
    """Read a job; DeadLetter when it is none."""
    if message.type != JOB:
        raise DeadLetter(f"a message of the type {message.type!r} is no inspection job")
    try:
        job = inspection_pb2.InspectionJob.FromString(message.body)
    except DecodeError as error:
        raise DeadLetter("the message cannot be read as an inspection job") from error
    if not (job.image_id or job.root_snapshot_id):
        raise DeadLetter("the job names neither an image nor a snapshot")
    return job
