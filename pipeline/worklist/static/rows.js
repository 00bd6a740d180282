// One study as a row. A row belongs to a study for life: it is updated and moved, never given to another.

import { el, setText } from "./dom.js";
import { shortSpan, timeLeft, urgency } from "./words.js";

export class Row {
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
      p.what, p.where,
      el("td.why", { role: "cell" }, p.reason, p.marks),
      p.waited, p.state,
    );
  }

  /** Shows the study as it is; `twin`: another patient on the list has the same name. */
  update(study, { rank, twin, reader, now }) {
    this.study = study;
    setText(this.parts.rank, String(rank));
    const key = JSON.stringify([study.seq, study.context_version, study.person, study.state, twin, reader]);
    if (key !== this.#seen) {
      this.#seen = key;
      this.#content(study, twin, reader);
    }
    this.tick(now);
  }

  /** What the passing of time changes. */
  tick(now) {
    const { due_at, ready_at } = this.study;
    const left = Date.parse(due_at) - now;
    const whole = Math.max(Date.parse(due_at) - Date.parse(ready_at), 60_000);
    setText(this.parts.due, timeLeft(left));
    setText(this.parts.waited, shortSpan(now - Date.parse(ready_at)));
    const level = urgency(left);
    if (this.element.dataset.urgency !== level) this.element.dataset.urgency = level;
    const share = left < 0 ? 1 : Math.min(1, left / whole);
    this.parts.fill.style.transform = `scaleX(${share.toFixed(3)})`;
  }

  /** Marks the row as moved for some seconds: where from, in figures beside the rank. */
  markMoved(from, to) {
    const up = from === null ? null : from - to;
    setText(this.parts.move, from === null ? "new" : up > 0 ? `▲${up}` : `▼${-up}`);
    this.parts.rankCell.title = from === null ? "New on the list" : `Was ${from}, is ${to}: ${this.study.why}`;
    this.element.classList.add("moved");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.unmark(), 8000);
  }

  unmark() {
    this.element.classList.remove("moved");
    setText(this.parts.move, "");
    this.parts.rankCell.removeAttribute("title");
  }

  #content(study, twin, reader) {
    const p = this.parts;
    const name = study.person?.name;
    p.link.replaceChildren(el(name ? "bdi.name.private" : "span.name.unnamed", { dir: name ? "auto" : null }, name || (study.person ? "no name" : "name not shown")));
    p.link.title = [name, study.person?.other_name].filter(Boolean).join("  ");
    const born = twin && study.person?.birth_date ? ` *${study.person.birth_date}` : "";
    p.who.replaceChildren(`${study.age_text} ${study.sex}`, ...(born ? [el("span.private", {}, born)] : []));
    setText(p.what, study.what);
    p.what.title = study.what;
    setText(p.where, study.where);
    p.where.title = study.where;
    setText(p.reason, study.why);
    p.reason.title = study.why;
    this.#marks(twin ? [{ kind: "twin", word: "same name", sentence: "Another patient on this list has the same name." }, ...study.marks] : study.marks);
    const mine = study.claimed_by !== null && study.claimed_by === reader;
    const state = study.claimed_by ? (mine ? "yours" : study.claimed_by) : study.acknowledged_by ? "acknowledged" : "unclaimed";
    p.state.replaceChildren(el(mine ? "span.mine" : "span", {}, study.claimed_by ? "⚿ " : study.acknowledged_by ? "✓ " : "", state));
    p.state.title = study.claimed_by ? `Claimed by ${study.claimed_by}` : study.acknowledged_by ? `Acknowledged by ${study.acknowledged_by}` : "";
  }

  #marks(marks) {
    const key = JSON.stringify(marks);
    if (key === this.#marksSeen) return;
    this.#marksSeen = key;
    this.parts.marks.replaceChildren(...marks.map((mark) => el("span.mark", { "data-kind": mark.kind, title: mark.sentence }, mark.word)));
  }
}
