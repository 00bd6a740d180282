// The study beside the list. It belongs to one study UID from the moment it is asked for; a late answer for another is dropped.

import { studyPath } from "./api.js";
import { byId, el } from "./dom.js";
import { legend } from "./help.js";
import { escalation } from "./escalation.js";
import { contributions, history, readings, reasons } from "./evidence.js";
import { image } from "./pictures.js";
import { drawTimeline } from "./timeline.js";
import { moment, plural, sentence, sooner, span, timeLeft, urgency } from "./words.js";

export class Detail extends EventTarget {
  uid = null;
  #study = null;
  #more = null;
  #single = null;
  #said = "";
  #asked = 0;
  #shown = 0;

  constructor({ api, clock, reader }) {
    super();
    Object.assign(this, { api, clock, reader });
    this.pane = byId("detail");
    this.#nothing();
  }

  get study() {
    return this.#study;
  }

  /** Opens a study. Resolves when it is shown; what went wrong is said in the pane. */
  async open(uid, { say = "" } = {}) {
    const same = uid === this.uid;
    this.uid = uid;
    this.#said = say;
    if (!same) {
      this.#study = null;
      this.#more = null;
      this.pane.scrollTop = 0;
      this.pane.replaceChildren(el("p.nothing", { role: "status" }, "Opening…"));
    }
    document.body.classList.add("reading");
    await this.refresh();
  }

