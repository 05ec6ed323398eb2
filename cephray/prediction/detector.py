"""The detector: films in, landmarks of both stages out.

It knows checkpoints and decoded films, and neither the truth nor what becomes of the landmarks.
TensorFlow is imported where a Detector is made: Detections go to processes that do without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray import geometry
from cephray.checkpoint import Checkpoint
from cephray.config import DataConfig
from cephray.data import (
    ORIENTATIONS,
    UPRIGHT,
    Film,
    Orientation,
    View,
    prefetch,
    stack_films,
)
from cephray.errors import InputError
from cephray.metrics import Calibration, confidence, known_factor
from cephray.plausibility import doubts, is_negative, strangeness
from cephray.prediction.framing import frame_like, right_film, show_frame, strays, zoomed

BATCH_SIZE = 4

# Orientations in which films that are not recognised are tried. The more frequent ones are first.
_FREQUENT = tuple(o for o in ORIENTATIONS[1:] if not (o.mirrored and o.turned_deg))
_ATTEMPTS = (_FREQUENT, tuple(o for o in ORIENTATIONS[1:] if o not in _FREQUENT))

# A film is righted if its strangeness is then at most this share of the next smallest one. Of 24
# films of Training in all orientations, the largest share was 0.44.
_CLEARLY = 0.7


@dataclass(frozen=True, eq=False)
class Detection:
    """The landmarks of one film, normalised (x, y) within the film's frame.

    `coarse_norm` and `refined_norm` are [K, 2]. `spread_px` [K] is the scale of the error that the
    network expects along an axis, in pixels of the film, and None if the network has no spread.
    `radius_px` [K] is the radius of a region that holds the landmark in 95 % of cases, and
    `confidence` [K] the probability of an error of at most 2 mm; both are None if the network is
    not calibrated.
    Only `confidence` and `spread_mm` need the film's spacing, and are NaN if it is unknown.
    `doubts` are the reasons why the result is doubtful. `orientation` is how the film lies, as the
    network saw it; all points are of the film as it lies.
    """

    film: Film
    coarse_norm: NDArray[np.float32]
    refined_norm: NDArray[np.float32]
    spread_px: NDArray[np.float32] | None = None
    radius_px: NDArray[np.float32] | None = None
    confidence: NDArray[np.float32] | None = None
    doubts: tuple[str, ...] = ()
    orientation: Orientation = UPRIGHT

    @property
    def spread_mm(self) -> NDArray[np.float32] | None:
        """Spread in millimetres: [K], NaN if the film's spacing is unknown."""
        if self.spread_px is None:
            return None
        return (self.spread_px * self.film.spacing_mm).astype(np.float32)

    @property
    def refined_px(self) -> NDArray[np.floating[Any]]:
        """Refined landmarks in pixels of the original film: [K, 2]."""
        return geometry.to_pixels(self.refined_norm, self.film.frame)


