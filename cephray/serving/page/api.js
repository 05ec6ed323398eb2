// Requests to the server. Whatever goes wrong becomes an Error whose message is a sentence.

export class Conflict extends Error {
  constructor(message, revision) {
    super(message);
    this.revision = revision;
  }
}

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. Is `cephray serve` still running?");
  }
  if (response.ok) return response.status === 204 ? null : response.json();
  const said = await response.json().catch(() => ({}));
  const message = said.error ?? `The server answered with status ${response.status}.`;
  if (response.status === 409) throw new Conflict(message, said.revision);
  throw new Error(message);
}

const asJson = (method, content, more = {}) => ({
  method, body: JSON.stringify(content), headers: { "Content-Type": "application/json" }, ...more,
});

const of = (name) => `api/cases/${encodeURIComponent(name)}`;

export const setup = () => ask("api/setup");
export const listCases = () => ask("api/cases");
export const readCase = (name) => ask(of(name));
export const removeCase = (name) => ask(of(name), { method: "DELETE" });
export const predictAgain = (name) => ask(`${of(name)}/predict`, { method: "POST" });
export const filmAddress = (name) => `${of(name)}/film.png`;
export const thumbnailAddress = (name) => `${of(name)}/thumbnail.jpg`;
export const checkpoints = () => ask("api/checkpoints");
export const chooseCheckpoint = (name) => ask("api/checkpoints", asJson("POST", { name }));
export const teach = (cases) => ask("api/teaching", asJson("POST", { cases }));

export const openFilm = (file) =>
  ask(`api/cases?name=${encodeURIComponent(file.name)}`, {
    method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" },
  });

// Changes of this window are numbered: the server knows then that they are no conflict with each
// other, in which order they were made, and which one is overtaken.
const WINDOW = Array.from(crypto.getRandomValues(new Uint32Array(4)), (one) => one.toString(36)).join("");
let changeNumber = 0;

/** Save a case. The request outlives the page. */
export function changeCase(name, revision, changes) {
  const query = new URLSearchParams({ revision, window: WINDOW, number: changeNumber += 1 });
  return ask(`${of(name)}?${query}`, asJson("PUT", changes, { keepalive: true }));
}

export function exportAddress(to, names, analyses) {
  const query = new URLSearchParams({ to });
  names.forEach((name) => query.append("case", name));
  analyses.forEach((name) => query.append("analysis", name));
  return `api/export?${query}`;
}