  /** Reads the open study again. Of answers that overtake each other, one that was asked for earlier than what is shown is dropped. */
  async refresh() {
    const uid = this.uid;
    if (!uid) return;
    const asked = ++this.#asked;
    try {
      const [study, timeline, changes, seen] = await Promise.all(["", "/timeline", "/history", "/pictures"].map((rest) => this.api.get(studyPath(uid, rest))));
      if (uid !== this.uid || asked < this.#shown) return;
      this.#shown = asked;
      this.#study = study;
      this.#more = { timeline, changes: changes.changes, seen };
      this.#draw();
    } catch (problem) {
      if (uid !== this.uid || asked < this.#shown) return;
      if (problem.status === 404) this.pane.replaceChildren(this.#closeOnly("This study is not on the list."));
      else if (!this.#more) this.pane.replaceChildren(this.#closeOnly(problem.message));
      else this.say(`Not up to date: ${problem.message}`);
    }
  }

  close() {
    this.uid = null;
    this.#study = null;
    document.body.classList.remove("reading");
    this.#nothing();
  }

  /** What an action answered; it may be quicker than the study that was opened for it. */
  show(study, say = "") {
    if (study.study_uid !== this.uid) return;
    this.#study = study;
    this.#said = say;
    this.#shown = ++this.#asked;
    if (this.#more) this.#draw();
    else this.refresh();
  }

  say(words) {
    this.#said = words;
    const place = this.pane.querySelector(".say");
    if (place) place.textContent = words;
  }

  tick() {
    if (!this.#study) return;
    const clock = this.pane.querySelector(".clock");
    if (clock) this.#clockWords(clock);
  }

  #nothing() {
    this.pane.replaceChildren(el("div.nothing", {}, el("h2", {}, "No study is open"), el("p", {}, "Choose one with the mouse, or with j and k, then Enter."), ...legend()));
  }

  #closeOnly(words) {
    return el("div.head", {}, el("div.line", {}, el("h2", { role: "alert" }, words), this.#button("×", "close", { "aria-label": "Close" }, "close")));
  }

  #draw() {
    const study = this.#study;
    const focused = document.activeElement;
    const active = this.pane.contains(focused) ? focused.dataset.action : null;
    const filling = this.pane.querySelector(".resolving[open]");
    const unfolded = [...this.pane.querySelectorAll(".fold[open] > summary")].map((summary) => summary.dataset.action);
    const scroll = this.pane.scrollTop;
    this.pane.replaceChildren(this.#head(study), ...this.#sections(study));
    const place = filling && this.pane.querySelector(`.resolving[data-alert="${filling.dataset.alert}"]`);
    place?.replaceWith(filling); // what is being typed there stays
    for (const action of unfolded) this.pane.querySelector(`[data-action="${action}"]`)?.parentElement.setAttribute("open", "");
    this.pane.scrollTop = scroll;
    if (place && filling.contains(focused)) focused.focus({ preventScroll: true });
    if (active) (this.pane.querySelector(`[data-action="${active}"]`) ?? this.pane).focus({ preventScroll: true });
  }

  #head(study) {
    const person = study.person;
    const name = el("h2", {}, person?.name ? el("bdi.private", { dir: "auto" }, person.name) : el("span.unnamed", {}, person ? "No name" : "Name not shown"));
    if (person?.other_name) name.append(" ", el("bdi.private", { dir: "auto" }, person.other_name));
    const sex = { F: "female", M: "male", O: "other sex" }[study.sex] ?? "sex unknown";
    const ids = [person?.birth_date && `born ${person.birth_date}`, person?.patient_id && `ID ${person.patient_id}`, study.accession && `accession ${study.accession}`].filter(Boolean);
    const clock = el("p.clock");
    this.#clockWords(clock);
    return el(
      "div.head", {},
      el("div.line", {}, name, this.#button("×", "close", { "aria-label": "Close", title: "Close (Esc)" }, "close")),
      el("p.ids", {}, `${study.age_text}, ${sex}`, ids.length ? el("span.private", {}, ` · ${ids.join(" · ")}`) : ""),
      el("p.exam", {}, `${study.what} · ${study.where}${study.indication ? ` · ${study.indication}` : ""}`),
      clock,
      this.#actions(study),
      this.#heldWords(study),
      el("p.say", { role: "alert" }, this.#said),
    );
  }

  #clockWords(node) {
    const study = this.#study;
    const left = Date.parse(study.due_at) - this.clock.now();
    const closed = study.state === "closed";
    node.className = `clock ${closed ? "" : urgency(left)}`;
    const words = closed ? `Left the list: ${study.closed ?? "closed"}` : `${urgency(left) === "late" ? "! " : ""}${sentence(timeLeft(left))} (${moment(study.due_at, this.clock.now())})`;
    if (node.textContent !== words) node.textContent = words;
  }

  #actions(study) {
    if (study.state === "closed") return null;
    const mine = study.claimed_by !== null && study.claimed_by === this.reader.name;
    const claim = mine
      ? this.#button(["Release ", el("kbd", {}, "r")], "release")
      : this.#button(study.claimed_by ? `Claimed by ${study.claimed_by}` : ["Claim ", el("kbd", {}, "c")], "claim", study.claimed_by ? { disabled: true } : {}, study.claimed_by ? "" : "primary");
    const seen = study.acknowledged_by;
    const acknowledge = this.#button(seen ? `✓ Acknowledged by ${seen === this.reader.name ? "you" : seen}` : ["Acknowledge ", el("kbd", {}, "a")], "acknowledge", { disabled: Boolean(seen), title: "I have seen why this is urgent" });
    const aside = study.hold ? this.#button(["Back to the list ", el("kbd", {}, "h")], "resume") : this.#button(["Set aside ", el("kbd", {}, "h")], "aside");
    const move = study.override
      ? this.#button("Take the override back", "free")
      : this.#button(["Move ", el("kbd", {}, "m")], "move");
    return el("div.actions", {}, claim, acknowledge, aside, move);
  }

  #heldWords({ hold }) {
    if (!hold) return null;
    const how = hold.paused ? "Set aside" : "Put off";
    return el("p.hold-note", {}, `${how} by ${hold.by}: ${hold.words}. Back at ${moment(hold.until, this.clock.now())} at the latest.`);
  }

  #button(label, action, attributes = {}, cls = "") {
    const button = el(cls ? `button.${cls}` : "button", { type: "button", "data-action": action, ...attributes }, label);
    button.addEventListener("click", () => this.dispatchEvent(new CustomEvent("action", { detail: action })));
    return button;
  }

  #sections(study) {
    const now = this.clock.now();
    const won = sooner(Math.abs(study.minutes_won))
      ? `${sooner(Math.abs(study.minutes_won))} ${study.minutes_won > 0 ? "before" : "after"} the order’s own target (${moment(study.target_at, now)}).`
      : "the order’s own target.";
    return [
      escalation(study.alerts, { now, reader: this.reader.name, act: (alert, verb, body) => this.dispatchEvent(new CustomEvent("alert", { detail: { alert, verb, body } })) }) ?? "",
      this.#alsoWaiting(study, now),
      section("Why here", this.#marks(study), el("p.small", {}, `Due ${moment(study.due_at, now)}, ${won}`), reasons(study.reasons, { asOf: study.as_of, now })),
      section("Risk", ...contributions(study, now, this.#eachReading(study, now))),
      section("Image", ...image(study, this.#more.seen, now, (body) => this.dispatchEvent(new CustomEvent("feedback", { detail: body })))),
      section("Patient, on one axis", ...drawTimeline(this.#more.timeline, { now, readyAt: study.ready_at })),
      section("Study", this.#facts(study, now)),
      section("History of this rank", history(this.#more.changes, now)),
    ];
  }

  /** Worked out by the server when it is unfolded; what was told last stays until the newer answer is there. */
  #eachReading(study, now) {
    const place = el("div", { "aria-live": "polite" });
    if (this.#single?.uid === study.study_uid) place.append(...readings(this.#single.told, now));
    const fold = el("details.fold", {}, el("summary", { "data-action": "each reading" }, "Each reading"), place);
    fold.addEventListener("toggle", () => {
      const score = `${study.study_uid} ${study.context_version} ${study.assessment.scored_at}`;
      if (fold.open && this.#single?.score !== score) this.#workOut(study.study_uid, score, place);
    });
    return fold;
  }

  async #workOut(uid, score, place) {
    if (!place.hasChildNodes()) place.append(el("p.small", {}, "Working it out…"));
    try {
      const told = await this.api.get(studyPath(uid, "/readings"), { within: 30_000 }); // it may have to wait, and to read a film
      if (uid !== this.uid) return;
      this.#single = { uid, score, told };
      place.replaceChildren(...readings(told, this.clock.now()));
    } catch (problem) {
      place.replaceChildren(el("p.small", {}, problem.message));
    }
  }

  #alsoWaiting({ also_waiting: others }, now) {
    if (!others.length) return "";
    const line = (other) => {
      const link = el("a", { href: `/study/${encodeURIComponent(other.study_uid)}`, "data-other": other.study_uid }, other.what);
      link.addEventListener("click", (event) => {
        event.preventDefault();
        this.dispatchEvent(new CustomEvent("other", { detail: other.study_uid }));
      });
      return el("li", {}, link, el("small", {}, [timeLeft(Date.parse(other.due_at) - now), other.claimed_by && `claimed by ${other.claimed_by}`].filter(Boolean).join(", ")));
    };
    return section("Also waiting for this patient", el("ul.also", {}, others.map(line)));
  }

  #marks(study) {
    const marks = study.marks.filter((mark) => mark.kind !== "alert"); // the section above tells it
    if (!marks.length) return null;
    return el("ul.marks-list", {}, marks.map((mark) => el("li", {}, el("span.mark", { "data-kind": mark.kind }, mark.word), el("span", {}, mark.sentence))));
  }

  #facts(study, now) {
    const at = (text) => (text ? moment(text, now) : "not known");
    const matched = study.order.known ? `matched by ${study.order.matched_by ?? "order"}, priority ${study.order.priority_code ?? study.priority ?? "not given"}` : "no order matched yet";
    const rows = [
      ["Report", study.report],
      ["Images", `${plural(study.instances, "image")}, ${study.complete ? "complete" : "still arriving"}; first at ${at(study.ready_at)}, ${span(now - Date.parse(study.ready_at))} ago`],
      ["Order", `${matched}; requested ${at(study.requested_at)}`],
      ["State", study.claimed_by ? `claimed by ${study.claimed_by} at ${at(study.claimed_at)}` : "nobody has claimed it"],
      ["Acknowledged", study.acknowledged_by ? `by ${study.acknowledged_by} at ${at(study.acknowledged_at)}` : "no"],
      ["Known up to", `${at(study.as_of)}, ranked ${at(study.ranked_at)}`],
    ];
    return el("dl.facts", {}, rows.map(([term, words]) => [el("dt", {}, term), el("dd", {}, words)]));
  }
}

function section(title, ...content) {
  return el("section", { "aria-label": title }, el("h3", {}, title), ...content);
}
