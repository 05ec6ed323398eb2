"""Tests decoding, resizing and framing of films, and the messages for unusable files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cephray import geometry
from cephray.config import DataConfig
from cephray.data.dataset import Record, read_dataset
from cephray.data.films import View, check_landmarks, load_film, read_pixels, resize_film
from cephray.errors import InputError


def ramp(height: int = 40, width: int = 30) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    image: NDArray[np.uint8] = (2 * x + 3 * y).astype(np.uint8)
    return image


def encode(path: Path, image: NDArray[np.generic]) -> Path:
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return path


def record(path: Path, landmarks_px: list[list[float]]) -> Record:
    return Record(path.stem, path, np.array(landmarks_px), spacing_mm=6.0, split="train")


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".jpg"])
def test_grey_films_are_read_unchanged(tmp_path: Path, suffix: str) -> None:
    image = read_pixels(encode(tmp_path / f"film{suffix}", ramp()))
    assert image.dtype == np.uint8
    np.testing.assert_allclose(image, ramp(), atol=2 if suffix == ".jpg" else 0)


def test_colours_are_converted_to_luminance(tmp_path: Path) -> None:
    blue, green, red = 10, 200, 60
    colour = np.full((4, 5, 3), (blue, green, red), np.uint8)
    image = read_pixels(encode(tmp_path / "film.png", colour))
    np.testing.assert_allclose(image, 0.299 * red + 0.587 * green + 0.114 * blue, atol=1)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_the_highest_bits_in_use_are_kept(tmp_path: Path, bits: int) -> None:
    wide = ramp().astype(np.uint16) << (bits - 8)
    image = read_pixels(encode(tmp_path / "film.png", wide))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, ramp())


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".jpg", ".webp"])
@pytest.mark.parametrize("fraction", [0.02, 0.5, 0.9])
def test_damaged_films_are_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], suffix: str, fraction: float
) -> None:
    path = encode(tmp_path / f"film{suffix}", ramp(200, 150))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    with pytest.raises(InputError, match=r"film.*(cut off|not a readable image).*copy it again"):
        read_pixels(path)
    assert capfd.readouterr().err == ""


def test_files_that_are_not_films_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no.png does not exist"):
        read_pixels(tmp_path / "no.png")
    with pytest.raises(InputError, match="is a folder"):
        read_pixels(tmp_path)
    empty = tmp_path / "empty.png"
    empty.touch()
    with pytest.raises(InputError, match=r"empty \(0 bytes\)"):
        read_pixels(empty)
    text = tmp_path / "text.png"
    text.write_text("no image")
    with pytest.raises(InputError, match=r"not a readable image; known formats: \.bmp"):
        read_pixels(text)
    real = encode(tmp_path / "real.tif", ramp().astype(np.float32))
    with pytest.raises(InputError, match="type float32; save it with 8 or 16 bits"):
        read_pixels(real)


def test_trailing_bytes_are_ignored(tmp_path: Path) -> None:
    for suffix in (".png", ".jpg"):
        path = encode(tmp_path / f"film{suffix}", ramp())
        path.write_bytes(path.read_bytes() + b"\0" * 100)
        assert read_pixels(path).shape == (40, 30)


@pytest.mark.parametrize("size", [(20, 15), (80, 60), (20, 60), (40, 30)])
def test_resize_maps_pixel_centres(size: tuple[int, int]) -> None:
    y, x = np.mgrid[: size[0], : size[1]]
    centres = np.stack([x, y], axis=-1).astype(np.float64)
    points = geometry.normalise(centres, geometry.whole_film(size[::-1]))
    source = geometry.to_pixels(points, geometry.whole_film((30, 40)))
    expected = 2 * source[..., 0] + 3 * source[..., 1]
    resized = resize_film(ramp(), size)
    assert resized.dtype == np.uint8
    assert resized.shape == size
    inner = (slice(4, -4), slice(4, -4))  # cubic interpolation lacks neighbours at the edges
    np.testing.assert_allclose(resized[inner], expected[inner], atol=1.01)


def test_shrinking_averages_areas() -> None:
    checks = np.tile(np.array([[0, 200], [200, 0]], np.uint8), (8, 8))
    np.testing.assert_array_equal(resize_film(checks, (8, 8)), 100)


def test_landmarks_must_lie_on_the_film(tmp_path: Path) -> None:
    edge = record(tmp_path / "001.png", [[-0.5, -0.5], [29.5, 39.5], [np.nan, np.nan]])
    check_landmarks(edge, (30, 40))
    for x, y in ((29.6, 5), (5, 39.6), (-0.6, 5), (5, -0.6)):
        with pytest.raises(InputError, match=r"001.png: landmark 2 at .* 30 × 40 pixels"):
            check_landmarks(record(tmp_path / "001.png", [[1, 1], [x, y]]), (30, 40))


def test_load_film_resizes_and_normalises(tmp_path: Path) -> None:
    path = encode(tmp_path / "7.png", ramp())
    film = load_film(record(path, [[14.5, 19.5], [np.nan, np.nan]]), View(20, 16))
    assert film.film == "7"
    assert film.image.shape == (20, 16)
    assert film.size_px == (30, 40)
    assert film.extent_mm == pytest.approx((180.0, 240.0))
    assert film.landmarks_norm.dtype == np.float32
    np.testing.assert_array_equal(film.landmarks_norm, [[0.5, 0.5], [np.nan, np.nan]])


def test_a_letterbox_keeps_the_aspect_ratio(tmp_path: Path) -> None:
    """A film of 30 × 40 pixels in a square has 5 columns of repeated edge pixels on each side."""
    path = encode(tmp_path / "7.png", ramp())
    film = load_film(record(path, [[-0.5, -0.5], [29.5, 39.5]]), View(40, 40, "letterbox"))
    assert film.frame == (-5, 0, 40, 40)
    assert film.extent_mm == pytest.approx((240.0, 240.0))
    np.testing.assert_array_equal(film.landmarks_norm, [[0.125, 0], [0.875, 1]])
    np.testing.assert_array_equal(film.image[:, 5:35], ramp())
    np.testing.assert_array_equal(film.image[:, :5], ramp()[:, :1].repeat(5, axis=1))
    np.testing.assert_array_equal(film.image[:, 35:], ramp()[:, -1:].repeat(5, axis=1))


@pytest.mark.parametrize(
    "frame", [(3, -2, 20, 50), (-9, 7, 60, 20), (5, 6, 10, 12), (-9, -9, 60, 60)]
)
def test_a_frame_is_cropped_with_repeated_edges(frame: tuple[int, int, int, int]) -> None:
    """Each pixel of the crop is the nearest pixel of the film."""
    left, top, width, height = frame
    shown = View(height, width).show(ramp(), geometry.Frame(*frame))
    rows = np.clip(np.arange(top, top + height), 0, 39)
    columns = np.clip(np.arange(left, left + width), 0, 29)
    np.testing.assert_array_equal(shown, ramp()[np.ix_(rows, columns)])


def test_a_failed_import_of_opencv_names_the_cure(tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open')")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from cephray.errors import RunError\n"
        "try:\n    import cephray.data.films\n"
        "except RunError as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "libGL.so.1: cannot open" in done.stdout
    assert "opencv-python-headless" in done.stdout


def test_a_film_of_the_benchmark_is_loaded(shared: Path) -> None:
    film = load_film(
        read_dataset(shared / "data" / "isbi2015", "train", DataConfig())[0], View(800, 640)
    )
    assert film.image.shape == (800, 640)
    assert film.size_px == (1935, 2400)
    assert film.extent_mm == pytest.approx((193.5, 240.0))
