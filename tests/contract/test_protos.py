"""The contracts: what protos/README.md says of them holds."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUF = Path(sys.executable).parent / "buf"


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run buf in the project's folder."""
    return subprocess.run(
        [BUF, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_protos_follow_the_style() -> None:
    """Buf's STANDARD and COMMENTS find nothing."""
    linted = run("lint")
    assert linted.returncode == 0, linted.stdout


def test_protos_stand_in_their_standard_form() -> None:
    """Buf would format nothing differently."""
    formatted = run("format", "--diff", "--exit-code")
    assert formatted.returncode == 0, formatted.stdout


def test_nothing_breaks_what_the_last_tag_promised() -> None:
    """Since the last tag no change breaks a client; before the first tag all may change."""
    tags = subprocess.run(
        ["git", "tag", "--list", "v*", "--sort=-creatordate"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    against = f".git#tag={tags[0]}" if tags else "protos"
    broken = run("breaking", "--against", against)
    assert broken.returncode == 0, broken.stdout
