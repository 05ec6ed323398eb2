// Measures of a film by all analyses: a port of `Analysis.values`, `measure`, `classify` and
// `standard_deviations` of cephray/clinical, which explain them. What can be measured comes from
// the server (`/api/setup`), with points as indices into the landmark set.

import { CONSTRUCTIONS, between, combine, length, turn, upright } from "./constructions.js";

const TOLERANCE = 1e-9, EDGE_TOLERANCE = 2.5e-4; // as in measures.py and geometry.py

/** Return the values of an analysis: degrees, millimetres, ratios or percent; NaN where unknown.
 *  `points` are [x, y] in pixels or null, `spacing` millimetres per pixel or null. */
export function valuesOf(analysis, points, spacing, uprightIndices) {
  const righted = upright(points, uprightIndices);
  const found = new Map();
  for (const measure of analysis.measures) {
    found.set(measure.name, measure.of.length
      ? combine(measure.construction, measure.of.map((name) => found.get(name)))
      : construct(measure, righted));
  }
  const scales = { degree: 1, mm: spacing ?? NaN, ratio: 1, percent: 100 };
  return analysis.measures.map((one) => found.get(one.name) * scales[one.unit]);
}

function construct(measure, points) {
  const means = [];
  for (const indices of measure.points) {
    const parts = indices.map((index) => points[index]);
    if (parts.some((part) => !part)) return NaN;
    means.push([0, 1].map((axis) =>
      parts.reduce((total, part) => total + part[axis], 0) / parts.length));
  }
  return CONSTRUCTIONS[measure.construction](means, measure.turned_deg);
}

/** Return the eight measurements of the ISBI 2015 challenge, in order. */
export function challengeValues(challenge, points, spacing, uprightIndices) {
  const righted = upright(points, uprightIndices);
  const p = (...names) => {
    const found = names.map((name) => righted[challenge.points[name]]);
    return found.some((point) => !point) ? null : found;
  };
  const by = (construction, ...names) => {
    const found = p(...names);
    return found ? construction(found) : NaN;
  };
  const sna = by(between, "N", "S", "N", "A"), snb = by(between, "N", "S", "N", "B");
  const palatal = by(turn, "Po", "Or", "PNS", "ANS"), face = by(length, "N", "Me");
  const incisors = p("UI", "LI");
  const overjet = by(length, "LI", "UI") * (spacing ?? NaN);
  const values = {
    "ANB": sna - snb,
    "SNB": snb,
    "SNA": sna,
    "ODI": by(between, "Me", "Go", "B", "A") + palatal,
    "APDI": by(between, "Or", "Po", "N", "Pog") + by(turn, "A", "B", "N", "Pog") + palatal,
    "FHI": by(length, "S", "Go") / (face > 0 ? face : NaN),
    "SN-GoGn": by(between, "S", "N", "Go", "Gn"),
    "MW": incisors && incisors[0][0] < incisors[1][0] ? -overjet : overjet,
  };
  return challenge.measures.map((one) => values[one.name]);
}

/** Return the class numbers of the eight measurements, 0 where unknown. */
export function challengeClasses(challenge, points, spacing, uprightIndices) {
  const rounded = spacing === null ? points : points.map((point) =>
    point && point.map((value) => toGrid(value, challenge.grid_mm / spacing)));
  const values = challengeValues(challenge, rounded, spacing, uprightIndices);
  return challenge.measures.map((one, number) => classOf(one, values[number]));
}

function classOf(measure, value) {
  if (Number.isNaN(value)) return 0;
  if (measure.zero !== null && Math.abs(value) < TOLERANCE) return measure.zero;
  if (value < measure.normal[0] - TOLERANCE) return measure.below;
  return value > measure.normal[1] + TOLERANCE ? measure.above : 1;
}

/** As `geometry.to_grid`: to the centre of the cell of a grid that begins at the film's edge. */
function toGrid(value, cell) {
  return (Math.floor((value + 0.5) / cell + EDGE_TOLERANCE) + 0.5) * cell - 0.5;
}

/** Return the standard deviations of values, by difference quotients over one standard deviation
 *  of each point to either side. `errors` are those of the points along each axis, pixels; NaN
 *  where unknown. `values` takes points and returns values. */
export function standardDeviations(values, points, errors) {
  const at = values(points), sums = at.map(() => 0);
  const movedTo = (index, point) => values(points.with(index, point));
  points.forEach((point, index) => {
    if (!point) return;
    const [x, y] = point, step = errors[index];
    if (Number.isNaN(step)) { // unknown is what depends on the point
      movedTo(index, null).forEach((value, number) => {
        if (Number.isNaN(value)) sums[number] = NaN;
      });
      return;
    }
    for (const [dx, dy] of [[step, 0], [0, step]]) {
      const above = movedTo(index, [x + dx, y + dy]), below = movedTo(index, [x - dx, y - dy]);
      at.forEach((_, number) => { sums[number] += ((above[number] - below[number]) / 2) ** 2; });
    }
  });
  return at.map((value, number) => (Number.isFinite(value) ? Math.sqrt(sums[number]) : NaN));
}

/** The standard deviation along an axis of errors of which 95 % lie within a radius. */
export const errorOfRadius = (radius) => radius / Math.sqrt(-2 * Math.log(0.05));

/** The norms of a measure for a group of people, "women" for example; all if it has none for them. */
function normsFor(measure, group) {
  const found = measure.norms.filter((norm) => norm.for === group);
  return found.length ? found : measure.norms;
}

/** The groups among which a person may choose: those of measures with several norms. */
export function groupsOf(setup, chosen) {
  const several = setup.analyses.filter((one) => chosen.has(one.name))
    .flatMap((one) => one.measures).filter((one) => one.norms.length > 1);
  const groups = several.flatMap((one) => one.norms.map((norm) => norm.for)).filter(Boolean);
  return [...new Set(groups)].sort();
}

/** Measure a film by all chosen analyses, with the norms for a group of people, or "" for all.
 *  Returns a list of { name, title, measures }, and of each measure its name, title, unit, value,
 *  norms with their deviation, and the class's meaning. Values are NaN where unknown. */
export function measureFilm(setup, chosen, points, spacing, isDoubtful, group = "") {
  const found = [];
  const { challenge, upright: indices } = setup;
  if (challenge && chosen.has(challenge.name)) {
    const values = challengeValues(challenge, points, spacing, indices);
    const classes = isDoubtful
      ? values.map(() => 0) : challengeClasses(challenge, points, spacing, indices);
    found.push({ ...challenge, measures: challenge.measures.map((one, number) => ({
      ...one, value: values[number], norms: [], number: classes[number],
      meaning: classes[number] ? one.meanings[classes[number] - 1] : "",
    })) });
  }
  for (const analysis of setup.analyses) {
    if (!chosen.has(analysis.name)) continue;
    const values = valuesOf(analysis, points, spacing, indices);
    found.push({ ...analysis, measures: analysis.measures.map((one, number) => ({
      ...one, value: values[number], meaning: "",
      norms: normsFor(one, group).map((norm) => ({ ...norm, difference: values[number] - norm.mean })),
    })) });
  }
  return found;
}

/** Return the ± of the measures that `measureFilm` returns, in the same order. */
export function deviationsOf(setup, chosen, points, spacing, errors) {
  const values = (moved) => measureFilm(setup, chosen, moved, spacing, true)
    .flatMap((analysis) => analysis.measures.map((one) => one.value));
  return standardDeviations(values, points, errors);
}
