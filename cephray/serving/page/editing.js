// The case that is open: its points, ruler and texts, undo and redo, and saving by itself.
// It knows no elements of the page; whoever wants to know of changes listens.

import { Conflict, changeCase } from "./api.js";

const SAVE_AFTER_MS = 700;

export class Editing extends EventTarget {
  /** `content` is a case as the server gives it. */
  constructor(content) {
    super();
    this.case = content;
    this.revision = content.revision;
    this.automatic = content.automatic.points_px;
    this.now = {
      points: content.landmarks.map((one) => (one.x_px === null ? null : [one.x_px, one.y_px])),
      ruler: content.ruler,
      checked: content.checked,
      patient: content.patient,
      remarks: content.remarks,
      norms_for: content.norms_for ?? "", // the group whose norms hold for the patient
    };
    this.past = [];
    this.future = [];
    this.saved = this.now;
    this.status = "saved"; // or "unsaved", "saving", "conflict", "failed"
    this.message = "";
    this.turn = 0; // of the last save
    this.answered = 0;
  }

  get name() { return this.case.film; }

  get size() { return this.case.size_px; }

  /** Millimetres per pixel, or null if unknown. */
  get spacing() {
    const { ruler } = this.now;
    if (!ruler) return this.case.automatic.spacing_mm;
    const [[x, y], [u, v]] = ruler.points_px;
    return ruler.length_mm / Math.hypot(u - x, v - y);
  }

  get spacingSource() {
    return this.now.ruler ? "ruler" : this.case.automatic.spacing_source;
  }

  /** Reasons why the film is doubtful; none once a person has checked it. */
  get doubtful() { return this.now.checked ? [] : this.case.automatic.doubtful; }

  isCorrected(index) {
    const point = this.now.points[index], automatic = this.automatic[index];
    if (!point || !automatic) return point !== automatic;
    return round(point[0]) !== automatic[0] || round(point[1]) !== automatic[1];
  }

  /** Radius of 95 % of the errors in pixels; NaN if unknown, or if a person placed the point. */
  radius(index) {
    return this.isCorrected(index) ? NaN : this.case.automatic.radius_95_px[index] ?? NaN;
  }

  confidence(index) {
    return this.isCorrected(index) ? NaN : this.case.automatic.confidence[index] ?? NaN;
  }

  /** Why a point is doubtful, or an empty text. */
  doubt(index) {
    if (this.now.checked || this.isCorrected(index)) return "";
    const sure = this.confidence(index), radius = this.radius(index);
    if (sure < 0.5) {
      return `The network is unsure: within 2 mm with a probability of ${Math.round(100 * sure)} %.`;
    }
    const radii = this.case.automatic.radius_95_px.filter((one) => one !== null);
    const median = radii.sort((a, b) => a - b)[radii.length >> 1];
    if (Number.isNaN(sure) && radius > 2 * median) {
      return "The network is less sure of this point than of the others.";
    }
    return "";
  }

  /** Indices of the points, the least sure first. */
  leastSureFirst() {
    const radii = this.case.automatic.radius_95_px;
    return this.now.points.map((_, index) => index)
      .sort((a, b) => (radii[b] ?? 0) - (radii[a] ?? 0) || a - b);
  }

  /** Change something, such that undo brings it back. Changes of one drag are one step: they have
   *  the same `step`. */
  change(part, step = null) {
    if (step === null || step !== this.step) {
      this.past.push(this.now);
      this.future = [];
    }
    this.step = step;
    this.now = { ...this.now, ...part };
    this.#changed();
  }

  movePoint(index, point, step = null) {
    const [width, height] = this.size;
    const inside = point && [clamp(point[0], width), clamp(point[1], height)].map(round);
    this.change({ points: this.now.points.with(index, inside) }, step);
  }

  resetPoint(index) { this.movePoint(index, this.automatic[index]); }

  resetAll() { this.change({ points: this.automatic.slice() }); }

  /** Undo changes that have this `step`, if they are the last; they cannot be redone. */
  takeBack(step) {
    if (step !== this.step || !this.past.length) return;
    this.now = this.past.pop();
    this.step = null;
    this.#changed();
  }

  undo() { this.#travel(this.past, this.future); }

  redo() { this.#travel(this.future, this.past); }

  #travel(from, to) {
    if (!from.length) return;
    to.push(this.now);
    this.now = from.pop();
    this.step = null;
    this.#changed();
  }

  #changed() {
    if (this.status !== "conflict") {
      this.#say("unsaved");
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.save(), SAVE_AFTER_MS);
    }
    this.dispatchEvent(new Event("change"));
  }

  #say(status, message = "") {
    this.status = status;
    this.message = message;
    this.dispatchEvent(new Event("status"));
  }

  /** Save now. `over` is a revision that is written over. `last` does not wait for the answer to
   *  a save that is under way, since the page may be gone by then. */
  async save({ over = null, last = false } = {}) {
    clearTimeout(this.timer);
    if (over !== null) {
      this.revision = over;
    } else if (this.status === "conflict") {
      return;
    } else if (this.now === this.saved) { // perhaps by undo
      if (!this.saving && this.status !== "saved") this.#say("saved");
      return;
    }
    if (this.saving && !last) {
      await this.saving;
      return this.save();
    }
    const saving = this.#send(this.now);
    this.saving = saving;
    await saving;
    if (this.saving === saving) this.saving = null;
  }

  async #send(sent) {
    this.#say("saving");
    const { points, ...rest } = sent, turn = this.turn += 1;
    try {
      const answer = await changeCase(this.name, this.revision, { points_px: points, ...rest });
      if (turn < this.answered) return; // a later save was answered first
      this.answered = turn;
      this.revision = answer.revision;
      this.saved = sent;
      this.#say(this.now === sent ? "saved" : "unsaved");
    } catch (error) {
      if (error instanceof Conflict) this.conflicting = error.revision;
      this.#say(error instanceof Conflict ? "conflict" : "failed", error.message);
    }
  }
}

const clamp = (value, size) => Math.min(Math.max(value, 0), size - 1);
const round = (value) => Math.round(100 * value) / 100;
