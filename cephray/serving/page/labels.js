// Where names stand beside their points, so that they hide neither points nor each other.

const LETTER = 7, HEIGHT = 13, DOT = 5; // pixels of the screen; letters are somewhat less wide

/** Places of a name relative to its point, the best first: of the text's anchor and base line. */
const PLACES = [
  { x: 9, y: -5, anchor: "start" }, { x: 9, y: 14, anchor: "start" },
  { x: -9, y: -5, anchor: "end" }, { x: -9, y: 14, anchor: "end" },
  { x: 10, y: 4, anchor: "start" }, { x: -10, y: 4, anchor: "end" },
  { x: 0, y: -10, anchor: "middle" }, { x: 0, y: 20, anchor: "middle" },
];

/** Choose a place for each name. `points` are [x, y] on the screen, or null where missing. */
export function placeNames(names, points) {
  const taken = points.map((point) => point && boxAround(point, DOT)).filter(Boolean);
  return names.map((name, index) => {
    if (!points[index]) return PLACES[0];
    let best = null;
    for (const place of PLACES) {
      const box = boxOf(name, points[index], place);
      const hidden = taken.reduce((sum, other) => sum + shared(box, other), 0);
      if (best === null || hidden < best.hidden) best = { place, box, hidden };
    }
    taken.push(best.box);
    return best.place;
  });
}

const boxAround = ([x, y], size) => [x - size, y - size, x + size, y + size];

function boxOf(name, [px, py], { x, y, anchor }) {
  const width = LETTER * name.length + 2, bottom = py + y + 3;
  const left = px + x - width * { start: 0, middle: 0.5, end: 1 }[anchor];
  return [left, bottom - HEIGHT, left + width, bottom];
}

/** The area that two boxes [left, top, right, bottom] share. */
function shared([a, b, c, d], [e, f, g, h]) {
  return Math.max(Math.min(c, g) - Math.max(a, e), 0) * Math.max(Math.min(d, h) - Math.max(b, f), 0);
}
