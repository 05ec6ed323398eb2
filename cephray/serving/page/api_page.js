// The page of the API: the routes of openapi.json, and a form for /predict.

import { byId, make, say } from "./elements.js";

const api = await (await fetch("openapi.json")).json();
say(byId("about"), `${api.info.title} ${api.info.version}. ${api.info.description}`);
for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, route] of Object.entries(methods)) {
    const inputs = (route.parameters ?? []).map((one) => make("li", {}, make("code", {}, one.name),
      ` (${one.in}${one.required ? ", required" : ""})${one.description ? `: ${one.description}` : ""}`));
    for (const kind of Object.keys(route.requestBody?.content ?? {})) {
      const said = route.requestBody.description ?? "";
      inputs.push(make("li", {}, "body, ", make("code", {}, kind), said ? `: ${said}` : ""));
    }
    byId("routes").append(
      make("h3", {}, make("code", {}, `${method.toUpperCase()} ${path}`)),
      make("p", {}, route.summary ?? ""),
      make("ul", {}, ...inputs));
  }
}

byId("try").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [file] = byId("film").files, query = new URLSearchParams({ name: file.name });
  if (byId("spacing").value) query.set("spacing_mm", byId("spacing").value);
  say(byId("answer"), "…");
  try {
    const answer = await fetch(`predict?${query}`, {
      method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" },
    });
    say(byId("answer"), JSON.stringify(await answer.json(), null, 1));
  } catch (error) {
    say(byId("answer"), error.message);
  }
});
