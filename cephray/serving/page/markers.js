// Landmarks, tracing lines, regions and the ruler as SVG over the film, in pixels of the screen, so
// that they keep their size. Points are moved by pointer and by keyboard.

import { announce, byId, make, makeSvg, say, set } from "./elements.js";
import { beforeFrame, cancel } from "./frames.js";
import { placeNames } from "./labels.js";
import { navigate } from "./navigation.js";

const MAGNIFIER = 150, RADIUS = 4;
const HINT = "Drag a point to correct it, or the film to move it; the wheel or two fingers zoom.";

export class Markers {
  /** `film` is the Film below; `svg` covers its canvas; `options` returns what is to be shown. */
  constructor(svg, film, landmarkSet, options) {
    this.svg = svg;
    this.film = film;
    this.set = landmarkSet;
    this.options = options;
    this.layers = Object.fromEntries(["regions", "lines", "other", "ruler", "points"].map(
      (name) => [name, svg.appendChild(makeSvg("g", { class: name }))]));
    this.lines = landmarkSet.lines.map(() => this.layers.lines.appendChild(makeSvg("line")));
    this.regions = landmarkSet.landmarks.map(() =>
      this.layers.regions.appendChild(makeSvg("circle")));
    this.points = landmarkSet.landmarks.map((landmark, index) => this.#point(landmark, index));
    this.ruler = {
      line: this.layers.ruler.appendChild(makeSvg("line")),
      ends: [0, 1].map((number) => this.#rulerEnd(number)),
    };
    this.calibrating = null;
    this.order = [];
    this.lens = byId("lens");
    this.lens.width = this.lens.height = MAGNIFIER * Math.min(devicePixelRatio || 1, 2);
    this.steps = 0;
    film.addEventListener("move", () => this.draw());
    // Two fingers zoom, wherever they are: a second one moves no point.
    svg.addEventListener("pointerdown", () => this.drag?.giveUp(), { capture: true });
    this.drag = null; // what is moved by a pointer
    this.navigation = navigate(svg, film);
  }

  edit(editing) {
    this.editing = editing;
    this.other = null;
    this.calibrating = null;
    this.order = [];
    this.#help(null);
    const drawChanges = () => { if (editing === this.editing) this.#drawChanges(); };
    editing.addEventListener("change", () => beforeFrame(drawChanges));
    this.draw();
  }

  /** Show the landmarks of another film, already in pixels of this one; null shows none. */
  superimpose(points) {
    if (!points && !this.other) return;
    this.other = points;
    this.draw();
  }

  draw() {
    if (!this.editing) return;
    this.drawn = null;
    const shown = this.options();
    this.#order(shown.leastSureFirst);
    this.#drawOther(shown.lines);
    set(this.layers.points, "class", `points ${shown.labels ? "" : "nameless"}`);
    if (shown.labels) this.#placeNames();
    this.#drawChanges();
  }

  #placeNames() {
    const places = this.editing.now.points.map((point) => point && this.film.toCanvas(point));
    const names = this.set.landmarks.map((one) => one.abbreviation);
    placeNames(names, places).forEach(({ x, y, anchor }, index) => {
      const text = this.points[index].querySelector("text");
      set(text, "x", x);
      set(text, "y", y);
      set(text, "text-anchor", anchor);
    });
  }

  /** Draw what has changed since it was drawn: in a drag, one point of many. */
  #drawChanges() {
    const { editing, film, drawn } = this, { now } = editing, shown = this.options();
    const isSame = drawn && drawn.checked === now.checked;
    const isNew = now.points.map((point, index) => !isSame || point !== drawn.points[index]);
    const places = now.points.map((point) => point && film.toCanvas(point));
    places.forEach((place, index) => {
      if (isNew[index]) this.#drawPoint(index, place, shown.regions);
    });
    this.set.lines.forEach(({ start, end }, index) => {
      if (!isNew[start] && !isNew[end]) return;
      drawLine(this.lines[index], shown.lines && places[start], places[end]);
    });
    if (!isSame || drawn.ruler !== now.ruler || this.calibrating) this.#drawRuler();
    this.drawn = now;
    const focused = this.points.indexOf(document.activeElement);
    if (focused >= 0 && !this.lens.hidden) this.#help(focused);
  }

  #drawPoint(index, place, withRegion) {
    const { editing } = this, marker = this.points[index], circle = this.regions[index];
    const radius = editing.radius(index), hasRegion = withRegion && place && !Number.isNaN(radius);
    set(circle, "r", hasRegion ? (radius * this.film.scale).toFixed(1) : 0);
    if (hasRegion) setPlace(circle, place);
    set(marker, "display", place ? null : "none");
    if (!place) return;
    set(marker, "transform", `translate(${place[0].toFixed(2)} ${place[1].toFixed(2)})`);
    const isCorrected = editing.isCorrected(index), doubt = editing.doubt(index);
    marker.classList.toggle("corrected", isCorrected);
    marker.classList.toggle("doubtful", doubt !== "");
    const { name } = this.set.landmarks[index];
    set(marker, "aria-label", `${name}${isCorrected ? ", corrected" : ""}${doubt && `. ${doubt}`}`);
  }

