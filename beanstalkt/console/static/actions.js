// Actions on all jobs that match a filter: counted first, then asked for, then watched.

import { get, jobName, paths, post, query, session, upload } from "./api.js";
import { button, field, h, setText } from "./dom.js";
import { count, plural } from "./format.js";

// What a button says, what is done, and what the dialog asks.
const VERBS = {
  kick: { label: "Kick", done: "kicked", explain: "Buried and delayed jobs become ready." },
  bury: { label: "Bury", done: "buried", explain: "Ready and delayed jobs are put aside until they are kicked." },
  delete: { label: "Delete", done: "deleted", danger: true, explain: "Jobs that a worker holds are left alone. This cannot be undone." },
  clear: { label: "Clear", done: "deleted", danger: true, explain: "All jobs of the tube are deleted, except those that a worker holds. This cannot be undone." },
  move: { label: "Move", done: "moved", explain: "Jobs go to another tube or server with their priority, delay and state.", destination: true },
  copy: { label: "Copy", done: "copied", explain: "Jobs are put into another tube or server as well.", destination: true },
  pause: { label: "Pause", done: "paused", explain: "No job of the tube can be reserved for a while.", seconds: true, uncounted: true },
  resume: { label: "Resume", done: "resumed", explain: "Jobs of the tube can be reserved again.", uncounted: true },
  export: { label: "Export" },
  import: { label: "Import" },
};
const POLL = 250; // ms between two questions how far an action is

const exportPath = (server, filter) => paths.api(server, `export${query(filter)}`);

// Buttons for some actions on the jobs of a filter. Links where nothing is changed.
export function actionButtons(server, filter, verbs, options = {}) {
  return verbs
    .filter((verb) => session.actions?.includes(verb))
    .map((verb) => {
      if (verb === "export") return h("a", { href: exportPath(server, filter), download: "" }, "Export");
      const { label, danger } = VERBS[verb];
      const open = verb === "import" ? () => importDialog(server) : () => actionDialog(server, verb, filter, options);
      return button(`${label}…`, open, { class: danger ? "danger" : "" });
    });
}

function describe(server, filter, job) {
  if (job) return `job ${jobName(server, job)}`;
  const { tube, state, ...rest } = filter;
  const others = Object.entries(rest).map(([name, value]) => `${name.replace("_", " ")} ${value}`);
  return `all ${state ? `${state} ` : ""}jobs${tube ? ` of the tube ${tube}` : ""}${others.length ? ` with ${others.join(", ")}` : ""}`;
}

export function resultText(action) {
  const summary = action.summary;
  if (action.state === "failed" && !summary.done) return action.result;
  if (action.verb === "pause" || action.verb === "resume") return `${summary.action}.`;
  const parts = [`${plural(summary.done, "job")} ${summary.action}`];
  for (const [reason, number] of Object.entries(summary.skipped)) parts.push(`${count(number)} left alone (${reason})`);
  if (summary.vanished) parts.push(`${count(summary.vanished)} vanished meanwhile`);
  if (summary.failed) parts.push(`${count(summary.failed)} refused: ${summary.failures.map(([id, why]) => `${action.verb === "import" ? `line ${id}` : jobName(action.server, id)}: ${why}`).join("; ")}`);
  if (summary.unknown) parts.push(`${count(summary.unknown)} unknown, as the connection was lost`);
  if (action.state === "cancelled") parts.push("cancelled before the end");
  if (action.result) parts.push(action.result);
  return `${parts.join(" · ")}.`;
}

