"""Tests the directions of offsets, the coverage of ellipses, and plots of few data."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from cephray.drawing.plots import (
    covering_ellipse,
    draw_agreement,
    draw_history,
    draw_offsets,
    draw_success,
)


def pixels_like(path: Path, blue: int, green: int, red: int) -> np.ndarray[tuple[int, int]]:
    """Return which pixels of a picture have nearly the given colour."""
    image = np.asarray(cv2.imread(str(path))).astype(int)
    return np.asarray((np.abs(image - [blue, green, red]) < 70).all(axis=-1))


@pytest.mark.parametrize(
    ("offset_mm", "place"),
    [((900, -2), (5, -2)), ((-900, 2), (-5, 2)), ((1, 900), (1, 5)), ((0, -6), (0, -5))],
)
def test_offsets_are_oriented_as_on_the_film(
    tmp_path: Path, offset_mm: tuple[float, float], place: tuple[float, float]
) -> None:
    """A point beyond the limit is a red cross on the border in its direction."""
    path = tmp_path / "offsets.png"
    draw_offsets(path, np.array([[1.0, 1.0], offset_mm, [np.nan, np.nan]]), limit_mm=5)
    rows, columns = np.nonzero(pixels_like(path, 0x30, 0x30, 0xC5))
    middle, per_mm = (0.16 + 0.81 / 2, 1 - 0.12 - 0.81 / 2), 0.81 / 10
    expected = [400 * (middle[axis] + per_mm * place[axis]) for axis in (0, 1)]
    assert [columns.mean(), rows.mean()] == pytest.approx(expected, abs=3)


def test_points_within_the_limit_are_not_red(tmp_path: Path) -> None:
    path = tmp_path / "offsets.png"
    draw_offsets(path, np.array([[1.0, 1.0], [-4.9, 4.9]]), limit_mm=5)
    assert not pixels_like(path, 0x30, 0x30, 0xC5).any()


def test_the_ellipse_of_a_normal_distribution() -> None:
    """Axes and angle follow from the distribution, and 95 % of the points are inside."""
    angle = np.radians(30)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    drawn = np.random.default_rng(0).normal(size=(20_000, 2)) * (3.0, 1.0)
    found = covering_ellipse(drawn @ turn.T + (1, -2))
    assert found is not None
    centre, lengths, angle_deg = found
    radius = np.sqrt(-2 * np.log(0.05))
    assert centre == pytest.approx((1, -2), abs=0.1)
    assert lengths == pytest.approx((2 * radius * 3, 2 * radius), rel=0.03)
    assert angle_deg % 180 == pytest.approx(30, abs=1)
    inside = ((drawn / np.array(lengths) * 2) ** 2).sum(axis=-1) <= 1
    assert inside.mean() == pytest.approx(0.95, abs=0.003)


def test_outliers_hardly_affect_the_ellipse() -> None:
    near = np.random.default_rng(1).normal(size=(147, 2))
    without = covering_ellipse(near)
    with_outliers = covering_ellipse(np.concatenate([near, [[30, 5], [-20, 9], [15, 15]]]))
    assert without is not None
    assert with_outliers is not None
    assert with_outliers[0] == pytest.approx(without[0], abs=0.1)
    assert with_outliers[1] == pytest.approx(without[1], rel=0.3)


def test_ellipses_of_few_or_collinear_points() -> None:
    assert covering_ellipse(np.ones((2, 2))) is None
    for points in (np.ones((5, 2)), np.stack([np.arange(5.0), np.arange(5.0)], axis=1)):
        found = covering_ellipse(points)
        assert found is not None
        assert np.isfinite([*found[0], *found[1], found[2]]).all()
        assert found[1][1] < 0.01


def test_plots_of_few_data(tmp_path: Path) -> None:
    """Missing offsets, a single error and a single epoch give plots without a warning."""
    draw_offsets(tmp_path / "none.png", np.full((3, 2), np.nan), 3)
    draw_success(
        tmp_path / "curve.png", {"refined": np.full((2, 3), np.nan), "stage one": np.ones(1)}
    )
    draw_history(tmp_path / "history.png", [{"epoch": 1, "loss": 0.5}], {"loss": "loss"}, "loss")
    unknown = np.full(3, np.nan)
    draw_agreement(tmp_path / "agreement.png", unknown, unknown, unknown)
    for path in tmp_path.iterdir():
        assert np.asarray(cv2.imread(str(path))).std() > 1, path


def test_limits_of_agreement_are_drawn(tmp_path: Path) -> None:
    """With limits of other readers there are grey lines besides."""
    means, limits = np.array([1.0, 2, 3]), np.array([0.1, -1.5, 1.7])
    for name, others in (("own", []), ("both", [limits * 2])):
        draw_agreement(tmp_path / f"{name}.png", means, means - 2, limits, others)
    own, both = (np.asarray(cv2.imread(str(tmp_path / f"{name}.png"))) for name in ("own", "both"))
    assert own.shape == both.shape
    assert (own != both).any()
