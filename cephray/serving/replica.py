"""A replica: a network in a process of its own, which predicts films in batches for the server.

It is a deployment of Ray Serve. It knows no cases and no HTTP.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from ray import serve

from cephray.checkpoint import open_checkpoints
from cephray.data import Original
from cephray.landmarks import landmark_set
from cephray.progress import import_tensorflow

BATCH_SIZE = 4  # films that the network sees together
_WAIT_S = 0.01  # for more films of a batch; a lone user should not notice

Network = dict[str, Any]
"""`name`, `checkpoints` (paths or URIs, or None for the included one) and `overrides`."""


class Replica:
    """A network that predicts films.

    Args:
        environment: variables of the process, set before TensorFlow is imported.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        os.environ.update(environment)
        self._network: Network | None = None

    def reconfigure(self, network: Network) -> None:
        """Load a network, and predict a film with it, so that the first user does not wait.

        Args:
            network: Its name and checkpoints.
        """
        if network == self._network:
            return
        checkpoints = open_checkpoints(network["checkpoints"], network["overrides"])
        import_tensorflow()
        from cephray.prediction import Detector, Predictor

        # A person waits, and does not see a thousandth of a pixel.
        detector = Detector(*checkpoints, repeatable=False)
        predictor = Predictor(detector, landmark_set(checkpoints[0].config.data.landmarks))
        grey = np.full((64, 64), 128, np.uint8)
        grey[::2] = 0
        predictor.predict(grey)
        self._predictor, self._network = predictor, network

    @serve.batch(  # type: ignore[arg-type]  # its types know one argument alone
        max_batch_size=BATCH_SIZE, batch_wait_timeout_s=_WAIT_S
    )
    async def predict(  # type: ignore[misc]
        self, films: list[Original], spacings_mm: list[float | None]
    ) -> Sequence[dict[str, Any]]:
        """Find the landmarks of films.

        Args:
            films: as they were read.
            spacings_mm: millimetres per pixel of those that do not know their own.

        Returns:
            `facts` of each film, as `FilmResult.to_dict` returns them, the name of the
            `checkpoint`, and the number of `films` that the network saw together.
        """
        assert self._network is not None
        found = self._predictor.predict(films, spacings_mm)
        return [
            {
                "facts": one.to_dict(),
                "checkpoint": self._network["name"],
                "films": len(films),
            }
            for one in found
        ]
