// What runs, and who did what.

import { resultText } from "../actions.js";
import { paths, post, session } from "../api.js";
import { button, h, link } from "../dom.js";
import { date, duration, plural } from "../format.js";
import { heading, scrolling } from "../parts.js";

function filterLink(entry) {
  const filter = Object.entries(entry.filter ?? {}).map(([name, value]) => `${name.replace("_", " ")}: ${value}`);
  return link(paths.jobs(entry.server, entry.filter), filter.join(", ") || "all jobs");
}

export function actionsPage() {
  const running = h("div", {});
  const body = h("tbody", {});
  const empty = h("p", { class: "facts" }, "Nothing was done since the console was started.");
  return {
    title: "Actions",
    topics: ["actions"],
    element: h(
      "div",
      {},
      heading("Actions"),
      running,
      empty,
      scrolling(
        "The log of actions",
        h("table", {}, h("caption", { class: "hidden" }, "The log of actions"), h("thead", {}, h("tr", {}, ["When", "What", "Server", "Jobs", "Result", "Who", "Took"].map((name) => h("th", { scope: "col" }, name)))), body),
      ),
    ),
    update(data) {
      running.replaceChildren(
        ...data.running.map((action) => {
          const { progress } = action;
          return h(
            "article",
            { class: "card" },
            h("h2", {}, action.verb, " on ", action.server),
            filterLink(action),
            h("progress", progress?.total ? { max: progress.total, value: progress.done, "aria-label": "Progress" } : { "aria-label": "Progress" }),
            h("p", { class: "facts" }, `${plural(action.summary.done, "job")} so far, by ${action.who}`),
            session.read_only ? null : button("Cancel", () => post(`/api/actions/${action.id}/cancel`, {})),
          );
        }),
      );
      empty.hidden = data.log.length > 0;
      body.replaceChildren(
        ...data.log.map((entry) =>
          h(
            "tr",
            {},
            h("td", {}, date(entry.started)),
            h("th", { scope: "row" }, entry.verb),
            h("td", {}, link(paths.server(entry.server), entry.server)),
            h("td", {}, filterLink(entry)),
            h("td", { class: entry.state === "failed" ? "bad" : "" }, entry.verb === "put" ? entry.result : resultText(entry)),
            h("td", {}, entry.who),
            h("td", { class: "number" }, duration(entry.ended - entry.started)),
          ),
        ),
      );
    },
  };
}
