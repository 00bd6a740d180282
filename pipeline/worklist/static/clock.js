// The server's present, kept by a monotonic clock: this computer's own clock may be wrong by an hour and nothing shows it.

export class ServerClock {
  #base = null;
  #at = 0;

  /** Takes the server's time from an answer that took `roundTrip` ms; small differences are noise and are left alone. */
  sync(text, roundTrip = 0) {
    const told = Date.parse(text) + roundTrip / 2;
    if (Number.isNaN(told)) return;
    if (this.#base === null || Math.abs(told - this.now()) > 750) {
      this.#base = told;
      this.#at = performance.now();
    }
  }

  /** Milliseconds since the epoch, as the server has it. Before the first answer: this computer's guess. */
  now() {
    return this.#base === null ? Date.now() : this.#base + (performance.now() - this.#at);
  }
}
