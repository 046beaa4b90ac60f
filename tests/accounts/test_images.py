"""What InventoryService shows of images and of the reading of their disks."""

from collections.abc import Callable
from datetime import UTC

import pytest

from cloudigrade.accounts.v1 import events_pb2
from cloudigrade.accounts.v1 import inventory_pb2 as pb
from cloudigrade.inspector.v1 import evidence_pb2
from libs.common.instants import to_micros
from services.accounts.audit import Author
from services.accounts.classification import Evidence, Installed, Strength, Syspurpose
from services.accounts.classification_store import reclassify
from services.accounts.database import lock_accounts, next_recorded_at
from services.accounts.job_store import want_inspections
from tests.support.accounts import START, Accounts, Caller, Refusal, refusal

AMI = "ami-00000000000000001"
OTHER = "ami-00000000000000002"
ROCKY = Installed(
    distribution="rocky",
    version="9.4",
    products=("openshift",),
    syspurpose=Syspurpose(role="Server"),
    evidence=(Evidence("os-release.ID", "/etc/os-release", "rocky", Strength.DECISIVE),),
)


def add_image(
    accounts: Accounts, account_id: int, ami_id: str = AMI, installed: Installed | None = None
) -> int:
    """Write an image of RHEL by its billing codes, with what its disk says; give its number."""
    with accounts.database.transaction() as cursor:
        lock_accounts(cursor, [account_id])
        recorded_at = next_recorded_at(cursor, account_id, to_micros(START))
        cursor.execute(
            "INSERT INTO image (account_id, ami_id, region, name, owner_id, architecture,"
            " platform_details, usage_operation, product_codes, root_snapshot_id,"
            " root_device_type, made_at, state, recorded_at) VALUES (%s, %s, 'eu-west-1',"
            " 'golden', '309956199498', 'x86_64', 'Red Hat Enterprise Linux', 'RunInstances:0010',"
            " '{}', 'snap-00000000000000001', 'ebs', %s, 'available', %s) RETURNING image_id",
            (account_id, ami_id, to_micros(START), recorded_at),
        )
        (image_id,) = cursor.fetchone() or (0,)
        author = Author("service:inspector", recorded_at)
        reclassify(cursor, account_id, [image_id], author, installed)
        want_inspections(cursor, account_id, [image_id], recorded_at)
    return int(image_id)


def revision(accounts: Accounts, account_id: int) -> int:
    """Give the instant at which something was recorded last, which an image just added was."""
    with accounts.database.transaction() as cursor:
        cursor.execute("SELECT last_recorded_at FROM cloud_account WHERE id = %s", (account_id,))
        (recorded_at,) = cursor.fetchone() or (0,)
    return int(recorded_at)


def kill_job(accounts: Accounts, image_id: int, reason: str = "too often") -> None:
    """Give up the inspection of an image."""
    with accounts.database.transaction() as cursor:
        cursor.execute(
            "UPDATE inspection_job SET state = 5, due_at = 0, reason = %s WHERE image_id = %s",
            (reason, image_id),
        )


def get(caller: Caller, account_id: int, ami_id: str = AMI) -> pb.Image:
    """Give one image as the caller sees it."""
    request = pb.GetImageRequest(account_id=account_id, image_id=ami_id)
    return caller.inventory.GetImage(request).image


def test_an_image_shows_what_it_is_and_why(accounts: Accounts) -> None:
    """What AWS says, what the disk says, and who decided are all given, with the evidence."""
    account = accounts.verified(accounts.admin)
    add_image(accounts, account.id, installed=ROCKY)
    image = get(accounts.admin, account.id)
    assert image.description == events_pb2.ImageDescription(
        image_id=AMI,
        name="golden",
        owner_id="309956199498",
        architecture="x86_64",
        platform_details="Red Hat Enterprise Linux",
        usage_operation="RunInstances:0010",
        root_snapshot_id="snap-00000000000000001",
        root_device_type="ebs",
        create_time=START,
        state="available",
    )
    assert (image.account_id, image.region) == (account.id, "eu-west-1")
    shown = image.classification
    assert (shown.distribution, shown.version, list(shown.products)) == (
        "rocky",
        "9.4",
        ["openshift"],
    )
    assert (shown.billed_distribution, shown.installed_distribution) == ("rhel", "rocky")
    assert shown.distribution_authority == pb.AUTHORITY_DISK
    assert shown.author == "service:inspector"
    assert (shown.license_model, shown.license_authority) == (
        pb.LICENSE_MODEL_INCLUDED,
        pb.AUTHORITY_BILLING,
    )
    assert shown.syspurpose.role == "Server"
    assert to_micros(shown.record_time.ToDatetime(UTC)) == revision(accounts, account.id)
    assert shown.evidence[0] == evidence_pb2.Evidence(
        signal="os-release.ID",
        path="/etc/os-release",
        value="rocky",
        strength=evidence_pb2.Evidence.STRENGTH_DECISIVE,
    )
    assert image.inspection.image_id == AMI
    assert image.inspection.state in {pb.Inspection.STATE_PENDING, pb.Inspection.STATE_PUBLISHED}


