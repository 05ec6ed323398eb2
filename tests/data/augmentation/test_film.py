"""Tests augmentation: landmarks follow the image, and each change equals its definition."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cephray import geometry
from cephray.config import (
    AffineConfig,
    AugmentConfig,
    BandConfig,
    CropConfig,
    ShiftConfig,
    ToneConfig,
    parse_config,
)
from cephray.data.augmentation import appearance
from cephray.data.augmentation import film as module
from cephray.data.augmentation.film import augment

H, W = 200, 160
FRAME = geometry.whole_film((W, H))
ASPECT = H / W
GEOMETRIC = ("flip", "shift", "crop")
CERTAIN = ("affine", "tone")  # augmentations without a probability
PHOTOMETRIC = ("high_pass", "unsharp_mask", "solarize", "invert", "clahe")


def switched(*names: str, **strengths: Any) -> AugmentConfig:
    """Return a configuration with these augmentations enabled, and a probability of 1."""
    tree: dict[str, Any] = {name: {"enabled": True, **strengths} for name in names}
    for name in names:
        if name not in (*PHOTOMETRIC, *CERTAIN):
            tree[name] = {"probability": 1.0, **tree[name]}
    return parse_config({"augment": tree}).augment


def dots() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return a black film with smooth bright dots, and their positions."""
    points_px = np.array([[50.0, 60.0], [101.3, 71.8], [75.5, 120.25], [112.0, 130.6]])
    y, x = np.mgrid[:H, :W]
    image = sum(255 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 8.0) for px, py in points_px)
    return image.astype(np.uint8), geometry.normalise(points_px, FRAME).astype(np.float32)


