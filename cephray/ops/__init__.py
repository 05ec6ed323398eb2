"""The multi-resolution ROI crop: `roi_crop` is the public operation."""

from cephray.ops.roi_crop import roi_crop

__all__ = ["roi_crop"]
