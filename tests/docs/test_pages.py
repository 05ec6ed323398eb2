"""The pages of the documentation: their commands and their Python run as they stand.

A block runs in a folder that holds a data set `films` and a film `film.png`, after the blocks
before it on its page. A block with the comment `not run: REASON` is only read: its options must be
valid.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from cephray.cli.__main__ import _parser as cephray_parser
from cephray.data import write_dataset
from tests.scripts.loading import load_script
from tune.confirm import _parser as confirm_parser
from tune.search import _parser as search_parser

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", *sorted(f"docs/{p.name}" for p in ROOT.glob("docs/*.md")))
OTHERS = (
    "curl",
    "export",
    "ray",
    "pip",
    "pytest",
    ".venv/bin/pytest",
    "aws",
    "docker",
    "kubectl",
    "optuna-dashboard",
)
SLOW = ("docs/predict.md", "docs/train.md", "docs/search.md")  # a minute or more each
BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>.+?) -->\n)?```(?P<kind>bash|python)\n(?P<text>.*?)```",
    re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One block of code of a page."""

    page: str
    kind: str
    text: str
    reason: str | None


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(page, found["kind"], found["text"], found["reason"])
        for found in BLOCK.finditer(text)
    ]


def commands(block: Block) -> list[list[str]]:
    """Return the words of each command of a block, without comments."""
    return [words for line in block.text.splitlines() if (words := shlex.split(line, True))]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    write_dataset(folder / "films", 12, size_px=(242, 300))
    film = sorted((folder / "films").rglob("*.png"))[0]
    shutil.copy(film, folder / "film.png")
    return folder


def pages() -> list[object]:
    marked = [page for page in PAGES if any(block.reason is None for block in blocks(page))]
    return [
        pytest.param(page, marks=[pytest.mark.slow] if page in SLOW else []) for page in marked
    ]


@pytest.mark.parametrize("page", pages())
def test_what_a_page_says_runs(page: str, drawn: Path, tmp_path: Path) -> None:
    shutil.copytree(drawn, tmp_path, dirs_exist_ok=True)
    python = ""
    environment = {
        k: v for k, v in os.environ.items() if k not in ("RAY_ADDRESS", "KERAS_BACKEND")
    }
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    for block in blocks(page):
        if block.reason is not None:
            continue
        if block.kind == "bash":
            call = ["bash", "-euo", "pipefail", "-c", block.text]
        else:  # names of the page's earlier blocks stay known
            python += block.text
            call = [sys.executable, "-c", python]
        ended = subprocess.run(
            call, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500,
            check=False,
        )  # fmt: skip
        assert ended.returncode == 0, (
            f"{block.text}\n{ended.stdout[-2000:]}\n{ended.stderr[-3000:]}"
        )


NOT_RUN = [block for page in PAGES for block in blocks(page) if block.reason is not None]


@pytest.mark.parametrize("block", NOT_RUN, ids=lambda block: f"{block.page}: {block.reason}")
def test_options_of_what_is_not_run_are_valid(block: Block) -> None:
    assert block.kind == "bash"
    for words in commands(block):
        if "--" in words:  # what a job runs
            words = words[words.index("--") + 1 :]
        if words[:3] == ["python", "-m", "cephray.cli"]:
            words = ["cephray", *words[3:]]
        if words[0] == "cephray":
            cephray_parser().parse_args(words[1:])
        elif words[:3] == ["python", "-m", "tune.search"]:
            search_parser().parse_args(words[3:])
        elif words[:3] == ["python", "-m", "tune.confirm"]:
            confirm_parser().parse_args(words[3:])
        elif words[:2] == ["python", "scripts/results.py"]:
            load_script("results").make_parser().parse_args(words[2:])
        elif words[0] == "make":
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in words[1:])
        else:
            assert words[0] in OTHERS
            for word in words:
                assert not word.startswith("examples/") or (ROOT / word).is_file(), word


def test_every_file_that_a_page_links_to_is_there() -> None:
    for page in (*PAGES, "cephray/checkpoint/weights/README.md"):
        folder = (ROOT / page).parent
        for target in re.findall(
            r"\]\(([^)#]+)[^)]*\)", (ROOT / page).read_text(encoding="utf-8")
        ):
            if "://" not in target:
                assert (folder / target).exists(), f"{page}: {target}"


def test_the_readme_is_short_and_names_every_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.split()) < 850
    for page in PAGES:
        assert page == "README.md" or f"({page})" in readme, page


def test_pre_commit_runs_the_checks_of_lint() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lint = makefile.split("\nlint:")[1].split("\n\n")[0].splitlines()[1:]
    checks = {line.strip().replace("$(VENV)", ".venv").replace(" $(CPP)", "") for line in lint}
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert checks == set(re.findall(r"entry: ([^,]+),", hooks))
