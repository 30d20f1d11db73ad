// What became of each job, from the database of the history.

import { get, jobName, query, session } from "../api.js";
import { button, field, h, link } from "../dom.js";
import { count, date, duration } from "../format.js";
import { go } from "../go.js";
import { failure, heading, scrolling } from "../parts.js";

const FIELDS = [
  ["tube", "Tube"],
  ["event", "Event"],
  ["beanstalk_job_id", "Job"],
  ["job_id", "Row of the outbox"],
];
const EVENTS = ["", "sent", "started", "finished", "failed", "released", "buried"];

function jobLink(row) {
  const id = row.server_name ? jobName(row.server_name, row.beanstalk_job_id) : String(row.beanstalk_job_id);
  return link(`/history${query({ beanstalk_job_id: id })}`, id);
}

function line(row) {
  return h(
    "tr",
    {},
    h("td", {}, date(row.time)),
    h("th", { scope: "row" }, row.event),
    h("td", {}, row.tube ?? "–"),
    h("td", { class: "number" }, row.beanstalk_job_id === null ? "–" : jobLink(row)),
    h("td", { class: "number wide" }, row.job_id === null ? "–" : link(`/history${query({ job_id: row.job_id })}`, String(row.job_id))),
    h("td", { class: "number wide" }, count(row.attempt)),
    h("td", { class: "number wide" }, row.duration_ms === null ? "–" : duration(row.duration_ms / 1000)),
    h("td", { class: "preview" }, row.msg ?? ""),
  );
}

export function historyPage() {
  if (!session.history) {
    return {
      title: "History",
      element: h("div", {}, heading("History"), h("p", { class: "facts" }, "This console was started without --history: beanstalkd itself keeps nothing of a job that was deleted.")),
    };
  }
  const given = new URLSearchParams(location.search);
  const chosen = Object.fromEntries(FIELDS.map(([name]) => [name, given.get(name) ?? ""]));
  const inputs = {};
  for (const [name] of FIELDS) {
    inputs[name] =
      name === "event"
        ? h("select", {}, EVENTS.map((each) => h("option", { value: each, selected: each === chosen.event }, each || "any event")))
        : h("input", { type: "text", value: chosen[name] });
  }
  const body = h("tbody", {});
  const told = h("p", { class: "facts", role: "status" });
  const problem = h("div", {});
  const more = button("Show older events", () => load(next), { hidden: true });
  let next = null;

  async function load(before) {
    more.disabled = true;
    try {
      const found = await get(`/api/history${query({ ...chosen, before })}`);
      body.append(...found.rows.map(line));
      next = found.next;
      more.hidden = next === null;
      told.textContent = body.children.length ? "" : "No event was found.";
      problem.replaceChildren();
    } catch (error) {
      problem.replaceChildren(failure(error));
      more.hidden = false;
    }
    more.disabled = false;
  }

  const form = h(
    "form",
    {
      class: "filter",
      onsubmit: (event) => {
        event.preventDefault();
        go(`/history${query(Object.fromEntries(FIELDS.map(([name]) => [name, inputs[name].value.trim()])))}`);
      },
    },
    h("div", { class: "fields" }, FIELDS.map(([name, label]) => field(label, inputs[name]))),
    h("div", { class: "buttons" }, h("button", { class: "primary" }, "Search")),
  );
  load(null);
  const names = [["When"], ["Event"], ["Tube"], ["Job", "number"], ["Row", "number wide"], ["Attempt", "number wide"], ["Took", "number wide"], ["Message"]];
  return {
    title: "History",
    element: h(
      "div",
      {},
      heading("History"),
      form,
      problem,
      told,
      scrolling("Events", h("table", {}, h("caption", { class: "hidden" }, "What became of jobs"), h("thead", {}, h("tr", {}, names.map(([name, kind]) => h("th", { scope: "col", class: kind ?? "" }, name)))), body)),
      more,
    ),
  };
}
