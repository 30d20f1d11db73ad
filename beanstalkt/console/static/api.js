// Asks the console. Whatever goes wrong becomes an Error with a message for people.

import { full } from "./address.js";

export const session = { csrf: "", who: "", read_only: false, login: false, servers: [], interval: 2 };

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let loginNeeded = () => {};

export function whenLoginIsNeeded(callback) {
  loginNeeded = callback;
}

async function checked(response) {
  if (response.ok) return response;
  let message = `The console answered with status ${response.status}.`;
  try {
    message = (await response.json()).error ?? message;
  } catch {
    // It was not the console that answered: the status is all that is known.
  }
  if (response.status === 401) loginNeeded();
  throw new ApiError(response.status, message);
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(full(path), { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The console does not answer.");
  }
  return checked(response);
}

export async function get(path, signal) {
  return (await ask(path, { signal })).json();
}

export async function post(path, body) {
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": session.csrf };
  return (await ask(path, { method: "POST", headers, body: JSON.stringify(body) })).json();
}

export async function upload(path, blob) {
  const headers = { "Content-Type": "application/x-ndjson", "X-CSRF-Token": session.csrf };
  return (await ask(path, { method: "POST", headers, body: blob })).json();
}

// Calls `take` with each line of JSON as it comes.
export async function lines(path, take, signal) {
  const reader = (await ask(path, { signal })).body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) take(JSON.parse(part));
  }
}

export async function loadSession() {
  Object.assign(session, { login: false }, await get("/api/session"));
  return session;
}

export const query = (values) => {
  const chosen = Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const text = new URLSearchParams(chosen).toString();
  return text ? `?${text}` : "";
};

// What a job is called: with several servers, its id has the name of its server before it.
export const jobName = (server, id) => (session.servers.length > 1 ? `${server}/${id}` : String(id));

const part = encodeURIComponent;
export const paths = {
  server: (server) => `/server/${part(server)}`,
  tube: (server, tube) => `/server/${part(server)}/tube/${part(tube)}`,
  jobs: (server, filter = {}) => `/server/${part(server)}/jobs${query(filter)}`,
  job: (server, id) => `/server/${part(server)}/job/${part(id)}`,
  put: (server, tube) => `/server/${part(server)}/put${query({ tube })}`,
  api: (server, rest) => `/api/servers/${part(server)}/${rest}`,
};
