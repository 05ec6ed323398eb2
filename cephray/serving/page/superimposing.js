// Two films of a patient, superimposed on sella and on the line from sella to nasion.

/** Return points of another film in pixels of this one, or why that is not possible.
 *  `indices` are those of sella, nasion and menton. Sella comes to lie on sella, and the line to
 *  nasion on the line to nasion. The scale is that of millimetres, so that growth is seen. A face
 *  that looks the other way is mirrored. */
export function superimpose(points, spacing, otherPoints, otherSpacing, indices) {
  if (!indices) return { reason: "The landmark set has no sella, nasion and menton." };
  const own = indices.map((index) => points[index]);
  const others = indices.map((index) => otherPoints[index]);
  if ([...own, ...others].some((point) => !point)) {
    return { reason: "Sella, nasion or menton is missing on one of the films." };
  }
  if (spacing === null || otherSpacing === null) {
    return { reason: "The spacing of one of the films is not known: calibrate it first." };
  }
  const mirror = looksLeft(own) === looksLeft(others) ? 1 : -1;
  const mirrored = ([x, y]) => [mirror * x, y];
  const [sella, nasion] = own, [otherSella, otherNasion] = others.map(mirrored);
  const angle = direction(sella, nasion) - direction(otherSella, otherNasion);
  const scale = otherSpacing / spacing;
  const cosine = scale * Math.cos(angle), sine = scale * Math.sin(angle);
  return {
    points: otherPoints.map((point) => {
      if (!point) return null;
      const [u, v] = mirrored(point), x = u - otherSella[0], y = v - otherSella[1];
      return [sella[0] + cosine * x - sine * y, sella[1] + sine * x + cosine * y];
    }),
  };
}

const direction = (from, to) => Math.atan2(to[1] - from[1], to[0] - from[0]);

const looksLeft = ([sella, nasion, menton]) =>
  (nasion[0] - sella[0]) * (menton[1] - sella[1])
    < (nasion[1] - sella[1]) * (menton[0] - sella[0]);
