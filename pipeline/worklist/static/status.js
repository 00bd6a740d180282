// What stands above the list: figures, feeds in plain words, and how live all of it is. The strip is always there, so its words shift nothing.

import { byId, el, setText } from "./dom.js";
import { clockTime, localTimes, plural, shortSpan, span } from "./words.js";

export class Status {
  #summary = null;
  #site = null;
  #notice = null;

  constructor({ api, clock }) {
    Object.assign(this, { api, clock });
  }

  async refresh() {
    this.#summary = await this.api.get("/api/summary");
    this.#figures();
  }

  /** A sentence for some seconds. */
  say(words, ms = 6000) {
    this.#notice = { words, until: performance.now() + ms };
  }

  /** The site's rules, as the server has them. */
  site(rules) {
    this.#site = rules;
  }

  /** How live: called each second and on every change. */
  show(feed) {
    const now = this.clock.now();
    const lost = feed.mode === "lost";
    const as_of = feed.lastGood ? clockTime(feed.lastGood) : null;
    const words = {
      connecting: "Connecting…",
      live: `Live, ${clockTime(now)}`,
      polling: `Live stream blocked: asking every 5 s. As of ${as_of}`,
      lost: as_of ? `Connection lost. The list is as it was at ${as_of}, ${span(now - feed.lastGood)} ago. Trying again…` : "The list cannot be read. Trying again…",
    }[feed.mode];
    const notices = lost ? [] : this.#notices(feed);
    setText(byId("connection"), words);
    const place = byId("notices");
    const told = (list) => list.map(([level, text]) => level + text).join("|");
    if (told([...place.children].map((child) => [child.dataset.level, child.textContent])) !== told(notices)) {
      place.replaceChildren(...notices.map(([level, text]) => el("span", { title: text, "data-level": level }, text)));
    }
    byId("strip").dataset.level = lost ? "bad" : notices.some(([level]) => level === "bad") ? "bad" : notices.some(([level]) => level === "warn") ? "warn" : "quiet";
    byId("strip").dataset.feed = document.body.dataset.feed = feed.mode;
    if (this.#summary) this.#oldest(now);
  }

  #notices(feed) {
    const found = [];
    const s = this.#summary;
    if (this.#notice && performance.now() < this.#notice.until) found.push(["warn", this.#notice.words]);
    if (performance.now() < feed.sleptUntil) found.push(["quiet", `This tab was asleep for ${span(feed.sleptMs)}; the list was read again at ${clockTime(feed.lastGood ?? this.clock.now())}.`]);
    if (feed.troubleSince) found.push(["bad", `The server gets no news of changes since ${clockTime(Date.parse(feed.troubleSince))}.`]);
    if (this.#site?.refused) found.push(["warn", `The site file was refused at ${clockTime(Date.parse(this.#site.refused.at))}: rules ${this.#site.version} stay in force.`]);
    if (!s) return found;
    for (const one of s.operations ?? []) found.push(["bad", `${localTimes(one.finding, one.identified_at, this.clock.now())}.`]);
    if (s.degraded) found.push(["warn", `Degraded: ${s.degraded === s.open ? "all" : `${s.degraded} of ${s.open}`} ranked without the model (order target, rules and age only).`]);
    const quiet = s.feeds.filter((one) => one.state === "quiet");
    const never = s.feeds.filter((one) => one.state === "never");
    if (quiet.length) found.push(["warn", `${quiet.map((one) => one.words).join(", ")}.`]);
    if (s.held) found.push(["quiet", `${plural(s.held, "study", "studies")} set aside.`]);
    if (s.unmatched) found.push(["quiet", `${plural(s.unmatched, "study", "studies")} unmatched.`]);
    if (never.length === s.feeds.length) found.push(["quiet", "Nothing has arrived yet."]);
    else if (never.length) found.push(["quiet", `Nothing yet: ${never.map((one) => one.name).join(", ")}.`]);
    else if (!quiet.length) found.push(["quiet", "All feeds arriving."]);
    return found;
  }

  #figures() {
    const s = this.#summary;
    setText(byId("count-open"), s.open.toLocaleString("en-GB"));
    setText(byId("count-overdue"), s.overdue.toLocaleString("en-GB"));
    byId("overdue").classList.toggle("some", s.overdue > 0);
    setText(byId("count-alerts"), s.alerts === undefined ? "–" : s.alerts.toLocaleString("en-GB"));
    byId("alerts-box").classList.toggle("some", s.alerts > 0);
    document.title = s.overdue ? `(${s.overdue} overdue) Readfirst` : "Readfirst";
  }

  #oldest(now) {
    const { oldest_ready_at } = this.#summary;
    setText(byId("oldest"), oldest_ready_at ? shortSpan(now - Date.parse(oldest_ready_at)) : "–");
  }
}
