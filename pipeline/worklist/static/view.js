// What this browser shows and tells: the list's columns, a sound, a notification. Chosen in one dialog and kept by the browser.

import { byId, el, setText } from "./dom.js";
import { store, stored } from "./storage.js";

const COLUMNS = { what: "Examination", where: "Where", priority: "Priority of the order", risk: "Risk", waited: "Waiting", state: "State" };
const USUAL = { columns: ["what", "where", "waited", "state"], of: "mine", sound: true, notify: false };
const TONES = [[0, 660], [0.18, 880]];

export class View {
  #chosen = { ...USUAL };
  #told = new Set();
  #audio = null;

  constructor({ reader }) {
    this.reader = reader;
    try {
      Object.assign(this.#chosen, JSON.parse(stored("readfirst-view")));
    } catch {
      // Not ours: the usual view.
    }
    const { columns, of, sound, notify } = this.#chosen;
    byId("view-columns").append(...Object.entries(COLUMNS).map(([name, words]) => el("label", {}, el("input", { type: "checkbox", name, checked: columns.includes(name) }), words)));
    byId("view-of").value = of;
    byId("view-sound").checked = sound;
    byId("view-notify").checked = notify;
    byId("view").addEventListener("change", () => this.#choose());
    byId("view-close").addEventListener("click", () => byId("view").close());
    this.#show();
  }

  open() {
    setText(byId("view-words"), "");
    byId("view").showModal();
  }

  /** Of studies that have newly become urgent, `{uid, mine, words}`: those that this reader must act on, each once. */
  tell(pressing) {
    const wanted = pressing.filter(({ uid, mine }) => (mine || this.#chosen.of === "any") && !this.#told.has(uid));
    if (!this.reader.name || !wanted.length) return;
    for (const { uid } of wanted) this.#told.add(uid);
    if (this.#chosen.sound) this.#ring();
    if (this.#chosen.notify && document.hidden) new Notification("Readfirst: urgent", { body: wanted.map(({ words }) => words).join("\n"), tag: "readfirst-urgent" });
  }

  async #choose() {
    const columns = [...byId("view-columns").querySelectorAll(":checked")].map((box) => box.name);
    if (byId("view-notify").checked && !this.#chosen.notify) await this.#ask();
    this.#chosen = { columns, of: byId("view-of").value, sound: byId("view-sound").checked, notify: byId("view-notify").checked };
    store("readfirst-view", JSON.stringify(this.#chosen));
    this.#show();
  }

  async #ask() {
    const allowed = "Notification" in window && (await Notification.requestPermission()) === "granted";
    byId("view-notify").checked = allowed;
    setText(byId("view-words"), allowed ? "" : "This browser does not let this page send notifications.");
  }

  #show() {
    document.querySelector(".list-pane").dataset.columns = this.#chosen.columns.join(" ");
  }

  /** Two soft tones. Browsers play nothing before the reader has touched the page, and a sound that comes late would mislead. */
  async #ring() {
    if (!navigator.userActivation?.hasBeenActive) return;
    this.#audio ??= new AudioContext();
    await this.#audio.resume();
    for (const [after, frequency] of TONES) {
      const tone = new OscillatorNode(this.#audio, { frequency });
      tone.connect(new GainNode(this.#audio, { gain: 0.15 })).connect(this.#audio.destination);
      tone.start(this.#audio.currentTime + after);
      tone.stop(this.#audio.currentTime + after + 0.15);
    }
  }
}
