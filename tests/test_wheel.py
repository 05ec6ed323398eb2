"""The wheel holds all that the commands and the search need, and works without a checkout.

The wheel is built without its compiled parts, which takes seconds; `tests/training/test_jobs.py`
runs the whole one on a cluster.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import cephray
from cephray.config.presets import preset_files

CHECKOUT = Path(__file__).parents[1]
PACKAGES = ("cephray", "tune")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("scikit_build_core", reason="make installs it, to build the wheel with")
    folder = tmp_path_factory.mktemp("wheel")
    build = ["-C", "wheel.cmake=false", "-C", f"build-dir={folder / 'build'}"]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         *build, "--wheel-dir", str(folder), str(CHECKOUT)],
        check=True,
    )  # fmt: skip
    [found] = folder.glob("cephray-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python where only the unpacked wheel, and no checkout, can be imported."""
    packages = [path for path in sys.path if path.endswith("site-packages")]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment["PYTHONPATH"] = os.pathsep.join([str(installed), *packages])
    return subprocess.run(
        # Without `site` the editable installation of the checkout is not found.
        [sys.executable, "-S", *arguments],
        env=environment, cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_it_holds_the_files_of_both_packages(wheel: Path) -> None:
    sources = {
        str(path.relative_to(CHECKOUT))
        for package in PACKAGES
        for path in (CHECKOUT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".so"
    }
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if ".dist-info/" not in name} == sources
    assert {f"cephray/config/presets/{name}.yaml" for name in preset_files()} < names
    assert {"tune/search.py", "tune/spaces/default.yaml", "tune/report.html.j2"} < names


def test_every_preset_is_found_by_name(installed: Path, tmp_path: Path) -> None:
    code = """
import cephray, json, tune
from cephray.config import dump_config, load_config
from cephray.config.presets import preset_files
print(json.dumps({
    "where": [cephray.__file__, tune.__file__],
    "presets": {name: dump_config(load_config(name)) for name in preset_files()},
}))
"""
    ended = run(installed, tmp_path, "-c", code)
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    assert said["where"] == [str(installed / f"{package}/__init__.py") for package in PACKAGES]
    assert said["where"][0] != cephray.__file__
    assert list(said["presets"]) == list(preset_files())


@pytest.mark.parametrize(
    "command",
    [
        ["tune.search", "--data", "films", "--output", "out"],
        ["cephray.cli", "train", "--data", "films", "--output", "out"],
        ["cephray.cli", "data-check", "--data", "films"],
    ],
    ids=["search", "train", "data-check"],
)
def test_commands_work_from_an_empty_folder(
    command: list[str], installed: Path, tmp_path: Path
) -> None:
    helped = run(installed, tmp_path, "-m", *command, "--config", "small", "--help")
    assert helped.returncode == 0, helped.stderr
    assert "preset (best, paper, small) or YAML file" in " ".join(helped.stdout.split())
    ended = run(installed, tmp_path, "-m", *command, "--config", "small")
    assert ended.returncode == 2, ended.stderr
    [line] = ended.stderr.splitlines()  # the configuration was read; the films are what is missing
    assert "films" in line
    assert "does not exist" in line
