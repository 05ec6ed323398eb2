"""The library with TensorFlow's operation: where it is, and which TensorFlow it fits.

This file knows no framework, so that what only asks for the library does not import one.
"""

from __future__ import annotations

from pathlib import Path

REBUILD = "pip install --no-build-isolation --force-reinstall --no-deps ."


def operation_library(tensorflow: str) -> Path:
    """Return the file of the operation library.

    Args:
        tensorflow: version of TensorFlow that is to load it.

    Raises:
        ImportError: it is missing, or built for another version; with the command that rebuilds
            it.
    """
    try:
        from cephray import _core
    except ImportError as error:
        raise ImportError(f"cephray's compiled part is missing; build it: {REBUILD}") from error
    built = _core.build_info()
    check_tensorflow_version(built["tensorflow"], tensorflow)
    library = Path(_core.__file__).with_name(str(built["op_library"]))
    if not library.exists():
        raise ImportError(f"cephray's op library {library} is missing; rebuild it: {REBUILD}")
    return library


def check_tensorflow_version(built: str | None, running: str) -> None:
    """Refuse a TensorFlow whose binary interface may differ from the one built for.

    Args:
        built: version that the op library was built for, or None if it was not built.
        running: version of the imported TensorFlow.

    Raises:
        ImportError: another minor version, or no op library; with the command that rebuilds it.
    """
    if built is None:
        raise ImportError(f"cephray was built without its TensorFlow op; rebuild it: {REBUILD}")
    if built.split(".")[:2] != running.split(".")[:2]:
        raise ImportError(
            f"cephray's op was built for TensorFlow {built} and this is {running}; "
            f"rebuild it: {REBUILD}"
        )
