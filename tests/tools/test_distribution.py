"""What is published is complete: source distribution, wheel, image, and installations of them beside other packages."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.missing import missing
from tests.support.shared import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

UV = Path(sys.executable).with_name("uv")
VERSION = "1.2.3"
SECRET = ROOT / "prometheus" / "secrets" / "slack_url"

LEADS = "".join(
    json.dumps(
        {"event": "lead_created", "event_id": f"e{n}", "lead_id": f"l{n}", "occurred_at": f"2026-03-02T10:0{n}Z"}
    )
    + "\n"
    for n in range(3)
)


def run(*command: object, cwd: Path, **environment: str) -> str:
    """The output of a program that has to succeed. It sees no settings of this machine's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SALESGAUGE_", "PYTHON"))}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=kept | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build(target: str, folder: Path, out: Path) -> Path:
    """Build what the backend builds, with the locked backend."""
    run(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", out, cwd=folder)
    [made] = out.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return made


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of this checkout, in which somebody keeps a secret."""
    had = SECRET.exists()
    if not had:
        SECRET.write_text("https://example.invalid/hook\n")
    try:
        return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))
    finally:
        if not had:
            SECRET.unlink()


@pytest.fixture(scope="module")
def sources(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution."""
    folder = tmp_path_factory.mktemp("sources")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    [top] = folder.iterdir()
    return top


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution."""
    return build("wheel", sources, tmp_path_factory.mktemp("wheel"))


def test_the_source_distribution_holds_every_file_of_the_repository(sources):
    if not (ROOT / ".git").exists():
        missing("git's list of files (this is no checkout)", "run it in a clone", fail=False)
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).splitlines()
    here = {name for name in listed if (ROOT / name).exists()}
    held = {
        path.relative_to(sources).as_posix() for path in sources.rglob("*") if path.is_symlink() or not path.is_dir()
    }
    assert here - held == set()
    assert held - here == {"PKG-INFO"}


def test_the_links_to_the_rooms_stay_links(sources):
    links = {path.name: path.readlink().as_posix() for path in (ROOT / "salesgauge").iterdir() if path.is_symlink()}
    assert set(links) == {"grafana", "metrics", "schemas", "streams"}
    assert {name: (sources / "salesgauge" / name).readlink().as_posix() for name in links} == links


def test_the_wheel_is_the_same_from_a_checkout_and_from_the_source_distribution(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as ours, zipfile.ZipFile(build("wheel", ROOT, tmp_path)) as theirs:
        assert [(entry.filename, entry.CRC) for entry in ours.infolist() if "dist-info" not in entry.filename] == [
            (entry.filename, entry.CRC) for entry in theirs.infolist() if "dist-info" not in entry.filename
        ]


def test_the_wheel_holds_data_and_licence_but_no_secrets_and_no_tests(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name.partition("/")[2] if ".dist-info" in name else name for name in archive.namelist()}
        [described] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = archive.read(described).decode()
    wanted = {
        "licenses/LICENSE",
        "salesgauge/py.typed",
        "salesgauge/deployment/docker-compose.yml",
        *(f"salesgauge/deployment/{path.relative_to(ROOT)}" for path in data("prometheus", "*.yml", "*.tmpl")),
        *(f"salesgauge/{path.relative_to(ROOT)}" for path in data("schemas", "*.json", "*.yaml")),
        *(f"salesgauge/{path.relative_to(ROOT)}" for path in data("grafana", "*.json", "*.yml")),
        *(f"salesgauge/{path.relative_to(ROOT)}" for path in data("streams", "*.html", "*.css", "*.js", "*.json")),
    }
    assert len(wanted) > 45
    assert wanted - names == set()
    assert not fnmatch.filter(names, "*slack_url*")
    assert {name.partition("/")[0] for name in names if "/" in name} == {"salesgauge", "licenses"}
    assert "License-Expression: Apache-2.0\n" in metadata


def data(folder: str, *patterns: str) -> list[Path]:
    """The files below a folder of the project that are no code."""
    return [path for pattern in patterns for path in (ROOT / folder).rglob(pattern)]


def test_the_tests_run_from_the_source_distribution(sources):
    run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/schemas/test_events.py", cwd=sources)


# --- the image ---


@dataclass(frozen=True)
class Recipe:
    """What the first stage of the Dockerfile copies and runs, in its order."""

    copied: list[str]
    commands: list[str]


def recipe() -> Recipe:
    """Read the first stage of the Dockerfile."""
    stage = (ROOT / "Dockerfile").read_text().partition("\nFROM ")[2].partition("\nFROM ")[0]
    lines = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", stage)).splitlines()
    copied = [source for line in lines if line.startswith("COPY ") for source in line.split()[1:-1]]
    return Recipe(copied, [line.removeprefix("RUN ") for line in lines if line.startswith("RUN ")])


def test_the_image_is_given_all_that_it_copies_and_nothing_else():
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = set(recipe().copied)
    assert copied == {name for name in allowed if "/" not in name}
    assert {name for name in copied if not (ROOT / name).exists()} == set()
    assert {"salesgauge", *(path.name for path in (ROOT / "salesgauge").iterdir() if path.is_symlink())} <= copied


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment that the image's build makes, from the same files by the same commands, without git."""
    folder = tmp_path_factory.mktemp("image")
    context, environment = folder / "build", folder / "salesgauge"
    context.mkdir()
    for name in recipe().copied:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, context / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, context / name)
    programs = folder / "programs"
    programs.mkdir()
    (programs / "python").symlink_to(Path(sys.base_prefix, "bin", f"python{sys.version_info.major}"))
    for command in recipe().commands:
        try:
            run(
                "bash", "-ec", command.replace("/opt/salesgauge", str(environment)),
                cwd=context,
                PATH=f"{environment}/bin:{programs}:/usr/bin:/bin",
                SETUPTOOLS_SCM_PRETEND_VERSION_FOR_SALESGAUGE=VERSION,
            )  # fmt: skip
        except AssertionError as error:
            if "Temporary failure in name resolution" in str(error):
                missing("a package index", "connect to a network")
            raise
    return environment


