"""How a person reads what an image is: what was decided, by whom, and everything that speaks."""

from rich.table import Table

from cli.output import Column, instant, table_of
from cloudigrade.accounts.v1.inventory_pb2 import Authority, Classification, Image, Inspection
from cloudigrade.accounts.v1.inventory_pb2 import LicenseModel as License
from cloudigrade.inspector.v1.evidence_pb2 import Evidence

_DECIDED = (Column("what"), Column("is"), Column("because of"))
_SAID = (Column("worth"), Column("signal"), Column("where"), Column("what it says"))
_AUTHORITIES: dict[int, str] = {
    Authority.AUTHORITY_OVERRIDE: "an override",
    Authority.AUTHORITY_DISK: "the disk",
    Authority.AUTHORITY_BILLING: "AWS's billing codes",
    Authority.AUTHORITY_PUBLISHER: "its publisher",
    Authority.AUTHORITY_NONE: "nobody knows",
}


def license_of(found: Classification) -> str:
    """Return how it is paid for, in a word."""
    return License.Name(found.license_model).removeprefix("LICENSE_MODEL_").lower()


def inspection_of(image: Image) -> str:
    """Return how far the reading of its disk is, in a word or two."""
    if not image.HasField("inspection"):
        return "none wanted"
    return Inspection.State.Name(image.inspection.state).removeprefix("STATE_").lower()


def authority_of(authority: int) -> str:
    """Return who decided, in words."""
    return _AUTHORITIES.get(authority, "")


def decided(image: Image) -> Table:
    """Return what an image is and who decided it, with what each authority says by itself."""
    found = image.classification
    by_disk = "" if found.installed_distribution else image.inspection.reason
    rows = [
        ["image", image.description.image_id, image.description.name],
        [
            "distribution",
            f"{found.distribution} {found.version}".rstrip(),
            authority_of(found.distribution_authority),
        ],
        ["license", license_of(found), authority_of(found.license_authority)],
        ["products", ", ".join(found.products) or "none known", ""],
        ["installed", found.installed_distribution or "not read", by_disk],
        ["billed", found.billed_distribution or "nothing", ""],
        ["published", found.published_distribution or "by nobody known", ""],
        ["overrides", ", ".join(map(str, found.override_ids)) or "none", ""],
        ["inspection", inspection_of(image), image.inspection.reason],
        ["known since", instant(found.record_time), ""],
    ]
    return table_of(_DECIDED, rows)


def evidence(image: Image) -> Table:
    """Return everything that speaks for or against it, in the order in which it was found."""
    rows = [
        [
            Evidence.Strength.Name(each.strength).removeprefix("STRENGTH_").lower(),
            *(each.signal, each.path, each.value),
        ]
        for each in image.classification.evidence
    ]
    return table_of(_SAID, rows)
