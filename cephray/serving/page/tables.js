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

/** The group that all norms of an analysis are for, or an empty text. */
export function commonGroup(analysis) {
  const groups = new Set(analysis.measures.flatMap((one) => one.norms.map((norm) => norm.for)));
  return groups.size === 1 ? [...groups][0] : "";
}

export function titleOf(analysis) {
  const group = commonGroup(analysis);
  return group ? `${analysis.title} (norms: ${group})` : analysis.title;
}

/** A cell with a norm, and whom it is for unless this is `common` to all. */
export function normCell(norm, common) {
  if (!norm) return make("td");
  const group = norm.for && norm.for !== common ? make("small", {}, norm.for) : null;
  return make("td", { title: [norm.for, norm.source].filter(Boolean).join("; ") },
    normText(norm), group && " ", group);
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
    const key = JSON.stringify(measured.map((one) => [one.name,
      one.measures.map(({ norms }) => norms.map((norm) => norm.for))]));
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
      const { value, deviations } = table.rows[at];
      say(value, number(one.value, one.unit, true));
      one.norms.forEach((norm, line) => {
        say(deviations[line], deviationText(norm, one.unit));
        const isFar = norm.sd !== null && Math.abs(norm.difference / norm.sd) > FAR;
        deviations[line].parentElement.classList.toggle("far", isFar);
      });
      if (!one.norms.length) say(deviations[0], one.meaning);
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
      const common = commonGroup(analysis), body = make("tbody");
      for (const one of analysis.measures) {
        const explained = one.sign ? `${one.title}; ${one.sign}` : one.title;
        // Boxes of fixed size for what a drag changes: a new text in one lays out and paints
        // nothing else.
        const box = () => make("div", { class: "now" });
        const lines = Math.max(one.norms.length, 1), rowspan = lines > 1 ? lines : null;
        const value = box(), sd = make("td", { class: "sd", rowspan });
        const deviations = Array.from({ length: lines }, box);
        rows.push({ value, sd, deviations });
        deviations.forEach((deviation, line) => {
          const norm = one.norms[line], cells = [];
          if (line === 0) {
            cells.push(make("th", { scope: "row", title: explained, rowspan }, one.name),
              make("td", { rowspan }, value), sd);
          }
          if (!isChallenge) cells.push(normCell(norm, common));
          cells.push(make("td", { class: isChallenge ? "meaning" : "deviation" }, deviation));
          body.append(make("tr", {}, ...cells));
        });
      }
      const box = make("div", { class: "analysis" },
        make("table", { "data-analysis": analysis.name, class: isChallenge ? "classes" : "norms" },
          make("caption", {}, titleOf(analysis)), make("thead", {}, make("tr", {},
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

/** Fill tables of measures then and now. `now` and `other` are what `measureFilm` returns. */
export function fillDifferences(element, now, other, titles) {
  element.replaceChildren(...now.map((analysis, at) => make("table", {},
    make("caption", {}, analysis.title),
    make("thead", {}, make("tr", {}, ...["measure", ...titles, "difference"].map((text) =>
      make("th", { scope: "col" }, text)))),
    make("tbody", {}, ...analysis.measures.map((one, index) => {
      const before = other[at].measures[index].value;
      return make("tr", {}, make("th", { scope: "row", title: one.title }, one.name),
        make("td", {}, number(before, one.unit, true)),
        make("td", {}, number(one.value, one.unit, true)),
        make("td", {}, signed(one.value - before, digitsOf(one.unit))));
    })))));
}