def test_the_image_says_its_version(image, tmp_path):
    assert run(image / "bin" / "salesgauge", "--version", cwd=tmp_path) == f"salesgauge, version {VERSION}\n"


def test_the_image_holds_no_installer_and_no_build_backend(image):
    names = {path.name.partition("-")[0] for path in image.glob("lib/*/site-packages/*.dist-info")}
    assert names & {"pip", "setuptools", "hatchling", "hatch_vcs", "setuptools_scm", "vcs_versioning"} == set()


def test_without_git_and_without_a_version_the_build_takes_the_fallback(sources, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(sources, bare, symlinks=True)
    (bare / "PKG-INFO").unlink()
    made = build("wheel", bare, tmp_path / "dist")
    [fallback] = re.findall(r'^fallback-version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert made.name.startswith(f"salesgauge-{fallback}-")


# --- installations beside other packages ---


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Packages that are called as our rooms are: a real one, and two made here."""
    folder = tmp_path_factory.mktemp("strangers")
    made = ["schemas==0.7.1"]
    for name in ("metrics", "streams"):
        package = folder / name / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text('OWNER = "somebody else"\n')
        (folder / name / "pyproject.toml").write_text(
            f'[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
            f'[project]\nname = "{name}"\nversion = "1"\n'
        )
        made.append(str(build("wheel", folder / name, folder / f"{name}-dist")))
    return made


@pytest.fixture
def cluttered(tmp_path: Path) -> Path:
    """A working directory whose folders and modules are called as our rooms are, and end what imports them."""
    for name in ("metrics", "grafana"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the working directory was imported')\n")
    (tmp_path / "schemas.py").write_text("raise SystemExit('the working directory was imported')\n")
    (tmp_path / "events.jsonl").write_text(LEADS)
    return tmp_path


@pytest.fixture(scope="module")
def editable(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An editable installation of the unpacked source distribution, in an environment of its own."""
    folder = tmp_path_factory.mktemp("editable") / "venv"
    venv.create(folder)
    install(folder, "--require-hashes", "--no-deps", "-r", ROOT / "requirements.lock")
    install(folder, "--no-deps", "--no-build-isolation", "--editable", sources)
    return folder


def install(environment: Path, *what: object) -> None:
    """Install packages into an environment."""
    uv("install", environment, *what)


def uv(verb: str, environment: Path, *what: object) -> None:
    """Run uv on an environment. Without an index the test is skipped, or fails in CI."""
    try:
        run(UV, "pip", verb, "--system-certs", "--quiet", "--python", environment / "bin" / "python", *what, cwd=ROOT)
    except AssertionError as error:
        if "dns error" in str(error) or "client error (Connect)" in str(error):
            missing("a package index", "connect to a network")
        raise


@pytest.mark.parametrize("kind", ["image", "editable"])
def test_it_works_beside_packages_of_its_rooms_names_and_without_them(kind, request, strangers, cluttered):
    environment: Path = request.getfixturevalue(kind)
    command = environment / "bin" / "salesgauge"
    install(environment, "--no-deps", *strangers)
    assert run(environment / "bin" / "python", "-c", "import streams; print(streams.OWNER)", cwd=ROOT.parent) == (
        "somebody else\n"
    )
    works(command, cluttered)
    works(environment / "bin" / "python", cluttered, "-m", "salesgauge")
    uv("uninstall", environment, "schemas", "metrics", "streams")
    works(command, cluttered)


def works(program: Path, folder: Path, *before: str) -> None:
    """The command line answers, knows its KPIs, computes, and writes out a stack of one's own."""
    assert "replay" in run(program, *before, "--help", cwd=folder)
    assert "new_leads" in run(program, *before, "kpis", cwd=folder)
    replayed = json.loads(
        run(
            program,
            *before,
            "replay",
            "--events",
            "events.jsonl",
            "--at",
            "2026-03-02T11:00Z",
            "--json",
            "--kpi",
            "new_leads",
            "--window",
            "24h",
            cwd=folder,
        )
    )
    assert [reading["value"] for reading in replayed["readings"] if not reading["labels"]] == [3]
    stack = folder / f"stack of {program.name}"
    shutil.rmtree(stack, ignore_errors=True)
    run(program, *before, "generate", "--new", "--root", stack, cwd=folder)
    made = {path.relative_to(stack).as_posix() for path in stack.rglob("*") if path.is_file()}
    assert made >= {
        "docker-compose.yml",
        "docs/alerts.md",
        "grafana/dashboards/sales/speed-to-lead.json",
        "grafana/provisioning/datasources/salesgauge.yml",
        "prometheus/alertmanager.yml",
        "prometheus/prometheus.yml",
        "prometheus/rules/alerts.yml",
        "prometheus/templates/salesgauge.tmpl",
        "prometheus/thresholds.yml",
        "sources/README.md",
    }
    run(program, *before, "generate", "--check", "--root", stack, cwd=folder)
