// The report of a film on one page of A4, for the browser's print.

import { make } from "./elements.js";
import { placeNames } from "./labels.js";
import { commonGroup, deviationText, digitsOf, normCell, number, signed, titleOf } from "./tables.js";

const HEIGHT = 1400; // of the picture, pixels
const NAME_SCALE = 2; // of names in the picture, by which they are larger than those of the page
const OTHER = "#ff79c6"; // colour of the other film
const MOST_LARGE = 30, MOST_MEDIUM = 60; // lines of measures that fit in large and medium type

/** Fill the report. `deviations` are those of the measures in order, or null. `compared` is null,
 *  or another film of the patient: its `title`; its `points` in pixels of this film or null; its
 *  measures, `measured`; and a `note`. */
export function fillReport(element, { editing, film, set, measured, deviations, compared, version }) {
  const { now } = editing;
  const title = now.patient || editing.case.title;
  const missing = set.landmarks.filter((_, index) => !now.points[index]).map((one) => one.name);
  const corrected = set.landmarks.filter((_, index) => editing.isCorrected(index)).length;
  const facts = [
    ["Film", editing.case.title],
    ["Printed", new Date().toISOString().slice(0, 10)],
    ["Spacing", editing.spacing
      ? `${editing.spacing.toFixed(4)} mm per pixel (${editing.spacingSource})` : "not known"],
    ["Points", `${set.landmarks.length - missing.length}, ${corrected} corrected by hand`],
    ["Checked", now.checked ? "all points, by a person" : "no"],
    ["Network", editing.case.automatic.checkpoint],
  ];
  if (missing.length) facts.push(["Missing", missing.join(", ")]);
  const unsure = set.landmarks.filter((_, index) => editing.doubt(index));
  if (unsure.length) facts.push(["Doubtful points", unsure.map((one) => one.abbreviation).join(", ")]);
  if (editing.doubtful.length) facts.push(["Doubtful", editing.doubtful.join("; ")]);
  if (compared) facts.push(["Other film", `${compared.title}. ${compared.note}`]);
  if (now.remarks) facts.push(["Remarks", now.remarks.slice(0, 600)]);
  const sds = deviations ? deviations.slice() : [];
  const tables = measured.map((analysis, at) => make("table", {},
    make("caption", {}, titleOf(analysis)),
    make("tbody", {}, ...analysis.measures.flatMap((one, index) => linesOf(one,
      commonGroup(analysis), sds.shift() ?? NaN,
      compared && one.value - compared.measured[at].measures[index].value)))));
  const lines = measured.reduce((total, { measures }) => total + 1
    + measures.reduce((sum, one) => sum + Math.max(one.norms.length, 1), 0), 0);
  element.replaceChildren(
    make("h1", {}, title),
    make("div", { class: "top" }, drawPicture(editing, film, set, compared?.points),
      make("table", {}, make("tbody", {}, ...facts.map(([name, text]) =>
        make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, text)))))),
    make("div", { class: `sheet ${sizeOf(lines)}` }, ...tables),
    make("p", { class: "soft" }, "Value, ± one standard deviation of the network's points (none where"
      + ` a point was placed by hand)${compared ? ", change since the other film" : ""}, norm,`
      + " deviation or class."
      + ` cephray ${version}. For research; no medical device.`));
}

const sizeOf = (lines) => (lines > MOST_MEDIUM ? "small" : lines > MOST_LARGE ? "medium" : "large");

/** The lines of a measure: one for each norm. `change` is null without another film. */
function linesOf(one, common, sd, change) {
  const rowspan = one.norms.length > 1 ? one.norms.length : null;
  const cells = [make("th", { scope: "row", rowspan }, one.name),
    make("td", { rowspan }, number(one.value, one.unit, true)),
    make("td", { rowspan }, Number.isFinite(sd) ? `± ${sd.toFixed(digitsOf(one.unit))}` : "")];
  if (change !== null) cells.push(make("td", { rowspan }, signed(change, digitsOf(one.unit))));
  if (!one.norms.length) return [make("tr", {}, ...cells, make("td"), make("td", {}, one.meaning))];
  return one.norms.map((norm, line) => make("tr", {}, ...(line ? [] : cells), normCell(norm, common),
    make("td", {}, deviationText(norm, one.unit))));
}

function drawPicture(editing, film, set, others) {
  const canvas = document.createElement("canvas"), scale = HEIGHT / film.height;
  canvas.height = HEIGHT;
  canvas.width = Math.round(film.width * scale);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(film.shown, 0, 0, canvas.width, canvas.height);
  const toPlace = (point) => point && [(point[0] + 0.5) * scale, (point[1] + 0.5) * scale];
  const places = editing.now.points.map(toPlace);
  context.lineWidth = 3;
  if (others) {
    const theirs = others.map(toPlace);
    drawLines(context, theirs, set.lines, OTHER);
    for (const place of theirs.filter(Boolean)) drawCircle(context, place, 11);
  }
  drawLines(context, places, set.lines, "#5aaaeb");
  context.font = "bold 24px sans-serif";
  const names = set.landmarks.map((landmark) => landmark.abbreviation);
  const besides = placeNames(names, places.map((place) => place?.map((value) => value / NAME_SCALE)));
  places.forEach((place, index) => {
    if (!place) return;
    context.fillStyle = editing.isCorrected(index) ? "#6ee7a0" : "#ffdc50";
    context.strokeStyle = "#000";
    context.lineWidth = 2;
    drawCircle(context, place, 7);
    context.fill();
    const { x, y, anchor } = besides[index];
    const name = [names[index], place[0] + NAME_SCALE * x, place[1] + NAME_SCALE * y];
    context.textAlign = anchor === "middle" ? "center" : anchor;
    context.lineWidth = 4;
    context.strokeText(...name);
    context.fillText(...name);
  });
  return canvas;
}

function drawCircle(context, place, radius) {
  context.beginPath();
  context.arc(...place, radius, 0, 2 * Math.PI);
  context.stroke();
}

function drawLines(context, places, lines, color) {
  context.strokeStyle = color;
  for (const { start, end } of lines) {
    if (!places[start] || !places[end]) continue;
    context.beginPath();
    context.moveTo(...places[start]);
    context.lineTo(...places[end]);
    context.stroke();
  }
}
