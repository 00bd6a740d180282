// Alerts: the section beside the list, and the dialog with everything that is open.

import { byId, el, setText } from "./dom.js";
import { localTimes, moment, plural, span } from "./words.js";

const STEPS = {
  raised: "raised", suppressed: "kept silent", changed: "changed", notified: "told", escalated: "told", undelivered: "not delivered",
  acknowledged: "acknowledged", "taken-over": "taken over", resolved: "closed", withdrawn: "withdrawn", retracted: "those told were told",
};
const TRIGGERS = { critical: "critical", finding: "image finding", "model-risk": "model risk", deadline: "deadline passed", discrepancy: "discrepancy", "model-down": "model", "feed-down": "feed" };

/** The section of the open study; `act(alert, verb, body)` does what a button says. */
export function escalation(alerts, { now, reader, act }) {
  if (!alerts?.length) return null;
  return el("section.escalation", { "aria-label": "Escalation" }, el("h3", {}, "Escalation"), alerts.map((alert) => one(alert, { now, reader, act })));
}

function one(alert, { now, reader, act }) {
  const cls = alert.open ? "div.alert.open-alert" : "div.alert";
  return el(
    cls, {},
    el("p.headline", {}, el("strong", {}, headline(alert, now)), el("small", {}, [TRIGGERS[alert.trigger], alert.category_words, alert.radlex].filter(Boolean).join(" · "))),
    el("p", {}, localTimes(alert.finding, alert.identified_at, now)),
    alert.muted ? el("p.small", {}, `Silent: ${alert.muted}.`) : null,
    buttons(alert, reader, act),
    alert.record ? record(alert.record, now) : null,
    el("ol.steps", {}, alert.history.map((entry) => step(entry, now))),
  );
}

function headline(alert, now) {
  if (!alert.open) return alert.acknowledged_by && alert.state === "acknowledged" ? `✓ Acknowledged by ${alert.acknowledged_by}` : `${alert.state_words[0].toUpperCase()}${alert.state_words.slice(1)}`;
  const since = span(now - Date.parse(alert.raised_at));
  const next = alert.next_at ? `; next step ${Date.parse(alert.next_at) > now ? `in ${span(Date.parse(alert.next_at) - now)}` : "now"}` : "; the last step was taken";
  return `! Nobody has acknowledged, ${since}${next}`;
}

function buttons(alert, reader, act) {
  const button = (words, verb, attributes = {}) => {
    const node = el(verb === "acknowledge" ? "button.primary" : "button", { type: "button", "data-action": `alert-${verb}`, ...attributes }, words);
    node.addEventListener("click", () => act(alert, verb));
    return node;
  };
  if (alert.open) return el("div.actions", {}, button("Acknowledge alert", "acknowledge"), resolving(alert, act));
  if (alert.state !== "acknowledged") return null;
  return el("div.actions", {}, alert.acknowledged_by === reader ? null : button("Take over", "take-over"), resolving(alert, act));
}

/** Closing asks for what the record needs beyond what is known. */
function resolving(alert, act) {
  const form = el(
    "form", {},
    el("label", {}, "Who was told ", el("input", { name: "received_by", maxlength: "60", required: true, autocomplete: "off" })),
    el("label", {}, "How ", el("select", { name: "method" }, ["phone", "in person", "page"].map((how) => el("option", {}, how)))),
    el("label", {}, "Was it there? ", el("select", { name: "confirmed" }, el("option", { value: "" }, "not judged"), el("option", { value: "true" }, "confirmed"), el("option", { value: "false" }, "not confirmed"))),
    el("button.primary", { type: "submit" }, "Close the alert"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const said = new FormData(form);
    const confirmed = { true: true, false: false }[said.get("confirmed")] ?? null;
    act(alert, "resolve", { received_by: said.get("received_by"), method: said.get("method"), confirmed });
  });
  return el("details.resolving", { "data-alert": alert.id }, el("summary", {}, "Close with a record"), form);
}

function record(six, now) {
  const rows = [
    ["Finding", localTimes(six.finding, six.identified_at, now)], ["Identified", moment(six.identified_at, now)], ["Told by", six.told_by],
    ["Received by", six.received_by], ["Received", moment(six.received_at, now)], ["How", six.method],
  ];
  return el("dl.facts", {}, rows.map(([term, words]) => [el("dt", {}, term), el("dd", {}, words)]));
}

function step(entry, now) {
  const who = entry.role ? `${entry.role} over ${entry.channel}` : entry.by ?? "";
  const words = entry.role ? who : [localTimes(entry.words, entry.at, now), entry.by && `by ${entry.by}`].filter(Boolean).join(", ");
  return el("li", {}, el("time", {}, moment(entry.at, now)), el("span", {}, `${STEPS[entry.step] ?? entry.step}: ${words}${entry.repeat ? " (may have been sent twice)" : ""}`));
}

/** Everything that is open, in one dialog; also what no study stands behind. */
export class Alerts extends EventTarget {
  constructor({ api, clock, reader }) {
    super();
    Object.assign(this, { api, clock, reader });
    byId("alerts-open").addEventListener("click", () => this.open());
    byId("alerts-close").addEventListener("click", () => byId("alerts").close());
  }

  async open() {
    if (!byId("alerts").open) byId("alerts").showModal();
    try {
      const { alerts, silent } = await this.api.get("/api/alerts");
      this.#draw(alerts, silent);
    } catch (problem) {
      setText(byId("alerts-words"), problem.message);
    }
  }

  #draw(alerts, silent) {
    const now = this.clock.now();
    setText(byId("alerts-words"), `${alerts.length ? `${plural(alerts.length, "alert")} that nobody has acknowledged` : "No alert is open"}${silent ? `; ${silent} kept silent` : ""}.`);
    byId("alerts-list").replaceChildren(...alerts.map((alert) => this.#line(alert, now)));
  }

  #line(alert, now) {
    const words = [alert.what, localTimes(alert.finding, alert.identified_at, now)].filter(Boolean).join(": ");
    const button = alert.study_uid
      ? el("a", { href: `/study/${encodeURIComponent(alert.study_uid)}` }, words)
      : el("span", {}, words);
    if (alert.study_uid) {
      button.addEventListener("click", (event) => {
        event.preventDefault();
        byId("alerts").close();
        this.dispatchEvent(new CustomEvent("study", { detail: alert.study_uid }));
      });
    }
    const acknowledge = el("button", { type: "button", "aria-label": `Acknowledge: ${words}` }, "Acknowledge");
    acknowledge.addEventListener("click", () => this.#acknowledge(alert));
    return el("li", {}, button, el("small", {}, `${alert.category_words}, ${span(now - Date.parse(alert.raised_at))}${alert.told ? `, ${alert.told.role} told last` : ""}`), acknowledge);
  }

  async #acknowledge(alert) {
    if (!this.reader.name) {
      byId("alerts").close();
      return this.reader.ask("Say who you are first: an acknowledgement carries a name.");
    }
    try {
      await this.api.post(`/api/alerts/${alert.id}/acknowledge`);
    } catch (problem) {
      setText(byId("alerts-words"), problem.message);
    }
    this.dispatchEvent(new CustomEvent("changed"));
    await this.open();
  }
}
