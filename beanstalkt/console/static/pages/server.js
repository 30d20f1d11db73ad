// One server: its tubes, to be sorted and filtered.

import { paths, query, session } from "../api.js";
import { badge, button, h, link, setText, Sparkline } from "../dom.js";
import { count, duration, plural, rate, short } from "../format.js";
import { crumbs, drainText, heading, scrolling, ServerNotice, STATES, Tile } from "../parts.js";

const STEP = 100; // rows that are drawn at once
const POINTS = 40;

// Name of the column, its key, what is shown, and whether a narrow screen leaves it out.
const COLUMNS = [
  ["Tube", "name", null],
  ["Ready", "ready", count],
  ["Reserved", "reserved", count],
  ["Delayed", "delayed", count, true],
  ["Buried", "buried", count],
  ["In/s", "into", rate],
  ["Out/s", "out", rate],
  ["", "spark", null, true],
  ["Workers", "watching", (value, row) => `${count(row.waiting)} / ${count(value)}`, true],
  ["Head", "head_age", duration, true],
  ["Empty in", "drain", (value, row) => drainText(value, row.ready), true],
];
const EXPLAINED = {
  watching: "Connections that wait for a job, of those that would take one",
  head_age: "Age of the next ready job",
  drain: "Time until no job is ready, at the present rates",
};

class Line {
  constructor(server, name) {
    this.cells = {};
    this.spark = new Sparkline(`Jobs deleted a second in ${name}`);
    this.badges = h("span", { class: "badges" });
    this.shownBadges = "";
    this.element = h(
      "tr",
      {},
      COLUMNS.map(([title, key, , wide]) => {
        if (key === "name") return h("th", { scope: "row" }, link(paths.tube(server, name), name), this.badges);
        const cell = h("td", { class: `${wide ? "wide" : ""} ${STATES.includes(key) ? `state-${key}` : ""}`, "data-label": title });
        if (key === "spark") cell.append(this.spark.element);
        this.cells[key] = cell;
        return cell;
      }),
    );
  }

  draw(row) {
    for (const [, key, show] of COLUMNS) {
      if (!show) continue;
      const text = show(row[key], row);
      setText(this.cells[key], text);
      this.cells[key].classList.toggle("zero", row[key] === 0 || row[key] === null);
    }
    this.spark.draw(row.series);
    const shown = row.badges.join();
    if (shown !== this.shownBadges) {
      this.shownBadges = shown;
      this.badges.replaceChildren(...row.badges.map(badge));
    }
  }
}

