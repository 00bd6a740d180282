// The list: what the server says, what is shown, and when the one may become the other.

import { byId, el, setText } from "./dom.js";
import { difference, movedBetween } from "./order.js";
import { Row } from "./rows.js";
import { localTimes, plural, timeLeft } from "./words.js";

const PAGE = 100;
const MAX = 500;
const IDLE = 60_000;
const CRITICAL = 15 * 60_000;
const SETTLE = 600;
const CROSSING = 300;

export class List extends EventTarget {
  #rows = new Map();
  #shown = [];
  #latest = [];
  #next = null;
  #extent = PAGE;
  #loaded = false;
  #pointer = { inside: false, down: false, uid: null, left: null, leftAt: -Infinity };
  #input = performance.now();
  #reordered = { at: -Infinity, place: new Map() };
  #current = null;
  #byKeyboard = false;

  constructor({ api, clock, reader, filters }) {
    super();
    Object.assign(this, { api, clock, reader, filters });
    this.body = byId("rows");
    this.scroller = byId("scroller");
    this.#listen();
  }

  // --- reading

  /** Reads as many rows as are shown, and shows them or keeps them waiting. */
  async refresh() {
    const params = this.filters();
    const asked = params.toString();
    const items = [];
    let cursor = null;
    do {
      params.set("limit", String(Math.min(MAX, this.#extent - items.length)));
      if (cursor) params.set("after", cursor);
      const page = await this.api.get(`/api/worklist?${params}`, { remember: this.#extent <= MAX });
      if (page === null) return;
      items.push(...page.items);
      cursor = page.next;
    } while (cursor && items.length < this.#extent);
    if (asked === this.filters().toString()) this.#receive(items, cursor);
  }

  /** Filters changed: the next answer is shown from the top, whatever is under the pointer. */
  restart() {
    this.#extent = PAGE;
    this.#loaded = false;
    this.api.forget();
  }

  async more() {
    this.#extent += PAGE;
    this.api.forget();
  }

  #receive(items, next) {
    const fresh = !this.#loaded;
    this.#loaded = true;
    this.#next = next;
    const before = new Map([...this.#rows].map(([uid, row]) => [uid, row.study]));
    this.studies = new Map(items.map((item) => [item.study_uid, item]));
    this.#latest = items.map((item) => item.study_uid);
    this.#findTwins(items);
    if (!fresh) this.#announce(items, before);
    if (fresh || !this.held()) this.apply({ fresh });
    else this.#updateInPlace();
    this.dispatchEvent(new CustomEvent("read"));
  }

  // --- showing

  /**
   * The row that holds the list still: the one under the pointer, or the one that the keyboard has put the focus on (a click leaves the focus
   * behind, and does not hold). After a minute without any input, none.
   */
  held() {
    if (this.#pointer.down) return this.#pointer.uid;
    if (performance.now() - this.#input > IDLE) return null;
    if (this.#pointer.inside && this.#pointer.uid) return this.#pointer.uid;
    if (this.#crossing()) return this.#pointer.left;
    return this.#byKeyboard && document.hasFocus() ? this.focusedUid() : null;
  }

  /** Shows the order that the server gave last. */
  apply({ fresh = false } = {}) {
    const before = this.#shown;
    const after = this.#latest;
    const place = new Map(before.map((uid, index) => [uid, index]));
    if (before.join() !== after.join() && !fresh) this.#reordered = { at: performance.now(), place };
    for (const uid of before) if (!this.studies.has(uid)) this.#rows.get(uid)?.element.classList.remove("gone");
    this.#reconcile(after);
    this.#shown = [...after];
    this.#updateInPlace();
    if (!fresh) {
      const moved = new Set(movedBetween(before, after));
      after.forEach((uid, index) => {
        const was = place.get(uid);
        if (was === undefined) this.#rows.get(uid).markMoved(null, index + 1);
        else if (moved.has(uid) && was !== index) this.#rows.get(uid).markMoved(was + 1, index + 1);
      });
    } else {
      this.scroller.scrollTop = 0;
    }
    this.#keepOneStop();
  }

  #updateInPlace() {
    const now = this.clock.now();
    const waiting = this.#latest.join() !== this.#shown.join();
    this.#shown.forEach((uid, index) => {
      const study = this.studies.get(uid);
      const row = this.#rows.get(uid);
      if (study) row.update(study, { rank: index + 1, twin: this.twins.has(uid), reader: this.reader.name, now });
      row.element.classList.toggle("gone", !study);
    });
    this.#words(waiting);
  }

  /** Puts rows in order without ever taking the focused one out of the document, which would lose the focus. */
  #reconcile(order) {
    const focused = this.focusedUid();
    const keep = new Set(order);
    for (const [uid, row] of this.#rows) {
      if (keep.has(uid)) continue;
      row.element.remove();
      this.#rows.delete(uid);
    }
    let cursor = this.body.firstElementChild;
    for (const uid of order) {
      const { element } = this.#row(uid);
      if (uid === focused) {
        while (cursor && cursor !== element) {
          const aside = cursor;
          cursor = cursor.nextElementSibling;
          aside.remove();
        }
      }
      if (element === cursor) cursor = cursor.nextElementSibling;
      else this.body.insertBefore(element, cursor);
    }
  }

  #row(uid) {
    let row = this.#rows.get(uid);
    if (!row) {
      row = new Row(uid);
      this.#rows.set(uid, row);
    }
    return row;
  }

  #words(waiting) {
    const change = waiting ? difference(this.#shown, this.#latest, this.held()) : null;
    byId("order").classList.toggle("waiting", waiting && change.total > 0);
    byId("waiting").hidden = !waiting || change.total === 0;
    if (waiting) setText(byId("waiting-words"), this.#waitingWords(change));
    const count = this.#shown.length;
    setText(byId("shown"), count ? `Most urgent first · ${plural(count, "study", "studies")} shown${this.#next ? ", more below" : ""}` : "");
    const more = byId("more");
    more.hidden = !this.#next;
    setText(more, `Show ${PAGE} more`);
    const empty = byId("empty");
    empty.hidden = count > 0;
    if (!count) setText(empty, this.filters().toString() ? "No open study matches the filter." : "No open studies. New ones appear here by themselves.");
  }

  #waitingWords({ above, below, added, moved }) {
    const parts = [above ? `${plural(above, "change")} above` : "", below ? `${plural(below, "change")} below` : ""].filter(Boolean);
    const told = new Set([...added, ...moved]);
    const pressing = this.#latest.find((uid) => told.has(uid) && Date.parse(this.studies.get(uid).due_at) - this.clock.now() < CRITICAL);
    if (pressing) parts.unshift(`${added.includes(pressing) ? "New" : "Now urgent"}: ${this.#inBrief(this.studies.get(pressing))}`);
    return parts.join(" · ");
  }

  #inBrief(study) {
    return `${study.what}, ${study.where}, ${timeLeft(Date.parse(study.due_at) - this.clock.now())}`;
  }

  /** Once a second: time left, and whether the list may move again. */
  tick() {
    const now = this.clock.now();
    for (const row of this.#rows.values()) if (row.study) row.tick(now);
    if (this.#latest.join() !== this.#shown.join() && !this.held()) this.apply();
  }

  markOpen(uid) {
    for (const [id, row] of this.#rows) {
      row.element.classList.toggle("open-here", id === uid);
      if (id === uid) row.parts.link.setAttribute("aria-current", "true");
      else row.parts.link.removeAttribute("aria-current");
    }
  }

  // --- what only the whole list can tell

  #findTwins(items) {
    const byName = new Map();
    for (const { person, patient, study_uid } of items) {
      const name = person?.name?.toLocaleLowerCase();
      if (!name) continue;
      const group = byName.get(name) ?? { patients: new Set(), uids: [] };
      group.patients.add(patient);
      group.uids.push(study_uid);
      byName.set(name, group);
    }
    this.twins = new Set([...byName.values()].filter((group) => group.patients.size > 1).flatMap((group) => group.uids));
  }

  /** Speaks only of studies that have newly become pressing, never of those that time has made so, nor of a colleague's. */
  #announce(items, before) {
    const now = this.clock.now();
    const pressing = items.filter((item) => {
      const was = before.get(item.study_uid);
      const due = Date.parse(item.due_at);
      return due - now < CRITICAL && (item.state === "open" || this.#mine(item)) && (!was || Date.parse(was.due_at) - due >= 60_000);
    });
    if (!pressing.length) return;
    this.dispatchEvent(new CustomEvent("pressing", { detail: pressing.map((s) => ({ uid: s.study_uid, mine: this.#mine(s), words: this.#inBrief(s) })) }));
    const words = pressing.slice(0, 3).map((s) => `${this.#inBrief(s)}: ${localTimes(s.why, s.as_of, now)}`);
    setText(byId("announce"), `Urgent: ${words.join(". ")}${pressing.length > 3 ? ` and ${pressing.length - 3} more` : ""}`);
  }

  #mine(study) {
    return study.claimed_by !== null && study.claimed_by === this.reader.name;
  }

  // --- focus and pointer

  focusedUid() {
    return document.activeElement?.closest?.("#rows tr")?.dataset.uid ?? null;
  }

  get uids() {
    return this.#shown;
  }

  study(uid) {
    return this.studies?.get(uid) ?? this.#rows.get(uid)?.study ?? null;
  }

  /** Moves the focus by `step` rows from the focused, else from `from`; returns the study. */
  step(step, from) {
    const start = this.#shown.indexOf(this.focusedUid() ?? from ?? null);
    const index = start < 0 ? (step > 0 ? 0 : this.#shown.length - 1) : Math.min(this.#shown.length - 1, Math.max(0, start + step));
    const uid = this.#shown[index] ?? null;
    if (uid) this.focus(uid);
    return uid;
  }

  focus(uid) {
    const row = this.#rows.get(uid);
    if (!row) return;
    this.#current = uid;
    this.#keepOneStop();
    row.parts.link.focus({ preventScroll: true });
    row.element.scrollIntoView({ block: "nearest" });
  }

  /** One tab stop for the whole list (roving tabindex): the row focused last, else the first. */
  #keepOneStop() {
    const stop = this.#rows.has(this.#current) ? this.#current : this.#shown[0];
    for (const [uid, row] of this.#rows) row.parts.link.tabIndex = uid === stop ? 0 : -1;
  }

  #listen() {
    const uidOf = (event) => event.target.closest?.("#rows tr")?.dataset.uid ?? null;
    const note = ({ type }) => {
      this.#input = performance.now();
      if (type === "keydown") this.#byKeyboard = true;
      if (type === "pointerdown") this.#byKeyboard = false;
    };
    for (const kind of ["pointermove", "pointerdown", "keydown", "wheel"]) addEventListener(kind, note, { passive: true, capture: true });
    this.body.addEventListener("pointerover", (event) => Object.assign(this.#pointer, { inside: event.pointerType !== "touch", uid: uidOf(event) }));
    this.body.addEventListener("pointerleave", () => this.#leave());
    // On the way from the rows to "apply" nothing moves, or the button would vanish under the pointer.
    byId("order").addEventListener("pointerenter", () => this.#crossing() && Object.assign(this.#pointer, { inside: true, uid: this.#pointer.left }));
    byId("order").addEventListener("pointerleave", () => this.#leave());
    document.documentElement.addEventListener("pointerleave", () => this.#leave());
    this.body.addEventListener("pointerdown", (event) => Object.assign(this.#pointer, { down: true, uid: uidOf(event) }));
    for (const kind of ["pointerup", "pointercancel"]) addEventListener(kind, () => setTimeout(() => { this.#pointer.down = false; }, 0));
    addEventListener("blur", () => setTimeout(() => this.tick(), 0));
    this.body.addEventListener("focusin", (event) => { this.#current = uidOf(event); this.#keepOneStop(); });
    this.body.addEventListener("focusout", () => setTimeout(() => this.tick(), 0));
    this.body.addEventListener("click", (event) => this.#click(event, uidOf(event)));
  }

  #crossing() {
    return performance.now() - this.#pointer.leftAt < CROSSING;
  }

  #leave() {
    Object.assign(this.#pointer, { inside: false, left: this.#pointer.uid, uid: null, down: false, leftAt: performance.now() });
    setTimeout(() => this.tick(), CROSSING + 20);
  }

  // A click on a row that has come there just now may mean the one that was there before: it opens nothing.
  #click(event, uid) {
    if (!uid || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    const byKeyboard = event.detail === 0;
    const settled = performance.now() - this.#reordered.at > SETTLE || this.#reordered.place.get(uid) === this.#shown.indexOf(uid);
    if (!byKeyboard && !settled) {
      this.dispatchEvent(new CustomEvent("unsettled"));
      return;
    }
    this.focus(uid);
    this.dispatchEvent(new CustomEvent("open", { detail: uid }));
  }
}

/** The options of the modality filter: the usual ones and whatever is on the list. */
export function modalityOptions(select, studies) {
  const known = new Set([...select.options].map((option) => option.value));
  const usual = ["CR", "CT", "DX", "MG", "MR", "NM", "PT", "RF", "US", "XA"];
  for (const modality of [...usual, ...studies.map((study) => study.modality)].filter(Boolean)) {
    if (known.has(modality)) continue;
    known.add(modality);
    select.append(el("option", { value: modality }, modality));
  }
}
