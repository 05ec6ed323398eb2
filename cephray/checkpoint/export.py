"""Export: a checkpoint becomes a TensorFlow SavedModel, which needs no cephray where it is served.

The crop is composed of TensorFlow's own operations. What the numbers mean lies beside the model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tensorflow as tf

from cephray.checkpoint.store import Checkpoint
from cephray.errors import InputError, RunError
from cephray.landmarks import landmark_set
from cephray.model import build_network, image_shape, predict
from cephray.storage import is_free

Tensor = Any

DESCRIPTION = "cephray.json"

_FITS = {
    "stretch": "each film resized to this shape",
    "letterbox": "each film with its edges continued to these proportions, then resized",
}


def export_model(checkpoint: Checkpoint, folder: Path) -> None:
    """Write a SavedModel, with a description of its inputs and outputs.

    Its signature "serving_default" takes `image`, uint8 [B, H, W]: films of the network's size as
    `data.films.View` shows them. It gives `coarse` and `refined`, float32 [B, K, 2], normalised
    (x, y) within what is shown; with `model.spread` also `spread`, float32 [B, K]. It looks once,
    whatever the section `inference` says.

    Args:
        checkpoint: verified and complete.
        folder: of the model; made, and empty or not there yet.

    Raises:
        InputError: the folder holds something, or the weights do not fit.
        RunError: it could not be written.
    """
    if not is_free(folder):
        raise InputError(f"output {folder}: not an empty folder; give another")
    network = build_network(checkpoint.config, pretrained=False, portable=True)
    checkpoint.load_weights(network)
    height, width, _ = image_shape(network)

    @tf.function(input_signature=[tf.TensorSpec((None, height, width), tf.uint8, name="image")])
    def serve(image: Tensor) -> dict[str, Tensor]:
        grey = tf.cast(image, tf.float32) * (1 / 255)
        prediction = predict(network, tf.repeat(grey[..., tf.newaxis], 3, axis=-1))
        outputs = {"coarse": prediction.coarse, "refined": prediction.refined}
        if prediction.spread is not None:
            outputs["spread"] = prediction.spread[:, -1]
        return outputs

    module = tf.Module()
    module.network = network
    try:
        tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})
        description = _describe(checkpoint, (height, width))
        (folder / DESCRIPTION).write_text(json.dumps(description, indent=1), encoding="utf-8")
    except (OSError, tf.errors.OpError) as error:
        raise RunError(f"model {folder} could not be written: {error}") from None


def _describe(checkpoint: Checkpoint, size: tuple[int, int]) -> dict[str, Any]:
    landmarks = landmark_set(checkpoint.config.data.landmarks)
    return {
        "image": {
            "shape": ["films", *size],
            "values": f"uint8, 0 black to 255 white; {_FITS[checkpoint.config.data.fit]}",
        },
        "coarse": "float32 [films, landmarks, 2]: x and y of stage one, 0 to 1 over the image",
        "refined": "the same after refinement",
        "landmarks": list(landmarks.names),
        "epoch": checkpoint.progress.epoch,
        "config": checkpoint.config.model_dump(mode="json"),
    }
