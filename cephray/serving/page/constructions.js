// Geometric constructions on points of a film: a port of cephray/clinical/constructions.py and
// upright.py, which explain them. Points are [x, y] in pixels with y down, of faces that look to
// the right; null where missing. Results are degrees or pixels; NaN where they are not defined.

const DEGREES = 180 / Math.PI;

const minus = (p, q) => [p[0] - q[0], p[1] - q[1]];
const dot = (u, v) => u[0] * v[0] + u[1] * v[1];
const cross = (u, v) => u[0] * v[1] - u[1] * v[0];

function turned(vector, degrees) {
  if (degrees === 0) return vector;
  const sine = Math.sin(degrees / DEGREES), cosine = Math.cos(degrees / DEGREES);
  return [cosine * vector[0] - sine * vector[1], sine * vector[0] + cosine * vector[1]];
}

function unit(vector) {
  const norm = Math.hypot(...vector);
  return norm > 0 ? [vector[0] / norm, vector[1] / norm] : [NaN, NaN];
}

export function turn([a, b, c, d], turnedDeg = 0) {
  const u = turned(minus(b, a), turnedDeg), v = minus(d, c);
  const across = cross(u, v), way = dot(u, v);
  if (across === 0 && way === 0) return NaN;
  const degrees = Math.atan2(across, way) * DEGREES;
  return across === 0 ? Math.abs(degrees) : degrees;
}

export const between = (points) => Math.abs(turn(points));

const angle = ([p, vertex, q]) => between([vertex, p, vertex, q]);

export const length = ([p, q]) => Math.hypot(...minus(q, p));

const along = ([a, b, p, q], turnedDeg = 0) =>
  dot(unit(turned(minus(b, a), turnedDeg)), minus(q, p));

const across = (points, turnedDeg = 0) => along(points, turnedDeg + 90);

const fromLine = ([a, b, p]) => -across([a, b, a, p]);

function alongBisector([a, b, c, d, p, q]) {
  const first = unit(minus(b, a)), second = unit(minus(d, c));
  return dot(unit([first[0] + second[0], first[1] + second[1]]), minus(q, p));
}

export const CONSTRUCTIONS = {
  angle, between, turn, length, along, across, from_line: fromLine, along_bisector: alongBisector,
};

/** Combine values of measures in the same unit. */
export function combine(combination, parts) {
  if (combination === "sum") return parts.reduce((total, part) => total + part, 0);
  if (combination === "difference") return parts[0] - parts[1];
  if (combination === "ratio") return parts[1] === 0 ? NaN : parts[0] / parts[1];
  return Math.min(...parts); // least; NaN if a part is
}

/** Turn and mirror points such that the face is upright and looks to the right.
 *  `indices` are those of sella, nasion and menton, or null. */
export function upright(points, indices) {
  if (indices === null) return points;
  const [sella, nasion, menton] = indices.map((index) => points[index]);
  const forwards = sella && nasion ? minus(nasion, sella) : [NaN, NaN];
  const down = sella && menton ? minus(menton, sella) : [NaN, NaN];
  const looksLeft = cross(forwards, down) < 0;
  const angleRad = Math.atan2(forwards[1], looksLeft ? -forwards[0] : forwards[0]);
  const quarters = Number.isFinite(angleRad) ? (roundToEven(angleRad / (Math.PI / 2)) + 4) % 4 : 0;
  return points.map((point) => {
    if (!point) return null;
    const x = looksLeft ? -1 - point[0] : point[0], y = point[1];
    if (quarters === 1) return [y, -1 - x];
    if (quarters === 2) return [-1 - x, -1 - y];
    return quarters === 3 ? [-1 - y, x] : [x, y];
  });
}

/** Round as NumPy does: halves to the even neighbour. */
function roundToEven(value) {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}
