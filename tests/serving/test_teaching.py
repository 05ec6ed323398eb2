from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from cephray.config import load_config
from cephray.data import read_dataset
from cephray.errors import InputError
from cephray.landmarks import ISBI2015
from cephray.serving.case import Found, points_of
from cephray.serving.cases import CaseFolder, Pictures
from cephray.serving.teaching import Teaching
from tests.serving.server import SPACING_MM, facts

NAMES = ("one", "two", "three")


@pytest.fixture
def folder(tmp_path: Path) -> CaseFolder:
    """Return a folder of three checked cases."""
    folder = CaseFolder(tmp_path / "cases", ISBI2015)
    rng = np.random.default_rng(0)
    for name in NAMES:
        image = rng.integers(0, 256, (600, 484), np.uint8)
        found = Found(facts(rng.uniform(50, 400, (19, 2))), "included")
        folder.add(f"{name}.png", Pictures.of(image), found)
        folder.change(name, 1, {"checked": True})
    return folder


def ended(teaching: Teaching) -> dict[str, object]:
    """Wait for the process that teaches."""
    deadline = time.monotonic() + 120
    while teaching.state["state"] == "running" and time.monotonic() < deadline:
        time.sleep(0.1)
    return teaching.state


def test_too_few_films_are_refused(folder: CaseFolder) -> None:
    teaching = Teaching(folder)
    with pytest.raises(InputError, match="2 films were given; at least 3"):
        teaching.start(["one", "two", "two"])
    assert teaching.state == {"state": "idle"}


def test_a_film_that_is_not_checked_is_named(folder: CaseFolder) -> None:
    folder.change("two", 2, {"checked": False})
    with pytest.raises(InputError, match="case two: not marked as checked"):
        Teaching(folder).start(NAMES)


def test_a_film_without_spacing_is_named(folder: CaseFolder) -> None:
    image = np.zeros((600, 484), np.uint8)
    folder.add("four.png", Pictures.of(image), Found(facts(np.ones((19, 2)), None), "included"))
    folder.change("four", 1, {"checked": True})
    with pytest.raises(InputError, match="case four: has no spacing; calibrate it"):
        Teaching(folder).start([*NAMES, "four"])


def test_an_ensemble_is_not_taught(folder: CaseFolder) -> None:
    with pytest.raises(InputError, match="ensemble of 2 networks cannot be taught; serve one"):
        Teaching(folder, ["run-1", "run-2"]).start(NAMES)


def test_what_is_taught_is_the_marks_of_the_cases(
    folder: CaseFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    teaching = Teaching(folder)
    teaching._write(tmp_path / "work", [folder.read(name) for name in NAMES], "taught")
    records = read_dataset(tmp_path / "work", "all", load_config().data)
    assert sorted(record.film for record in records) == sorted(NAMES)
    for record in records:
        expected = points_of(folder.read(record.film))
        assert np.array_equal(record.landmarks_px, expected)
        assert record.spacing_mm == pytest.approx(SPACING_MM)
        assert record.image_path.read_bytes() == folder.film(record.film).read_bytes()


def test_a_process_that_fails_says_why_and_leaves_nothing(folder: CaseFolder) -> None:
    teaching = Teaching(folder, [str(folder.folder / "nothing")])
    begun = teaching.start(NAMES)
    assert (begun["state"], begun["done"], begun["total"]) == ("running", 0, 9)
    with pytest.raises(InputError, match="is being taught; wait"):
        teaching.start(NAMES)
    state = ended(teaching)
    assert state["state"] == "failed"
    assert "nothing" in str(state["error"])
    assert teaching.taught() == []
    assert not (folder.folder / ".teaching" / str(begun["name"])).exists()


def test_a_process_that_is_stopped_leaves_nothing(folder: CaseFolder) -> None:
    teaching = Teaching(folder)
    teaching.start(NAMES)
    teaching.stop()
    assert ended(teaching)["state"] == "failed"
    assert teaching.taught() == []
    assert not (folder.folder / ".teaching").exists()


def test_a_process_ends_when_its_server_is_killed(folder: CaseFolder) -> None:
    folder.close()
    script = """if True:
        import sys, time
        from pathlib import Path
        from cephray.landmarks import ISBI2015
        from cephray.serving.cases import CaseFolder
        from cephray.serving.teaching import Teaching

        teaching = Teaching(CaseFolder(Path(sys.argv[1]), ISBI2015))
        teaching.start(sys.argv[2:])
        print(teaching._process.pid, flush=True)
        time.sleep(60)
    """
    command = [sys.executable, "-c", script, str(folder.folder), *NAMES]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        taught = psutil.Process(int(server.stdout.readline()))
        assert taught.is_running()
        server.kill()
    gone, _ = psutil.wait_procs([taught], timeout=20)  # it took minutes to teach
    assert gone
    assert (folder.folder / ".teaching").exists()
    Teaching(CaseFolder(folder.folder, ISBI2015))
    assert not (folder.folder / ".teaching").exists()


def test_a_choice_holds_for_the_next_start(folder: CaseFolder) -> None:
    teaching = Teaching(folder)
    assert teaching.chosen is None
    checkpoint = folder.folder / "checkpoints" / "taught-1"
    checkpoint.mkdir(parents=True)
    (checkpoint / "adaptation.json").write_text(json.dumps({"films": []}), encoding="utf-8")
    teaching.choose("taught-1")
    assert Teaching(folder).chosen == "taught-1"
    assert teaching.path("taught-1") == checkpoint
    (checkpoint / "adaptation.json").unlink()
    assert teaching.chosen is None
    for name in ("taught-1", "..", "../cases", "", "x/y"):
        with pytest.raises(InputError, match="there is no checkpoint"):
            teaching.path(name)
