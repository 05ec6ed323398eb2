// The page: its parts, and how they work together.

import * as api from "./api.js";
import { Editing } from "./editing.js";
import { byId, make, say, set } from "./elements.js";
import { Film } from "./film.js";
import { beforeFrame } from "./frames.js";
import { CaseList } from "./list.js";
import { Markers } from "./markers.js";
import { deviationsOf, errorOfRadius, groupsOf, measureFilm } from "./measures.js";
import { Networks } from "./network.js";
import { fillReport } from "./report.js";
import { superimpose } from "./superimposing.js";
import { MeasureTable, PointTable, fillDifferences } from "./tables.js";

const PAUSE_MS = 150; // before what is too slow for each frame
const EXPORTS = {
  csv: "Points, CSV", measures: "Measures, CSV", cephray: "JSON", labelme: "labelme", coco: "COCO",
  png: "PNG with lines",
};
const STATUS = {
  saved: "Saved", unsaved: "Not saved yet", saving: "Saving", conflict: "Not saved",
  failed: "Not saved",
};

const setup = await api.setup().catch((error) => { fault(error.message); throw error; });
const landmarkSet = setup.landmark_set;
const film = new Film(byId("film"));
const shown = { lines: true, regions: false, labels: true, leastSureFirst: false };
const markers = new Markers(byId("marks"), film, landmarkSet, () => shown);
const measureTable = new MeasureTable(byId("measures"));
const pointTable = new PointTable(byId("points"), landmarkSet, {
  go: (index) => markers.focus(index),
  reset: (index) => editing?.resetPoint(index),
  missing: (index) => editing?.movePoint(index, null),
});
const analyses = [setup.challenge, ...setup.analyses].filter(Boolean);
const chosen = new Set(readChoice());
const list = new CaseList({ onopen: show, onfault: fault });
const networks = new Networks({
  checked: () => list.cases.filter((one) => one.checked).map((one) => one.film), onfault: fault,
});
let editing = null, other = null, compared = null, measured = [], deviations = null, pause = null;

function fault(text, ...buttons) {
  const element = byId("message");
  element.hidden = !text;
  element.replaceChildren(text ?? "", ...buttons);
  if (text && !buttons.length) {
    element.append(make("button", { type: "button", onclick: () => fault(null) }, "Close"));
  }
}

// Cases

async function show(name, known = null) {
  await editing?.save();
  if (editing?.status === "conflict" || editing?.status === "failed") return; // the message says why
  try {
    const [content, image] = await Promise.all([known ?? api.readCase(name), loadImage(name)]);
    fault(null);
    other = null;
    editing = new Editing(content);
    editing.addEventListener("change", changedSoon);
    editing.addEventListener("status", showStatus);
    document.body.classList.remove("empty");
    film.show(image);
    markers.edit(editing);
    list.select(name);
    stopCalibrating();
    history.replaceState(null, "", `#${name}`);
    for (const key of ["patient", "remarks"]) byId(key).value = editing.now[key];
    showStatus();
    fillOthers();
    fillGroups();
    changed();
  } catch (error) {
    fault(error.message);
  }
}

async function loadImage(name) {
  const answer = await fetch(api.filmAddress(name));
  if (!answer.ok) throw new Error(`${name}: its film is missing.`);
  return createImageBitmap(await answer.blob());
}

function showStatus() {
  say(byId("status"), STATUS[editing.status]);
  if (editing.status === "conflict") {
    fault(`${editing.message}. `,
      make("button", { type: "button", onclick: () => reload() }, "Load it again"),
      make("button", {
        type: "button",
        onclick: () => { fault(null); editing.save({ over: editing.conflicting }); },
      }, "Save mine over it"));
  } else if (editing.status === "failed") {
    fault(`Not saved: ${editing.message} `,
      make("button", { type: "button", onclick: () => { fault(null); editing.save(); } }, "Try again"));
  } else if (editing.status === "saved") {
    list.load().then(() => networks.count()).catch((error) => fault(error.message));
  }
}

function reload() {
  const { name } = editing;
  editing = null;
  return show(name);
}

// Changes

function changedSoon() { beforeFrame(changed); }

function changed() {
  if (!editing) return;
  const { now, spacing } = editing;
  measured = measureFilm(setup, chosen, now.points, spacing, editing.doubtful.length > 0,
    now.norms_for);
  measureTable.fill(measured);
  byId("undo").disabled = !editing.past.length;
  byId("redo").disabled = !editing.future.length;
  byId("checked").checked = now.checked;
  byId("group").value = now.norms_for;
  clearTimeout(pause);
  pause = setTimeout(changedAndPaused, PAUSE_MS);
}

