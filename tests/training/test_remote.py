"""Runs in an object store: trained, resumed, evaluated and predicted by URI."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import ray

from cephray.checkpoint import checkpoints_in, find_checkpoint, open_checkpoint
from cephray.cli.__main__ import main
from cephray.config import Config, dump_config
from cephray.data import write_dataset
from cephray.errors import InputError
from cephray.storage import RemotePath, place
from tests.conftest import Store

pytestmark = pytest.mark.slow
MakeConfig = Callable[..., Config]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "films"
    write_dataset(folder, 10, size_px=(192, 240))
    return folder


@pytest.fixture(scope="module")
def config_file(tmp_path_factory: pytest.TempPathFactory, small_config: MakeConfig) -> Path:
    path = tmp_path_factory.mktemp("config") / "small.yaml"
    path.write_text(dump_config(small_config("train.epochs=2", "data.validation=test1")))
    return path


@pytest.fixture(scope="module")
def run_uri(
    store: Store, films: Path, config_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """Train two epochs by the command line, and a third one resumed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("cache")))
        uri = store.uri("runs/first")
        train = ["train", "--data", str(films), "--output", uri]
        assert main([*train, "--config", str(config_file)]) == 0
        assert not ray.is_initialized()
        assert main([*train, "--resume", "--set", "train.epochs=3"]) == 0
    return uri


def test_all_of_a_run_is_in_the_store(run_uri: str) -> None:
    run = place(run_uri)
    assert isinstance(run, RemotePath)
    history = (run / "history.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in history] == ["epoch", "1", "2", "3"]
    assert "epochs: 3" in (run / "config.yaml").read_text()
    assert len(list((run / "tensorboard").iterdir())) == 2
    last = checkpoints_in(run)[-1]
    assert [row["epoch"] for row in last.progress.history] == [1, 2, 3]


def test_another_run_is_refused_there(
    run_uri: str, films: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--data", str(films), "--output", run_uri]) == 2
    assert "holds another run; go on with it by --resume" in capsys.readouterr().err
    arguments = ["--output", run_uri, "--resume", "--set", "model.head_units=99"]
    assert main(["train", "--data", str(films), *arguments]) == 2
    assert "cannot resume with model.head_units=99" in capsys.readouterr().err


def test_evaluate_and_predict_by_uri(run_uri: str, films: Path, tmp_path: Path) -> None:
    report = tmp_path / "evaluate.json"
    test1 = ["--data", str(films), "--split", "test1", "--json", str(report)]
    assert main(["evaluate", "--checkpoint", run_uri, *test1]) == 0
    best = find_checkpoint(place(run_uri))
    measured = json.loads(report.read_text())["mre_mm"]
    assert measured == pytest.approx(best.progress.score, rel=1e-4)
    folder = films / "Dataset/Testing/Test1"
    checkpoint = str(best.folder)
    assert (
        main(["predict", "--checkpoint", checkpoint, "--output", str(tmp_path), str(folder)]) == 0
    )
    assert len(list(tmp_path.glob("*.png"))) == 5


def test_what_is_not_complete_is_passed_over(
    run_uri: str, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    good = checkpoints_in(place(run_uri))[-1]
    run = RemotePath(store.uri("runs/cut"))
    for name in ("whole", "cut"):
        for file in good.folder.iterdir():
            local = good.file(file.name) if file.name.endswith("safetensors") else None
            content = local.read_bytes() if local else file.read_text().encode()
            _write(run / name / file.name, content)
    weights = (run / "cut" / "weights.safetensors").size
    _write(run / "cut" / "weights.safetensors", b"short")
    assert [found.folder.name for found in checkpoints_in(run)] == ["whole"]
    with pytest.raises(InputError, match=rf"weights.safetensors has 5 of {weights} bytes"):
        open_checkpoint(run / "cut")
    # Of the right size, with other content: found when it is fetched.
    _write(run / "cut" / "weights.safetensors", bytes(weights))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "empty"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"weights\.safetensors.* was changed after it was"):
        open_checkpoint(run / "cut").file("weights.safetensors")


def _write(path: RemotePath, content: bytes) -> None:
    system, in_store = path.in_store
    with system.open_output_stream(in_store) as stream:
        stream.write(content)


def test_films_in_the_store_alone(
    store: Store,
    films: Path,
    config_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Train, evaluate and predict from the bucket into the bucket: nothing lies on a path."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    data = RemotePath(store.uri("data/films"))
    data.upload(films)
    run, found = store.uri("runs/second"), store.uri("found")
    train = ["train", "--data", data.uri, "--output", run, "--config", str(config_file)]
    assert main([*train, "--num-workers", "2"]) == 0
    assert main(["evaluate", "--checkpoint", run, "--data", data.uri, "--split", "test1"]) == 0
    local = tmp_path / "local"
    for options in (["--num-workers", "1", "--output", found], ["--output", str(local)]):
        assert main(["predict", "--checkpoint", run, *options, data.uri]) == 0
    results = RemotePath(found).files(recursive=True)
    names = {file.relative_to(RemotePath(found)).as_posix() for file in results}
    assert names == {
        path.relative_to(local).as_posix() for path in local.rglob("*") if path.is_file()
    }
    assert len(names) == 10 * 2 + 2
    for name in ("Dataset/Training/002.json", "landmarks.csv"):
        here, there = (local / name).read_text(), (RemotePath(found) / name).read_text()
        assert len(here) == pytest.approx(len(there), rel=0.05)
        assert "Sella" in there
    capsys.readouterr()
    assert main(["predict", "--checkpoint", run, "--output", store.uri(""), data.uri]) == 2
    assert "is a whole bucket; give a folder in it" in capsys.readouterr().err
    assert main(["train", "--data", store.uri("data"), "--output", store.uri("third")]) == 2
    assert "is one level too high; give s3://films/data/films" in capsys.readouterr().err
    assert main(["data-check", "--data", data.uri]) == 0
