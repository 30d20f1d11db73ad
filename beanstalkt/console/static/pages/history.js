// What became of each job, from the database of the history.

import { h } from "../dom.js";
import { heading } from "../parts.js";

export function historyPage() {
  return {
    title: "History",
    element: h("div", {}, heading("History"), h("p", { class: "facts" }, "This console was started without a history: beanstalkd itself keeps nothing of a job that was deleted.")),
  };
}
