// Puts the page together.

import { Adjusting } from "./adjusting.js";
import { Api, studyPath } from "./api.js";
import { ServerClock } from "./clock.js";
import { Detail } from "./detail.js";
import { byId, setText } from "./dom.js";
import { Alerts } from "./escalation.js";
import { Feed } from "./feed.js";
import { helpBody } from "./help.js";
import { listenToKeys } from "./keys.js";
import { List, modalityOptions } from "./list.js";
import { Status } from "./status.js";
import { store, stored } from "./storage.js";
import { View } from "./view.js";
import { Reader } from "./who.js";

const clock = new ServerClock();
const api = new Api(clock);
const reader = new Reader({ api });
const status = new Status({ api, clock });
const list = new List({ api, clock, reader, filters });
const detail = new Detail({ api, clock, reader });
const view = new View({ reader });
const adjusting = new Adjusting({ api, clock });
const alerts = new Alerts({ api, clock, reader });
const feed = new Feed({ clock, refresh, onState: (state) => status.show(state) });
let detailSeq = null;

function filters() {
  const form = new FormData(byId("filters"));
  return new URLSearchParams([...form].map(([name, value]) => [name, value.trim()]).filter(([, value]) => value));
}

async function refresh() {
  await Promise.all([list.refresh(), status.refresh()]);
}

// --- opening and closing, bound to the study's UID

function uidInAddress() {
  const match = location.pathname.match(/^\/study\/(.+)$/);
  return match ? decodeURIComponent(match[1]) : null;
}

function open(uid, { push = true, say = "" } = {}) {
  const path = `/study/${encodeURIComponent(uid)}`;
  if (push && location.pathname !== path) history[detail.uid ? "replaceState" : "pushState"]({}, "", path);
  detailSeq = list.study(uid)?.seq ?? null;
  list.markOpen(uid);
  return detail.open(uid, { say });
}

function close({ push = true } = {}) {
  const uid = detail.uid;
  if (!uid) return;
  detail.close();
  list.markOpen(null);
  if (push) history.pushState({}, "", "/");
  list.focus(uid);
}

// --- what a reader does

/** Acts on the open study; with none open, on the focused row. */
async function act(action) {
  const uid = detail.uid ?? list.focusedUid();
  if (!uid) return status.say("Choose a study first.");
  if (!reader.name) return reader.ask("Say who you are first: claims carry a name.");
  if (detail.uid !== uid) await open(uid);
  try {
    detail.show(await api.post(studyPath(uid, `/${action}`)), { claim: "This study is yours.", release: "Released: it is open to all again.", acknowledge: "Acknowledged.", resume: "Back on the list.", free: "The rules decide again." }[action]);
  } catch (problem) {
    await detail.refresh();
    detail.say(problem.status === 409 && problem.body.claimed_by ? `${problem.body.claimed_by} was first: the study is claimed.` : problem.message);
  }
  feed.poke();
}

/** Sets the open (or focused) study aside, or takes it back; moves it. */
async function adjust(how) {
  const uid = detail.uid ?? list.focusedUid();
  if (!uid) return status.say("Choose a study first.");
  if (!reader.name) return reader.ask("Say who you are first: what you change carries your name.");
  if (detail.uid !== uid || !detail.study) await open(uid);
  const study = detail.study;
  if (!study || study.state === "closed") return;
  if (how === "aside" && study.hold) return act("resume");
  try {
    await (how === "aside" ? adjusting.askAside(study) : adjusting.askMove(study));
  } catch (problem) {
    detail.say(problem.message);
  }
}

/** The site's sub-lists, and whether its newest rules were refused. */
async function siteRules() {
  try {
    const site = await api.get("/api/site");
    const select = byId("list-name");
    const known = new Set([...select.options].map((option) => option.value));
    for (const { name, title, skill } of site.lists) if (!known.has(name)) select.append(Object.assign(new Option(title, name), { title: skill }));
    status.site(site);
  } catch {
    // The whole list is there without them.
  }
}

/** What a button of an alert says. */
async function actOnAlert({ alert, verb, body }) {
  if (!reader.name) return reader.ask("Say who you are first: an acknowledgement carries a name.");
  const said = { acknowledge: "The alert is acknowledged.", "take-over": "The alert is yours.", resolve: "The alert is closed." }[verb];
  let words = said;
  try {
    await api.post(`/api/alerts/${alert.id}/${verb}`, body);
  } catch (problem) {
    words = problem.message;
  }
  await detail.refresh();
  detail.say(words);
  feed.poke();
}

/** A reader's word on a finding of the open study's picture. */
async function giveFeedback(body) {
  const uid = detail.uid;
  if (!reader.name) return reader.ask("Say who you are first: your word on a finding carries your name.");
  let words = "Noted, for the model to learn from.";
  try {
    await api.post(studyPath(uid, "/feedback"), body);
  } catch (problem) {
    words = problem.message;
  }
  if (detail.uid !== uid) return;
  await detail.refresh();
  detail.say(words);
}