// A dialog that the browser itself keeps the focus in, and closes with Escape.
function openDialog(title, ...children) {
  const dialog = h("dialog", { "aria-label": title }, h("h2", {}, title), ...children);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

async function follow(action, tell, stopped) {
  while (action.state === "running") {
    tell(action);
    await new Promise((resolve) => setTimeout(resolve, POLL));
    if (stopped()) await post(`/api/actions/${action.id}/cancel`, {}).catch(() => {});
    action = await get(`/api/actions/${action.id}`);
  }
  tell(action);
  return action;
}

function actionDialog(server, verb, filter, { changed, job } = {}) {
  const plan = VERBS[verb];
  const told = h("p", { role: "status", class: "count" }, plan.uncounted ? "" : "Counting …");
  const bar = h("progress", { "aria-label": "Progress", hidden: plan.uncounted });
  const problem = h("p", { class: "error", role: "alert", hidden: true });
  const confirm = h("button", { class: plan.danger ? "danger" : "primary", disabled: !plan.uncounted }, plan.label);
  const cancel = button("Cancel", () => (running ? (stop = true) : dialog.close()));
  const tube = h("input", { type: "text", required: plan.destination, maxlength: 200, value: filter.tube ?? "" });
  const other = h("select", {}, session.servers.map((each) => h("option", { value: each, selected: each === server }, each)));
  const seconds = h("input", { type: "number", min: 1, max: 4294967295, value: 3600, required: true });
  let stop = false;
  let running = false;

  const form = h(
    "form",
    {
      onsubmit: (event) => {
        event.preventDefault();
        act();
      },
    },
    h("p", {}, `${plan.label} ${describe(server, filter, job)} on ${server}.`),
    h("p", { class: "facts" }, plan.explain),
    plan.destination && [field("To the tube", tube), session.servers.length > 1 && field("On the server", other)],
    plan.seconds && field("For how many seconds", seconds),
    told,
    bar,
    problem,
    plan.danger && session.actions.includes("export") && h("p", {}, h("a", { href: exportPath(server, filter), download: "" }, "Export these jobs first"), " to be able to import them again."),
    h("div", { class: "buttons" }, confirm, cancel),
  );
  const dialog = openDialog(`${plan.label} ${job ? `job ${jobName(server, job)}` : "jobs"}`, form);
  dialog.addEventListener("close", () => {
    stop = true;
  });

  function options() {
    const chosen = {};
    if (plan.destination) {
      chosen.to_tube = tube.value.trim();
      if (other.value !== server) chosen.to_server = other.value;
    }
    if (plan.seconds) chosen.seconds = Number(seconds.value);
    return chosen;
  }

  const begin = (dryRun) => post(paths.api(server, "actions"), { verb, filter, dry_run: dryRun, options: dryRun && plan.destination ? {} : options() });

  function fail(error) {
    problem.hidden = false;
    setText(problem, error.message);
    bar.hidden = true;
  }

  function tell(action) {
    const { progress } = action;
    if (!progress) return;
    if (progress.total) {
      bar.max = progress.total;
      bar.value = progress.done;
    }
    setText(told, `${plural(action.summary.done, "job")} ${action.dry_run ? "counted" : plan.done} so far`);
  }

  async function countFirst() {
    try {
      const action = await follow(await begin(true), tell, () => stop);
      bar.hidden = true;
      if (action.state === "failed") throw new Error(action.result);
      const { done, skipped } = action.summary;
      const left = Object.entries(skipped).map(([reason, number]) => `${count(number)} ${reason}`);
      setText(told, `${plural(done, "job")} will be ${plan.done}${left.length ? `; left alone: ${left.join(", ")}` : ""}.`);
      setText(confirm, `${plan.label} ${plural(done, "job")}`);
      confirm.disabled = !done;
      (done ? (plan.destination ? tube : plan.danger ? cancel : confirm) : cancel).focus();
    } catch (error) {
      fail(error);
    }
  }

  async function act() {
    confirm.disabled = true;
    bar.hidden = false;
    bar.removeAttribute("value");
    running = true;
    problem.hidden = true;
    try {
      const action = await follow(await begin(false), tell, () => stop);
      bar.hidden = true;
      if (action.state === "failed") fail({ message: resultText(action) });
      setText(told, resultText(action));
      confirm.hidden = true;
      setText(cancel, "Close");
      cancel.focus();
      changed?.();
    } catch (error) {
      fail(error);
      confirm.disabled = false;
    } finally {
      running = false;
    }
  }

  if (!plan.uncounted) countFirst();
}

function importDialog(server) {
  const file = h("input", { type: "file", required: true, accept: ".jsonl,.ndjson,.json,application/x-ndjson" });
  const told = h("p", { role: "status" });
  const bar = h("progress", { "aria-label": "Progress", hidden: true });
  const submit = h("button", { class: "primary" }, "Import");
  const close = button("Cancel", () => dialog.close());
  let stop = false;
  const form = h(
    "form",
    {
      onsubmit: async (event) => {
        event.preventDefault();
        submit.disabled = true;
        bar.hidden = false;
        try {
          const begun = await upload(paths.api(server, "import"), file.files[0]);
          const action = await follow(begun, (now) => now.progress && setText(told, `${plural(now.summary.done, "job")} imported so far`), () => stop);
          setText(told, resultText(action));
          submit.hidden = true;
          setText(close, "Close");
        } catch (error) {
          setText(told, error.message);
          submit.disabled = false;
        }
        bar.hidden = true;
      },
    },
    h("p", {}, "A file that an export has written: each job goes into the tube that its line names, with its priority, delay and state."),
    field("File", file),
    told,
    bar,
    h("div", { class: "buttons" }, submit, close),
  );
  const dialog = openDialog("Import jobs", form);
  dialog.addEventListener("close", () => {
    stop = true;
  });
}

