"""Messages about inspections: jobs and answers between protobuf and the domain."""

from collections.abc import Iterable

from google.protobuf.message import DecodeError

from cloudigrade.inspector.v1 import evidence_pb2, inspection_pb2
from libs.common.broker import REQUEST_ID, Message, dead_reason
from services.accounts.classification import Evidence, Installed, Strength, Syspurpose
from services.accounts.jobs import Answer, Attempt, Failure, Order
from services.accounts.new_events import Aside

JOB_TYPE = inspection_pb2.InspectionJob.DESCRIPTOR.full_name
RESULT_TYPE = inspection_pb2.InspectionResult.DESCRIPTOR.full_name


NO_SOURCE = 0
"""No service that records facts, so no Source of theirs; the origin says where it comes from."""

MOST_CONTENT = 1024 * 1024
LONGEST_ORIGIN = 1000


class Unreadable(ValueError):
    """A message that is not what its queue carries; the text says why."""


def order_to_message(order: Order) -> Message:
    """Return the message for inspectors; what becomes of it is traced by its own id."""
    name = f"inspection-{order.job_id}-{order.attempt}"
    job = inspection_pb2.InspectionJob(
        job_id=order.job_id,
        attempt=order.attempt,
        account_id=order.account_id,
        aws_account_id=order.aws_account_id,
        role_arn=order.role_arn,
        external_id=order.external_id,
        region=order.region,
        image_id=order.ami_id,
        root_snapshot_id=order.root_snapshot_id,
    )
    return Message(JOB_TYPE, name, job.SerializeToString(), {REQUEST_ID: name})


def job_from_message(message: Message) -> inspection_pb2.InspectionJob:
    """Return the job in a message; Unreadable when it is none."""
    _check_type(message, JOB_TYPE)
    try:
        job = inspection_pb2.InspectionJob.FromString(message.body)
    except DecodeError:
        raise Unreadable(f"the body is no {JOB_TYPE}") from None
    _check_numbers(job.account_id, job.job_id, job.attempt)
    return job


def answer_from_message(message: Message) -> Answer:
    """Return the answer in a message; Unreadable when it is none."""
    _check_type(message, RESULT_TYPE)
    try:
        result = inspection_pb2.InspectionResult.FromString(message.body)
    except DecodeError:
        raise Unreadable(f"the body is no {RESULT_TYPE}") from None
    _check_numbers(result.account_id, result.job_id, result.attempt)
    return Answer(
        job_id=result.job_id,
        attempt=result.attempt,
        account_id=result.account_id,
        ami_id=text_of(result.image_id),
        outcome=_outcome(result),
    )


def attempt_from_message(message: Message) -> Attempt | None:
    """Return which attempt a result is about that cannot be taken; None when even that is unclear.

    For results only, whatever else is wrong with them.
    """
    try:
        _check_type(message, RESULT_TYPE)
        result = inspection_pb2.InspectionResult.FromString(message.body)
        _check_numbers(result.account_id, result.job_id, result.attempt)
    except (Unreadable, DecodeError):
        return None
    return Attempt(result.account_id, result.job_id, result.attempt, text_of(result.image_id))


def aside_from_message(queue: str, message: Message) -> Aside:
    """Return a message from a queue's dead queue as it is kept in quarantine, of no account yet."""
    reason = text_of(dead_reason(message))
    if len(message.body) > MOST_CONTENT:
        reason = f"{reason} (cut after {MOST_CONTENT:,} of {len(message.body):,} bytes)"
    origin = f"{queue}: message {message.message_id!r} of the type {message.type!r}"
    return Aside(
        account_id=0,
        source=NO_SOURCE,
        origin=text_of(origin)[:LONGEST_ORIGIN],
        reason=reason,
        content=message.body[:MOST_CONTENT],
    )


def _check_type(message: Message, expected: str) -> None:
    if message.type != expected:
        raise Unreadable(f"the type is {message.type!r}, not {expected!r}")


def _check_numbers(*numbers: int) -> None:
    if min(numbers) < 1:
        raise Unreadable("account_id, job_id and attempt must be positive")


def _outcome(result: inspection_pb2.InspectionResult) -> Installed | Failure:
    match result.WhichOneof("outcome"):
        case "finding":
            return _installed(result.finding, result.snapshot_id)
        case "failure":
            failure = result.failure
            name = inspection_pb2.InspectionFailure.Reason.Name(failure.reason)
            words = text_of(failure.message) or name.removeprefix("REASON_").lower().replace(
                "_", " "
            )
            return Failure(words, failure.passing)
        case _:
            raise Unreadable("neither a finding nor a failure is set")


def _installed(finding: evidence_pb2.Finding, snapshot_id: str) -> Installed:
    if not finding.distribution:
        raise Unreadable("the finding names no distribution, not even unknown")
    return Installed(
        distribution=text_of(finding.distribution),
        version=text_of(finding.version),
        pretty_name=text_of(finding.pretty_name),
        products=_texts(finding.products),
        architecture=text_of(finding.architecture),
        layout=text_of(finding.layout),
        journal=int(finding.journal_state),
        syspurpose=Syspurpose(
            role=text_of(finding.syspurpose.role),
            sla=text_of(finding.syspurpose.sla),
            usage=text_of(finding.syspurpose.usage),
        ),
        unknown_reason=text_of(finding.unknown_reason),
        snapshot_id=text_of(snapshot_id),
        evidence=tuple(map(_evidence, finding.evidence)),
    )


def _evidence(evidence: evidence_pb2.Evidence) -> Evidence:
    known = {strength.value for strength in Strength}
    return Evidence(
        signal=text_of(evidence.signal),
        path=text_of(evidence.path),
        value=text_of(evidence.value),
        # A strength that this version does not know decides nothing.
        strength=Strength(evidence.strength if evidence.strength in known else Strength.SUPPORTING),
    )


def _texts(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(text_of, values))


def text_of(value: str) -> str:
    """Return a text that PostgreSQL can hold: what stands on a disk may contain NUL."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}")
