// Work that is done once for each frame, before the browser paints it. It knows no elements.

const waiting = new Set();
let isAsked = false;

/** Do a task before the next frame, once however often it is asked for. Tasks that this asks for
 *  in turn are done before the same frame: what follows a pointer is not a frame late. */
export function beforeFrame(task) {
  waiting.add(task);
  if (isAsked) return;
  isAsked = true;
  requestAnimationFrame(work);
}

export function cancel(task) { waiting.delete(task); }

function work() {
  try {
    for (const task of waiting) { // also those that are added meanwhile
      waiting.delete(task);
      task();
    }
  } finally {
    isAsked = false;
    if (waiting.size) beforeFrame(waiting.values().next().value); // after a task that failed
  }
}
