"""Overrides, from and to protobuf."""

import re
from collections.abc import Iterable

from cloudigrade.accounts.v1 import inventory_pb2
from libs.common.checks import Checks
from libs.common.identifiers import image_id, instance_id
from libs.common.instants import Micros
from libs.common.timestamps import from_timestamp, timestamp
from services.accounts.account_convert import moment
from services.accounts.billing import LicenseModel
from services.accounts.classification import UNKNOWN
from services.accounts.override_store import NamedOverride, Proposal
from services.accounts.overrides import ALWAYS, Claim

LONGEST_REASON = 1000
_LONGEST_VERSION = 100
_MOST_PRODUCTS = 50
_NAME = re.compile(r"[a-z0-9._-]{1,64}")


def to_proposal(message: inventory_pb2.Override, checks: Checks, now: Micros) -> Proposal:
    """Return what a caller asks for; what is wrong with it is noted, by its field.

    After a violation the returned value means nothing: `checks.finish` must come before its use.
    What the message holds of a later answer (its id, its author, ...) is ignored.
    """
    _check_scope(message, checks)
    claim = _claim(message, checks)
    checks.text("override.reason", message.reason, LONGEST_REASON)
    return Proposal(
        message.account_id,
        message.image_id,
        message.instance_id,
        claim,
        message.reason,
        _effective_at(message, checks, now),
    )


def override_to_proto(named: NamedOverride) -> inventory_pb2.Override:
    """Return an override's message."""
    override = named.override
    claim = override.claim
    return inventory_pb2.Override(
        id=override.id,
        account_id=named.account_id,
        image_id=named.ami_id,
        instance_id=named.ec2_id,
        distribution=claim.distribution,
        version=claim.version,
        license_model=f"LICENSE_MODEL_{claim.license_model.name}" if claim.license_model else None,
        products=claim.products,
        reason=override.reason,
        effective_time=moment(override.effective_at),
        author=override.author,
        record_time=timestamp(override.recorded_at),
        withdraw_time=moment(override.withdrawn_at),
        withdrawer=override.withdrawn_by,
        withdraw_reason=override.withdraw_reason,
    )


def _check_scope(message: inventory_pb2.Override, checks: Checks) -> None:
    if message.image_id and message.instance_id:
        checks.that(
            condition=False,
            field="override.instance_id",
            description="must be empty when image_id is set: an override is about one of the two",
        )
    elif message.instance_id:
        checks.parsed("override.instance_id", instance_id, message.instance_id)
    elif checks.that(
        message.image_id, "override.image_id", "is required, unless instance_id is set"
    ):
        checks.parsed("override.image_id", image_id, message.image_id)


def _claim(message: inventory_pb2.Override, checks: Checks) -> Claim:
    name, version = message.distribution, message.version
    model = checks.parsed("override.license_model", _license_model, message.license_model)
    if name:
        checks.parsed("override.distribution", _distribution_name, name)
    elif not version and not message.products:
        checks.that(model, "override.distribution", "is required, unless license_model is set")
    known = name not in {"", UNKNOWN}
    if version and checks.that(known, "override.version", "needs a distribution that it is of"):
        checks.text("override.version", version, _LONGEST_VERSION)
    products: tuple[str, ...] = ()
    if message.products and checks.that(
        known, "override.products", "need a distribution that they are of"
    ):
        products = checks.parsed("override.products", _product_names, message.products)
    return Claim(name, version, model, products)


def _license_model(number: int) -> LicenseModel | None:
    try:
        return LicenseModel(number) if number else None
    except ValueError:
        raise ValueError("is no license model") from None


def _effective_at(message: inventory_pb2.Override, checks: Checks, now: Micros) -> Micros:
    if not message.HasField("effective_time"):
        return ALWAYS
    field = "override.effective_time"
    found = checks.parsed(field, from_timestamp, message.effective_time)
    if found is not None:
        checks.that(found > 0, field, "is not after 1970 began; leave it out for all history")
        checks.that(found <= now, field, "lies ahead of the server's clock; say it when it is true")
    return found


def _distribution_name(text: str) -> str:
    """Return a distribution that may be claimed; ValueError otherwise.

    The form is that of ID in os-release: lower-case letters, digits, ".", "_" and "-"
    (https://www.freedesktop.org/software/systemd/man/latest/os-release.html, read 2026-11-22).
    """
    return _named(text, "rhel, centos, windows, or unknown to say that nobody knows")


def _product_names(texts: Iterable[str]) -> tuple[str, ...]:
    """Return products that may be claimed, each once, in order; ValueError otherwise."""
    found = {_named(text, "openshift, rhel-ha or sap") for text in texts}
    if len(found) > _MOST_PRODUCTS:
        raise ValueError(f"are {len(found)}; at most {_MOST_PRODUCTS} are allowed")
    return tuple(sorted(found))


def _named(text: str, such_as: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(
            f"has up to 64 lower-case letters, digits, '.', '_' and '-', such as {such_as}"
        )
    return text
