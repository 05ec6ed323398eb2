// Zoom and pan of the film: by the wheel, by dragging, by two fingers, by a double click.

/** Let an element over the film's canvas zoom and pan the film.
 *  Returns whether it `isBusy`, and `take`, which gives it a pointer that is down already. */
export function navigate(element, film) {
  const fingers = new Map(); // last places of what is down, by pointer
  const place = (event) => {
    const box = element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const take = (event) => {
    element.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, place(event));
  };
  element.addEventListener("wheel", (event) => {
    event.preventDefault();
    film.wheel(event.deltaY * (event.deltaMode ? 30 : 1), ...place(event));
  }, { passive: false });
  element.addEventListener("pointerdown", (event) => {
    if (event.button === 0) take(event);
  });
  element.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const now = place(event);
    const others = [...fingers].filter(([id]) => id !== event.pointerId);
    if (others.length < 2) {
      const share = others.length ? 0.5 : 1; // the middle of two fingers moves by half
      film.pan(share * (now[0] - before[0]), share * (now[1] - before[1]));
    }
    if (others.length === 1) { // after the pan: what was in the middle is at the new one
      const [, [x, y]] = others[0], far = ([u, v]) => Math.max(Math.hypot(u - x, v - y), 1);
      film.zoom(far(now) / far(before), (now[0] + x) / 2, (now[1] + y) / 2);
    }
    fingers.set(event.pointerId, now);
  });
  for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) {
    element.addEventListener(kind, (event) => fingers.delete(event.pointerId));
  }
  element.addEventListener("dblclick", () => film.fit());
  return { take, get isBusy() { return fingers.size > 0; } };
}
