"""What AWS charges for, by all its fields: usage operation, PlatformDetails, product codes.

The usage operation counts; when it is missing or unreadable, PlatformDetails does, by the same
table; when there is neither, as in old answers, `Platform` still tells of Windows. Product codes
come on top: a bill only adds up. What contradicts or cannot be read is evidence, never a guess.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.accounts.billing import Billing, LicenseModel, decode, decode_platform
from services.accounts.evidence import Evidence, Strength, said
from services.accounts.products import BY_CODE, Product

_WINDOWS = "windows"
_PLAIN = Billing(stated=True)
# Of a text that has no form that AWS publishes, beside the words on what is wrong with it.
_LONGEST_RAW = 800


@dataclass(frozen=True, slots=True)
class ImageCodes:
    """What AWS says about an image; each may be empty. `partition` is that of its Region."""

    platform_details: str = ""
    usage_operation: str = ""
    product_codes: tuple[str, ...] = ()
    owner_id: str = ""
    owner_alias: str = ""
    name: str = ""
    platform: str = ""
    partition: str = ""


@dataclass(frozen=True, slots=True)
class Charges:
    """What is charged for with an image, or with a run of it.

    `distribution` is what the fields name, `paid` the one that is paid for: a free product of
    Marketplace names without charging. `stated` says that the charge as such is known,
    `nothing_owed` that it is known to be the machine alone.
    """

    distribution: str = ""
    paid: str = ""
    license_model: LicenseModel | None = None
    products: tuple[str, ...] = ()
    stated: bool = False
    nothing_owed: bool = False
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class _Fields:
    """What an image's fields say without product codes; `doubtful` when not all of them agree."""

    billing: Billing
    doubtful: bool
    evidence: tuple[Evidence, ...]


def charges(
    codes: ImageCodes, usage_operation: str = "", product_codes: Sequence[str] | None = None
) -> Charges:
    """Return what is charged for with an image; for a run, by the codes of its own where known.

    A run's own usage operation counts before the image's, whose licence it may have left behind,
    and its own product codes (None: not known) take the place of the image's.
    """
    own = decode(usage_operation)
    image = _by_fields(codes)
    differs = bool(usage_operation) and usage_operation != codes.usage_operation
    billing = own if own.stated and differs else image.billing
    codes_of_products = codes.product_codes if product_codes is None else product_codes
    products = [BY_CODE[code] for code in codes_of_products if code in BY_CODE]
    all_known = len(products) == len(codes_of_products)
    sold = _one_of(products)
    evidence = [
        *(_of_run(usage_operation, own) if differs else ()),
        *(_about_image(image.evidence, own) if differs else image.evidence),
        *map(_of_code, codes_of_products),
    ]
    model = _owed([billing.license_model, *(each.license_model for each in products)])
    return Charges(
        # A run that is charged as plain Linux/UNIX is still of the system that its image is of.
        distribution=billing.distribution or image.billing.distribution or _named(sold),
        paid=billing.distribution or (_named(sold) if model is LicenseModel.INCLUDED else ""),
        license_model=model,
        products=tuple(
            sorted({*billing.products, *(name for each in products for name in each.products)})
        ),
        stated=billing.stated,
        nothing_owed=billing == _PLAIN
        and all_known
        and model is None
        and not own.trouble
        and not (image.doubtful and billing is image.billing),
        evidence=tuple(evidence),
    )


def _by_fields(codes: ImageCodes) -> _Fields:
    operation = decode(codes.usage_operation)
    details = decode_platform(codes.platform_details)
    evidence = [
        *_of_field("usage-operation", codes.usage_operation, operation, decides=True),
        *_of_field(
            "platform-details", codes.platform_details, details, decides=not operation.stated
        ),
    ]
    contradict = operation.stated and details.stated and operation != details
    if contradict:
        text = (
            f"{codes.usage_operation} and {codes.platform_details} contradict each other: the usage"
            " operation counts"
        )
        evidence.append(said("billing-mismatch", text, Strength.SUPPORTING))
    billing = operation if operation.stated else details
    is_windows = codes.platform == _WINDOWS and not billing.stated
    if codes.platform:
        strength = Strength.DECISIVE if is_windows else Strength.SUPPORTING
        evidence.append(said("platform", codes.platform, strength))
    if is_windows:
        # EC2 API reference, Image: "set to windows for Windows AMIs; otherwise, it is blank".
        billing = Billing(_WINDOWS)
    doubtful = (
        contradict
        or bool(operation.trouble or details.trouble)
        or (codes.platform == _WINDOWS and billing.distribution != _WINDOWS)
    )
    return _Fields(billing, doubtful, tuple(evidence))


def _of_field(signal: str, raw: str, billing: Billing, *, decides: bool) -> Iterable[Evidence]:
    """Yield what one field says: the raw text, and after it what is wrong with it."""
    if billing.trouble:
        yield said(signal, f"{raw[:_LONGEST_RAW]} ({billing.trouble})", Strength.UNREADABLE)
    elif raw:
        names = decides and bool(billing.distribution)
        yield said(signal, raw, Strength.DECISIVE if names else Strength.SUPPORTING)


def _of_run(usage_operation: str, own: Billing) -> Iterable[Evidence]:
    return _of_field("run.usage-operation", usage_operation, own, decides=True)


def _about_image(evidence: Iterable[Evidence], own: Billing) -> Iterable[Evidence]:
    """Yield what an image's fields say beside a run's own: they only support what that names."""
    for each in evidence:
        weaker = own.distribution and each.strength is Strength.DECISIVE
        strength = Strength.SUPPORTING if weaker else each.strength
        yield Evidence(each.signal, each.path, each.value, strength)


def _of_code(code: str) -> Evidence:
    product = BY_CODE.get(code)
    if product is None:
        text = f"{code[:_LONGEST_RAW]} (not known here: it may cost something)"
        return said("product-code", text, Strength.SUPPORTING)
    return said("product-code", f"{code} ({product.name})", Strength.DECISIVE)


def _one_of(products: Sequence[Product]) -> Product | None:
    """Return what is sold; None when nothing is, or products of several distributions."""
    return products[0] if len({each.distribution for each in products}) == 1 else None


def _named(product: Product | None) -> str:
    return product.distribution if product else ""


def _owed(models: Sequence[LicenseModel | None]) -> LicenseModel | None:
    """Return how a distribution is paid for by several that each say it, or not: they add up."""
    for each in (LicenseModel.INCLUDED, LicenseModel.BYOS):
        if each in models:
            return each
    return None
