// One study as a row. A row belongs to a study for life: it is updated and moved, never given to another.

import { el, setText } from "./dom.js";
import { localTimes, moment, shortSpan, shortTimeLeft, urgency } from "./words.js";

const NEW = 2 * 60_000;

export class Row {
  #untouched = false;
  #seen = "";
  #marksSeen = "";

  constructor(uid) {
    this.uid = uid;
    this.parts = {
      move: el("span.move"),
      rank: el("span"),
      due: el("span.due"),
      fill: el("i"),
      link: el("a", { href: `/study/${encodeURIComponent(uid)}`, tabindex: "-1", draggable: "false" }),
      who: el("span.who"),
      what: el("td.what", { role: "cell" }),
      where: el("td.where", { role: "cell" }),
      priority: el("td.priority", { role: "cell" }),
      risk: el("td.risk", { role: "cell" }),
      reason: el("span.reason"),
      marks: el("span.marks"),
      waited: el("td.waited", { role: "cell" }),
      state: el("td.state", { role: "cell" }),
    };
    const p = this.parts;
    p.rankCell = el("td.rank", { role: "cell" }, p.move, p.rank);
    this.element = el(
      "tr", { role: "row", "data-uid": uid },
      p.rankCell,
      el("td.time", { role: "cell" }, p.due, el("span.bar", { "aria-hidden": "true" }, p.fill)),
      el("td.patient", { role: "cell" }, p.link, p.who),
      p.what, p.where, p.priority, p.risk,
      el("td.why", { role: "cell" }, p.reason, p.marks),
      p.waited, p.state,
    );
  }

  /** Shows the study as it is; `twin`: another patient on the list has the same name. */
  update(study, { rank, twin, reader, now }) {
    this.study = study;
    setText(this.parts.rank, String(rank));
    const key = JSON.stringify([study.seq, study.context_version, study.alert?.state, study.acknowledged_by, study.person, study.state, twin, reader]);
    if (key !== this.#seen) {
      this.#content(study, { twin, reader, now });
      this.#seen = key;
    }
    this.tick(now);
  }

  /** What the passing of time changes. */
  tick(now) {
    const { due_at, ready_at } = this.study;
    const left = Date.parse(due_at) - now;
    const whole = Math.max(Date.parse(due_at) - Date.parse(ready_at), 60_000);
    setText(this.parts.due, shortTimeLeft(left));
    setText(this.parts.waited, shortSpan(now - Date.parse(ready_at)));
    if (this.#untouched) this.#state("", now - Date.parse(ready_at) < NEW ? "new" : "");
    const level = urgency(left);
    if (this.element.dataset.urgency !== level) this.element.dataset.urgency = level;
    const share = left < 0 ? 1 : Math.min(1, left / whole);
    this.parts.fill.style.transform = `scaleX(${share.toFixed(3)})`;
  }

  /** Marks the row as moved for some seconds: where from, in figures beside the rank. */
  markMoved(from, to) {
    const up = from === null ? null : from - to;
    setText(this.parts.move, from === null ? "new" : up > 0 ? `▲${up}` : `▼${-up}`);
    this.parts.rankCell.title = from === null ? "New on the list" : `Was ${from}, is ${to}: ${this.why}`;
    this.element.classList.add("moved");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.unmark(), 8000);
  }

  unmark() {
    this.element.classList.remove("moved");
    setText(this.parts.move, "");
    this.parts.rankCell.removeAttribute("title");
  }

  #content(study, { twin, reader, now }) {
    const p = this.parts;
    const name = study.person?.name;
    const whole = [name, study.person?.other_name].filter(Boolean).join("  ");
    p.link.replaceChildren(
      name ? el("bdi.name.private", { dir: "auto", title: whole }, name) : el("span.name.unnamed", {}, study.person ? "no name" : "name not shown"),
    );
    setText(p.who, `${study.age_text} ${study.sex}`);
    setText(p.what, study.what);
    p.what.title = study.what;
    setText(p.where, study.where);
    p.where.title = study.where;
    setText(p.priority, study.priority ?? "");
    setText(p.risk, study.risk?.toFixed(2) ?? "");
    this.why = localTimes(study.why, study.as_of, now);
    setText(p.reason, this.why);
    p.reason.title = this.why;
    const born = study.person?.birth_date;
    const same = { kind: "twin", word: "same name", born: born ? ` *${born}` : "", sentence: "Another patient on this list has the same name." };
    const held = study.hold && { kind: "held", word: study.hold.words, sentence: `Set aside by ${study.hold.by}: ${study.hold.words}` };
    this.#marks([held, twin && same, ...study.marks].filter(Boolean));
    const mine = study.claimed_by !== null && study.claimed_by === reader;
    this.#untouched = !study.claimed_by && !study.acknowledged_by && !study.hold;
    p.state.title = study.claimed_by ? `Claimed by ${study.claimed_by}` : study.acknowledged_by ? `Acknowledged by ${study.acknowledged_by}` : "";
    if (held) p.state.title = held.sentence;
    if (study.hold) this.#state("‖ ", `${study.hold.paused ? "aside" : "put off"} till ${moment(study.hold.until, now)}`);
    else if (study.claimed_by) this.#state("◆ ", mine ? "yours" : study.claimed_by, mine);
    else if (study.acknowledged_by) this.#state("✓ ", "acknowledged");
  }

  /** Says nothing of a study that waits like all the others. */
  #state(shape, word, mine = false) {
    const cell = this.parts.state;
    if (cell.textContent === shape + word && this.element.dataset.state !== undefined) return;
    cell.replaceChildren(...(word ? [el(mine ? "span.mine" : "span", {}, shape, word)] : []));
    this.element.dataset.state = word && (shape ? "held" : "new");
  }

  #marks(marks) {
    const key = JSON.stringify(marks);
    if (key === this.#marksSeen) return;
    this.#marksSeen = key;
    this.parts.marks.replaceChildren(...marks.map((mark) => el("span.mark", { "data-kind": mark.kind, title: mark.sentence }, mark.word, mark.born ? el("span.private", {}, mark.born) : "")));
  }
}