class Detector:
    """A checkpoint's network, or an ensemble of several, ready to detect.

    Args:
        checkpoint: verified and complete; its configuration says how films are looked at.
        others: checkpoints whose networks look at the same images. Landmarks are the mean over
            all, spreads the geometric mean.
        repeatable: on CPUs, let the network see a film that is alone twice. Otherwise it takes
            half the time, and its landmarks differ from those among other films by about 0.001
            pixels.

    Raises:
        InputError: weights do not fit their configuration, or two networks not the same images.
    """

    def __init__(
        self, checkpoint: Checkpoint, *others: Checkpoint, repeatable: bool = True
    ) -> None:
        import tensorflow as tf

        from cephray.model import build_network, build_predict_step, to_input

        config = checkpoint.config
        self.view = View.of(config.data)
        self._aspect = self.view.height / self.view.width
        networks = []
        for one in (checkpoint, *others):
            _require_company(one, checkpoint)
            networks.append(build_network(one.config, pretrained=False))
            one.load_weights(networks[-1])
        self._predict = [build_predict_step(network) for network in networks]
        self._to_input = to_input
        # In a batch of one film, matrix products sum in an order that depends on the number of
        # threads, and landmarks would depend on the batch. GPUs choose algorithms for each size.
        alone = 2 if repeatable else 1
        self._least = BATCH_SIZE if tf.config.list_logical_devices("GPU") else alone
        self._looks = config.inference.looks
        self._rights = config.inference.righting
        self._reframes = (
            config.inference.reframing
            and config.data.fit == "letterbox"
            and config.model.detection_prior == "mean_shape"
        )
        self._zooms = config.inference.zooms
        self._mean_shape: NDArray[np.float32] = networks[0].get_layer("detection").prior.numpy()
        numbers = config.inference.confidence
        self.shapes = checkpoint.shapes
        self._calibration = Calibration(*numbers) if numbers is not None else None
        self._radius_factor = known_factor(config.inference.radius_factor, self._calibration)

    def detect(
        self, films: Iterable[Film], progress: Callable[[int], None] = lambda films: None
    ) -> Iterator[Detection]:
        """Detect the landmarks of films, which are decoded ahead in another thread.

        Where the network is to look again, a detection's film is another view of the original:
        its frame, and what is normalised within it, are those of the last look at zoom 1.

        Args:
            films: of the network's size; with their pixels where it looks more than once.
            progress: called with the number of films done since the last call.
        """
        for batch in prefetch(_batches(films)):
            for film, detection in zip(batch, self._find(batch), strict=True):
                best = self._right(film, detection) if self._rights else detection
                found = replace(best, doubts=self._doubts(best))
                if best.orientation != UPRIGHT:
                    found = _on_film(found, film)
                yield replace(found, film=replace(found.film, pixels=None))
            progress(len(batch))

    def _find(self, films: list[Film]) -> list[Detection]:
        """Find the landmarks of films as they are, with all looks and zooms."""
        found = self._look(films)
        for _ in range(self._looks - 1):
            found = self._look([self._closer(detection) for detection in found])
        if self._looks == 1 and self._reframes:
            found = self._reframed(found)
        return self._zoom(found)

    def _reframed(self, found: list[Detection]) -> list[Detection]:
        """Look again at films on which the head is not as large, or not where, it usually is."""
        again = [
            n
            for n, one in enumerate(found)
            if one.film.pixels is not None
            and strays(one.refined_norm, self._mean_shape, self._aspect)
        ]
        if not again:
            return found
        result = list(found)
        for n, second in zip(
            again, self._look([self._closer(found[n]) for n in again]), strict=True
        ):
            if self._strangeness(second) <= max(1.0, self._strangeness(found[n])):
                result[n] = second
        return result

    def _right(self, film: Film, found: Detection) -> Detection:
        """Return what is found on the film when it is righted, or as it lies.

        A film that is not recognised is tried in all orientations. It is righted if it is
        recognised in one of them, and clearly better there than in any other.
        """
        if film.pixels is None:
            return found
        best, least = found, self._strangeness(found)
        if least > 1:
            tried = [least]
            for orientations in _ATTEMPTS:
                righted = self._find([right_film(film, self.view, o) for o in orientations])
                strange = [self._strangeness(one) for one in righted]
                tried += strange
                number = int(np.argmin(strange))
                if strange[number] < least:
                    least = strange[number]
                    best = replace(righted[number], orientation=orientations[number])
                if least <= 1:
                    break
            if least > 1 or least > _CLEARLY * sorted(tried)[1]:
                return found
        if is_negative(best.film.image, best.film.frame, best.refined_px, self.shapes):
            orientation = best.orientation._replace(inverted=True)
            (positive,) = self._find([right_film(film, self.view, orientation)])
            if self._strangeness(positive) <= 1:
                return replace(positive, orientation=orientation)
        return best

    def _strangeness(self, detection: Detection) -> float:
        return strangeness(detection.refined_px, detection.radius_px, self.shapes)

    def _look(self, films: list[Film]) -> list[Detection]:
        # A batch that is too small is filled up with the same films.
        images = list(islice(cycle(film.image for film in films), max(self._least, len(films))))
        batch = self._to_input(stack_films(images, self.view.size))
        found = [predict(batch) for predict in self._predict]
        coarse = np.mean([prediction.coarse.numpy() for prediction in found], axis=0)
        refined = np.mean([prediction.refined.numpy() for prediction in found], axis=0)
        spreads = [p.spread[:, -1].numpy() for p in found if p.spread is not None]
        spread = _geometric_mean(spreads) if len(spreads) == len(found) else None
        return [
            self._detection(film, coarse[n], refined[n], None if spread is None else spread[n])
            for n, film in enumerate(films)
        ]

    def _detection(
        self,
        film: Film,
        coarse: NDArray[np.float32],
        refined: NDArray[np.float32],
        spread: NDArray[np.float32] | None,
    ) -> Detection:
        spread_px = None if spread is None else spread * film.frame.height
        return self._with_spread(film, coarse, refined, spread_px)

    def _with_spread(
        self,
        film: Film,
        coarse: NDArray[np.float32],
        refined: NDArray[np.floating[Any]],
        spread_px: NDArray[np.floating[Any]] | None,
    ) -> Detection:
        points = refined.astype(np.float32)
        if spread_px is None:
            return Detection(film, coarse, points)
        sure = radius_px = None
        if self._calibration is not None:
            spread_mm = spread_px * film.spacing_mm
            sure = confidence(spread_mm, self._calibration).astype(np.float32)
        if self._radius_factor is not None:
            radius_px = (spread_px * self._radius_factor).astype(np.float32)
        return Detection(film, coarse, points, spread_px.astype(np.float32), radius_px, sure)

    def _doubts(self, detection: Detection) -> tuple[str, ...]:
        film = detection.film
        return doubts(
            film.image,
            detection.refined_px,
            film.size_px,
            film.frame.height,
            film.spacing_mm,
            detection.radius_px,
            self.shapes,
        )

    def _zoom(self, found: list[Detection]) -> list[Detection]:
        """Detect again at every zoom, and return the means over the zooms."""
        if self._zooms == (1.0,):
            return found
        looks = [
            found
            if zoom == 1
            else self._look(
                [show_frame(d.film, self.view, zoomed(d.film.frame, zoom)) for d in found]
            )
            for zoom in self._zooms
        ]
        return [self._mean(base, views) for base, *views in zip(found, *looks, strict=True)]

    def _mean(self, base: Detection, views: list[Detection]) -> Detection:
        """Average views of a film, within the frame of `base`; spreads by their logarithm."""
        frame = base.film.frame
        points = np.mean([geometry.normalise(view.refined_px, frame) for view in views], axis=0)
        spread_px = [view.spread_px for view in views if view.spread_px is not None]
        mean_px = _geometric_mean(spread_px) if spread_px else None
        return self._with_spread(base.film, base.coarse_norm, points, mean_px)

    def _closer(self, detection: Detection) -> Film:
        """Show the film again, so that the landmarks fill the image as the mean shape does."""
        frame = detection.film.frame
        closer = frame_like(self._mean_shape, detection.refined_px, frame, self._aspect)
        return show_frame(detection.film, self.view, closer)


