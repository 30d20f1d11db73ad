// Asks for the password.

import { post, session } from "../api.js";
import { field, h } from "../dom.js";

export function loginPage(done) {
  if (!session.password) {
    return {
      title: "Log in",
      element: h("div", { class: "login" }, h("h1", { tabindex: -1 }, "beanstalkt"), h("p", {}, "This console has a token for programs, and no password: start it with one to use it in a browser.")),
    };
  }
  const password = h("input", { type: "password", autocomplete: "current-password", required: true });
  const who = h("input", { type: "text", autocomplete: "username", maxlength: 60 });
  const error = h("p", { class: "error", role: "alert", hidden: true });
  const submit = h("button", { class: "primary" }, "Log in");
  const form = h(
    "form",
    {
      onsubmit: async (event) => {
        event.preventDefault();
        submit.disabled = true;
        error.hidden = true;
        try {
          await post("/api/login", { password: password.value, who: who.value });
          await done();
        } catch (problem) {
          error.textContent = problem.message;
          error.hidden = false;
          password.select();
        } finally {
          submit.disabled = false;
        }
      },
    },
    field("Password", password),
    field("Your name", who, "For the log of actions. Nobody checks it."),
    error,
    submit,
  );
  return { title: "Log in", element: h("div", { class: "login" }, h("h1", { tabindex: -1 }, "beanstalkt"), form), focus: password };
}
