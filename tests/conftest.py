"""What more than one test file uses: the small configuration, a cluster, films, real data."""

from __future__ import annotations

import logging
import os

# Before TensorFlow is imported anywhere.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# A process that a test starts finds memory on the GPU too.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pytest

from cephray.config import Config, load_config
from cephray.data import FilmTable
from tests.devices import on_cpu

SMALL = (
    "data.image_height=96",
    "data.image_width=64",
    "data.validation=none",
    "model.backbone=resnet18",
    "model.fusion_channels=8",
    "model.roi_pool_size=3",
    "model.head_channels=4",
    "model.head_units=8",
    "model.detection_prior=mean_shape",
    "model.detection_scale=0.01",
    "train.global_batch_size=4",
    "train.epochs=2",
    "train.learning_rate=1e-3",
)


@pytest.fixture(scope="session")
def small_config() -> Callable[..., Config]:
    """Build the small configuration, with overrides."""
    return lambda *overrides: load_config(overrides=[*SMALL, *overrides])


@pytest.fixture(scope="session")
def make_table() -> Callable[[int], FilmTable]:
    """Make a table of random films of the small configuration's size."""

    def make(count: int) -> FilmTable:
        rng = np.random.default_rng(count)
        images = list(rng.integers(0, 256, (count, 96, 64), np.uint8))
        return FilmTable(
            films=tuple(f"{number:03d}" for number in range(1, count + 1)),
            landmarks_norm=rng.uniform(0.2, 0.8, (count, 19, 2)).astype(np.float32),
            frame_px=np.full((count, 2), (640, 960)),
            spacing_mm=np.full(count, 0.25),
            image_size=(96, 64),
            images=images,
            digests=tuple(image.tobytes().hex()[:16] for image in images),
        )

    return make


@pytest.fixture
def tiny_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the networks that this process builds the tiny backbone: see `tests.tiny`."""
    from tests.tiny import use_tiny_backbones

    use_tiny_backbones(monkeypatch)


@pytest.fixture
def cpu() -> Iterator[None]:
    """Run a whole test on the CPU, where two runs give the same bits."""
    with on_cpu():
        yield


@pytest.fixture
def full_float32() -> Iterator[None]:
    """Multiply float32 as it is on a GPU, which else rounds the factors to 11 bits (TF32)."""
    from tensorflow.config import experimental

    before = experimental.tensor_float_32_execution_enabled()
    experimental.enable_tensor_float_32_execution(False)
    yield
    experimental.enable_tensor_float_32_execution(before)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real films and published predictions; skip where it is not there."""
    folder = Path(os.environ.get("CEPHRAY_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no real films in {folder / 'data'} (CEPHRAY_SHARED names the folder)")
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Start a cluster of two CPUs."""
    import ray

    ray.init(
        "local",  # beside any other cluster of this machine
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw 22 films: 11 to train on, 11 in Test1."""
    from cephray.data import write_dataset

    folder = tmp_path_factory.mktemp("data") / "films"
    write_dataset(folder, 22, size_px=(192, 240))
    return folder


@dataclass(frozen=True)
class Store:
    """An S3 server on this machine, with one bucket."""

    endpoint: str
    bucket: str = "films"

    def uri(self, folder: str) -> str:
        """Return the URI of a folder in the bucket."""
        return (
            f"s3://{self.bucket}/{folder}?scheme=http&region=us-east-1"
            f"&endpoint_override={self.endpoint.replace(':', '%3A')}"
        )

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Refuse all that comes, for a while."""
        self._allow(0)
        try:
            yield
        finally:
            self._allow(10**9)

    def _allow(self, requests: int) -> None:
        request = Request(
            f"http://{self.endpoint}/moto-api/reset-auth",
            data=str(requests).encode(),
            headers={"Content-Type": "text/plain"},
        )
        urlopen(request, timeout=10).close()


@pytest.fixture(scope="session")
def store() -> Iterator[Store]:
    """Start an S3 server, and give the session credentials for it."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
        found = Store(f"{host}:{port}")
        client = boto3.client("s3", endpoint_url=f"http://{found.endpoint}")
        client.create_bucket(Bucket=found.bucket)
        yield found
    server.stop()
