// Builds elements. Text only ever becomes text nodes: nothing here can turn it into markup.

import { full } from "./address.js";

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else if (name === "href" && value.startsWith("/")) element.setAttribute(name, full(value));
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function h(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

export function svg(tag, properties, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function link(path, ...children) {
  return h("a", { href: path }, ...children);
}

export function button(text, onclick, properties) {
  return h("button", { type: "button", onclick, ...properties }, text);
}

let lastId = 0;

export function uniqueId(prefix) {
  lastId += 1;
  return `${prefix}-${lastId}`;
}

// A field of a form with its label and, if need be, a sentence of help.
export function field(label, input, help) {
  const id = uniqueId("field");
  input.id = id;
  if (help) input.setAttribute("aria-describedby", `${id}-help`);
  return h(
    "div",
    { class: "field" },
    h("label", { for: id }, label),
    input,
    help && h("small", { id: `${id}-help` }, help),
  );
}

export function badge(text) {
  return h("span", { class: `badge badge-${text.replaceAll(" ", "-")}` }, text);
}

// A line of the last values, the newest on the right.
export class Sparkline {
  constructor(label, width = 96, height = 24) {
    this.width = width;
    this.height = height;
    this.line = svg("polyline", { fill: "none", "vector-effect": "non-scaling-stroke" });
    this.element = svg(
      "svg",
      { class: "sparkline", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, preserveAspectRatio: "none" },
      this.line,
    );
  }

  draw(values) {
    const known = values.filter((value) => value !== null);
    const top = Math.max(1e-9, ...known);
    const step = this.width / Math.max(1, values.length - 1);
    const points = [];
    values.forEach((value, place) => {
      if (value !== null) points.push(`${(place * step).toFixed(1)},${(this.height - 2 - (value / top) * (this.height - 4)).toFixed(1)}`);
    });
    this.line.setAttribute("points", points.join(" "));
  }
}
