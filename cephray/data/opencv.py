"""The one import of OpenCV: `from cephray.data.opencv import cv2`.

Where it does not import, the message names the cure. OpenCV's own log is kept off the terminal:
callers check what they get and say what is wrong in their own words.
"""

from __future__ import annotations

from cephray.errors import RunError

try:
    import cv2
except ImportError as error:
    raise RunError(
        f"OpenCV does not import ({error}): opencv-python needs libGL.so.1 and glib on this"
        " machine; install them, or replace it: pip uninstall opencv-python && pip install"
        " opencv-python-headless"
    ) from error

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

__all__ = ["cv2"]
