"""The environment variables of processes that run a network.

It knows what TensorFlow, Keras and the C library read, and imports none of them.
"""

from __future__ import annotations


def network_environment(on_gpu: bool) -> dict[str, str]:
    """Return the environment variables of a process that runs a network.

    They name the backend that the op is written for, and silence all logs but errors. The C
    library gets two heaps: with one for each thread, memory grows for hundreds of epochs, as each
    step's tensors come to lie in other heaps. On a GPU, TensorFlow takes memory as it needs it,
    since others may share the card. Otherwise TensorFlow sees no GPU: Ray hides none from a
    process that asked for none.

    Args:
        on_gpu: True if the process asked for a GPU or a part of one.
    """
    return {
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "GLOG_minloglevel": "2",
        "MALLOC_ARENA_MAX": "2",
        **({"TF_FORCE_GPU_ALLOW_GROWTH": "true"} if on_gpu else {"CUDA_VISIBLE_DEVICES": ""}),
    }