def _on_film(found: Detection, film: Film) -> Detection:
    """Convert what was found on the righted film to the film as it lies."""

    def convert(points_norm: NDArray[np.float32]) -> NDArray[np.float32]:
        upright_px = geometry.to_pixels(points_norm.astype(np.float64), found.film.frame)
        points_px = found.orientation.to_film(upright_px, film.size_px)
        return geometry.normalise(points_px, film.frame).astype(np.float32)

    return replace(
        found,
        film=film,
        coarse_norm=convert(found.coarse_norm),
        refined_norm=convert(found.refined_norm),
    )


def _require_company(one: Checkpoint, first: Checkpoint) -> None:
    """Refuse a network that needs other images than the first, or finds other landmarks."""
    data, wanted = one.config.data, first.config.data
    if (View.of(data), data.landmarks) != (View.of(wanted), wanted.landmarks):
        raise InputError(
            f"checkpoint {one.folder}: its network sees {_describe(data)}, that of {first.folder} "
            f"{_describe(wanted)}; an ensemble needs networks of the same images"
        )


def _describe(data: DataConfig) -> str:
    view = View.of(data)
    return f"{data.landmarks} at {view.height} × {view.width} pixels, {view.fit}"


def _geometric_mean(values: Sequence[NDArray[np.floating[Any]]]) -> NDArray[np.floating[Any]]:
    if len(values) == 1:
        return values[0]  # to the bit
    mean: NDArray[np.floating[Any]] = np.exp(np.mean(np.log(values), axis=0))
    return mean


def _batches(films: Iterable[Film]) -> Iterator[list[Film]]:
    batch: list[Film] = []
    for film in films:
        batch.append(film)
        if len(batch) == BATCH_SIZE:
            yield batch
            batch = []
    if batch:
        yield batch
