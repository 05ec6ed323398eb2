"""How a film lies, compared with an upright one that faces right: turned, mirrored, inverted."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

GrayImage = NDArray[np.uint8]
Points = NDArray[np.floating[Any]]


class Orientation(NamedTuple):
    """How a film lies.

    An upright positive film whose face looks to the right becomes the film if it is first mirrored
    left to right, then turned, and then inverted.

    Args:
        turned_deg: 0, 90, 180 or 270, clockwise.
        mirrored: whether it is mirrored.
        inverted: whether black and white are swapped.
    """

    turned_deg: int = 0
    mirrored: bool = False
    inverted: bool = False

    def right(self, image: GrayImage) -> GrayImage:
        """Return the upright film of a film that lies in this way.

        Args:
            image: uint8 [h, w]; not modified.

        Returns:
            uint8 [H, W], where H and W are swapped if the film lies on its side.
        """
        upright = np.rot90(image, self._quarters)  # counter-clockwise
        if self.mirrored:
            upright = upright[:, ::-1]
        if self.inverted:
            upright = 255 - upright
        return np.ascontiguousarray(upright)

    def lay(self, image: GrayImage) -> GrayImage:
        """Return the film that lies in this way of an upright film. The inverse of `right`."""
        film = image[:, ::-1] if self.mirrored else image
        film = np.rot90(film, -self._quarters)
        return np.ascontiguousarray(255 - film if self.inverted else film)

    def upright_size(self, size_px: tuple[int, int]) -> tuple[int, int]:
        """Return the (width, height) of the upright film of a film of this size."""
        width, height = size_px
        return (height, width) if self._quarters % 2 else (width, height)

    def to_film(self, points_px: Points, size_px: tuple[int, int]) -> Points:
        """Convert points of the upright film to points of the film.

        Args:
            points_px: [..., 2], pixels (x, y) of the upright film.
            size_px: (width, height) of the film, pixels.
        """
        width, height = self.upright_size(size_px)
        x, y = points_px[..., 0], points_px[..., 1]
        if self.mirrored:
            x = width - 1 - x
        for _ in range(self._quarters):  # clockwise
            x, y = height - 1 - y, x
            width, height = height, width
        return np.stack([x, y], axis=-1)

    def to_upright(self, points_px: Points, size_px: tuple[int, int]) -> Points:
        """Convert points of the film to points of the upright film. The inverse of `to_film`."""
        width, height = size_px
        x, y = points_px[..., 0], points_px[..., 1]
        for _ in range(self._quarters):  # counter-clockwise
            x, y = y, width - 1 - x
            width, height = height, width
        if self.mirrored:
            x = width - 1 - x
        return np.stack([x, y], axis=-1)

    @property
    def _quarters(self) -> int:
        return self.turned_deg // 90

    def __str__(self) -> str:
        """Return the orientation in words."""
        words = ["mirrored"] if self.mirrored else []
        words += [f"turned by {self.turned_deg} degrees clockwise"] if self.turned_deg else []
        words += ["inverted"] if self.inverted else []
        return " and ".join(words) or "upright"


UPRIGHT = Orientation()

ORIENTATIONS = tuple(
    Orientation(turned_deg, mirrored)
    for mirrored, turned_deg in itertools.product((False, True), (0, 90, 180, 270))
)
"""All orientations of films that are not inverted, `UPRIGHT` first."""
