"""A checkpoint at work: films in, landmarks of both stages out.

It knows checkpoints and decoded films, and neither the truth nor what becomes of the landmarks.
TensorFlow is imported where a Detector is made: Detections go to processes that do without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray import geometry
from cephray.data.ahead import prefetch
from cephray.data.films import Film
from cephray.data.pipeline import to_input
from cephray.train.checkpoint import Checkpoint

BATCH_SIZE = 4


@dataclass(frozen=True, eq=False)
class Detection:
    """The landmarks of one film, [K, 2] each, normalised (x, y)."""

    film: Film
    coarse_norm: NDArray[np.float32]
    refined_norm: NDArray[np.float32]

    @property
    def refined_px(self) -> NDArray[np.floating[Any]]:
        """Refined landmarks in pixels of the original film: [K, 2]."""
        return geometry.to_pixels(self.refined_norm, self.film.size_px)


class Detector:
    """A checkpoint's network, ready to detect.

    Args:
        checkpoint: verified and complete.

    Raises:
        InputError: its weights do not fit its configuration.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        from cephray.model.network import build_network
        from cephray.train.step import build_predict_step

        data = checkpoint.config.data
        self.size = (data.image_height, data.image_width)
        network = build_network(checkpoint.config, pretrained=False)
        checkpoint.load_weights(network)
        self._predict = build_predict_step(network)

    def detect(
        self, films: Iterable[Film], progress: Callable[[int], None] = lambda films: None
    ) -> Iterator[Detection]:
        """Detect the landmarks of films, decoded ahead in a thread of its own.

        Args:
            films: of the network's size.
            progress: called with the number of films done since the last call.
        """
        for batch in prefetch(_batches(films)):
            # One film goes as two: of a batch of one, matrix products sum in an order that hangs
            # on the number of threads, and a film's landmarks would hang on its company.
            images = [film.image for film in batch] * (2 if len(batch) == 1 else 1)
            image = to_input(images, self.size)
            coarse, refined = (stage.numpy() for stage in self._predict(image))
            for film, first, second in zip(batch, coarse, refined, strict=False):
                yield Detection(film, first, second)
            progress(len(batch))


def _batches(films: Iterable[Film]) -> Iterator[list[Film]]:
    batch: list[Film] = []
    for film in films:
        batch.append(film)
        if len(batch) == BATCH_SIZE:
            yield batch
            batch = []
    if batch:
        yield batch