def centroid(image: NDArray[np.uint8], around_px: NDArray[np.floating[Any]]) -> Any:
    """Return the centroid of the brightness within 9 pixels of a point."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    near = (np.abs(x - around_px[0]) < 9) & (np.abs(y - around_px[1]) < 9)
    weight = image * near.astype(float)
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


def textured(seed: int = 0) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).integers(0, 256, (H, W)).astype(np.uint8)
    blurred: NDArray[np.uint8] = cv2.GaussianBlur(noise, (0, 0), 2)
    return blurred


@pytest.mark.parametrize(
    "names",
    [
        *[(n,) for n in (*GEOMETRIC, "affine", "elastic")],
        GEOMETRIC,
        ("flip", "crop"),
        ("flip", "affine"),
        ("flip", "affine", "elastic"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_landmarks_follow_the_image(names: tuple[str, ...], seed: int) -> None:
    image, landmarks = dots()
    moved_image, moved = augment(image, landmarks, np.random.default_rng(seed), switched(*names))
    assert moved_image.shape == image.shape
    assert moved.dtype == np.float32
    assert not np.allclose(moved, landmarks)
    assert ((moved >= 0) & (moved <= 1)).all()
    for point_px in geometry.to_pixels(moved, FRAME):
        assert np.linalg.norm(centroid(moved_image, point_px) - point_px) < 0.3


@pytest.mark.parametrize("name", PHOTOMETRIC)
def test_photometric_changes_move_nothing(name: str) -> None:
    image, landmarks = textured(), dots()[1]
    config = switched(name)
    changed = 0
    for seed in range(20):
        result, moved = augment(image, landmarks, np.random.default_rng(seed), config)
        assert result.dtype == np.uint8
        assert result.shape == image.shape
        np.testing.assert_array_equal(moved, landmarks)
        changed += not np.array_equal(result, image)
    assert 4 <= changed <= 16  # this change and no change are equally likely


def test_jitter_moves_points_only() -> None:
    image, landmarks = dots()
    config = switched("jitter", max_shift=0.02)
    result, moved = augment(image, landmarks, np.random.default_rng(0), config)
    assert result is image
    offset_px = np.abs(geometry.to_pixels(moved, FRAME) - geometry.to_pixels(landmarks, FRAME))
    assert (offset_px <= 0.02 * H + 1e-3).all()
    assert (offset_px > 0).all()


def test_jitter_keeps_points_inside_the_film() -> None:
    image, _ = dots()
    corners = np.array([[0, 0], [1, 1], [0, 1], [1, 0]] * 5, np.float32)
    config = switched("jitter", max_shift=0.02)
    _, moved = augment(image, corners, np.random.default_rng(0), config)
    assert moved.min() == 0
    assert moved.max() == 1
    assert ((moved > 0) & (moved < 1)).sum() > 10


def test_disabled_augmentation_changes_nothing() -> None:
    image, landmarks = dots()
    result, moved = augment(image, landmarks, np.random.default_rng(0), AugmentConfig())
    assert result is image
    assert moved is landmarks


def test_results_are_reproducible_and_inputs_are_not_modified() -> None:
    image, landmarks = textured(), dots()[1]
    copies = image.copy(), landmarks.copy()
    config = switched(*GEOMETRIC, *PHOTOMETRIC, "jitter")
    first, second = (augment(image, landmarks, np.random.default_rng(4), config) for _ in "ab")
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    np.testing.assert_array_equal(image, copies[0])
    np.testing.assert_array_equal(landmarks, copies[1])


@pytest.mark.parametrize("name", [*GEOMETRIC, *PHOTOMETRIC, "jitter"])
def test_the_number_of_random_draws_is_fixed(name: str) -> None:
    after = []
    for config in (AugmentConfig(), switched(name)):
        for landmarks in (dots()[1], np.full((4, 2), np.nan, np.float32)):
            rng = np.random.default_rng(0)
            augment(textured(), landmarks, rng, config)
            after.append(rng.random())
    assert len(set(after)) == 1


def test_a_probability_of_zero_disables() -> None:
    image, landmarks = dots()
    config = switched(*GEOMETRIC, "jitter", probability=0.0)
    for seed in range(10):
        assert augment(image, landmarks, np.random.default_rng(seed), config)[0] is image


def test_missing_landmarks_are_ignored_and_stay_missing() -> None:
    image, landmarks = dots()
    with_gap = np.concatenate([landmarks, np.full((1, 2), np.nan, np.float32)])
    for matrix in (module.shift_matrix, module.crop_matrix):
        config: Any = ShiftConfig() if matrix is module.shift_matrix else CropConfig()
        draw = np.full(2 if matrix is module.shift_matrix else 4, 0.9)
        np.testing.assert_array_equal(
            matrix(with_gap, ASPECT, draw, config), matrix(landmarks, ASPECT, draw, config)
        )
    everything = switched(*GEOMETRIC, "jitter")
    moved = augment(image, with_gap, np.random.default_rng(1), everything)[1]
    assert np.isnan(moved[-1]).all()
    assert not np.isnan(moved[:-1]).any()
    none = np.full((4, 2), np.nan, np.float32)
    assert augment(image, none, np.random.default_rng(1), switched("shift", "crop"))[0] is image


def test_flip_mirrors_exactly() -> None:
    image, landmarks = textured(), dots()[1]
    result, moved = augment(image, landmarks, np.random.default_rng(0), switched("flip"))
    np.testing.assert_array_equal(result, image[:, ::-1])
    np.testing.assert_allclose(moved, np.stack([1 - landmarks[:, 0], landmarks[:, 1]], axis=-1))


def test_warp_by_whole_pixels_is_exact_and_fills_with_black() -> None:
    image = textured()
    result = module.warp(image, np.array([[1, 0, 3 / W], [0, 1, -5 / H]]))
    np.testing.assert_array_equal(result[:-5, 3:], image[5:, :-3])
    assert (result[-5:] == 0).all()
    assert (result[:, :3] == 0).all()


unit = st.floats(0, 1, width=32)
points = st.lists(st.tuples(unit, unit), min_size=1, max_size=6)


@settings(deadline=None, max_examples=60)
@given(points=points, draw=st.tuples(unit, unit), margin=st.floats(0, 0.3))
def test_shifted_landmarks_keep_their_margin(
    points: list[tuple[float, float]], draw: tuple[float, float], margin: float
) -> None:
    landmarks = np.array(points, np.float32)
    config = ShiftConfig(margin=margin)
    moved = module.move(landmarks, module.shift_matrix(landmarks, ASPECT, np.array(draw), config))
    for axis, least in ((0, margin * ASPECT), (1, margin)):
        for after in (moved[:, axis].min(), (1 - moved[:, axis]).min()):
            before = min(landmarks[:, axis].min(), (1 - landmarks[:, axis]).min())
            assert after >= min(least, before) - 1e-5


def test_shift_without_room_is_the_identity() -> None:
    corners = np.array([[0.01, 0.02], [0.99, 0.98]], np.float32)
    matrix = module.shift_matrix(corners, ASPECT, np.array([0.0, 1.0]), ShiftConfig())
    np.testing.assert_array_equal(matrix, module.IDENTITY)


@settings(deadline=None, max_examples=60)
@given(points=points, draw=st.tuples(unit, unit, unit, unit))
def test_cropped_landmarks_stay_inside(
    points: list[tuple[float, float]], draw: tuple[float, float, float, float]
) -> None:
    landmarks = np.array(points, np.float32)
    matrix = module.crop_matrix(landmarks, ASPECT, np.array(draw), CropConfig())
    moved = module.move(landmarks, matrix)
    assert (moved >= -1e-5).all()
    assert (moved <= 1 + 1e-5).all()
    assert (np.diag(matrix[:, :2]) >= 1 - 1e-9).all()  # a crop does not shrink the film
    corners = (np.array([[0, 0], [1, 1]]) - matrix[:, 2]) / np.diag(matrix[:, :2])
    assert ((corners >= -1e-9) & (corners <= 1 + 1e-9)).all()  # it stays inside the film


def test_crop_of_a_single_point_without_margin_is_the_identity() -> None:
    config = CropConfig(min_margin=0, max_margin=0)
    matrix = module.crop_matrix(np.full((1, 2), 0.5, np.float32), 1.0, np.zeros(4), config)
    np.testing.assert_array_equal(matrix, module.IDENTITY)


def test_compose_applies_the_inner_matrix_first() -> None:
    rng = np.random.default_rng(0)
    outer, inner = rng.random((2, 2, 3))
    landmarks = rng.random((5, 2)).astype(np.float32)
    np.testing.assert_allclose(
        module.move(landmarks, module.compose(outer, inner)),
        module.move(module.move(landmarks, inner), outer),
        rtol=1e-5,
    )


def test_high_pass_has_the_gain_of_its_definition() -> None:
    y, x = np.mgrid[:H, :W]
    low, high = np.sin(2 * np.pi * y / H), np.sin(2 * np.pi * 20 * x / W)
    image = (128 + 60 * low + 40 * high).astype(np.uint8)
    result = module.high_pass(image, 0.8).astype(float)
    assert (result.min(), result.max()) == (0, 255)

    def amplitude(wave: NDArray[np.float64]) -> float:
        return float(((result - result.mean()) * wave).mean() / (wave * wave).mean())

    gain = 1 - np.exp(-1 / (2 * 0.8**2))
    assert amplitude(low) / amplitude(high) == pytest.approx(gain * 60 / 40, rel=0.02)


@pytest.mark.parametrize("grey", [0, 77, 255])
def test_films_of_one_grey_value_are_unchanged(grey: int) -> None:
    image = np.full((H, W), grey, np.uint8)
    np.testing.assert_array_equal(module.high_pass(image, 0.5), image)
    for mask in ("blurred", "dilated", "eroded"):
        np.testing.assert_array_equal(module.unsharp_mask(image, mask, 1.0, 0.01), image)


def test_unsharp_mask_adds_the_difference_to_its_copy() -> None:
    image = np.full((9, 9), 100, np.uint8)
    image[4, 4] = 120
    dilated = module.unsharp_mask(image, "dilated", 1.0, 0.0)
    assert (dilated[4, 4], dilated[4, 3], dilated[3, 3], dilated[0, 0]) == (120, 80, 100, 100)
    eroded = module.unsharp_mask(image, "eroded", 1.0, 0.0)
    assert (eroded[4, 4], eroded[4, 3], eroded[0, 0]) == (140, 100, 100)
    blurred = module.unsharp_mask(image, "blurred", 1.0, 0.0)
    assert blurred[4, 4] > 130
    assert blurred[4, 3] < 100
    np.testing.assert_array_equal(module.unsharp_mask(image, "eroded", 0.0, 0.0), image)


def test_solarize_and_invert_each_grey_value() -> None:
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(module.invert(image).ravel(), np.arange(255, -1, -1))
    expected = [v if v <= 127.5 else 255 - v for v in range(256)]
    np.testing.assert_array_equal(module.solarize(image, 0.5).ravel(), expected)
    np.testing.assert_array_equal(module.solarize(image, 1.0), image)


def test_clahe_increases_low_contrast() -> None:
    image = (100 + textured() // 16).astype(np.uint8)
    assert module.clahe(image, 4.0, 4).std() > 2 * image.std()


def test_the_affine_map_has_the_configured_parameters() -> None:
    """Each parameter is tested alone. Angles and lengths are measured in pixels."""
    config = AffineConfig(rotation_deg=10, scale=0.2, aspect=0.1, shift=0.05)
    points = np.array([[0.5, 0.5], [0.7, 0.5], [0.5, 0.8]], np.float32)
    size = np.array([W, H])

    def mapped(index: int, draw: float) -> NDArray[np.float64]:
        draws = np.full(5, 0.5)
        draws[index] = draw
        return np.asarray(
            module.move(points, module.affine_matrix(ASPECT, draws, config)) * size, np.float64
        )

    middle, right, down = points * size
    turned = mapped(0, 1.0)
    np.testing.assert_allclose(turned[0], middle, atol=1e-4)
    for before, after in ((right, turned[1]), (down, turned[2])):
        assert np.linalg.norm(after - middle) == pytest.approx(np.linalg.norm(before - middle))
    sideways = turned[1] - middle
    assert np.rad2deg(np.arctan2(sideways[1], sideways[0])) == pytest.approx(10, abs=1e-3)
    scaled = mapped(1, 0.0)
    np.testing.assert_allclose(scaled - middle, 0.8 * (points * size - middle), atol=1e-4)
    stretched = mapped(2, 1.0) - middle
    ratio = (stretched[1][0] / (right - middle)[0]) / (stretched[2][1] / (down - middle)[1])
    assert ratio == pytest.approx(1.1, rel=1e-4)
    right, up = np.array([0.05, 0]), np.array([0, -0.05])
    np.testing.assert_allclose(mapped(3, 1.0), (points + right) * size, atol=1e-3)
    np.testing.assert_allclose(mapped(4, 0.0), (points + up) * size, atol=1e-3)


def test_uncovered_pixels_have_the_drawn_fill() -> None:
    image = np.full((H, W), 90, np.uint8)
    matrix = np.array([[1, 0, 0.25], [0, 1, 0]])
    greys = set()
    for draw in np.random.default_rng(0).random((40, 2)):
        warped = module.warp(image, matrix, module.draw_fill(draw))
        greys.add(int(warped[H // 2, 5]))
        assert warped[H // 2, W - 5] == 90
    assert greys == {0, 90, 128, 255}
    assert module.warp(image, matrix)[H // 2, 5] == 0


def test_tone_applies_its_curve_and_noise() -> None:
    config = ToneConfig(gamma=0.5, contrast=0.0, brightness=0.0, noise=0.0, inversion=0.5)
    grey = np.arange(256) / 255
    for draw, oracle in (
        ((0.5, 0.5, 0.5, 0.9), grey),
        ((1.0, 0.5, 0.5, 0.9), grey ** np.exp(0.5)),
        ((0.5, 0.5, 0.5, 0.1), 1 - grey),
    ):
        curve = appearance.tone_curve(np.array(draw), config)
        np.testing.assert_allclose(curve, 255 * oracle, atol=0.51)
    bold = ToneConfig(gamma=0.0, contrast=0.3, brightness=0.2, noise=0.04, inversion=0.0)
    curve = appearance.tone_curve(np.array([0.5, 1.0, 1.0, 0.5]), bold)
    np.testing.assert_allclose(
        curve, 255 * np.clip((grey - 0.5) * np.exp(0.3) + 0.7, 0, 1), atol=0.51
    )
    flat = np.full((H, W), 128, np.uint8)
    half = np.array([0.5, 0.5, 0.5, 0.5, 0.5])
    noisy = appearance.retone(flat, half, np.random.default_rng(0), bold)
    assert np.std(noisy.astype(float)) == pytest.approx(255 * 0.02, rel=0.05)
    assert np.mean(noisy) == pytest.approx(128, abs=0.1)


def test_bands_are_dark_or_bright_along_two_edges() -> None:
    image = textured()
    config = BandConfig(max_share=0.2)
    for shade, low, high in ((0.0, 0, 0), (0.49, 35, 40), (0.51, 215, 220), (0.999, 254, 255)):
        banded = appearance.add_bands(image, np.array([0.5, 1.0, shade]), config)
        rows, columns = H // 10, W // 5
        assert low <= banded[0, 0] <= high
        assert (banded[:rows] == banded[0, 0]).all()
        assert (banded[:, :columns] == banded[0, 0]).all()
        np.testing.assert_array_equal(banded[rows:, columns:], image[rows:, columns:])


def test_later_augmentations_do_not_affect_the_draws_of_others() -> None:
    image, landmarks = textured(), dots()[1]
    for seed in range(5):
        plain = augment(image, landmarks, np.random.default_rng(seed), switched("crop"))
        tree: dict[str, Any] = {"enabled": True, "gamma": 0, "contrast": 0, "brightness": 0}
        config = parse_config(
            {
                "augment": {
                    "crop": {"enabled": True, "probability": 1.0},
                    "tone": {**tree, "noise": 0, "inversion": 0},
                    "affine": {
                        "enabled": True,
                        "rotation_deg": 0,
                        "scale": 0,
                        "aspect": 0,
                        "shift": 0,
                    },
                }
            }
        ).augment
        both = augment(image, landmarks, np.random.default_rng(seed), config)
        np.testing.assert_array_equal(both[0], plain[0])
        np.testing.assert_allclose(both[1], plain[1], atol=1e-6)
