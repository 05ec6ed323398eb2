"""The data type of coordinates, which is that of the weights.

It knows Keras's dtype policy, and no layer.
"""

from __future__ import annotations

import keras


def coordinate_dtype() -> str:
    """Return the type that layers of coordinates compute in.

    Coordinates need all the bits of float32: bfloat16 resolves 1/256 of the film. So this is
    float32 under the policies `float32` and `mixed_bfloat16`, and float64 under `float64`.
    """
    dtype: str = keras.config.dtype_policy().variable_dtype
    return dtype
