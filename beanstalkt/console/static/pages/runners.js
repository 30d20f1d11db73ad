// The runners that serve their metrics: their slots, and the jobs that run.

import { jobName, paths } from "../api.js";
import { h, link } from "../dom.js";
import { count, date, duration } from "../format.js";
import { heading, scrolling } from "../parts.js";

const NUMBERS = new Set(["Succeeded", "Slot", "Attempt", "Runs for"]);

const table = (label, names, rows) =>
  scrolling(label, h("table", {}, h("caption", { class: "hidden" }, label), h("thead", {}, h("tr", {}, names.map((name) => h("th", { scope: "col", class: NUMBERS.has(name) ? "number" : "" }, name)))), h("tbody", {}, rows)));

function finished(tube) {
  const good = tube.finished.filter(({ outcome }) => outcome === "success").reduce((sum, { jobs }) => sum + jobs, 0);
  const bad = tube.finished.filter(({ outcome }) => outcome !== "success");
  return [count(good), bad.map(({ outcome, action, jobs }) => `${count(jobs)} ${outcome} (${action})`).join(", ") || "–"];
}

function tubeLink(runner, server, tube) {
  const name = runner.names[server];
  return name ? link(paths.tube(name, tube), tube) : tube;
}

function card(runner) {
  const { status } = runner;
  const several = status && new Set(status.tubes.map(({ server }) => server)).size > 1;
  const shown = (server) => runner.names[server] || server;
  const head = h("header", {}, h("h2", {}, runner.name), h("span", { class: "badge" }, status ? status.state : "out of reach"));
  if (!status) return h("article", { class: "card down" }, head, h("p", { class: "notice bad" }, runner.error));
  return h(
    "article",
    { class: "card" },
    head,
    h("p", { class: "facts" }, `process ${status.pid} on ${status.host}, since ${date(status.started_at)}`),
    table(
      `Tubes of ${runner.name}`,
      ["Tube", ...(several ? ["Server"] : []), "Busy", "Handler", "Succeeded", "Other outcomes"],
      status.tubes.map((tube) => {
        const [good, bad] = finished(tube);
        return h("tr", {}, h("th", { scope: "row" }, tubeLink(runner, tube.server, tube.tube)), several && h("td", {}, shown(tube.server)), h("td", {}, tube.slots ? `${tube.busy} of ${tube.slots}` : String(tube.busy)), h("td", {}, h("code", {}, tube.handler)), h("td", { class: "number" }, good), h("td", {}, bad));
      }),
    ),
    status.running.length
      ? table(
          `Jobs that run on ${runner.name}`,
          ["Job", "Tube", "Slot", "Attempt", "Runs for"],
          status.running.map((job) => {
            const name = runner.names[job.server];
            const id = several ? `${shown(job.server)}/${job.id}` : name ? jobName(name, job.id) : String(job.id);
            return h("tr", {}, h("th", { scope: "row" }, name ? link(paths.job(name, job.id), id) : id), h("td", {}, job.tube), h("td", { class: "number" }, count(job.slot)), h("td", { class: "number" }, count(job.attempt)), h("td", { class: `number ${job.overdue ? "bad" : ""}` }, duration(job.seconds)));
          }),
        )
      : h("p", { class: "facts" }, "No job runs."),
  );
}

export function runnersPage() {
  const list = h("div", { class: "stack" });
  const none = h("p", { class: "facts" }, "No runner is watched. Start runners with ", h("code", {}, "beanstalkt work --metrics HOST:PORT"), ", and this console with ", h("code", {}, "--runner NAME=http://HOST:PORT"), ".");
  return {
    title: "Runners",
    topics: ["runners"],
    element: h("div", {}, heading("Runners"), none, list),
    update({ runners }) {
      none.hidden = runners.length > 0;
      list.replaceChildren(...runners.map(card));
    },
  };
}
