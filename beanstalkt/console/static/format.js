// Numbers and times as people read them. What is not known is a dash.

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const FINE = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const DASH = "–";

const unknown = (value) => value === null || value === undefined;

export const count = (value) => (unknown(value) ? DASH : WHOLE.format(value));

export const short = (value) => (unknown(value) ? DASH : value < 10000 ? WHOLE.format(value) : COMPACT.format(value));

export function rate(value) {
  if (unknown(value)) return DASH;
  if (value === 0) return "0";
  return value < 10 ? FINE.format(value) : COMPACT.format(value);
}

const UNITS = [
  ["d", 86400],
  ["h", 3600],
  ["m", 60],
  ["s", 1],
];

export function duration(seconds) {
  if (unknown(seconds)) return DASH;
  if (seconds < 1) return seconds > 0 ? `${Math.round(seconds * 1000)} ms` : "0 s";
  let rest = Math.round(seconds);
  const parts = [];
  for (const [unit, size] of UNITS) {
    const number = Math.floor(rest / size);
    rest -= number * size;
    if (number || parts.length) parts.push(number ? `${number} ${unit}` : "");
    if (parts.length === 2) break;
  }
  return parts.filter(Boolean).join(" ");
}

export function bytes(value) {
  if (unknown(value)) return DASH;
  if (value < 1024) return `${value} B`;
  return value < 1048576 ? `${(value / 1024).toFixed(1)} KiB` : `${(value / 1048576).toFixed(1)} MiB`;
}

export const clock = (seconds) => (unknown(seconds) ? DASH : new Date(seconds * 1000).toLocaleTimeString([], { hour12: false }));

export const date = (seconds) => (unknown(seconds) ? DASH : new Date(seconds * 1000).toLocaleString());

export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;
