"""Augmentation of a film and its landmarks, by pure functions.

Coordinates follow `geometry.py`. Flip, shift, crop and affine map are matrices on normalised
coordinates. Their product, and an elastic deformation after it, are applied once to the image, and
to the landmarks, so that both stay consistent. It knows no files and no batches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from cephray.config import AffineConfig, AugmentConfig, CropConfig, ShiftConfig
from cephray.data.augmentation.appearance import add_bands, retone
from cephray.data.augmentation.elastic import Displacement, bend, draw_displacement, sources
from cephray.data.opencv import cv2

GrayImage = NDArray[np.uint8]  # [H, W]
Landmarks = NDArray[np.float32]  # [K, 2], normalised; NaN where missing
Matrix = NDArray[np.float64]  # [2, 3], normalised (x, y, 1) -> normalised (x, y)
Mask = Literal["blurred", "dilated", "eroded"]

IDENTITY: Matrix = np.eye(2, 3)
MIRROR: Matrix = np.array([[-1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])


def augment(
    image: GrayImage, landmarks_norm: Landmarks, rng: np.random.Generator, config: AugmentConfig
) -> tuple[GrayImage, Landmarks]:
    """Apply random changes to a film and its landmarks.

    The order is: at most one photometric change, flip, shift, crop, affine map, elastic
    deformation, jitter of the landmarks, bands, and tone. Each call draws the same numbers from
    `rng`, whatever is enabled, so that a switch does not affect other changes. Only the affine map
    and the elastic deformation can move landmarks out of the film.

    Args:
        image: uint8 [H, W]; not modified.
        landmarks_norm: float32 [K, 2], normalised; NaN where missing; not modified.
        rng: random generator.
        config: switches and strengths.

    Returns:
        The image, uint8 [H, W], and the landmarks, float32 [K, 2].
    """
    choice, strength = rng.random(2)
    flip_coin, shift_coin, crop_coin, jitter_coin = rng.random(4)
    shift_draw, crop_draw = rng.random(2), rng.random(4)
    jitter_draw = rng.random(landmarks_norm.shape)
    affine_draw, band_coin, band_draw, tone_draw = (
        rng.random(7),
        rng.random(),
        rng.random(3),
        rng.random(5),
    )
    elastic_coin, elastic_seed = rng.random(), rng.integers(2**63)

    image = _photometric(image, choice, strength, config)

    aspect = image.shape[0] / image.shape[1]
    matrix, moved = IDENTITY, landmarks_norm
    if config.flip.enabled and flip_coin < config.flip.probability:
        matrix = MIRROR
        moved = move(landmarks_norm, matrix)
    if config.shift.enabled and shift_coin < config.shift.probability:
        matrix = compose(shift_matrix(moved, aspect, shift_draw, config.shift), matrix)
        moved = move(landmarks_norm, matrix)
    if config.crop.enabled and crop_coin < config.crop.probability:
        matrix = compose(crop_matrix(moved, aspect, crop_draw, config.crop), matrix)
        moved = move(landmarks_norm, matrix)
    fill = Fill()
    if config.affine.enabled:
        matrix = compose(affine_matrix(aspect, affine_draw[:5], config.affine), matrix)
        moved = move(landmarks_norm, matrix)
        if config.affine.fill == "drawn":
            fill = draw_fill(affine_draw[5:])
    displacement = None
    if config.elastic.enabled and elastic_coin < config.elastic.probability:
        own = np.random.default_rng(elastic_seed)  # it draws as many numbers as its grid needs
        displacement = draw_displacement(own, image.shape[::-1], config.elastic)
        moved = bend(moved, displacement)
    if displacement is not None or not np.array_equal(matrix, IDENTITY):
        image = warp(image, matrix, fill, displacement)

    if config.jitter.enabled and jitter_coin < config.jitter.probability:
        moved = jitter(moved, aspect, jitter_draw, config.jitter.max_shift)

    if config.band.enabled and band_coin < config.band.probability:
        image = add_bands(image, band_draw, config.band)
    if config.tone.enabled:
        image = retone(image, tone_draw, rng, config.tone)
    return image, moved


def high_pass(image: GrayImage, radius: float) -> GrayImage:
    """Remove low spatial frequencies, and stretch the result to 0..255.

    The filter is the Gaussian high-pass 1 - exp(-f² / 2r²), which causes no ringing at edges. A
    film with a single grey value is returned unchanged.

    Args:
        image: uint8 [H, W].
        radius: r, cycles per film, above 0.

    Returns:
        uint8 [H, W].
    """
    height, width = image.shape
    spectrum = np.fft.rfft2(image.astype(np.float32))
    y = np.fft.fftfreq(height, 1 / height).astype(np.float32)[:, None]  # cycles per film
    x = np.fft.rfftfreq(width, 1 / width).astype(np.float32)[None, :]
    spectrum *= -np.expm1(-(x * x + y * y) / (2 * radius * radius))
    filtered = np.fft.irfft2(spectrum, s=image.shape)
    low, high = filtered.min(), filtered.max()
    if high - low < 1e-3:
        return image
    stretched: GrayImage = np.round((filtered - low) * (255 / (high - low))).astype(np.uint8)
    return stretched


def unsharp_mask(image: GrayImage, mask: Mask, amount: float, radius: float) -> GrayImage:
    """Add the difference between the film and a blurred, dilated or eroded copy.

    Args:
        image: uint8 [H, W].
        mask: kind of the copy.
        amount: weight of the difference.
        radius: radius of the filter as a fraction of the film height, but at least one pixel.

    Returns:
        uint8 [H, W].
    """
    radius_px = max(round(radius * image.shape[0]), 1)
    side = 2 * radius_px + 1
    if mask == "blurred":
        copy = cv2.GaussianBlur(image, (0, 0), radius_px)
    else:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        copy = (cv2.dilate if mask == "dilated" else cv2.erode)(image, kernel)
    sharpened: GrayImage = cv2.addWeighted(image, 1 + amount, copy, -amount, 0)
    return sharpened


def solarize(image: GrayImage, threshold: float) -> GrayImage:
    """Invert the pixels that are brighter than `threshold`, from 0 (black) to 1 (white)."""
    return np.where(image > 255 * threshold, 255 - image, image)


def invert(image: GrayImage) -> GrayImage:
    """Swap black and white."""
    return 255 - image


def clahe(image: GrayImage, clip_limit: float, tiles: int) -> GrayImage:
    """Equalise the histogram within tiles, with limited contrast (CLAHE).

    Args:
        image: uint8 [H, W].
        clip_limit: highest histogram bin, as a multiple of the mean bin.
        tiles: number of tiles along each side.

    Returns:
        uint8 [H, W].
    """
    equalised: GrayImage = cv2.createCLAHE(clip_limit, (tiles, tiles)).apply(image)
    return equalised


def shift_matrix(
    landmarks_norm: Landmarks, aspect: float, draw: NDArray[np.float64], config: ShiftConfig
) -> Matrix:
    """Return the matrix of a random shift of the film that keeps a margin around the landmarks.

    Args:
        landmarks_norm: [K, 2], normalised; NaN where missing.
        aspect: height of the image divided by its width.
        draw: [2], random numbers in [0, 1), from the farthest to the left (top) to the farthest to
            the right (bottom).
        config: maximum shift, as a fraction of the possible shift, and margin.

    Returns:
        [2, 3]. There is no shift along an axis on which the landmarks leave no room.
    """
    known = _known(landmarks_norm)
    if not len(known):
        return IDENTITY
    margin = config.margin * np.array([aspect, 1.0])  # [2], normalised
    room_before = np.maximum(known.min(axis=0) - margin, 0)
    room_after = np.maximum(1 - margin - known.max(axis=0), 0)
    fraction = (2 * draw - 1) * (config.horizontal, config.vertical)
    shift = np.where(fraction > 0, fraction * room_after, fraction * room_before)
    return np.column_stack([np.eye(2), shift])


def crop_matrix(
    landmarks_norm: Landmarks, aspect: float, draw: NDArray[np.float64], config: CropConfig
) -> Matrix:
    """Return the matrix that enlarges the landmarks' bounding box, with margins, to the film.

    Args:
        landmarks_norm: [K, 2], normalised; NaN where missing.
        aspect: height of the image divided by its width.
        draw: [4], random numbers in [0, 1) for the margins on the left, top, right and bottom.
        config: minimum and maximum margin.

    Returns:
        [2, 3], or the identity if the bounding box is too small.
    """
    known = _known(landmarks_norm)
    if not len(known):
        return IDENTITY
    margin = config.min_margin + (config.max_margin - config.min_margin) * draw.reshape(2, 2)
    margin = margin * (aspect, 1.0)  # [2, 2], low and high side, normalised (x, y)
    low = np.maximum(known.min(axis=0) - margin[0], 0)
    high = np.minimum(known.max(axis=0) + margin[1], 1)
    if (high - low).min() < 0.01:
        return IDENTITY
    return np.column_stack([np.diag(1 / (high - low)), -low / (high - low)])


def affine_matrix(aspect: float, draw: NDArray[np.float64], config: AffineConfig) -> Matrix:
    """Return the matrix of a random rotation, scaling and stretch about the centre, and shift.

    Args:
        aspect: height of the image divided by its width.
        draw: [5], random numbers in [0, 1) for rotation, scale, aspect, and shift along x and y.
        config: maximum of each in both directions.

    Returns:
        [2, 3].
    """
    rotation, scale, stretch, right, down = 2 * draw - 1
    angle = np.deg2rad(config.rotation_deg * rotation)
    sides = (1 + config.scale * scale) * (1 + config.aspect * stretch) ** np.array([0.5, -0.5])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    to_square = np.diag([1.0, aspect])  # normalised x and y are of different lengths
    linear = np.linalg.inv(to_square) @ turn @ np.diag(sides) @ to_square
    middle = np.array([0.5, 0.5])
    shift = config.shift * np.array([right, down])
    return np.column_stack([linear, middle - linear @ middle + shift])


class Fill(NamedTuple):
    """The fill of pixels that the film does not cover.

    Args:
        replicate: repeat the film's edge pixels.
        grey: grey value, if `replicate` is False.
    """

    replicate: bool = False
    grey: int = 0


def draw_fill(draw: NDArray[np.float64]) -> Fill:
    """Choose a random fill: repeated edges in half of the cases, else black, grey or white.

    Args:
        draw: [2], random numbers in [0, 1).
    """
    return Fill(bool(draw[0] < 0.5), (0, 128, 255)[int(3 * draw[1])])


def jitter(
    landmarks_norm: Landmarks, aspect: float, draw: NDArray[np.float64], max_shift: float
) -> Landmarks:
    """Move each landmark independently by a random offset, within the film.

    Args:
        landmarks_norm: [K, 2], normalised; NaN where missing.
        aspect: height of the image divided by its width.
        draw: [K, 2], random numbers in [0, 1), from the farthest to the left (top) to the farthest
            to the right (bottom).
        max_shift: maximum shift along each axis, as a fraction of the film height.

    Returns:
        float32 [K, 2], normalised.
    """
    offset = (2 * draw - 1) * max_shift * np.array([aspect, 1.0])
    jittered: Landmarks = np.clip(landmarks_norm + offset, 0, 1).astype(np.float32)
    return jittered


def compose(outer: Matrix, inner: Matrix) -> Matrix:
    """Return the matrix [2, 3] that applies `inner` first and then `outer`."""
    composed = outer[:, :2] @ inner
    composed[:, 2] += outer[:, 2]
    return composed


def move(landmarks_norm: Landmarks, matrix: Matrix) -> Landmarks:
    """Apply a matrix [2, 3] to landmarks [K, 2]. Missing landmarks stay missing."""
    points = np.asarray(landmarks_norm, np.float64)
    moved: NDArray[np.float64] = points @ matrix[:, :2].T + matrix[:, 2]
    return moved.astype(np.float32)


def warp(
    image: GrayImage,
    matrix: Matrix,
    fill: Fill = Fill(),  # noqa: B008
    displacement: Displacement | None = None,
) -> GrayImage:
    """Apply a matrix [2, 3] to an image [H, W], then a displacement [H, W, 2], if there is one.

    Both are one resampling. Pixels that the image does not cover are filled.
    """
    height, width = image.shape
    size = np.array([width, height], np.float64)
    linear = size[:, None] * matrix[:, :2] / size
    # Pixel centres lie at (i + 0.5) / size, as in `geometry.to_pixels`.
    offset = matrix[:, 2] * size + linear @ (0.5, 0.5) - 0.5
    borders = {
        "borderMode": cv2.BORDER_REPLICATE if fill.replicate else cv2.BORDER_CONSTANT,
        "borderValue": fill.grey,
    }
    warped: GrayImage
    if displacement is None:
        warped = cv2.warpAffine(
            image,
            np.column_stack([linear, offset]),
            (width, height),
            flags=cv2.INTER_LINEAR,
            **borders,
        )
    else:
        places = (sources(displacement) - offset) @ np.linalg.inv(linear).T
        warped = cv2.remap(
            image, places.astype(np.float32), None, interpolation=cv2.INTER_LINEAR, **borders
        )
    return warped


def _photometric(
    image: GrayImage, choice: float, strength: float, config: AugmentConfig
) -> GrayImage:
    """Apply one of the enabled photometric changes, or none.

    Args:
        image: uint8 [H, W].
        choice: random number in [0, 1) that chooses the change.
        strength: random number in [0, 1) for its strength.
        config: switches and strengths.
    """
    unsharp, masks = config.unsharp_mask, get_args(Mask)
    changes: list[tuple[bool, Callable[[], GrayImage]]] = [
        (
            config.high_pass.enabled,
            lambda: high_pass(image, config.high_pass.max_radius * (1 - strength)),
        ),
        (
            unsharp.enabled,
            lambda: unsharp_mask(
                image, masks[int(strength * len(masks))], unsharp.amount, unsharp.radius
            ),
        ),
        (config.solarize.enabled, lambda: solarize(image, config.solarize.threshold)),
        (config.invert.enabled, lambda: invert(image)),
        (config.clahe.enabled, lambda: clahe(image, config.clahe.clip_limit, config.clahe.tiles)),
    ]
    enabled = [change for switch, change in changes if switch]
    drawn = int(choice * (len(enabled) + 1))
    return enabled[drawn]() if drawn < len(enabled) else image


def _known(landmarks_norm: Landmarks) -> NDArray[np.float64]:
    points = landmarks_norm.astype(np.float64)
    return points[~np.isnan(points).any(axis=-1)]
