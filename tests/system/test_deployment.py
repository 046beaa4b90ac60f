"""docker-compose.yml and the Dockerfile, as far as they can be checked without a Docker engine."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from libs.common.config import load, settings_of
from libs.common.server_config import ServerConfig
from services.accounts.config import ProcessConfig as AccountsConfig
from services.inspector.config import ProcessConfig as InspectorConfig
from services.reports.config import ReportsConfig
from services.scanner.config import ScannerConfig

ROOT = Path(__file__).parents[2]
CONFIGS: dict[str, Any] = {
    "accounts": AccountsConfig,
    "scanner": ScannerConfig,
    "inspector": InspectorConfig,
    "reports": ReportsConfig,
}
SECRETS = {
    name: f"a-random-{name.lower().replace('_', '-')}"
    for name in (
        *("DATABASE_PASSWORD", "BROKER_PASSWORD"),
        *("SCANNER_TOKEN", "INSPECTOR_TOKEN", "REPORTS_TOKEN"),
    )
}


def copies() -> list[str]:
    """Return what stands behind each COPY from the build context in the Dockerfile."""
    text = (ROOT / "Dockerfile").read_text()
    return re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)


def compose(environ: dict[str, str]) -> dict[str, Any]:
    """Read docker-compose.yml as docker compose does: merge keys, and variables from .env."""

    def value(match: re.Match[str]) -> str:
        name, operator, rest = match[1], match[2], match[3]
        if environ.get(name):
            return environ[name]
        if operator == ":?":
            raise KeyError(rest)
        return rest or ""

    text = (ROOT / "docker-compose.yml").read_text()
    text = re.sub(r"\$\{(\w+)(?:(:\?|:-)([^}]*))?\}", value, text)
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


@pytest.mark.parametrize("name", CONFIGS)
def test_each_service_can_load_what_compose_gives_it(name: str) -> None:
    """The variables of a service are all it needs, each one is read, and it listens outward."""
    environment = compose(SECRETS)["services"][name]["environment"]
    load(CONFIGS[name], environment, service=name)
    known = {setting.env for setting in settings_of(CONFIGS[name], service=name)}
    assert {key for key in environment if key.startswith("CLOUDIGRADE_")} <= known
    assert load(ServerConfig, environment, service=name).listen.host == "0.0.0.0"


@pytest.mark.parametrize("missing", SECRETS)
def test_compose_refuses_to_start_without_a_secret(missing: str) -> None:
    """No secret has a default: each that is missing is asked for by its name."""
    with pytest.raises(KeyError, match=missing):
        compose({name: text for name, text in SECRETS.items() if name != missing})


def test_the_example_environment_names_every_secret() -> None:
    """Who copies deploy/example.env finds each variable that compose asks for, without a value."""
    lines = (ROOT / "deploy/example.env").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert SECRETS.keys() <= given.keys()
    assert set(given.values()) == {""}


def test_services_of_one_token_share_it() -> None:
    """Accounts and the service that a token belongs to get the same one."""
    services = compose(SECRETS)["services"]
    for name in ("scanner", "inspector", "reports"):
        variable = f"CLOUDIGRADE_{name.upper()}_TOKEN"
        assert services[name]["environment"][variable] == SECRETS[f"{name.upper()}_TOKEN"]
        assert services["accounts"]["environment"][variable] == SECRETS[f"{name.upper()}_TOKEN"]


def test_every_path_that_the_dockerfile_copies_is_there_and_not_ignored() -> None:
    """Each COPY of the Dockerfile finds its source for each service."""
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    for line in re.findall(
        r"^COPY (?!--from)(.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE
    ):
        for source in line.split()[:-1]:
            for name in CONFIGS:
                path = source.replace("${SERVICE}", name)
                assert (ROOT / path).exists(), path
                assert any(path == each or path.startswith(f"{each}/") for each in allowed), path


@pytest.mark.parametrize("name", CONFIGS)
def test_a_service_starts_from_an_environment_that_holds_only_its_own_extra(
    name: str, tmp_path: Path
) -> None:
    """Built as in the Dockerfile: only its folder, only its extra; it asks for its settings."""
    source = partial_tree(name, tmp_path / "source")
    uv, python = Path(sys.executable).parent / "uv", tmp_path / "env/bin/python"
    environ = {**os.environ, "VIRTUAL_ENV": str(tmp_path / "env")}
    _run([uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "env"], environ)
    _run(
        [uv, "pip", "install", "--quiet", "-c", source / "requirements.lock", f"{source}[{name}]"],
        environ,
    )
    others = {"accounts": "peewee", "scanner": "boto3", "inspector": "pika", "reports": "numpy"}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for package in others.values():
        wanted = any(requirement.startswith(package) for requirement in extras[name])
        found = _status([python, "-c", f"import {package}"], {})
        assert (found == 0) == wanted, package
    started = subprocess.run(
        [python, "-m", f"services.{name}"],
        env={"PATH": "/usr/bin:/bin", f"CLOUDIGRADE_{name.upper()}_LISTEN": "127.0.0.1:nowhere"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert started.returncode == 2, started.stderr
    assert len(started.stderr.strip().splitlines()) == 1
    assert f"CLOUDIGRADE_{name.upper()}_LISTEN is '127.0.0.1:nowhere'" in started.stderr


def partial_tree(name: str, target: Path) -> Path:
    """Copy what the Dockerfile copies for a service."""
    target.mkdir(parents=True)
    for line in re.findall(
        r"^COPY (?!--from)(.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE
    ):
        *sources, _ = line.replace("${SERVICE}", name).split()
        for source in sources:
            (target / source).parent.mkdir(parents=True, exist_ok=True)
            _run(["cp", "-r", ROOT / source, target / source], dict(os.environ))
    for folder in ("cli", "demo"):
        (target / folder).mkdir()
    return target


def _run(command: list[str | Path], environ: dict[str, str]) -> None:
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode and ("dns error" in done.stderr or "Failed to fetch" in done.stderr):
        pytest.skip("the package index cannot be reached, and an environment must be built")
    assert done.returncode == 0, done.stderr


def _status(command: list[str | Path], environ: dict[str, str]) -> int:
    return subprocess.run(
        command, env=environ, capture_output=True, timeout=60, check=False
    ).returncode