def test_images_are_listed_in_pages_without_evidence(accounts: Accounts) -> None:
    """Images come by id, those of other accounts not among them."""
    account = accounts.verified(accounts.admin)
    for ami_id in (OTHER, AMI):
        add_image(accounts, account.id, ami_id)
    add_image(accounts, accounts.verified(accounts.admin, "222222222222").id)
    request = pb.ListImagesRequest(account_id=account.id, page_size=1)
    first = accounts.admin.inventory.ListImages(request)
    request.page_token = first.next_page_token
    second = accounts.admin.inventory.ListImages(request)
    images = [*first.images, *second.images]
    assert [image.description.image_id for image in images] == [AMI, OTHER]
    assert second.next_page_token == ""
    assert {image.classification.distribution for image in images} == {"rhel"}
    assert not any(image.classification.evidence for image in images)


def test_an_instance_brings_its_image(accounts: Accounts) -> None:
    """GetInstance shows the image too; an instance without a known one has none."""
    account = accounts.verified(accounts.admin)
    image = add_image(accounts, account.id)
    with accounts.database.transaction() as cursor:
        for ec2_id, image_id in (("i-00000001", image), ("i-00000002", 0)):
            cursor.execute(
                "INSERT INTO instance (account_id, ec2_id, image_id, recorded_at)"
                " VALUES (%s, %s, %s, 1)",
                (account.id, ec2_id, image_id),
            )
    api = accounts.admin.inventory
    known = api.GetInstance(pb.GetInstanceRequest(account_id=account.id, instance_id="i-00000001"))
    assert known.instance.image_id == known.image.description.image_id == AMI
    bare = api.GetInstance(pb.GetInstanceRequest(account_id=account.id, instance_id="i-00000002"))
    assert not bare.HasField("image")


def test_inspections_are_listed_newest_first_and_by_state(accounts: Accounts) -> None:
    """Both are listed; asked for the dead ones only the one that was given up comes."""
    account = accounts.verified(accounts.admin)
    first, _ = add_image(accounts, account.id, AMI), add_image(accounts, account.id, OTHER)
    kill_job(accounts, first, "snapshot is gone")
    api = accounts.admin.inventory
    request = pb.ListInspectionsRequest(account_id=account.id)
    assert [each.image_id for each in api.ListInspections(request).inspections] == [OTHER, AMI]
    request.state = pb.Inspection.STATE_DEAD
    (dead,) = api.ListInspections(request).inspections
    assert (dead.image_id, dead.reason) == (AMI, "snapshot is gone")
    assert not dead.HasField("next_time")
    request.state = 9  # type: ignore[assignment] # no such state
    assert refusal(lambda: api.ListInspections(request)).fields == ("state",)


def test_a_dead_inspection_gets_a_new_try(accounts: Accounts) -> None:
    """Redriving by id, and all at once, counts those that get one; others are refused."""
    account = accounts.verified(accounts.admin)
    images = [add_image(accounts, account.id, ami_id) for ami_id in (AMI, OTHER)]
    api = accounts.admin.inventory
    jobs = api.ListInspections(pb.ListInspectionsRequest(account_id=account.id)).inspections

    def redrive(*ids: int) -> int:
        request = pb.RedriveInspectionsRequest(account_id=account.id, ids=ids)
        return int(api.RedriveInspections(request).redriven)

    assert refusal(lambda: redrive(jobs[0].id)) == Refusal(
        "FAILED_PRECONDITION", "INSPECTION_NOT_DEAD", ()
    )
    assert refusal(lambda: redrive(999)) == Refusal("NOT_FOUND", "INSPECTION_NOT_FOUND", ())
    for image in images:
        kill_job(accounts, image)
    assert redrive(jobs[1].id) == 1
    assert redrive() == 1
    assert redrive() == 0
    entries = api.ListAuditEntries(pb.ListAuditEntriesRequest(account_id=account.id)).entries
    assert [(each.action, each.subject) for each in entries[:2]] == [
        ("inspection.redriven", OTHER),
        ("inspection.redriven", AMI),
    ]


def calls(caller: Caller, account_id: int) -> list[Callable[[], object]]:
    """Give a call of every method about images, for one account."""
    api = caller.inventory
    return [
        lambda: api.ListImages(pb.ListImagesRequest(account_id=account_id)),
        lambda: get(caller, account_id),
        lambda: api.ListInspections(pb.ListInspectionsRequest(account_id=account_id)),
        lambda: api.RedriveInspections(pb.RedriveInspectionsRequest(account_id=account_id)),
    ]


def test_strangers_find_no_image(accounts: Accounts) -> None:
    """For another member every method is NOT_FOUND, as for an account that does not exist."""
    owner, stranger = accounts.member("max"), accounts.member("mia")
    account = accounts.verified(owner)
    add_image(accounts, account.id)
    for call in calls(owner, account.id):
        call()
    for call in (*calls(stranger, account.id), *calls(accounts.admin, 999)):
        assert refusal(call) == Refusal("NOT_FOUND", "ACCOUNT_NOT_FOUND", ())


@pytest.mark.parametrize("wrong", ["", "ami-1", "golden"])
def test_a_malformed_image_id_is_named(accounts: Accounts, wrong: str) -> None:
    """A bad id is INVALID_ARGUMENT on its field, and an unknown one NOT_FOUND."""
    account = accounts.verified(accounts.admin)
    assert refusal(lambda: get(accounts.admin, account.id, wrong)).fields == ("image_id",)
    assert refusal(lambda: get(accounts.admin, account.id, AMI)) == Refusal(
        "NOT_FOUND", "IMAGE_NOT_FOUND", ()
    )
