"""Images, classifications and inspections, to protobuf."""

from cloudigrade.accounts.v1 import events_pb2, inventory_pb2
from cloudigrade.inspector.v1 import evidence_pb2
from libs.common.instants import Micros
from libs.common.timestamps import timestamp
from services.accounts.account_convert import moment
from services.accounts.classification import Classification, Evidence, Syspurpose
from services.accounts.image_store import KnownImage
from services.accounts.inventory import Image
from services.accounts.jobs import Inspection


def image_to_proto(known: KnownImage, *, evidence: bool) -> inventory_pb2.Image:
    """Return the message of an image; evidence is long, and left out of lists."""
    image = known.image
    classified = known.classification
    return inventory_pb2.Image(
        account_id=image.account_id,
        description=_description(image),
        region=image.region,
        classification=(
            classification_to_proto(
                classified, known.recorded_at, evidence=evidence, author=known.author
            )
            if classified
            else None
        ),
        inspection=inspection_to_proto(known.inspection) if known.inspection else None,
    )


def classification_to_proto(
    classified: Classification, recorded_at: Micros, *, evidence: bool, author: str = ""
) -> inventory_pb2.Classification:
    """Return the message of what an image or a run is, known so since `recorded_at`."""
    return inventory_pb2.Classification(
        distribution=classified.distribution,
        version=classified.version,
        license_model=f"LICENSE_MODEL_{classified.license_model.name}",
        products=classified.products,
        distribution_authority=f"AUTHORITY_{classified.distribution_authority.name}",
        license_authority=f"AUTHORITY_{classified.license_authority.name}",
        billed_distribution=classified.billed_distribution,
        installed_distribution=classified.installed_distribution,
        evidence=map(_evidence, classified.evidence) if evidence else (),
        record_time=moment(recorded_at),
        syspurpose=_syspurpose(classified.syspurpose),
        published_distribution=classified.published_distribution,
        override_ids=classified.override_ids,
        author=author,
    )


def inspection_to_proto(inspection: Inspection) -> inventory_pb2.Inspection:
    """Return the message of how far the reading of a disk is."""
    return inventory_pb2.Inspection(
        id=inspection.id,
        image_id=inspection.ami_id,
        account_id=inspection.account_id,
        state=f"STATE_{inspection.state.name}",
        attempts=inspection.attempts,
        reason=inspection.reason,
        create_time=timestamp(inspection.created_at),
        update_time=timestamp(inspection.updated_at),
        next_time=moment(inspection.due_at),
    )


def _description(image: Image) -> events_pb2.ImageDescription:
    return events_pb2.ImageDescription(
        image_id=image.ami_id,
        name=image.name,
        owner_id=image.owner_id,
        owner_alias=image.owner_alias,
        architecture=image.architecture,
        platform_details=image.platform_details,
        usage_operation=image.usage_operation,
        product_codes=image.product_codes,
        root_snapshot_id=image.root_snapshot_id,
        root_device_type=image.root_device_type,
        public=image.public,
        create_time=moment(image.made_at),
        state=image.state,
        description=image.description,
        root_device_name=image.root_device_name,
        platform=image.platform,
    )


def _evidence(evidence: Evidence) -> evidence_pb2.Evidence:
    return evidence_pb2.Evidence(
        signal=evidence.signal,
        path=evidence.path,
        value=evidence.value,
        strength=f"STRENGTH_{evidence.strength.name}",
    )


def _syspurpose(purpose: Syspurpose) -> evidence_pb2.Syspurpose | None:
    if purpose == Syspurpose():
        return None
    return evidence_pb2.Syspurpose(role=purpose.role, sla=purpose.sla, usage=purpose.usage)
