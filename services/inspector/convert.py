"""Between the inspector's values and its protobuf messages."""

from cloudigrade.accounts.v1 import schedule_pb2
from cloudigrade.inspector.v1 import evidence_pb2, inspection_pb2, inspector_pb2
from services.inspector.evidence import Evidence, Strength
from services.inspector.finding import Finding, JournalState, Syspurpose
from services.inspector.inspector import Inspected, Target
from services.inspector.on_demand import Step
from services.inspector.outcome import Cost, Failure, FailureReason

_STRENGTHS = {
    Strength.DECISIVE: evidence_pb2.Evidence.STRENGTH_DECISIVE,
    Strength.SUPPORTING: evidence_pb2.Evidence.STRENGTH_SUPPORTING,
    Strength.UNREADABLE: evidence_pb2.Evidence.STRENGTH_UNREADABLE,
}
_JOURNALS = {
    JournalState.NONE: evidence_pb2.JOURNAL_STATE_UNSPECIFIED,
    JournalState.CLEAN: evidence_pb2.JOURNAL_STATE_CLEAN,
    JournalState.REPLAYED: evidence_pb2.JOURNAL_STATE_REPLAYED,
    JournalState.DIRTY: evidence_pb2.JOURNAL_STATE_DIRTY,
}
_REASONS = {
    FailureReason.ACCESS_DENIED: inspection_pb2.InspectionFailure.REASON_ACCESS_DENIED,
    FailureReason.KEY_DENIED: inspection_pb2.InspectionFailure.REASON_KEY_DENIED,
    FailureReason.SNAPSHOT_UNREADABLE: inspection_pb2.InspectionFailure.REASON_SNAPSHOT_UNREADABLE,
    FailureReason.NO_SNAPSHOT: inspection_pb2.InspectionFailure.REASON_NO_SNAPSHOT,
    FailureReason.NOT_FOUND: inspection_pb2.InspectionFailure.REASON_NOT_FOUND,
    FailureReason.AWS_TROUBLE: inspection_pb2.InspectionFailure.REASON_AWS_TROUBLE,
    FailureReason.LIMIT: inspection_pb2.InspectionFailure.REASON_LIMIT,
    FailureReason.CRASHED: inspection_pb2.InspectionFailure.REASON_CRASHED,
}


def target_of_job(job: inspection_pb2.InspectionJob) -> Target:
    """Read what a job says to inspect."""
    return Target(
        aws_account_id=job.aws_account_id,
        role_arn=job.role_arn,
        external_id=job.external_id,
        region=job.region,
        image_id=job.image_id,
        snapshot_id=job.root_snapshot_id,
    )


def target_of_account(
    account: schedule_pb2.ScanTarget, request: inspector_pb2.InspectImageRequest
) -> Target:
    """Join what a user asks for with how to get into the account."""
    return Target(
        aws_account_id=account.aws_account_id,
        role_arn=account.role_arn,
        external_id=account.external_id,
        region=request.region,
        image_id=request.image_id,
    )


def result(
    job: inspection_pb2.InspectionJob, inspected: Inspected
) -> inspection_pb2.InspectionResult:
    """Make the result of a job; of an InspectImage, with job_id and attempt 0."""
    answer = inspected.outcome.answer
    made = inspection_pb2.InspectionResult(
        job_id=job.job_id,
        attempt=job.attempt,
        account_id=job.account_id,
        image_id=job.image_id,
        cost=_cost(inspected.outcome.cost),
        snapshot_id=inspected.snapshot_id,
    )
    if isinstance(answer, Finding):
        made.finding.CopyFrom(finding(answer))
    else:
        made.failure.CopyFrom(_failure(answer))
    return made


def finding(found: Finding) -> evidence_pb2.Finding:
    """Make the message of a finding."""
    return evidence_pb2.Finding(
        distribution=found.distribution,
        version=found.version,
        pretty_name=found.pretty_name,
        evidence=[_evidence(each) for each in found.evidence],
        layout=found.layout,
        journal_state=_JOURNALS[found.journal],
        products=found.products,
        syspurpose=_syspurpose(found.syspurpose),
        unknown_reason=found.unknown_reason,
    )


def progress(step: Step) -> inspector_pb2.InspectImageResponse:
    """Make the message of a step on the way."""
    return inspector_pb2.InspectImageResponse(
        progress=inspector_pb2.InspectImageResponse.Progress(step=step.what, blocks=step.blocks)
    )


def _syspurpose(purpose: Syspurpose) -> evidence_pb2.Syspurpose | None:
    """Make the message of what an installation is for; None when it does not say."""
    if purpose == Syspurpose():
        return None
    return evidence_pb2.Syspurpose(role=purpose.role, sla=purpose.sla, usage=purpose.usage)


def _evidence(evidence: Evidence) -> evidence_pb2.Evidence:
    return evidence_pb2.Evidence(
        signal=evidence.signal,
        path=evidence.path,
        value=evidence.value,
        strength=_STRENGTHS[evidence.strength],
    )


def _failure(failure: Failure) -> inspection_pb2.InspectionFailure:
    return inspection_pb2.InspectionFailure(
        reason=_REASONS[failure.reason], message=failure.message, passing=failure.passing
    )


def _cost(cost: Cost) -> inspection_pb2.InspectionCost:
    return inspection_pb2.InspectionCost(
        blocks=cost.blocks, bytes=cost.bytes, listings=cost.listings, elapsed=cost.elapsed
    )
