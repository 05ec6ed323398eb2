"""`import cephray`: quick, typed, and its examples run."""

from __future__ import annotations

import doctest
import io
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cephray
from cephray.errors import InputError

NAMES = ("evaluate", "load", "read_film", "roi_crop", "train")


def test_it_hands_on_its_names_and_they_say_what_they_are() -> None:
    assert set(NAMES) == set(dir(cephray)) - {"__version__"}
    for name in NAMES:
        documented = getattr(cephray, name).__doc__
        assert "Args:" in documented, name
        assert "Returns:" in documented, name
        assert ">>>" in documented, name
    assert (Path(cephray.__file__).parent / "py.typed").is_file()


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import sys, cephray; print(*sorted(m for m in sys.modules if '.' not in m))"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(ended.stdout.split())
    assert not loaded & {"tensorflow", "keras", "ray", "cv2", "numpy", "pydantic", "pyarrow"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw the films that the examples name."""
    from cephray.data import write_dataset

    folder = tmp_path_factory.mktemp("example")
    write_dataset(folder / "films", 6, size_px=(484, 600))
    film = sorted((folder / "films").rglob("*.png"))[0]
    (folder / "film.png").write_bytes(film.read_bytes())
    return folder


def objects() -> dict[str, Any]:
    from cephray.ops import RoiCrop
    from cephray.prediction import FilmResult, Predictor

    named: dict[str, Any] = {name: getattr(cephray, name) for name in NAMES}
    return named | {
        "RoiCrop": RoiCrop,
        "FilmResult": FilmResult,
        "Predictor.predict": Predictor.predict,
    }


def quick_and_silent(train: Callable[..., Any]) -> Callable[..., Any]:
    """Train for two epochs at a small size, without the lines of progress."""

    def call(*args: Any, **options: Any) -> Any:
        small = ["train.epochs=2", "data.image_height=96", "data.image_width=64"]
        with redirect_stdout(io.StringIO()):
            return train(*args, overrides=small, **options)

    return call


@pytest.mark.parametrize("name", objects())
def test_its_example_runs(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    monkeypatch.chdir(folder)
    documented = objects()[name].__doc__
    if name == "train":
        monkeypatch.setattr(cephray, "train", quick_and_silent(cephray.train))
    known = {"cephray": cephray, "np": np, "keras": keras, **objects()}
    test = doctest.DocTestParser().get_doctest(documented, known, name, None, None)
    assert test.examples
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    results = runner.run(test, out=said.append)
    assert results.failed == 0, "".join(said)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: cephray.train("smal", data="films", output="run"), "config 'smal'.*'small'"),
        (
            lambda: cephray.train(data="films", output="run", overrides=["train.epoch=2"]),
            "train.epoch",
        ),
        (lambda: cephray.train(data="no", output="run"), "no"),
        (lambda: cephray.train(data="films", output="films"), "films: is not empty"),
        (lambda: cephray.evaluate(data="films", split="test3"), "split must be one of.*'test3'"),
        (
            lambda: cephray.evaluate(data="films", split="test1", reader="both"),
            "data.reader=both: the readers of ISBI 2015 .* are senior, junior; give one",
        ),
        (lambda: cephray.evaluate("no", data="films", split="test1"), "no: no such folder"),
        (lambda: cephray.read_film("no.png"), "film no.png does not exist"),
    ],
)
def test_wrong_arguments_are_named(
    call: Any, words: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(InputError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
