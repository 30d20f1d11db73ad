// Puts a job.

import { jobName, paths, post, session } from "../api.js";
import { field, h, link } from "../dom.js";
import { failure, heading, serverCrumbs } from "../parts.js";

export function putPage(server) {
  const given = new URLSearchParams(location.search);
  const tube = h("input", { type: "text", value: given.get("tube") ?? "default", required: true, maxlength: 200 });
  const body = h("textarea", { rows: 10, spellcheck: "false" });
  const encoding = h("select", {}, h("option", { value: "text" }, "text"), h("option", { value: "base64" }, "base64"));
  const number = (value) => h("input", { type: "number", min: 0, max: 4294967295, step: 1, value, required: true });
  const priority = number(2147483648);
  const delay = number(0);
  const ttr = number(120);
  const result = h("div", { role: "status" });
  const submit = h("button", { class: "primary", disabled: session.read_only }, "Put the job");
  const form = h(
    "form",
    {
      onsubmit: async (event) => {
        event.preventDefault();
        submit.disabled = true;
        try {
          const { id } = await post(paths.api(server, "put"), {
            tube: tube.value,
            body: body.value,
            encoding: encoding.value,
            priority: Number(priority.value),
            delay: Number(delay.value),
            ttr: Number(ttr.value),
          });
          result.replaceChildren(h("p", { class: "notice good" }, "Put as ", link(paths.job(server, id), `job ${jobName(server, id)}`), "."));
          body.focus();
        } catch (error) {
          result.replaceChildren(failure(error));
        } finally {
          submit.disabled = false;
        }
      },
    },
    field("Tube", tube),
    field("Body", body),
    h("div", { class: "fields" }, field("The body is", encoding), field("Priority", priority, "0 is the most urgent"), field("Delay (s)", delay), field("Time to run (s)", ttr)),
    submit,
    result,
  );
  const element = h("div", {}, serverCrumbs(server, "Put a job"), heading("Put a job"), session.read_only ? h("p", { class: "notice" }, "This console is read-only.") : form);
  return { title: "Put a job", element, focus: session.read_only ? null : body };
}
