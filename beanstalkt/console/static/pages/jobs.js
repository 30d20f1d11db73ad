// The job browser: the jobs that match a filter, in any state, without moving them.

import { actionButtons } from "../actions.js";
import { jobName, lines, paths, query, session } from "../api.js";
import { button, field, h, link, setText } from "../dom.js";
import { bytes, clock, count, duration, plural } from "../format.js";
import { go } from "../go.js";
import { failure, heading, scrolling, serverCrumbs, STATES } from "../parts.js";

const NAMES = ["tube", "state", "text", "pattern", "min_priority", "max_priority", "min_age", "max_age", "since_id", "until_id"];
const NUMBERS = [
  ["min_age", "At least this old (s)"],
  ["max_age", "At most this old (s)"],
  ["min_priority", "Priority from"],
  ["max_priority", "Priority to"],
  ["since_id", "Id from"],
  ["until_id", "Id to"],
];
const LIMIT = 50;

function filterOf(search) {
  const given = new URLSearchParams(search);
  return Object.fromEntries(NAMES.map((name) => [name, given.get(name) ?? ""]));
}

function row(server, job) {
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, link(paths.job(server, job.id), jobName(server, job.id))),
    h("td", {}, link(paths.tube(server, job.tube), job.tube)),
    h("td", {}, h("span", { class: `pill pill-${job.state}` }, job.state)),
    h("td", { class: "preview" }, h("code", {}, job.preview || "(empty)")),
    h("td", { class: "wide number" }, bytes(job.size)),
    h("td", { class: "number" }, duration(job.age)),
    h("td", { class: "wide number" }, count(job.priority)),
    h("td", { class: "wide number" }, job.time_left ? duration(job.time_left) : "–"),
    h("td", { class: "wide number" }, count(job.reserves)),
    h("td", { class: "wide number" }, count(job.timeouts)),
  );
}

export function jobsPage(server) {
  const filter = filterOf(location.search);
  const chosen = Object.fromEntries(Object.entries(filter).filter(([, value]) => value));
  const inputs = {};
  const body = h("tbody", {});
  const bar = h("progress", { "aria-label": "Progress of the search" });
  const told = h("p", { class: "facts", role: "status" });
  const problem = h("div", {});
  const next = h("div", { class: "buttons" });
  const stopper = new AbortController();
  const stop = button("Stop", () => stopper.abort());
  let found = 0;
  let lastId = 0;

  const text = (name, properties) => (inputs[name] = h("input", { type: "text", value: filter[name], ...properties }));
  const state = (inputs.state = h("select", {}, h("option", { value: "" }, "any state"), STATES.map((each) => h("option", { value: each, selected: each === filter.state }, each))));
  const form = h(
    "form",
    {
      class: "filter",
      onsubmit: (event) => {
        event.preventDefault();
        go(paths.jobs(server, Object.fromEntries(NAMES.map((name) => [name, inputs[name].value.trim()]))));
      },
    },
    h("div", { class: "fields" }, field("Tube", text("tube", { placeholder: "any tube" })), field("State", state), field("Text in the body", text("text", { type: "search" }))),
    h(
      "details",
      { open: [...NUMBERS.map(([name]) => name), "pattern"].some((name) => filter[name]) },
      h("summary", {}, "More"),
      h(
        "div",
        { class: "fields" },
        field("Regular expression in the body", text("pattern", { maxlength: 200 })),
        NUMBERS.map(([name, label]) => field(label, text(name, { inputmode: "numeric", pattern: "[0-9]*" }))),
      ),
    ),
    h("div", { class: "buttons" }, h("button", { class: "primary" }, "Search"), Object.keys(chosen).length ? link(paths.jobs(server), "Clear the filter") : null),
  );

  function take(line) {
    if (line.job) {
      found += 1;
      lastId = line.job.id;
      body.append(row(server, line.job));
    } else if (line.progress) {
      const { done, total, jobs } = line.progress;
      if (total) {
        bar.max = total;
        bar.value = done;
      }
      setText(told, `${count(done)}${total ? ` of ${line.progress.estimated ? "about " : ""}${count(total)}` : ""} ids looked at, ${plural(found, "job")} found`);
    } else if (line.end) {
      const { complete, range, vanished, put_since: since, looked_at: lookedAt, seconds, time } = line.end;
      const parts = [
        complete ? `${plural(found, "job")} found` : `The first ${plural(found, "job")}`,
        range ? `ids ${count(range[0])} to ${count(range[0] + lookedAt - 1)} looked at in ${duration(seconds)}` : null,
        vanished ? `${plural(vanished, "job")} vanished meanwhile` : null,
        since ? `${plural(since, "job")} put since are not in it` : null,
        `as of ${clock(time)}`,
      ];
      setText(told, `${parts.filter(Boolean).join(" · ")}.`);
      if (!complete) next.replaceChildren(link(paths.jobs(server, { ...chosen, since_id: lastId + 1 }), "Next jobs"));
    } else if (line.error) {
      problem.replaceChildren(failure({ message: line.error }));
    }
  }

  async function search() {
    try {
      await lines(paths.api(server, `jobs${query({ ...chosen, limit: LIMIT })}`), take, stopper.signal);
    } catch (error) {
      if (error.name !== "AbortError") problem.replaceChildren(failure(error));
      else setText(told, `Stopped. ${plural(found, "job")} found until then.`);
    } finally {
      bar.hidden = true;
      stop.hidden = true;
    }
  }

  search();
  const changing = session.read_only ? [] : [actionButtons(server, chosen, ["kick", "bury", "move", "copy", "delete"])];
  return {
    title: `Jobs of ${filter.tube || server}`,
    element: h(
      "div",
      {},
      serverCrumbs(server, filter.tube ? link(paths.tube(server, filter.tube), filter.tube) : null, "Jobs"),
      heading("Jobs"),
      form,
      h("div", { class: "bar" }, bar, stop, told),
      problem,
      h("div", { class: "buttons", role: "group", "aria-label": "With all jobs that match" }, h("span", { class: "facts" }, "With all that match:"), changing, actionButtons(server, chosen, ["export"])),
      scrolling(
        "Jobs",
        h(
          "table",
          { class: "jobs" },
          h("caption", { class: "hidden" }, "Jobs that match the filter"),
          h(
            "thead",
            {},
            h("tr", {}, [["Id"], ["Tube"], ["State"], ["Body"], ["Size", 1], ["Age"], ["Priority", 1], ["Left", 1], ["Reserves", 1], ["Timeouts", 1]].map(([name, wide]) => h("th", { scope: "col", class: wide ? "wide" : "" }, name))),
          ),
          body,
        ),
      ),
      next,
    ),
    leave: () => stopper.abort(),
  };
}
