"""A checkpoint at work: films in, landmarks of both stages out.

It knows checkpoints and decoded films, and neither the truth nor what becomes of the landmarks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray import geometry
from cephray.data.ahead import prefetch
from cephray.data.films import Film, View
from cephray.data.pipeline import to_input
from cephray.model.network import build_network
from cephray.train.checkpoint import Checkpoint
from cephray.train.step import build_predict_step

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
        return geometry.to_pixels(self.refined_norm, self.film.frame)


class Detector:
    """A checkpoint's network, ready to detect.

    Args:
        checkpoint: verified and complete.

    Raises:
        InputError: its weights do not fit its configuration.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.view = View.of(checkpoint.config.data)
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
            image = to_input([film.image for film in batch], self.view.size)
            prediction = self._predict(image)
            stages = prediction.coarse.numpy(), prediction.refined.numpy()
            for film, first, second in zip(batch, *stages, strict=True):
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