async function nextCase() {
  if (!reader.name) return reader.ask("Say who you are first: claims carry a name.");
  try {
    const study = await api.post(`/api/worklist/next?${filters()}`);
    await open(study.study_uid, { say: "This study is yours." });
    list.focus(study.study_uid);
  } catch (problem) {
    status.say(problem.status === 404 ? "No open study is left that nobody has claimed and the filter allows." : problem.message);
  }
  feed.poke();
}

function step(by) {
  const uid = list.step(by, detail.uid);
  if (uid && detail.uid && uid !== detail.uid) open(uid);
}

// --- settings of this browser

function togglePrivacy() {
  const on = document.body.classList.toggle("privacy");
  byId("privacy").setAttribute("aria-pressed", String(on));
  store("readfirst-privacy", on ? "on" : "");
}

function toggleTheme() {
  const root = document.documentElement;
  root.dataset.theme = root.dataset.theme === "light" ? "dark" : "light";
  themeWord();
  store("readfirst-theme", root.dataset.theme);
}

function themeWord() {
  byId("theme").firstChild.textContent = document.documentElement.dataset.theme === "light" ? "Dark " : "Light ";
}

// --- wiring

let filterTimer = null;
function filtersChanged() {
  for (const field of byId("filters").elements) field.classList.toggle("set", Boolean(field.value));
  clearTimeout(filterTimer);
  filterTimer = setTimeout(() => {
    list.restart();
    feed.poke();
  }, 150);
}

function escape() {
  if (document.activeElement === byId("q")) {
    byId("q").value = "";
    filtersChanged();
    byId("q").blur();
  } else if (detail.uid) close();
  else document.activeElement?.blur();
}

byId("help-body").append(...helpBody());
byId("filters").addEventListener("input", filtersChanged);
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("apply").addEventListener("click", () => list.apply());
byId("more").addEventListener("click", async () => {
  await list.more();
  feed.poke();
});
byId("next").addEventListener("click", nextCase);
byId("privacy").addEventListener("click", togglePrivacy);
byId("theme").addEventListener("click", toggleTheme);
byId("help-open").addEventListener("click", () => byId("help").showModal());
byId("view-open").addEventListener("click", () => view.open());
list.addEventListener("open", (event) => open(event.detail));
list.addEventListener("pressing", ({ detail: studies }) => view.tell(studies));
list.addEventListener("unsettled", () => status.say("The list moved just now: click again."));
list.addEventListener("read", () => {
  modalityOptions(byId("modality"), [...list.studies.values()]);
  const seq = list.studies.get(detail.uid)?.seq ?? null;
  if (detail.uid && seq !== detailSeq) {
    detailSeq = seq;
    detail.refresh();
  }
  list.markOpen(detail.uid);
});
detail.addEventListener("action", ({ detail: action }) => {
  if (action === "close") close();
  else if (action === "aside" || action === "move") adjust(action);
  else act(action);
});
detail.addEventListener("other", ({ detail: uid }) => open(uid));
adjusting.addEventListener("done", ({ detail: { study, say } }) => {
  detail.show(study, say);
  feed.poke();
});
detail.addEventListener("feedback", ({ detail: body }) => giveFeedback(body));
detail.addEventListener("alert", ({ detail: asked }) => actOnAlert(asked));
alerts.addEventListener("study", ({ detail: uid }) => open(uid));
alerts.addEventListener("changed", () => {
  detail.refresh();
  feed.poke();
});
reader.addEventListener("change", () => {
  api.forget();
  list.restart();
  feed.poke();
  detail.refresh();
});
addEventListener("popstate", () => {
  const uid = uidInAddress();
  if (uid) open(uid, { push: false });
  else close({ push: false });
});
listenToKeys({
  j: () => step(1), k: () => step(-1), ArrowDown: () => step(1), ArrowUp: () => step(-1), Home: () => step(-Infinity), End: () => step(Infinity),
  c: () => act("claim"), r: () => act("release"), a: () => act("acknowledge"), n: nextCase, e: () => alerts.open(),
  h: () => adjust("aside"), m: () => adjust("move"),
  "/": () => byId("q").focus(), "?": () => byId("help").showModal(), p: togglePrivacy, t: toggleTheme, v: () => view.open(), ".": () => list.apply(), Escape: escape,
});
setInterval(() => {
  list.tick();
  detail.tick();
}, 1000);

themeWord();
if (stored("readfirst-privacy")) togglePrivacy();
try {
  await reader.start();
} catch (problem) {
  setText(byId("connection"), problem.message);
}
siteRules();
setInterval(siteRules, 60_000);
feed.start();
if (uidInAddress()) open(uidInAddress(), { push: false });
if (location.hash === "#alerts") alerts.open();