  /** Put the markers into the order in which Tab goes through them. */
  #order(leastSureFirst) {
    const order = leastSureFirst ? this.editing.leastSureFirst() : this.points.map((_, i) => i);
    if (order.join() === this.order.join()) return;
    this.order = order;
    const focused = document.activeElement;
    this.layers.points.append(...order.map((index) => this.points[index]));
    if (this.points.includes(focused)) focused.focus();
  }

  #drawOther(withLines) {
    this.layers.other.replaceChildren();
    if (!this.other) return;
    const places = this.other.map((point) => point && this.film.toCanvas(point));
    for (const { start, end } of this.set.lines) {
      const line = makeSvg("line");
      drawLine(line, withLines && places[start], places[end]);
      this.layers.other.append(line);
    }
    for (const place of places.filter(Boolean)) {
      const circle = makeSvg("circle", { r: RADIUS });
      setPlace(circle, place);
      this.layers.other.append(circle);
    }
  }

  #drawRuler() {
    const places = (this.calibrating ?? this.editing.now.ruler?.points_px ?? [null, null])
      .map((point) => point && this.film.toCanvas(point));
    drawLine(this.ruler.line, ...places);
    this.ruler.ends.forEach((end, number) => {
      set(end, "display", places[number] ? null : "none");
      set(end, "tabindex", this.calibrating ? 0 : -1);
      if (places[number]) set(end, "transform", `translate(${places[number].join(" ")})`);
    });
  }

  #point(landmark, index) {
    const marker = this.#movable(this.layers.points, landmark.abbreviation, {
      name: landmark.name,
      at: () => this.editing.now.points[index],
      move: (point, step) => this.editing.movePoint(index, point, step),
      key: (key) => this.#pointKey(key, index),
    });
    set(marker, "data-index", index);
    marker.addEventListener("pointerenter", () => this.#help(index));
    marker.addEventListener("pointerleave", () => this.#help(null));
    marker.addEventListener("focus", () => this.#focus(index));
    marker.addEventListener("blur", () => this.#help(null));
    return marker;
  }

  #rulerEnd(number) {
    return this.#movable(this.layers.ruler, `${number + 1}`, {
      name: `Ruler, point ${number + 1}`,
      at: () => this.calibrating?.[number],
      move: (point) => {
        this.calibrating = this.calibrating.with(number, point);
        this.draw();
      },
      key: () => false,
    });
  }

  /** Make a marker that is moved by pointer and arrow keys. A target has a `name`; `at`, its place
   *  in pixels of the film or null; `move`; and `key`, for other keys, which returns whether it
   *  took one. */
  #movable(layer, text, target) {
    const marker = makeSvg("g", {
      class: "point", tabindex: 0, role: "button", "aria-roledescription": "movable point",
      "aria-label": target.name,
      onpointerdown: (event) => this.#grab(event, marker, target),
      onblur: () => this.#hideLens(),
      onkeydown: (event) => this.#key(event, target),
    },
    makeSvg("circle", { class: "reach", r: 16 }),
    makeSvg("circle", { class: "ring", r: RADIUS + 4 }),
    makeSvg("circle", { class: "dot", r: RADIUS }),
    makeSvg("text", { x: RADIUS + 5, y: -5, "aria-hidden": "true" }, text));
    return layer.appendChild(marker);
  }

  #grab(event, marker, target) {
    const point = target.at();
    if (event.button !== 0 || !point || this.navigation.isBusy) return;
    event.stopPropagation();
    event.preventDefault();
    const step = `drag ${this.steps += 1}`, box = this.svg.getBoundingClientRect();
    const place = this.film.toCanvas(point);
    // It does not jump to the pointer.
    const shift = [place[0] - event.clientX + box.left, place[1] - event.clientY + box.top];
    marker.focus({ preventScroll: true });
    marker.setPointerCapture(event.pointerId);
    marker.classList.add("dragged");
    let last = null, newest = event;
    const move = (moving) => {
      newest = moving;
      last = [moving.clientX - box.left + shift[0], moving.clientY - box.top + shift[1]];
      beforeFrame(apply); // a pointer may report many times a frame
    };
    const apply = () => {
      if (!last) return;
      target.move(this.film.toFilm(...last), step);
      last = null;
      this.#showLens(target.at());
    };
    const stop = () => {
      marker.removeEventListener("pointermove", move);
      marker.removeEventListener("lostpointercapture", end);
      cancel(apply);
      marker.classList.remove("dragged");
      this.#hideLens();
      this.drag = null;
    };
    const end = () => {
      apply();
      stop();
      this.draw(); // names make way
      this.#announce(target);
    };
    const giveUp = () => {
      stop();
      target.move(point, step);
      this.editing.takeBack(step);
      this.navigation.take(newest);
    };
    this.drag = { giveUp };
    marker.addEventListener("pointermove", move);
    marker.addEventListener("lostpointercapture", end);
    this.#showLens(point);
  }

  #key(event, target) {
    const point = target.at();
    if (!point || event.ctrlKey || event.metaKey || event.altKey) return;
    const far = event.shiftKey ? 10 : 1;
    const ways = {
      ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far],
    };
    if (event.key in ways) {
      const [dx, dy] = ways[event.key];
      target.move([point[0] + dx, point[1] + dy]);
      this.film.reveal(target.at());
      this.#showLens(target.at());
      this.#announce(target);
    } else if (!target.key(event.key)) {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  #pointKey(key, index) {
    if (key === "Delete") {
      const next = this.order[(this.order.indexOf(index) + 1) % this.order.length];
      this.editing.movePoint(index, null);
      announce(`${this.set.landmarks[index].name} is missing`);
      this.points[next].focus();
    } else if (key.toLowerCase() === "r") {
      this.editing.resetPoint(index);
      announce(`${this.set.landmarks[index].name} is at the automatic place`);
    } else {
      return false;
    }
    return true;
  }

  focus(index) { this.points[index].focus(); }

  #focus(index) {
    if (this.editing.now.points[index]) this.film.reveal(this.editing.now.points[index]);
    this.#help(index);
    this.onfocus?.(index);
  }

  #announce(target) {
    const point = target.at();
    if (point) announce(`${target.name} at ${point.map(Math.round).join(", ")}`);
  }

  /** Say what a landmark is, below the film. */
  #help(index) {
    const help = byId("help");
    if (index === null) {
      say(help, HINT);
      return;
    }
    const { name, abbreviation, definition } = this.set.landmarks[index];
    const sure = this.editing.confidence(index), doubt = this.editing.doubt(index);
    const title = `${name} (${abbreviation})`;
    let text = definition && `: ${definition}.`;
    if (this.editing.isCorrected(index)) text += " Placed by hand.";
    else if (!Number.isNaN(sure) && !doubt) text += ` Confidence ${Math.round(100 * sure)} %.`;
    const said = doubt ? `${title}${text} ${doubt}` : title + text;
    if (help.textContent === said) return;
    help.replaceChildren(make("strong", {}, title), text,
      doubt ? make("span", { class: "doubt" }, ` ${doubt}`) : "");
  }

  /** Show the point's surroundings enlarged, in the corner that is furthest from it. */
  #showLens(point) {
    if (!point) return;
    const [x, y] = this.film.toCanvas(point), { lens } = this;
    const { clientWidth, clientHeight } = this.film.canvas;
    lens.hidden = false;
    lens.classList.toggle("right", x < clientWidth / 2);
    lens.classList.toggle("bottom", y < clientHeight / 2);
    const context = lens.getContext("2d"), side = lens.width, middle = side / 2;
    this.film.magnify(context, point, side, Math.max(3 * this.film.scale, 2) * side / MAGNIFIER);
    context.strokeStyle = "#ffd84d";
    context.lineWidth = 1;
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) { // the middle stays free
      context.moveTo(middle + 6 * dx, middle + 6 * dy);
      context.lineTo(middle + 24 * dx, middle + 24 * dy);
    }
    context.stroke();
  }

  #hideLens() { this.lens.hidden = true; }

  /** Show the two points of a ruler, to be moved. */
  calibrate() {
    const { clientWidth, clientHeight } = this.film.canvas;
    const at = (x, y) => this.film.toFilm(x * clientWidth, y * clientHeight);
    const ruler = this.editing.now.ruler?.points_px ?? [at(0.4, 0.35), at(0.4, 0.65)];
    this.calibrating = ruler.map((point) => [...point]);
    this.draw();
    this.ruler.ends[0].focus();
  }

  /** Return the two points of the ruler, and show them as movable no longer. */
  stopCalibrating() {
    const points = this.calibrating;
    this.calibrating = null;
    this.draw();
    return points;
  }
}

function setPlace(circle, [x, y]) {
  set(circle, "cx", x.toFixed(2));
  set(circle, "cy", y.toFixed(2));
}

function drawLine(line, from, to) {
  set(line, "display", from && to ? null : "none");
  if (!from || !to) return;
  const ends = { x1: from[0], y1: from[1], x2: to[0], y2: to[1] };
  for (const [name, value] of Object.entries(ends)) set(line, name, value.toFixed(2));
}
