"""How what an image is stands before a person."""

from datetime import UTC, datetime

import pytest

from cli.images import decided, evidence
from cli.output import Format, Output
from cloudigrade.accounts.v1.events_pb2 import ImageDescription
from cloudigrade.accounts.v1.inventory_pb2 import (
    AUTHORITY_BILLING,
    AUTHORITY_DISK,
    LICENSE_MODEL_INCLUDED,
    Classification,
    Image,
    Inspection,
)
from cloudigrade.inspector.v1.evidence_pb2 import Evidence


def lines(image: Image, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """Show an image as the command does, and give its lines in columns."""
    output = Output(Format.TABLE)
    output.message(image, lambda: decided(image))
    output.table(evidence(image))
    text = capsys.readouterr().out
    return [
        [part.strip() for part in line.split("  ") if part.strip()] for line in text.splitlines()
    ]


def test_installed_billed_and_published_stand_beside_each_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Rocky on disk, RHEL on the bill and in the publisher's name; each signal with its worth."""
    image = Image(
        description=ImageDescription(image_id="ami-00000001", name="golden"),
        classification=Classification(
            distribution="rocky",
            version="9.4",
            license_model=LICENSE_MODEL_INCLUDED,
            products=["rhel-ha", "sap"],
            distribution_authority=AUTHORITY_DISK,
            license_authority=AUTHORITY_BILLING,
            installed_distribution="rocky",
            billed_distribution="rhel",
            published_distribution="rhel",
            override_ids=[3, 5],
            record_time=datetime(2026, 3, 1, 12, tzinfo=UTC),
            evidence=[
                Evidence(
                    signal="os-release.ID",
                    path="/etc/os-release",
                    value="rocky",
                    strength=Evidence.STRENGTH_DECISIVE,
                ),
                Evidence(signal="product-code", value="abc", strength=Evidence.STRENGTH_SUPPORTING),
            ],
        ),
        inspection=Inspection(state=Inspection.STATE_DONE),
    )
    assert lines(image, capsys) == [
        ["what", "is", "because of"],
        ["image", "ami-00000001", "golden"],
        ["distribution", "rocky 9.4", "the disk"],
        ["license", "included", "AWS's billing codes"],
        ["products", "rhel-ha, sap"],
        ["installed", "rocky"],
        ["billed", "rhel"],
        ["published", "rhel"],
        ["overrides", "3, 5"],
        ["inspection", "done"],
        ["known since", "2026-03-01 12:00:00 UTC"],
        ["worth", "signal", "where", "what it says"],
        ["decisive", "os-release.ID", "/etc/os-release", "rocky"],
        ["supporting", "product-code", "abc"],
    ]


def test_what_is_not_known_is_said_to_be_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is left blank that could be taken for an answer; why the disk is unread stands by."""
    image = Image(inspection=Inspection(state=Inspection.STATE_DEAD, reason="no permission"))
    shown = lines(image, capsys)
    assert ["installed", "not read", "no permission"] in shown
    assert ["billed", "nothing"] in shown
    assert ["published", "by nobody known"] in shown
    assert ["overrides", "none"] in shown


def test_names_that_look_like_markup_are_shown_as_they_stand(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Anybody can name an image [/b] or :smile:, and an os-release may say anything."""
    image = Image(description=ImageDescription(image_id="ami-00000001", name="[/b] :smile: [red]x"))
    image.classification.evidence.add(signal="os-release.ID_LIKE", value="[/nothing] [bold]rhel")
    shown = lines(image, capsys)
    assert ["image", "ami-00000001", "[/b] :smile: [red]x"] in shown
    assert ["unspecified", "os-release.ID_LIKE", "[/nothing] [bold]rhel"] in shown
