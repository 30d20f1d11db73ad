// All servers at a glance.

import { paths } from "../api.js";
import { h, link, setText, Sparkline } from "../dom.js";
import { count, duration, plural, rate, short } from "../format.js";
import { badges, heading, ServerNotice, STATES, Tile } from "../parts.js";

class Card {
  constructor(name) {
    this.name = name;
    this.tiles = STATES.map((state) => new Tile(state, state));
    this.sparks = { into: new Sparkline(`Jobs put a second at ${name}`, 160, 32), out: new Sparkline(`Jobs deleted a second at ${name}`, 160, 32) };
    this.sparks.into.element.classList.add("into");
    this.sparks.out.element.classList.add("out");
    this.series = { into: [], out: [] };
    this.into = h("b", {}, "–");
    this.out = h("b", {}, "–");
    this.facts = h("p", { class: "facts" });
    this.badges = h("div", { class: "badge-line" });
    this.notice = new ServerNotice();
    this.url = h("code", {});
    this.element = h(
      "article",
      { class: "card" },
      h("header", {}, h("h2", {}, link(paths.server(name), name)), this.badges),
      this.url,
      this.notice.element,
      h("div", { class: "tiles" }, this.tiles.map((tile) => tile.element)),
      h(
        "div",
        { class: "rates" },
        h("div", {}, h("span", {}, this.into, " in/s"), this.sparks.into.element),
        h("div", {}, h("span", {}, this.out, " out/s"), this.sparks.out.element),
      ),
      this.facts,
    );
  }

  update(server) {
    setText(this.url, server.url);
    this.notice.update(server);
    this.element.classList.toggle("down", server.up === false);
    this.badges.replaceChildren(badges(server.badges));
    for (const key of ["into", "out"]) {
      this.sparks[key].draw(server.series[key]);
      setText(this[key], rate(server[key]));
    }
    if (!server.up) return;
    const stats = server.stats;
    STATES.forEach((state, place) => this.tiles[place].set(short(stats[`current-jobs-${state}`])));
    setText(
      this.facts,
      `${plural(server.tubes, "tube")} · ${plural(stats["current-connections"], "connection")} · ` +
        `${plural(stats["current-workers"], "worker")}, ${count(stats["current-waiting"])} of them waiting · ` +
        `version ${stats.version} · up ${duration(stats.uptime)}`,
    );
  }
}

export function serversPage() {
  const cards = new Map();
  const list = h("div", { class: "cards" });
  return {
    title: "Servers",
    element: h("div", {}, heading("Servers"), list),
    topics: ["servers"],
    update({ servers }) {
      for (const server of servers) {
        let card = cards.get(server.name);
        if (!card) {
          card = new Card(server.name);
          cards.set(server.name, card);
          list.append(card.element);
        }
        card.update(server);
      }
    },
  };
}
