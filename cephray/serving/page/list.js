// The list of cases, and the opening of films: chosen, or dropped with folders.

import * as api from "./api.js";
import { byId, make, say, set } from "./elements.js";

const SUFFIX = /\.(png|jpe?g|bmp|tiff?|webp|dcm|dic)$/i;

export class CaseList {
  /** `onopen` takes the name of a case that is to be shown, and the case if it is known; `onfault`
   *  a sentence. */
  constructor({ onopen, onfault }) {
    this.onopen = onopen;
    this.onfault = onfault;
    this.cases = [];
    this.current = null;
    for (const id of ["files", "folder"]) {
      byId(id).addEventListener("change", (event) => {
        const files = [...event.target.files];
        event.target.value = "";
        this.open(id === "folder" ? files.filter(isFilm) : files);
      });
    }
    const over = (isOver) => byId("viewer").classList.toggle("over", isOver);
    document.addEventListener("dragover", (event) => { event.preventDefault(); over(true); });
    document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) over(false); });
    document.addEventListener("drop", async (event) => {
      event.preventDefault();
      over(false);
      this.open(await droppedFiles(event.dataTransfer));
    });
  }

  /** Open films one after the other; the first is shown as soon as it is there. */
  async open(files) {
    if (!files.length) {
      this.onfault("There is no film among these files.");
      return;
    }
    const faults = [];
    let isFirst = true;
    for (const [number, file] of files.entries()) {
      say(byId("opening"), `Opening ${number + 1} of ${files.length}: ${file.name}`);
      try {
        const opened = await api.openFilm(file);
        if (isFirst) this.onopen(opened.film, opened);
        isFirst = false;
        await this.load();
      } catch (error) {
        faults.push(`${file.name}: ${error.message}`);
      }
    }
    say(byId("opening"), "");
    if (faults.length) {
      const more = faults.length > 3 ? ` And ${faults.length - 3} more.` : "";
      this.onfault(faults.slice(0, 3).join(" ") + more);
    }
  }

  async load() {
    const { cases, damaged } = await api.listCases();
    this.cases = cases;
    this.draw();
    if (damaged.length) this.onfault(damaged.join(" "));
  }

  draw() {
    byId("cases").replaceChildren(...this.cases.map((one) => make("li", {},
      make("button", {
        type: "button", onclick: () => this.onopen(one.film),
        "aria-current": one.film === this.current ? "true" : null, "data-case": one.film,
      },
      make("img", { src: api.thumbnailAddress(one.film), alt: "", loading: "lazy" }),
      make("span", { title: one.title }, one.title),
      make("small", {}, one.patient),
      describe(one)))));
  }

  select(name) {
    this.current = name;
    for (const button of byId("cases").querySelectorAll("button")) {
      set(button, "aria-current", button.dataset.case === name ? "true" : null);
    }
  }
}

function describe(one) {
  if (one.checked) return make("small", {}, "checked");
  if (one.doubtful.length) {
    return make("small", { class: "doubt", title: one.doubtful.join("; ") }, "doubtful");
  }
  return make("small", {}, one.corrected ? `${one.corrected} corrected` : "automatic");
}

const isFilm = (file) => SUFFIX.test(file.name) && !file.name.startsWith(".");

/** The files that were dropped, with those in folders, which only hold films by their names. */
async function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  const found = [];
  for (const entry of entries) {
    if (entry.isFile) found.push(await fileOf(entry));
    else found.push(...(await filesIn(entry)).filter(isFilm));
  }
  return found;
}

const fileOf = (entry) => new Promise((done, fail) => { entry.file(done, fail); });

async function filesIn(folder) {
  const reader = folder.createReader(), found = [];
  for (;;) { // it gives a hundred at a time
    const entries = await new Promise((done, fail) => { reader.readEntries(done, fail); });
    if (!entries.length) return found;
    for (const entry of entries) {
      if (entry.isFile) found.push(await fileOf(entry));
      else found.push(...await filesIn(entry));
    }
  }
}
