// Who is reading: asked once, kept by the server in a cookie.

import { byId, setText } from "./dom.js";

export class Reader extends EventTarget {
  name = null;

  constructor({ api }) {
    super();
    this.api = api;
    this.dialog = byId("who");
    byId("reader").addEventListener("click", () => this.ask());
    byId("who-skip").addEventListener("click", () => this.#set(""));
    byId("who-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#set(byId("who-name").value);
    });
  }

  /** Reads the name; asks when there is none. */
  async start() {
    this.name = (await this.api.get("/api/reader")).reader;
    this.#show();
    if (!this.name) this.ask();
  }

  ask(words = "") {
    setText(byId("who-refusal"), words);
    byId("who-name").value = this.name ?? "";
    if (!this.dialog.open) this.dialog.showModal();
  }

  async #set(name) {
    try {
      this.name = (await this.api.post("/api/reader", { name })).reader;
    } catch (problem) {
      return setText(byId("who-refusal"), problem.message);
    }
    this.dialog.close();
    this.#show();
    this.dispatchEvent(new CustomEvent("change"));
  }

  #show() {
    setText(byId("reader"), this.name ?? "Who are you?");
  }
}
