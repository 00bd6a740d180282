// Keeps the page live: the event stream, or asking every few seconds where a proxy blocks it, and an honest word on which it is.

const SILENCE = 35_000;
const FIRST_WORD = 4_000;
const POLL = 5_000;
const ASLEEP = 90_000;

/**
 * Calls `refresh()` (which reads list and figures, and throws when it cannot) whenever something may have changed.
 * `onState({mode, lastGood, troubleSince, sleptMs})`: mode is connecting, live, polling or lost.
 */
export class Feed {
  #source = null;
  #lastId = null;
  #heard = null;
  #opened = 0;
  #retry = 0;
  #reopening = null;
  #wanted = false;
  #busy = false;
  #lastTick = performance.now();
  #lastWall = Date.now();
  #lastPoll = 0;

  constructor({ clock, refresh, onState }) {
    this.clock = clock;
    this.refresh = refresh;
    this.onState = onState;
    this.state = { mode: "connecting", lastGood: null, troubleSince: null, sleptMs: 0, sleptUntil: 0 };
  }

  start() {
    this.#open();
    this.poke();
    setInterval(() => this.#tick(), 1000);
    addEventListener("online", () => this.#wake());
    document.addEventListener("visibilitychange", () => document.hidden || this.#tick());
  }

  /** Reads again soon; calls that come while one is under way become one more. */
  async poke() {
    this.#wanted = true;
    if (this.#busy) return;
    this.#busy = true;
    while (this.#wanted) {
      this.#wanted = false;
      try {
        await this.refresh();
        this.state.lastGood = this.clock.now();
        this.#mode(this.#streaming() ? "live" : this.#hopeful() ? "connecting" : "polling");
      } catch (problem) {
        this.#mode("lost");
        if (problem.name !== "Problem" && problem.status === undefined) console.error(problem);
      }
    }
    this.#busy = false;
  }

  #streaming() {
    return this.#heard !== null && performance.now() - this.#heard < SILENCE;
  }

  // A stream that was just opened may still answer; one that has once been found blocked is called so until it does.
  #hopeful() {
    return this.state.mode !== "polling" && performance.now() - this.#opened < FIRST_WORD;
  }

  #open() {
    clearTimeout(this.#reopening);
    this.#source?.close();
    this.#heard = null;
    this.#opened = performance.now();
    const source = new EventSource(this.#lastId ? `/api/events?last_event_id=${this.#lastId}` : "/api/events");
    this.#source = source;
    for (const name of ["hello", "changed", "trouble", "beat"]) {
      source.addEventListener(name, (event) => this.#source === source && this.#hear(event));
    }
    source.onerror = () => this.#source === source && this.#failed();
  }

  #hear(event) {
    const data = JSON.parse(event.data);
    this.clock.sync(data.now);
    this.#heard = performance.now();
    this.#retry = 0;
    this.#lastId = event.lastEventId || this.#lastId;
    this.state.troubleSince = data.trouble_since;
    this.poke(); // On a beat too: the figures that grow with time are read again.
  }

  #failed() {
    this.#heard = null;
    this.poke();
    if (this.#source.readyState === EventSource.CLOSED) {
      const wait = Math.min(30_000, 2_000 * 2 ** this.#retry++);
      clearTimeout(this.#reopening);
      this.#reopening = setTimeout(() => this.#open(), wait);
    }
  }

  #tick() {
    const now = performance.now();
    const wall = Date.now();
    const gap = Math.max(now - this.#lastTick, Math.min(wall - this.#lastWall, 24 * 3_600_000));
    this.#lastTick = now;
    this.#lastWall = wall;
    if (gap > ASLEEP) return this.#wake(gap);
    if (!this.#streaming() && now - Math.max(this.#heard ?? 0, this.#opened) > SILENCE) this.#open();
    const unheard = !this.#streaming() && !this.#hopeful();
    if (now - this.#lastPoll > POLL && (unheard || this.state.mode === "lost")) {
      this.#lastPoll = now;
      this.poke();
    }
    this.onState(this.state);
  }

  #wake(gap = 0) {
    if (gap) Object.assign(this.state, { sleptMs: gap, sleptUntil: performance.now() + 30_000 });
    this.#open();
    this.poke();
  }

  #mode(mode) {
    this.state.mode = mode;
    this.onState(this.state);
  }
}
