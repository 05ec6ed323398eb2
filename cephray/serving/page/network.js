// The networks: the one in use, those that were taught, and teaching by checked films.

import * as api from "./api.js";
import { byId, make, say } from "./elements.js";

const POLL_MS = 1000, FEWEST = 3;

export class Networks {
  /** `checked` returns the names of the films that a person has checked; `onfault` takes a
   *  sentence. */
  constructor({ checked, onfault }) {
    this.checked = checked;
    this.onfault = onfault;
    byId("teach").addEventListener("click", () => this.teach());
  }

  async load() {
    try {
      this.draw(await api.checkpoints());
    } catch (error) {
      this.onfault(error.message);
    }
  }

  async teach() {
    try {
      await api.teach(this.checked());
    } catch (error) {
      this.onfault(error.message);
    }
    await this.load();
  }

  async choose(name) {
    say(byId("teach-state"), "Loading the network.");
    try {
      this.draw(await api.chooseCheckpoint(name));
      say(byId("teach-state"), "New films are found by this network. Find the landmarks of a film"
        + " again to use it there.");
    } catch (error) {
      this.onfault(error.message);
      await this.load();
    }
  }

  /** The films that are checked by now. */
  count() {
    const count = this.checked().length;
    say(byId("teach-note"), `Checked films teach the network how you mark: ${count} of at least`
      + ` ${FEWEST}, 10 to 20 are better. It takes a few seconds a film.`);
    byId("teach").disabled = count < FEWEST || this.isTeaching;
  }

  draw(state) {
    const { teaching, taught } = state;
    this.isTeaching = teaching.state === "running";
    const choices = [{ name: state.given, value: null }, ...taught.map((one) => ({
      name: one.name, value: one.name, figures: one.figures,
    }))];
    byId("networks").replaceChildren(...choices.map(({ name, value, figures }) => make("label", {},
      make("input", {
        type: "radio", name: "network", checked: state.in_use === name || null,
        disabled: state.changing || null, onchange: () => this.choose(value),
      }),
      make("span", {}, name, figures ? make("span", { class: "soft" }, ` ${compare(figures)}`) : null))));
    const bar = byId("teach-progress");
    bar.hidden = !this.isTeaching;
    if (this.isTeaching) {
      bar.max = teaching.total;
      bar.value = teaching.done;
      say(byId("teach-state"), `Teaching: ${teaching.done} of ${teaching.total} steps.`);
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.load(), POLL_MS);
    } else if (teaching.state === "failed") {
      say(byId("teach-state"), `Teaching failed: ${teaching.error}`);
    } else if (teaching.state === "done") {
      say(byId("teach-state"), `${teaching.name} is ready to be chosen.`);
    }
    this.count();
  }
}

/** The errors on held-out films: on each, of a network that was fitted to the others. */
function compare({ films, before_mm: before, after_mm: after, gain_shown: isShown }) {
  const error = (one) => `${one.mean.toFixed(2)} [${one.low.toFixed(2)}, ${one.high.toFixed(2)}] mm`;
  return `error on held-out films (${films.length}, each left out in turn): ${error(before)} before,`
    + ` ${error(after)} after${isShown ? "" : "; no gain shown"}`;
}
