// Tables of measures, of points and of differences.

import { make, say, set } from "./elements.js";

const UNITS = { degree: "°", mm: " mm", ratio: "", percent: " %" };
const FAR = 2; // deviations from a norm, in standard deviations, that stand out

export const digitsOf = (unit) => (unit === "ratio" ? 3 : 1);

export function number(value, unit, withUnit = false) {
  if (!Number.isFinite(value)) return "–";
  const text = fixed(value, digitsOf(unit));
  return withUnit ? `${text}${UNITS[unit]}` : text;
}

export function signed(value, digits) {
  if (!Number.isFinite(value)) return "";
  const text = fixed(value, digits);
  return text.startsWith("−") ? text : `+${text}`;
}

/** A number with so many digits, a real minus, and no minus before a zero. */
function fixed(value, digits) {
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

export function normText(norm) {
  const mean = String(norm.mean).replace("-", "−");
  return norm.sd === null ? mean : `${mean} ± ${norm.sd}`;
}

export function deviationText(norm, unit) {
  return norm.sd === null
    ? signed(norm.difference, digitsOf(unit))
    : `${signed(norm.difference / norm.sd, 1)}${Number.isFinite(norm.difference) ? " SD" : ""}`;
}

/** Tables of measures, built once for a choice of analyses, and filled for each change. */
export class MeasureTable {
  constructor(element) {
    this.element = element;
    this.key = "";
    this.tables = []; // of each analysis: its box, whether it is in sight, and its rows
    // A table counts as seen somewhat before it is, so that scrolling shows no old values.
    this.watch = new IntersectionObserver((seen) => {
      for (const { target, isIntersecting } of seen) {
        const table = this.tables.find((one) => one.box === target);
        if (!table) continue;
        table.isSeen = isIntersecting;
        if (isIntersecting && table.isBehind) this.#fill(table);
      }
    }, { rootMargin: "50%" });
  }

  /** Fill the tables that are in sight, and with `all` the others too. `measured` is what
   *  `measureFilm` returns. */
  fill(measured, all = false) {
    const key = measured.map((one) => one.name).join();
    const isNew = key !== this.key;
    if (isNew) this.#build(measured);
    this.key = key;
    measured.forEach((analysis, number) => {
      const table = this.tables[number];
      table.analysis = analysis;
      if (all || isNew || table.isSeen) this.#fill(table);
      else table.isBehind = true;
    });
  }

  #fill(table) {
    table.isBehind = false;
    table.analysis.measures.forEach((one, at) => {
      const row = table.rows[at], [norm] = one.norms;
      say(row.value, number(one.value, one.unit, true));
      if (norm) {
        say(row.deviation, deviationText(norm, one.unit));
        const isFar = norm.sd !== null && Math.abs(norm.difference / norm.sd) > FAR;
        row.line.classList.toggle("far", isFar);
      } else {
        say(row.deviation, one.meaning);
      }
    });
  }

  /** Fill the column ±, in the order of `deviationsOf`. */
  fillDeviations(deviations) {
    let at = 0;
    for (const { analysis, rows } of this.tables) {
      rows.forEach((row, place) => {
        const sd = deviations?.[at] ?? NaN, { unit } = analysis.measures[place];
        say(row.sd, Number.isFinite(sd) ? `± ${sd.toFixed(digitsOf(unit))}` : "");
        at += 1;
      });
    }
  }

  #build(measured) {
    this.watch.disconnect();
    this.tables = measured.map((analysis) => {
      const rows = [];
      const isChallenge = analysis.measures.every((one) => !one.norms.length) && analysis.grid_mm;
      const head = isChallenge ? ["measure", "value", "±", "class"]
        : ["measure", "value", "±", "norm", "deviation"];
      const body = make("tbody");
      for (const one of analysis.measures) {
        // Boxes of fixed size for what a drag changes: a new text in one lays out and paints
        // nothing else.
        const [value, deviation] = [0, 1].map(() => make("div", { class: "now" }));
        const sd = make("td", { class: "sd" }), row = { value, sd, deviation };
        const [norm] = one.norms, explained = one.sign ? `${one.title}; ${one.sign}` : one.title;
        const cells = [make("td", {}, value), sd,
          make("td", { class: isChallenge ? "meaning" : "deviation" }, deviation)];
        if (!isChallenge) {
          const whom = norm && [norm.for, norm.source].filter(Boolean).join("; ");
          cells.splice(2, 0, make("td", { title: whom ?? null }, norm ? normText(norm) : ""));
        }
        row.line = make("tr", {}, make("th", { scope: "row", title: explained }, one.name), ...cells);
        rows.push(row);
        body.append(row.line);
      }
      const box = make("div", { class: "analysis" },
        make("table", { "data-analysis": analysis.name, class: isChallenge ? "classes" : "norms" },
          make("caption", {}, analysis.title), make("thead", {}, make("tr", {},
            ...head.map((text) => make("th", { scope: "col" }, text)))), body));
      return { box, rows, isSeen: true, isBehind: false };
    });
    this.element.replaceChildren(...this.tables.map((one) => one.box));
    for (const { box } of this.tables) this.watch.observe(box);
  }
}

