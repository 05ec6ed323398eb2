from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cephray.serving.uploads import KindError, Limits, SizeError, film_of
from tests.serving.hostile import FILM, HOSTILE, JPEG, LIMIT_MB, deflated, dicom
from tests.serving.server import SIZE_PX

LIMITS = Limits(megabytes=LIMIT_MB)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_a_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    content, status, words = HOSTILE[name]
    kind = SizeError if status == 413 else KindError
    with pytest.raises(kind) as raised:
        film_of(content, LIMITS)
    said = str(raised.value)
    assert words in said
    assert "\n" not in said
    assert len(said) < 300
    assert str(tmp_path) not in said
    assert "Secret" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_film_is_on_no_disk_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object, **__: object) -> None:
        raise AssertionError("a file is made")

    monkeypatch.setattr("tempfile.mkdtemp", opened)
    monkeypatch.setattr("tempfile.mkstemp", opened)
    monkeypatch.setattr(Path, "write_bytes", opened)
    for film in (FILM, JPEG, deflated(48, 40, pixels=48 * 40)):
        film_of(film, LIMITS)


def test_films_are_read() -> None:
    assert film_of(FILM, LIMITS).image.shape == SIZE_PX[::-1]
    assert film_of(JPEG, LIMITS).image.shape == (64, 64)
    film = film_of(dicom(48, 40, pixels=48 * 40), LIMITS)
    assert film.image.shape == (48, 40)
    assert np.ptp(film.image) > 200


def test_a_dicom_file_that_is_compressed_as_a_whole_is_read() -> None:
    packed = deflated(480, 400, pixels=480 * 400, PixelSpacing=[0.3, 0.3])
    plain = dicom(480, 400, pixels=480 * 400, PixelSpacing=[0.3, 0.3])
    assert len(packed) < len(plain) / 10
    found, expected = film_of(packed, LIMITS), film_of(plain, LIMITS)
    assert (found.image == expected.image).all()
    assert found.spacing_mm == expected.spacing_mm == pytest.approx(0.3)
    limit = len(plain) / 1e6
    film_of(packed, Limits(megabytes=limit))
    with pytest.raises(SizeError, match="unpacks to more than"):
        film_of(packed, Limits(megabytes=limit - 0.01))


def test_the_limits_are_those_given() -> None:
    film_of(FILM, Limits(megapixels=0.30))
    with pytest.raises(SizeError, match=r"484 × 600 pixels, and at most 0\.29 million"):
        film_of(FILM, Limits(megapixels=0.29))
    film_of(FILM, Limits(megabytes=len(FILM) / 1e6))
    with pytest.raises(SizeError, match="MB"):
        film_of(FILM, Limits(megabytes=(len(FILM) - 1) / 1e6))
