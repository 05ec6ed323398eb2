"""The import of OpenCV, which all other modules use: `from cephray.data.opencv import cv2`.

If the import fails, the message names the cure. OpenCV's log messages are switched off, since
callers check its results and raise their own errors.
"""

from __future__ import annotations

from cephray.errors import RunError

try:
    import cv2
except ImportError as error:
    raise RunError(
        f"OpenCV cannot be imported ({error}): opencv-python needs libGL.so.1 and glib on this"
        " machine; install them, or replace opencv-python: pip uninstall opencv-python && pip"
        " install opencv-python-headless"
    ) from error

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

__all__ = ["cv2"]