/** The list of points, with their states and what can be done with each. */
export class PointTable {
  constructor(element, landmarkSet, actions) {
    this.rows = landmarkSet.landmarks.map((landmark, index) => {
      const { name } = landmark;
      const button = (text, label, act) =>
        make("button", { type: "button", "aria-label": label, onclick: () => act(index) }, text);
      const row = {
        state: make("td"),
        reset: button("Reset", `Reset ${name}`, actions.reset),
        missing: button("Missing", `Mark ${name} as missing`, actions.missing),
      };
      row.line = make("tr", {},
        make("th", { scope: "row", title: landmark.definition },
          button(landmark.abbreviation, `Go to ${name}`, actions.go)),
        row.state, make("td", {}, row.reset, " ", row.missing));
      return row;
    });
    this.body = make("tbody");
    element.append(make("table", {},
      make("thead", {}, make("tr", {}, ...["point", "state", "change"].map((text) =>
        make("th", { scope: "col" }, text)))), this.body));
  }

  fill(editing, order) {
    if (order.join() !== this.order?.join()) {
      this.body.replaceChildren(...order.map((index) => this.rows[index].line));
    }
    this.order = order;
    this.rows.forEach((row, index) => {
      const isThere = editing.now.points[index] !== null, isCorrected = editing.isCorrected(index);
      const sure = editing.confidence(index), doubt = editing.doubt(index);
      const text = !isThere ? "missing" : isCorrected ? "corrected"
        : Number.isNaN(sure) ? "automatic" : `${Math.round(100 * sure)} %`;
      say(row.state, doubt ? `${text}, doubtful` : text);
      set(row.state, "class", doubt ? "doubt" : null);
      set(row.state, "title", doubt || null);
      set(row.reset, "disabled", !isCorrected);
      set(row.missing, "disabled", !isThere);
    });
  }
}

/** Fill a table of measures then and now. */
export function fillDifferences(element, now, other, titles) {
  const rows = now.flatMap((analysis, at) => analysis.measures.map((one, index) => {
    const before = other[at].measures[index].value, digits = digitsOf(one.unit);
    return make("tr", {}, make("th", { scope: "row", title: one.title }, one.name),
      make("td", {}, number(before, one.unit)), make("td", {}, number(one.value, one.unit)),
      make("td", {}, signed(one.value - before, digits)));
  }));
  element.replaceChildren(make("table", {},
    make("thead", {}, make("tr", {}, ...["measure", ...titles, "difference"].map((text) =>
      make("th", { scope: "col" }, text)))), make("tbody", {}, ...rows)));
}