function changedAndPaused() {
  if (!editing) return;
  const { now, spacing } = editing;
  const errors = now.points.map((_, index) => errorOfRadius(editing.radius(index)));
  deviations = deviationsOf(setup, chosen, now.points, spacing, errors);
  measureTable.fill(measured, true);
  measureTable.fillDeviations(deviations);
  pointTable.fill(editing, markers.order);
  say(byId("spacing"), spacing === null ? "Spacing not known: lengths need a calibration."
    : `${spacing.toFixed(4)} mm per pixel (${editing.spacingSource})`);
  byId("ruler-remove").hidden = !now.ruler || markers.calibrating !== null;
  byId("notes").replaceChildren(...editing.case.notes.map((note) => make("li", {}, note)));
  byId("doubts").replaceChildren(...editing.doubtful.map((reason) =>
    make("li", {}, `Doubtful: ${reason}`)));
  compare();
}

byId("undo").addEventListener("click", () => editing?.undo());
byId("redo").addEventListener("click", () => editing?.redo());
byId("reset-all").addEventListener("click", () => editing?.resetAll());
byId("checked").addEventListener("change", (event) =>
  editing?.change({ checked: event.target.checked }));
for (const key of ["patient", "remarks"]) {
  byId(key).addEventListener("input", (event) =>
    editing?.change({ [key]: event.target.value }, `text ${key}`));
}
document.addEventListener("keydown", (event) => {
  const isText = event.target.matches("textarea, input[type=text], input[type=number]");
  if (!editing || isText) return;
  if (event.ctrlKey || event.metaKey) {
    const key = event.key.toLowerCase();
    if (key === "z") event.shiftKey ? editing.redo() : editing.undo();
    else if (key === "y") editing.redo();
    else return;
  } else if (event.key === "+" || event.key === "=") film.zoom(1.25);
  else if (event.key === "-") film.zoom(0.8);
  else if (event.key === "0") film.fit();
  else return;
  event.preventDefault();
});
const saveLast = () => editing?.save({ last: true });
addEventListener("pagehide", saveLast);
document.addEventListener("visibilitychange", () => { if (document.hidden) saveLast(); });

// View

byId("zoom-in").addEventListener("click", () => film.zoom(1.25));
byId("zoom-out").addEventListener("click", () => film.zoom(0.8));
byId("fit").addEventListener("click", () => film.fit());
for (const name of ["lines", "regions", "labels"]) {
  byId(name).addEventListener("click", () => {
    shown[name] = !shown[name];
    set(byId(name), "aria-pressed", String(shown[name]));
    markers.draw();
  });
}
for (const name of ["brightness", "contrast", "gamma"]) {
  byId(name).addEventListener("input", (event) => film.setLook({ [name]: Number(event.target.value) }));
}
byId("invert").addEventListener("click", () => invert(!film.look.inverted));
byId("plain").addEventListener("click", () => {
  const plain = { brightness: 0, contrast: 0, gamma: 1 };
  for (const [name, value] of Object.entries(plain)) byId(name).value = value;
  film.setLook(plain);
  invert(false);
});
byId("least-sure").addEventListener("change", (event) => {
  shown.leastSureFirst = event.target.checked;
  markers.draw();
  changedSoon();
});

function invert(inverted) {
  film.setLook({ inverted });
  set(byId("invert"), "aria-pressed", String(inverted));
}

// Calibration

byId("calibrate").addEventListener("click", () => {
  if (!editing) return;
  if (editing.now.ruler) byId("length").value = editing.now.ruler.length_mm;
  showCalibrating(true);
  markers.calibrate();
});
byId("ruler").addEventListener("submit", (event) => {
  event.preventDefault();
  const length = Number(byId("length").value), points = stopCalibrating();
  if (points) editing.change({ ruler: { points_px: points, length_mm: length } });
});
byId("ruler-cancel").addEventListener("click", stopCalibrating);
byId("ruler-remove").addEventListener("click", () => editing.change({ ruler: null }));

function showCalibrating(isOn) {
  byId("ruler").hidden = !isOn;
  byId("calibrate").hidden = isOn;
  byId("ruler-remove").hidden = isOn || !editing?.now.ruler;
}

function stopCalibrating() {
  showCalibrating(false);
  return markers.stopCalibrating();
}

// Measures

byId("analyses").append(...analyses.map((one) => make("label", { class: "check" },
  make("input", {
    type: "checkbox", value: one.name, checked: chosen.has(one.name) || null,
    onchange: (event) => {
      if (event.target.checked) chosen.add(one.name);
      else chosen.delete(one.name);
      keepChoice();
      fillGroups();
      changed();
    },
  }), one.title)));

