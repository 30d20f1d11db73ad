// One job: what the server knows of it, and its body.

import { actionButtons } from "../actions.js";
import { get, jobName, paths, session } from "../api.js";
import { button, h, link } from "../dom.js";
import { bytes, count, duration } from "../format.js";
import { details, failure, heading, serverCrumbs } from "../parts.js";

// The views of a body, of which one is shown: tabs, with the keys that tabs have.
function tabs(views) {
  const panel = h("pre", { class: "body", role: "tabpanel", id: "body-view", tabindex: 0 });
  const buttons = views.map(({ name }, place) => button(name, () => choose(place), { role: "tab", id: `view-${place}`, "aria-controls": "body-view" }));
  const list = h("div", { class: "tabs", role: "tablist", "aria-label": "Views of the body", onkeydown: move }, buttons);
  function choose(place) {
    panel.textContent = views[place].text || "(empty)";
    panel.setAttribute("aria-labelledby", `view-${place}`);
    buttons.forEach((each, other) => {
      each.setAttribute("aria-selected", String(other === place));
      each.tabIndex = other === place ? 0 : -1;
    });
  }
  function move(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const place = (buttons.indexOf(document.activeElement) + step + buttons.length) % buttons.length;
    choose(place);
    buttons[place].focus();
  }
  choose(0);
  return [list, panel];
}

export function jobPage(server, id) {
  const room = h("div", {}, h("p", { class: "facts" }, "Looking for the job …"));

  async function load() {
    try {
      const { job, views } = await get(paths.api(server, `jobs/${id}`));
      const one = { since_id: id, until_id: id };
      const possible = { ready: ["bury"], delayed: ["kick", "bury"], buried: ["kick"], reserved: [] }[job.state] ?? [];
      room.replaceChildren(
        h("div", { class: "badge-line" }, h("span", { class: `pill pill-${job.state}` }, job.state), " in ", link(paths.tube(server, job.tube), job.tube)),
        h(
          "div",
          { class: "buttons" },
          session.read_only || job.state === "reserved" ? null : actionButtons(server, one, [...possible, "move", "copy", "delete"], { changed: load, job: id }),
          h("a", { href: paths.api(server, `jobs/${id}/body`), download: `${server}-${id}` }, "Download the body"),
          button("Look again", load),
        ),
        details([
          ["Priority", count(job.priority)],
          ["Age", duration(job.age)],
          ["Delay", duration(job.delay)],
          ["Time to run", duration(job.ttr)],
          ["Time left", job.time_left ? duration(job.time_left) : "–"],
          ["Reserves", count(job.reserves)],
          ["Timeouts", count(job.timeouts)],
          ["Releases", count(job.releases)],
          ["Buries", count(job.buries)],
          ["Kicks", count(job.kicks)],
        ]),
        h("h2", {}, "Body ", h("small", {}, bytes(job.size))),
        ...tabs(views),
      );
    } catch (error) {
      room.replaceChildren(failure(error), button("Look again", load));
    }
  }

  load();
  const title = `Job ${jobName(server, id)}`;
  return { title, element: h("div", {}, serverCrumbs(server, `Job ${id}`), heading(title), room) };
}
