// News from the console: by a WebSocket, and where none gets through, by asking at intervals.
//
// Nothing is asked for while the page is in the background or updates are paused.

import { full } from "./address.js";
import { get, session } from "./api.js";

const SILENCE = 20000; // ms without a message after which a connection counts as dead
const LONGEST_WAIT = 10000; // ms between two attempts to connect
const TRIES = 2; // connections that may fail before the page asks instead
const SOCKET_AGAIN = 60000; // ms after which a page that asks tries a WebSocket again

class Live {
  constructor() {
    this.topics = [];
    this.take = () => {};
    this.changed = () => {};
    this.state = "connecting";
    this.paused = false;
    this.socket = null;
    this.failures = 0;
    this.timer = null;
    this.silence = null;
    this.asking = false;
    document.addEventListener("visibilitychange", () => this.refresh());
    window.addEventListener("online", () => this.refresh());
  }

  // Calls take(topic, data, full) with the news of some topics, and with nothing else from now on.
  watch(topics, take) {
    this.topics = topics;
    this.take = take;
    this.refresh();
  }

  pause(paused) {
    this.paused = paused;
    this.refresh();
  }

  get wanted() {
    return this.paused || document.hidden ? [] : this.topics;
  }

  refresh() {
    if (session.login) return;
    if (this.socket?.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify({ topics: this.wanted }));
      this.listen();
      this.tell(this.paused ? "paused" : "live");
    } else if (!this.socket && this.wanted.length) {
      this.connect();
    } else if (this.paused) {
      this.tell("paused");
    }
  }

  tell(state) {
    if (this.state === state) return;
    this.state = state;
    this.changed(state);
  }

  later(milliseconds, action) {
    clearTimeout(this.timer);
    this.timer = setTimeout(action, milliseconds);
  }

  connect() {
    clearTimeout(this.timer);
    this.asking = false;
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${full("/api/live")}`);
    this.socket = socket;
    socket.onopen = () => {
      this.failures = 0;
      this.refresh();
    };
    socket.onmessage = (event) => {
      this.listen();
      const { topic, full, data } = JSON.parse(event.data);
      if (this.wanted.includes(topic)) this.take(topic, data, full);
    };
    socket.onclose = (event) => {
      if (this.socket !== socket) return;
      this.socket = null;
      clearTimeout(this.silence);
      this.failures += 1;
      this.tell(this.paused ? "paused" : "reconnecting");
      if (event.code === 1008) get("/api/state").catch(() => {}); // the session is over
      const wait = Math.min(LONGEST_WAIT, 500 * 2 ** (this.failures - 1)) * (0.75 + Math.random() / 2);
      this.later(wait, () => this.again());
    };
    this.listen();
  }

  again() {
    if (this.socket || session.login) return;
    if (!this.wanted.length) return; // begun again when the page is looked at
    if (this.failures > TRIES && !this.asking) {
      this.asking = true;
      this.askUntil = Date.now() + SOCKET_AGAIN;
      this.ask();
    } else {
      this.connect();
    }
  }

  // A connection may be dead without being closed: a laptop that slept, a cable that was pulled.
  listen() {
    clearTimeout(this.silence);
    if (this.wanted.length) {
      const socket = this.socket;
      this.silence = setTimeout(() => {
        socket?.close();
        if (this.socket === socket) socket?.onclose?.({ code: 1006 });
      }, SILENCE + 3000 * session.interval);
    }
  }

  async ask() {
    const topics = this.wanted;
    if (Date.now() > this.askUntil) return this.connect();
    try {
      if (topics.length) {
        const asked = new URLSearchParams(topics.map((topic) => ["topic", topic]));
        const { messages } = await get(`/api/state?${asked}`);
        for (const { topic, full, data } of messages) if (this.wanted.includes(topic)) this.take(topic, data, full);
      }
      this.tell(this.paused ? "paused" : "polling");
    } catch {
      this.tell("reconnecting");
    }
    if (this.asking) this.later(Math.max(1, session.interval) * 1000, () => this.ask());
  }
}

export const live = new Live();
