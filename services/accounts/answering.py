"""What an answer about an image changes: its job, its classification, and what reports say."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from libs.common.errors import NotFound
from libs.common.instants import Micros
from services.accounts import audit, jobs
from services.accounts.audit import Author
from services.accounts.billing_audit import changed_images
from services.accounts.classification import classify
from services.accounts.classification_store import Grounds, grounds, reclassify
from services.accounts.database import Cursor, next_recorded_at
from services.accounts.job_rows import locked, save
from services.accounts.jobs import Answer, Attempt, Failure, Job, Patience
from services.accounts.new_events import Aside
from services.accounts.quarantine_store import keep_aside

CLASSIFIED = "image.classified"
"""The action of the audit entries."""

INSPECTOR = "service:inspector"

# Up to where the time of an image's runs is counted, or may be.
_USED = """
SELECT min(r.start_at), max(greatest(
    CASE WHEN r.end_at = 0 THEN %(now)s ELSE least(greatest(r.end_at, r.end_latest), %(now)s) END,
    r.start_at + 1))
FROM instance i JOIN run r ON r.account_id = i.account_id AND r.instance_id = i.instance_id
WHERE i.account_id = %(account)s AND i.image_id = %(image)s
"""


@dataclass(frozen=True, slots=True)
class Settled:
    """A job as something has left it, and the AMI id of its image."""

    job: Job
    ami_id: str


def take(cursor: Cursor, answer: Answer, now: Micros, patience: Patience) -> Settled | None:
    """Take an answer; None when it changes nothing: settled, late, or of no job.

    The caller holds the account's lock. Raises NotFound when the job is one for another image.
    """
    row = locked(cursor, answer.account_id, answer.job_id)
    if row is None:
        return None
    job, ami_id = row
    if ami_id != answer.ami_id:
        raise NotFound(
            f"Job {job.id} is for the image {ami_id}, not for {answer.ami_id!r}.",
            reason="IMAGE_NOT_FOUND",
        )
    if isinstance(answer.outcome, Failure):
        settled = jobs.failed(job, answer.attempt, answer.outcome, now, patience)
    else:
        settled = jobs.found(job, now)
    if settled is not None and not isinstance(answer.outcome, Failure):
        recorded_at = next_recorded_at(cursor, job.account_id, now)
        before = grounds(cursor, job.account_id, image_ids=[job.image_id])
        author = Author(INSPECTOR, recorded_at)
        reclassify(cursor, job.account_id, [job.image_id], author, answer.outcome)
        _tell(cursor, job, ami_id, before, recorded_at)
    return _settled(cursor, settled, ami_id)


def bury(
    cursor: Cursor, account_id: int, job_id: int, attempt: int, reason: str, now: Micros
) -> Settled | None:
    """Give a job up whose message is in the dead queue; None when that changes nothing."""
    row = locked(cursor, account_id, job_id)
    if row is None:
        return None
    job, ami_id = row
    return _settled(cursor, jobs.buried(job, attempt, reason, now), ami_id)


def set_aside(
    cursor: Cursor, item: Aside, answered: Attempt | None, now: Micros, patience: Patience
) -> tuple[int, Settled | None]:
    """Keep an answer that could not be taken, and have its attempt fail; return the one's id.

    It is kept for the account of its job, if there is such a job; the attempt fails if that is for
    the image that the answer names. The caller holds the account's lock.
    """
    row = locked(cursor, answered.account_id, answered.job_id) if answered else None
    if answered is None or row is None:
        (kept,) = keep_aside(cursor, [item], now)
        return kept, None
    job, ami_id = row
    (kept,) = keep_aside(cursor, [replace(item, account_id=job.account_id)], now)
    if ami_id != answered.ami_id:
        return kept, None
    failure = Failure(
        f"The inspector's answer could not be taken: {item.reason} (kept in quarantine as {kept})",
        passing=True,
    )
    failed = jobs.failed(job, answered.attempt, failure, now, patience)
    return kept, _settled(cursor, failed, ami_id)


def _settled(cursor: Cursor, job: Job | None, ami_id: str) -> Settled | None:
    if job is None:
        return None
    save(cursor, job)
    return Settled(job, ami_id)


def _tell(
    cursor: Cursor, job: Job, ami_id: str, before: Mapping[int, Grounds], recorded_at: Micros
) -> None:
    """Write into the audit log that an image, or a run of it, is now held to be something else.

    An inspection covers the image's whole life, so all the time of its instances is affected.
    """
    after = grounds(cursor, job.account_id, image_ids=[job.image_id])
    was, now = _words(before.get(job.image_id)), _words(after.get(job.image_id))
    if was == now and not changed_images(cursor, job.account_id, before, after):
        return
    cursor.execute(_USED, {"account": job.account_id, "image": job.image_id, "now": recorded_at})
    since, until = cursor.fetchone() or (None, None)
    affected = (0, 0) if since is None else (since, until)
    detail = f"{now}, by job {job.id}; before that {was}"
    author = Author(INSPECTOR, recorded_at)
    audit.record(cursor, author, job.account_id, CLASSIFIED, ami_id, detail, affected)


def _words(ground: Grounds | None) -> str:
    """Say what of a classification reports group by."""
    if ground is None:
        return "nothing"
    known = classify(ground.codes, ground.installed)
    said = [
        f"{known.distribution} {known.version}".rstrip(),
        f"license {known.license_model.name.lower()}",
        *known.products,
    ]
    purpose = known.syspurpose
    said += [each for each in (purpose.role, purpose.sla, purpose.usage) if each]
    return ", ".join(said)
