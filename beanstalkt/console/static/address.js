// Where the console is: behind a proxy, all of its addresses may begin with a prefix (--prefix).
//
// The rest of the script writes addresses without it, as /runners; they get it where they become a
// link, a request or an entry of the browser's history.

const prefix = new URL("..", import.meta.url).pathname.replace(/\/$/, "");

export const full = (path) => prefix + path;

// The path without the prefix. Where it has none, a proxy has taken it off already.
export const own = (path) => (`${path}/`.startsWith(`${prefix}/`) ? path.slice(prefix.length) || "/" : path);
