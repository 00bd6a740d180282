// Dead letters: shown, sent again, purged with a reason.

import { byId, el, setText } from "./dom.js";
import { moment, plural } from "./words.js";

const SHOWN = 12;

export class Letters {
  #waiting = null;
  #rows = [];
  #reading = false;
  #said = "";
  #purging = null;

  constructor({ api, clock, reader, changed }) {
    Object.assign(this, { api, clock, reader, changed });
    byId("purge-cancel").addEventListener("click", () => byId("purge").close());
    byId("purge-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#purge(byId("purge-reason").value);
    });
  }

  /** The letters themselves are read only when their number has changed. */
  async refresh({ waiting, limit }) {
    setText(byId("letters-note"), waiting ? `${waiting} of ${limit} that stop the intake` : `none waits; ${limit} would stop the intake`);
    if (waiting === this.#waiting || this.#reading) return;
    this.#reading = true;
    const answer = waiting ? await this.#try(() => this.api.get("/api/ops/letters")) : { letters: [] };
    this.#reading = false;
    if (!answer) return;
    [this.#rows, this.#waiting] = [answer.letters, waiting];
    this.#show();
  }

  #show() {
    const place = byId("letters");
    if (!this.#rows.length) return place.replaceChildren(el("p.calm", {}, "Everything that was taken in was understood."), this.#words());
    const rows = this.#rows.slice(0, SHOWN).map((letter) => this.#row(letter));
    const head = el("thead", {}, el("tr", {}, ["reason", "from", "when", ""].map((word) => el("th", { scope: "col" }, word))));
    const more = this.#rows.length - rows.length;
    place.replaceChildren(el("table", {}, head, el("tbody", {}, rows)), more > 0 ? el("p.calm", {}, `${plural(more, "older letter")}: readfirst dlq list`) : "", this.#words());
  }

  #words() {
    return el("p.calm", { role: "status" }, this.#said);
  }

  #row(letter) {
    const back = letter.returned ? ` · came back ${plural(letter.returned, "time")}` : "";
    const act = (word, title, run) => el("button", { type: "button", title, onclick: () => this.#named(run) }, word);
    return el("tr", {},
      el("td", {}, el("span.reason", {}, letter.reason), el("small", {}, letter.explanation + back)),
      el("td", {}, letter.from), el("td", {}, moment(letter.recorded_at, this.clock.now())),
      el("td.acts", {},
        act("Show", "Its bytes, place and headers", () => this.#open(letter)),
        act("Send again", "After a fix: to the topic it came from", () => this.#redrive(letter)),
        act("Purge…", "Take it off this list, with a reason", () => this.#ask(letter))));
  }

  #named(run) {
    if (!this.reader.name) return this.reader.ask("Say who you are first: letters may hold patient data, and acts carry a name.");
    return run();
  }

  async #open(letter) {
    const whole = await this.#try(() => this.api.get(this.#path(letter)));
    if (!whole) return;
    const facts = [["reason", whole.reason], ["why", whole.explanation], ["from", whole.from], ["size", plural(whole.bytes, "byte")]];
    byId("letter-facts").replaceChildren(...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
    setText(byId("letter-body"), whole.body + (whole.cut ? "\n… (cut here; the whole with readfirst dlq show)" : ""));
    byId("letter").showModal();
  }

  async #redrive(letter) {
    const done = await this.#try(() => this.api.post(this.#path(letter, "/redrive")));
    if (done) this.#done(`Sent to ${done.sent_to} again. If it is still bad it comes back, with a count.`);
  }

  #ask(letter) {
    this.#purging = letter;
    setText(byId("purge-words"), `${letter.reason}, from ${letter.from}. Nobody will look at it again; its bytes stay on the topic until they expire. Your name and reason are kept.`);
    setText(byId("purge-refusal"), "");
    byId("purge-reason").value = "";
    byId("purge").showModal();
  }

  async #purge(reason) {
    try {
      await this.api.post(this.#path(this.#purging, "/purge"), { reason });
    } catch (problem) {
      return setText(byId("purge-refusal"), problem.message);
    }
    byId("purge").close();
    this.#done("Purged.");
  }

  async #try(ask) {
    try {
      return await ask();
    } catch (problem) {
      this.#said = problem.message;
      this.#show();
      return null;
    }
  }

  #done(words) {
    this.#said = words;
    this.#waiting = null;
    this.changed();
  }

  #path(letter, act = "") {
    return `/api/ops/letters/${letter.partition}/${letter.offset}${act}`;
  }
}
