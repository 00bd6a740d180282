// The two dialogs with which a reader changes a deadline: set aside (or put off), and move up or down.

import { studyPath } from "./api.js";
import { byId, el, setText } from "./dom.js";
import { moment, span } from "./words.js";

const MINUTE = 60_000;
const DEFER = "defer";

export class Adjusting extends EventTarget {
  #study = null;
  #rules = null;

  constructor({ api, clock }) {
    super();
    Object.assign(this, { api, clock });
    this.aside = byId("aside");
    this.mover = byId("mover");
    byId("aside-form").addEventListener("submit", (event) => this.#submit(event, () => this.#setAside()));
    byId("aside-reasons").addEventListener("change", () => this.#reasonChosen());
    byId("mover-form").addEventListener("submit", (event) => this.#submit(event, () => this.#move()));
    byId("mover-form").addEventListener("input", () => this.#consequence());
    for (const id of ["aside", "mover"]) byId(`${id}-cancel`).addEventListener("click", () => byId(id).close());
  }

  /** The site's rules, read anew each time a dialog opens: they may have changed. */
  async #read() {
    this.#rules = await this.api.get("/api/site");
  }

  /** Asks why this study is to be set aside. */
  async askAside(study) {
    await this.#open(study, this.aside, "aside");
    const held = study.hold?.code;
    const chosen = [...this.#rules.holds.map((hold) => hold.code), DEFER].includes(held) ? held : this.#rules.holds[0].code;
    const options = [
      ...this.#rules.holds.map(({ code, words, minutes }) => [code, words, `up to ${span(minutes * MINUTE)}`]),
      [DEFER, "put off: can be read, but not now", "its clock runs on"],
    ];
    byId("aside-reasons").replaceChildren(
      el("legend", {}, "Why"),
      ...options.map(([code, words, small]) =>
        el("label", {}, el("input", { type: "radio", name: "code", value: code, checked: code === chosen, required: true }), el("span", {}, words, el("small", {}, small)))),
    );
    byId("aside-note").value = "";
    this.#reasonChosen();
    byId("aside-reasons").querySelector(":checked").focus();
  }

  /** Asks for the reader's own deadline. */
  async askMove(study) {
    await this.#open(study, this.mover, "mover");
    byId("mover-due").value = "15";
    byId("mover-for").value = String(Math.min(120, this.#rules.override_longest_minutes));
    byId("mover-for").max = String(this.#rules.override_longest_minutes);
    byId("mover-reason").value = "";
    this.#consequence();
    byId("mover-due").select();
  }

  async #open(study, dialog, name) {
    await this.#read();
    this.#study = study;
    const who = study.person?.name ? ` · ${study.person.name}` : "";
    byId(`${name}-study`).replaceChildren(`${study.what} · ${study.where}`, el("bdi.private", { dir: "auto" }, who));
    setText(byId(`${name}-refusal`), "");
    dialog.showModal();
  }

  #chosen() {
    const code = new FormData(byId("aside-form")).get("code");
    return { code, hold: this.#rules.holds.find((one) => one.code === code) };
  }

  #reasonChosen() {
    const { hold } = this.#chosen();
    const field = byId("aside-minutes");
    field.max = hold ? String(hold.minutes) : "1440";
    field.value = hold ? String(hold.minutes) : "30";
  }

  #setAside() {
    const { code, hold } = this.#chosen();
    const body = { minutes: byId("aside-minutes").valueAsNumber, note: byId("aside-note").value.trim() || null };
    if (!hold) return [DEFER, body, "Put off: it is nobody’s next case until then."];
    return ["hold", { code, ...body }, "Set aside: it comes back by itself."];
  }

  #move() {
    const body = { due_in_minutes: byId("mover-due").valueAsNumber, minutes: byId("mover-for").valueAsNumber, reason: byId("mover-reason").value };
    return ["override", body, "Its deadline is the one you gave."];
  }

  /** Says in words what the numbers come to, before it is done. */
  #consequence() {
    const now = this.clock.now();
    const due = now + byId("mover-due").valueAsNumber * MINUTE;
    if (Number.isNaN(due)) return setText(byId("mover-words"), "");
    const shift = due - Date.parse(this.#study.due_at);
    const beyond = due - Date.parse(this.#study.target_at);
    const moved = Math.abs(shift) < MINUTE ? "where it is now" : `${span(shift)} ${shift < 0 ? "sooner" : "later"} than it is now`;
    setText(byId("mover-words"), `Due ${moment(due, now)}, ${moved}.`);
    setText(byId("mover-beyond"), beyond >= MINUTE ? `! That is ${span(beyond)} after the order’s own target.` : "");
  }

  async #submit(event, said) {
    event.preventDefault();
    const dialog = event.target.closest("dialog");
    const [action, body, say] = said();
    try {
      const study = await this.api.post(studyPath(this.#study.study_uid, `/${action}`), body);
      dialog.close();
      this.dispatchEvent(new CustomEvent("done", { detail: { study, say } }));
    } catch (problem) {
      setText(byId(`${dialog.id}-refusal`), problem.message);
    }
  }
}
