"""The network's input: the grey values of a film, in three channels."""

from __future__ import annotations

import numpy as np

from cephray.model import to_input


def test_input_has_the_grey_values_in_three_channels() -> None:
    films = np.random.default_rng(0).integers(0, 256, (3, 7, 5), np.uint8)
    films[0, 0, :2] = 0, 255
    image = to_input(films).numpy()
    assert image.dtype == np.float32
    # To the bit, as runs that are resumed had it.
    np.testing.assert_array_equal(
        image, np.repeat((films * np.float32(1 / 255))[..., None], 3, axis=-1)
    )
    np.testing.assert_allclose(image[..., 1], films / 255.0, rtol=1e-6)
    assert image.max() == 1
