// One tube: its numbers, charts of the last minutes, and what can be done to all its jobs.

import { jobName, paths, session } from "../api.js";
import { Chart } from "../chart.js";
import { button, h, link, setText } from "../dom.js";
import { count, duration, rate, short } from "../format.js";
import { badges, details, drainText, heading, serverCrumbs, ServerNotice, STATES, Tile } from "../parts.js";
import { actionButtons } from "../actions.js";

export function tubePage(server, tube) {
  const notice = new ServerNotice();
  const gone = h("p", { class: "notice", hidden: true }, "There is no such tube at the moment: a tube exists as long as it has jobs, or connections that use or watch it.");
  const badgeLine = h("div", { class: "badge-line" });
  const tiles = STATES.map((state) => new Tile(state, state, paths.jobs(server, { tube, state })));
  const into = new Tile("in/s");
  const out = new Tile("out/s");
  const drain = new Tile("empty in");
  const facts = h("div", {});
  const charts = [
    new Chart("Jobs a second", [["in", "into", "into"], ["out", "out", "out"]], rate),
    new Chart("Jobs", [["ready", "ready", "ready"], ["reserved", "reserved", "reserved"], ["delayed", "delayed", "delayed"], ["buried", "buried", "buried"]], short),
    new Chart("Age of the next ready job", [["age", "head_age", "delayed"]], duration),
  ];
  const resume = h("span", {});
  let paused = null;

  function drawFacts(found) {
    facts.replaceChildren(
      details([
        ["Urgent", count(found.urgent)],
        ["Workers", `${count(found.watching)}, of which ${count(found.waiting)} wait`],
        ["Producers", count(found.using)],
        ["Jobs since it exists", count(found.total)],
        ["Deleted", count(found.stats["cmd-delete"])],
        ["Next job", found.head ? link(paths.job(server, found.head.id), `${jobName(server, found.head.id)}, ${duration(found.head.age)} old`) : "–"],
        ["Paused", found.paused_for ? `for ${duration(found.paused_for)} more` : "no"],
      ]),
    );
    if (Boolean(found.paused_for) !== paused) {
      paused = Boolean(found.paused_for);
      resume.replaceChildren(...(session.read_only ? [] : actionButtons(server, { tube }, [paused ? "resume" : "pause"])));
    }
  }

  return {
    title: tube,
    topics: [`tube/${server}/${tube}`],
    element: h(
      "div",
      {},
      serverCrumbs(server, tube),
      heading(tube, badgeLine),
      notice.element,
      gone,
      h("div", { class: "tiles" }, tiles.map((tile) => tile.element), into.element, out.element, drain.element),
      h(
        "div",
        { class: "buttons" },
        link(paths.jobs(server, { tube }), "Browse jobs"),
        session.read_only ? null : link(paths.put(server, tube), "Put a job"),
        session.read_only ? null : actionButtons(server, { tube }, ["kick", "move", "copy", "clear", "import"]),
        actionButtons(server, { tube }, ["export"]),
        resume,
      ),
      h("div", { class: "charts" }, charts.map((chart) => chart.element)),
      facts,
    ),
    update(data, full) {
      notice.update(data.server);
      gone.hidden = !data.server.up || data.tube !== null;
      for (const chart of charts) chart.take(data.points, full);
      if (!data.tube) return;
      const found = data.tube;
      badgeLine.replaceChildren(badges(found.badges));
      STATES.forEach((state, place) => tiles[place].set(short(found[state])));
      into.set(rate(found.into));
      out.set(rate(found.out));
      drain.set(drainText(found.drain, found.ready));
      drawFacts(found);
    },
    leave() {
      for (const chart of charts) chart.close();
    },
  };
}
