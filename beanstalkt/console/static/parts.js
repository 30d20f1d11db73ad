// Parts that several pages are made of.

import { badge, h, link, setText } from "./dom.js";
import { clock, count, duration, rate } from "./format.js";
import { paths } from "./api.js";

// The way from the list of servers to here.
export function crumbs(...steps) {
  return h("nav", { class: "crumbs", "aria-label": "Where you are" }, h("ol", {}, steps.map((step) => h("li", {}, step))));
}

export const serverCrumbs = (server, ...steps) => crumbs(link("/", "Servers"), link(paths.server(server), server), ...steps);

export function heading(text, ...children) {
  return h("div", { class: "heading" }, h("h1", { tabindex: -1 }, text), children);
}

// A number with its name. `set` changes it.
export class Tile {
  constructor(name, kind, href) {
    this.number = h("strong", {}, "–");
    this.element = h(href ? "a" : "div", { class: `tile ${kind ? `tile-${kind}` : ""}`, href }, h("span", {}, name), this.number);
  }

  set(text) {
    setText(this.number, text);
    this.element.classList.toggle("zero", text === "0");
  }
}

export const STATES = ["ready", "reserved", "delayed", "buried"];

export function badges(list) {
  return h("span", { class: "badges" }, list.map(badge));
}

// Says that a server is away, since when what is shown is old, and when it was started anew.
export class ServerNotice {
  constructor() {
    this.element = h("p", { class: "notice", role: "status", hidden: true });
    this.lastUp = null;
  }

  update(server) {
    if (server.up) this.lastUp = server.time;
    let text = "";
    if (server.up === false) {
      text = `${server.error ?? "The server does not answer."} ${this.lastUp ? `What you see is from ${clock(this.lastUp)}.` : ""}`;
    } else if (server.draining) text = "This server is draining: it takes no new jobs.";
    if (server.up && server.left_out) text += ` ${count(server.left_out)} tubes are left out.`;
    setText(this.element, text);
    this.element.classList.toggle("bad", server.up === false);
    this.element.hidden = !text;
  }
}

export function details(pairs) {
  return h("dl", { class: "details" }, pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

export function failure(error) {
  return h("p", { class: "error", role: "alert" }, error.message);
}

export const drainText = (drain, ready) => (!ready ? "–" : drain === null || drain === undefined ? "never" : duration(drain));

export const inOut = (into, out) => `${rate(into)} in, ${rate(out)} out`;

// A table whose rows may be wider than the screen; it scrolls by itself, with the keyboard too.
export function scrolling(label, table) {
  return h("div", { class: "scroll", role: "region", "aria-label": label, tabindex: 0 }, table);
}
