"""What several tests of the inspector read: a tree of files, and the real inputs beside us."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.inspector.images import Truth, truth
from tests.support.inspector import Images
from tests.support.local_aws import CUSTOMER

if TYPE_CHECKING:
    from demo.local_aws.server import LocalAws

REAL_INPUTS = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with what file systems keep in ways of their own."""
    root = tmp_path_factory.mktemp("tree")
    for folder in ("etc", "usr/lib", "empty", "few", "many", "deep/" * 60):
        (root / folder).mkdir(parents=True)
    (root / "usr/lib/os-release").write_text('ID="rhel"\nVERSION_ID="9.4"\n')
    (root / "etc/os-release").symlink_to("../usr/lib/os-release")
    (root / "etc/absolute").symlink_to("/usr/lib/os-release")
    (root / "long-link").symlink_to("x/" * 500 + "x")
    for length in (59, 60, 61):
        (root / f"link-{length}").symlink_to("y" * length)
    (root / ("deep/" * 60) / "bottom").write_text("deep")
    for number in range(40):
        (root / "few" / f"file-{number}").write_bytes(os.urandom(number * 100))
    for number in range(2000):
        (root / "many" / f"one-of-many-files-with-a-long-name-{number:04}").write_text(
            str(number) if number % 9 == 0 else ""
        )
    (root / "large").write_bytes(os.urandom(3_000_000))
    with (root / "sparse").open("wb") as file:
        file.seek(5_000_000)
        file.write(b"the end")
    return root


@pytest.fixture(scope="session")
def expected(tree: Path) -> Truth:
    """Describe every entry of the tree."""
    return truth(tree)


@pytest.fixture(scope="session")
def real_inputs() -> Path:
    """Give the folder of inputs that others wrote; skip, saying so, where it is not."""
    if not REAL_INPUTS.is_dir():
        pytest.skip("NOT RUN: there are no real inputs in ../shared/data")
    return REAL_INPUTS


@pytest.fixture
def images(local_aws: "LocalAws") -> Images:
    """Make images in the customer's account."""
    return Images(local_aws, CUSTOMER)