export function serverPage(server) {
  const given = new URLSearchParams(location.search);
  const choice = { sort: given.get("sort") ?? "-ready", q: given.get("q") ?? "" };
  const rows = new Map();
  const lines = new Map();
  let columns = [];
  let shown = STEP;

  const notice = new ServerNotice();
  const tiles = STATES.map((state) => new Tile(state, state, paths.jobs(server, { state })));
  const into = new Tile("in/s");
  const out = new Tile("out/s");
  const facts = h("p", { class: "facts" });
  const body = h("tbody", {});
  const told = h("p", { class: "facts", role: "status" });
  const more = button("Show more tubes", () => {
    shown += STEP;
    draw();
  }, { hidden: true });
  const search = h("input", {
    type: "search",
    "aria-label": "Filter the tubes by name",
    placeholder: "Filter tubes  ( / )",
    value: choice.q,
    oninput: () => {
      choice.q = search.value;
      shown = STEP;
      remember();
      draw();
    },
  });
  const heads = new Map();
  const table = h(
    "table",
    { class: "tubes" },
    h("caption", { class: "hidden" }, `Tubes of ${server}`),
    h("thead", {}, h("tr", {}, COLUMNS.map(([title, key, , wide]) => {
      if (key === "spark") return h("td", { class: "wide" });
      const head = h("th", { scope: "col", class: wide ? "wide" : "", title: EXPLAINED[key] }, button(title, () => sortBy(key), { class: "sort" }));
      heads.set(key, head);
      return head;
    }))),
    body,
  );

  function remember() {
    const kept = { q: choice.q, sort: choice.sort === "-ready" ? "" : choice.sort };
    history.replaceState(null, "", location.pathname + query(kept));
  }

  function sortBy(key) {
    const first = key === "name" ? key : `-${key}`;
    const second = key === "name" ? `-${key}` : key;
    choice.sort = choice.sort === first ? second : first;
    remember();
    draw();
  }

  function compare(a, b) {
    const key = choice.sort.replace("-", "");
    const [x, y] = [a[key] ?? -1, b[key] ?? -1];
    const order = x < y ? -1 : x > y ? 1 : 0;
    return (choice.sort.startsWith("-") ? -order : order) || (a.name < b.name ? -1 : 1);
  }

  function draw() {
    const wanted = choice.q.toLowerCase();
    const matching = [...rows.values()].filter((row) => row.name.toLowerCase().includes(wanted)).sort(compare);
    const visible = matching.slice(0, shown);
    const order = visible.map((row) => {
      let line = lines.get(row.name);
      if (!line) lines.set(row.name, (line = new Line(server, row.name)));
      line.draw(row);
      return line.element;
    });
    // Only what is out of order is moved, so that the focus stays where it is.
    order.forEach((element, place) => {
      if (body.children[place] !== element) body.insertBefore(element, body.children[place] ?? null);
    });
    while (body.children.length > order.length) body.lastChild.remove();
    for (const [key, head] of heads) {
      if (choice.sort.replace("-", "") === key) head.setAttribute("aria-sort", choice.sort.startsWith("-") ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    more.hidden = matching.length <= shown;
    setText(told, matching.length > shown ? `${count(shown)} of ${count(matching.length)} tubes are shown.` : choice.q ? `${count(matching.length)} tubes match.` : "");
  }

  function take(name, values, series) {
    const row = Object.fromEntries(columns.map((column, place) => [column, values[place]]));
    row.name = name;
    row.series = series ?? rows.get(name)?.series ?? [];
    rows.set(name, row);
  }

  return {
    title: server,
    topics: [`server/${server}`],
    element: h(
      "div",
      {},
      crumbs(link("/", "Servers"), server),
      heading(server, session.read_only ? null : h("div", { class: "buttons" }, link(paths.put(server), "Put a job"), link(paths.jobs(server), "Browse jobs"))),
      notice.element,
      h("div", { class: "tiles" }, tiles.map((tile) => tile.element), into.element, out.element),
      facts,
      h("div", { class: "bar" }, search, told),
      scrolling(`Tubes of ${server}`, table),
      more,
    ),
    update(data, full) {
      notice.update(data.server);
      if (full) {
        columns = data.columns;
        rows.clear();
        for (const [name, values] of Object.entries(data.rows)) take(name, values, data.series[name]);
      } else {
        for (const [name, values] of Object.entries(data.rows)) take(name, values);
        for (const name of data.gone) {
          rows.delete(name);
          lines.delete(name);
        }
        for (const row of rows.values()) row.series = [...row.series, row.out].slice(-POINTS);
      }
      const stats = data.server.stats;
      if (data.server.up) {
        STATES.forEach((state, place) => tiles[place].set(short(stats[`current-jobs-${state}`])));
        into.set(rate(data.server.into));
        out.set(rate(data.server.out));
        setText(
          facts,
          `${data.server.url} · ${plural(data.server.tubes, "tube")} · ${plural(stats["current-connections"], "connection")} · ` +
            `${plural(stats["current-workers"], "worker")}, ${count(stats["current-waiting"])} waiting · ` +
            `${plural(stats["job-timeouts"], "timeout")} · version ${stats.version} · up ${duration(stats.uptime)} · looked at every ${duration(data.server.interval)}`,
        );
      }
      draw();
    },
  };
}
