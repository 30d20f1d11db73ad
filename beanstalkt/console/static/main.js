// The frame of the page: what is around every view, and which view an address shows.

import { full, own } from "./address.js";
import { loadSession, post, session, whenLoginIsNeeded } from "./api.js";
import { button, h, link, setText } from "./dom.js";
import { live } from "./live.js";
import { actionsPage } from "./pages/actions.js";
import { historyPage } from "./pages/history.js";
import { jobPage } from "./pages/job.js";
import { jobsPage } from "./pages/jobs.js";
import { loginPage } from "./pages/login.js";
import { putPage } from "./pages/put.js";
import { runnersPage } from "./pages/runners.js";
import { serverPage } from "./pages/server.js";
import { serversPage } from "./pages/servers.js";
import { tubePage } from "./pages/tube.js";

const ROUTES = [
  [/^\/$/, serversPage],
  [/^\/server\/([^/]+)$/, serverPage],
  [/^\/server\/([^/]+)\/tube\/([^/]+)$/, tubePage],
  [/^\/server\/([^/]+)\/jobs$/, jobsPage],
  [/^\/server\/([^/]+)\/job\/(\d+)$/, jobPage],
  [/^\/server\/([^/]+)\/put$/, putPage],
  [/^\/runners$/, runnersPage],
  [/^\/history$/, historyPage],
  [/^\/actions$/, actionsPage],
];

const STATES = {
  connecting: "Connecting",
  live: "Live",
  polling: "Live (asking)",
  paused: "Paused",
  reconnecting: "Connection lost, trying again",
};

const main = h("main", { id: "main", tabindex: -1 });
const indicator = h("span", { class: "state", "data-state": "connecting", role: "status" }, STATES.connecting);
const pauseButton = button("Pause", () => setPaused(!live.paused), { "aria-pressed": "false", title: "Stop the page from changing" });
const user = h("span", { class: "user" });
const nav = h("nav", { "aria-label": "Main" });
let view = null;

function setPaused(paused) {
  live.pause(paused);
  setText(pauseButton, paused ? "Resume" : "Pause");
  pauseButton.setAttribute("aria-pressed", String(paused));
}

live.changed = (state) => {
  indicator.dataset.state = state;
  setText(indicator, STATES[state]);
};

function themeButton() {
  const root = document.documentElement;
  const stored = localStorage.getItem("theme");
  if (stored) root.dataset.theme = stored;
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  return button("◐", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
    window.dispatchEvent(new Event("themechange"));
  }, { class: "icon", "aria-label": "Switch between dark and light", title: "Dark or light" });
}

function drawFrame() {
  nav.replaceChildren(
    link("/", "Servers"),
    link("/runners", "Runners"),
    link("/history", "History"),
    link("/actions", "Actions"),
  );
  document.body.replaceChildren(
    h("a", { class: "skip", href: "#main", onclick: (event) => { event.preventDefault(); main.focus(); } }, "To the content"),
    h(
      "header",
      {},
      h("a", { class: "brand", href: "/" }, h("span", { class: "bean", "aria-hidden": "true" }), "beanstalkt"),
      nav,
      h("div", { class: "tools" }, indicator, pauseButton, themeButton(), user),
    ),
    main,
  );
}

function drawUser() {
  user.replaceChildren(...[
    session.read_only ? h("span", { class: "badge" }, "read-only") : null,
    session.can_log_out ? button("Log out", logOut, { title: `Logged in as ${session.who}` }) : null,
  ].filter(Boolean));
}

async function logOut() {
  await post("/api/logout", {});
  location.assign(full("/"));
}

// Names what the keyboard does: shown with "?".
function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog")) return;
  if (event.key === "/") {
    const search = main.querySelector("input[type=search]");
    if (search) {
      event.preventDefault();
      search.focus();
    }
  } else if (event.key === "p") {
    setPaused(!live.paused);
  }
}

function navigate(address, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", full(address));
  show();
}

function notFound() {
  return { title: "Not found", element: h("div", {}, h("h1", {}, "There is no such page"), h("p", {}, link("/", "To the servers"))) };
}

function show() {
  view?.leave?.();
  const pathname = own(location.pathname);
  let found = null;
  for (const [pattern, page] of ROUTES) {
    const match = pattern.exec(pathname);
    if (match) found = page(...match.slice(1).map(decodeURIComponent));
  }
  view = session.login ? loginPage(start) : (found ?? notFound());
  document.title = `${view.title} · beanstalkt`;
  for (const each of nav.children) {
    const path = own(each.pathname);
    const here = path === "/" ? pathname === "/" || pathname.startsWith("/server/") : pathname === path;
    if (here) each.setAttribute("aria-current", "page");
    else each.removeAttribute("aria-current");
  }
  main.replaceChildren(view.element);
  window.scrollTo(0, 0);
  (view.focus ?? main.querySelector("h1") ?? main).focus?.({ preventScroll: true });
  for (const each of [indicator, pauseButton]) each.hidden = !view.topics;
  live.watch(session.login ? [] : (view.topics ?? []), (topic, data, full) => view.update?.(data, full, topic));
}

function followLinks(event) {
  const anchor = event.target.closest?.("a[href]");
  if (!anchor || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (anchor.origin !== location.origin || anchor.hasAttribute("download") || anchor.target || own(anchor.pathname).startsWith("/api/")) return;
  event.preventDefault();
  navigate(own(anchor.pathname) + anchor.search);
}

async function start() {
  try {
    await loadSession();
  } catch (error) {
    main.replaceChildren(h("p", { class: "error", role: "alert" }, error.message), button("Try again", start));
    return;
  }
  drawUser();
  show();
}

drawFrame();
whenLoginIsNeeded(() => {
  if (session.login) return;
  session.login = true;
  start();
});
document.addEventListener("click", followLinks);
document.addEventListener("keydown", keys);
document.addEventListener("navigate-to", (event) => navigate(event.detail.address, event.detail));
window.addEventListener("popstate", show);
start();
