// The operators' page: asks every two seconds, and says so honestly when it gets no answer.

import { Api } from "./api.js";
import { ServerClock } from "./clock.js";
import { byId, el, setText } from "./dom.js";
import { Letters } from "./letters.js";
import { lineOf, sourcesOf } from "./stages.js";
import { Reader } from "./who.js";
import { clockTime, moment, span } from "./words.js";

const EVERY = 2_000;
const OLD = 12_000;

const clock = new ServerClock();
const api = new Api(clock);
const reader = new Reader({ api });
const letters = new Letters({ api, clock, reader, changed: () => refresh() });
let seen = null;
let lastGood = null;
let lost = false;

async function refresh() {
  try {
    seen = await api.get("/api/ops");
    lastGood = clock.now();
    lost = false;
    letters.refresh(seen.letters);
  } catch (problem) {
    lost = true;
    if (problem.name !== "Problem" && problem.status === undefined) console.error(problem);
  }
  show();
}

function show() {
  connection();
  if (!seen) return;
  amiss();
  byId("line").replaceChildren(...lineOf(seen));
  byId("sources").replaceChildren(sourcesOf(seen.sources, clock.now()));
  document.title = seen.conditions.length ? `(${seen.conditions.length} amiss) Readfirst operations` : "Readfirst operations";
}

function connection() {
  const now = clock.now();
  const age = seen ? now - Date.parse(seen.at) : 0;
  const stuck = !lost && age > OLD;
  document.body.dataset.feed = lost ? "lost" : "live";
  byId("strip").dataset.feed = document.body.dataset.feed;
  byId("strip").dataset.level = lost || stuck ? "bad" : "quiet";
  let words = "Connecting…";
  if (lost) words = lastGood ? `Connection lost. This is how it was at ${clockTime(lastGood)}, ${span(now - lastGood)} ago. Trying again…` : "There is nothing to show yet. Trying again…";
  else if (stuck) words = `Nothing has been looked at since ${clockTime(Date.parse(seen.at))}.`;
  else if (seen) words = `Live, ${clockTime(now)}`;
  setText(byId("connection"), words);
  setText(byId("notices"), seen && !lost ? `${seen.list.open.toLocaleString("en-GB")} open, ${seen.list.overdue.toLocaleString("en-GB")} overdue on the list` : "");
}

const WORD = { bad: "Urgent", warn: "Watch" };

function amiss() {
  const items = seen.conditions.map((one) =>
    el("li", { "data-level": one.level }, el("span.word", {}, WORD[one.level]), el("span", {}, one.words),
      el("small", {}, `since ${since(one.since)} · runbook ${one.remedy}`)));
  if (!items.length) items.push(el("li", { "data-level": "calm" }, el("span.word", {}, "Calm"), el("span", {}, "All is as it should be: every stage keeps up, every source speaks.")));
  const told = (list) => list.map((node) => node.dataset.level + node.textContent).join("|");
  if (told([...byId("amiss").children]) !== told(items)) byId("amiss").replaceChildren(...items);
}

function since(text) {
  const at = Date.parse(text);
  return clock.now() - at < 12 * 3_600_000 ? clockTime(at) : moment(at, clock.now());
}

function toggleTheme() {
  const root = document.documentElement;
  root.dataset.theme = root.dataset.theme === "light" ? "dark" : "light";
  themeWord();
  try {
    localStorage.setItem("readfirst-theme", root.dataset.theme);
  } catch {
    // Storage may be forbidden: the choice then lasts as long as the page.
  }
}

function themeWord() {
  byId("theme").firstChild.textContent = document.documentElement.dataset.theme === "light" ? "Dark " : "Light ";
}

byId("theme").addEventListener("click", toggleTheme);
addEventListener("keydown", (event) => {
  if (event.key === "t" && !event.ctrlKey && !event.metaKey && !event.altKey && !event.target.closest("input, dialog")) toggleTheme();
});
themeWord();
reader.name = await api.get("/api/reader").then((body) => body.reader, () => null);
if (reader.name) setText(byId("reader"), reader.name);
await refresh();
setInterval(refresh, EVERY);
setInterval(connection, 1_000);