/** The analyses that were chosen last, and those of the user's own that are new. */
function readChoice() {
  const kept = readList("analyses") ?? [setup.challenge?.name ?? setup.analyses[0]?.name, "steiner"];
  const seen = readList("own analyses") ?? [];
  return [...kept, ...setup.own.filter((name) => !seen.includes(name))];
}

function keepChoice() {
  localStorage.setItem("analyses", JSON.stringify([...chosen]));
  localStorage.setItem("own analyses", JSON.stringify(setup.own));
}

function readList(key) {
  try {
    const kept = JSON.parse(localStorage.getItem(key));
    return Array.isArray(kept) ? kept : null;
  } catch {
    return null; // nothing valid is kept
  }
}

/** Offer the groups that the norms of the chosen analyses are for, if they differ. */
function fillGroups() {
  const groups = groupsOf(setup, chosen), kept = editing?.now.norms_for;
  if (kept && !groups.includes(kept)) groups.push(kept);
  byId("group-label").hidden = !groups.length;
  byId("group").replaceChildren(make("option", { value: "" }, "all groups"),
    ...groups.map((group) => make("option", { value: group }, group)));
}

byId("group").addEventListener("change", (event) =>
  editing?.change({ norms_for: event.target.value }));

// Superimposing

function fillOthers() {
  const names = list.cases.filter((one) => one.film !== editing?.name);
  byId("other").replaceChildren(make("option", { value: "" }, "none"),
    ...names.map((one) => make("option", { value: one.film },
      one.patient ? `${one.title} (${one.patient})` : one.title)));
}

byId("other").addEventListener("focus", () => {
  const { value } = byId("other");
  fillOthers();
  byId("other").value = value;
});
byId("other").addEventListener("change", async (event) => {
  const { value } = event.target;
  try {
    other = value ? new Editing(await api.readCase(value)) : null;
    compare();
  } catch (error) {
    fault(error.message);
  }
});

/** Compare with the other film; the page shows what comes of it, and `compared` keeps it. */
function compare() {
  byId("differences").replaceChildren();
  compared = null;
  say(byId("compare-note"), "");
  if (!other) {
    markers.superimpose(null);
    return;
  }
  const { points, reason } = superimpose(editing.now.points, editing.spacing, other.now.points,
    other.spacing, setup.upright);
  markers.superimpose(points ?? null);
  const note = reason ?? "The other film is drawn in pink, on sella and the line to nasion."
    + " Differences are this film minus the other.";
  say(byId("compare-note"), note);
  const before = measureFilm(setup, chosen, other.now.points, other.spacing, true);
  fillDifferences(byId("differences"), measured, before, ["other", "this"]);
  compared = { title: other.case.title, points: points ?? null, measured: before, note };
}

// To take away

byId("exports").append(...Object.entries(EXPORTS).map(([to, text]) =>
  make("button", { type: "button", "data-to": to, onclick: () => takeAway(to) }, text)));

async function takeAway(to) {
  await editing?.save();
  const isAll = byId("export-films").value === "all";
  if (!editing && !isAll) return;
  const names = isAll ? [] : [editing.name];
  const link = make("a", { href: api.exportAddress(to, names, [...chosen]), download: "" });
  document.body.append(link);
  link.click();
  link.remove();
}

byId("again").addEventListener("click", async () => {
  if (!editing) return;
  await editing.save();
  say(byId("status"), "Finding the landmarks");
  try {
    await api.predictAgain(editing.name);
    await reload();
  } catch (error) {
    fault(error.message);
  }
});
byId("remove").addEventListener("click", async () => {
  if (!editing || !confirm(`Remove ${editing.case.title} and its points from the folder of cases?`)) {
    return;
  }
  try {
    await api.removeCase(editing.name);
    location.hash = "";
    location.reload();
  } catch (error) {
    fault(error.message);
  }
});

// Print

function report() {
  if (!editing) return;
  changedAndPaused();
  fillReport(byId("report"), {
    editing, film, set: landmarkSet, measured, deviations, compared, version: setup.version,
  });
}
addEventListener("beforeprint", report);
byId("print").addEventListener("click", () => print());

// Start

say(byId("version"), setup.version);
await list.load().catch((error) => fault(error.message));
await networks.load();
const first = decodeURIComponent(location.hash.slice(1));
if (list.cases.some((one) => one.film === first)) await show(first);
else if (list.cases.length) await show(list.cases[0].film);
document.body.dataset.ready = "true";
