// A chart over time, drawn by uPlot, that grows to the right as points come.

import uPlot from "./vendor/uPlot.js";
import { h, setText } from "./dom.js";
import { clock } from "./format.js";

const KEPT = 300; // points

export class Chart {
  // `lines` has an array of [name, key, colour] for each line, `show` turns a value into text.
  constructor(title, lines, show) {
    this.lines = lines;
    this.show = show;
    this.data = [[], ...lines.map(() => [])];
    this.room = h("div", { class: "plot", "aria-hidden": "true" });
    this.spoken = h("p", { class: "hidden" });
    this.legend = h("ul", { class: "legend" }, lines.map(([name, , shade]) => h("li", { class: `line-${shade}` }, name, " ", h("b", {}, "–"))));
    this.element = h("figure", { class: "chart" }, h("figcaption", {}, h("h3", {}, title), this.legend), this.room, this.spoken);
    this.plot = null;
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.room);
    this.restyle = () => this.rebuild();
    window.addEventListener("themechange", this.restyle);
  }

  take(points, full) {
    const columns = [points.time, ...this.lines.map(([, key]) => points[key])];
    if (full) this.data = columns.map((column) => [...column]);
    else if (points.time[0] !== this.data[0].at(-1)) columns.forEach((column, place) => this.data[place].push(...column));
    for (const column of this.data) column.splice(0, Math.max(0, column.length - KEPT));
    this.lines.forEach((_, place) => setText(this.legend.children[place].lastChild, this.show(this.data[place + 1].at(-1))));
    if (!this.plot) this.rebuild();
    else this.plot.setData(this.data);
  }

  rebuild() {
    this.plot?.destroy();
    this.plot = null;
    if (!this.room.clientWidth || !this.data[0].length) return;
    // A canvas knows no variables: what it draws has the colours that the elements around it have.
    const axis = { stroke: getComputedStyle(this.legend).color, grid: { stroke: getComputedStyle(this.element).borderTopColor, width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    this.plot = new uPlot(
      {
        width: this.room.clientWidth,
        height: 180,
        legend: { show: false },
        cursor: { points: { size: 6 }, drag: { x: false, y: false } },
        scales: { y: { range: (_, low, high) => [0, Math.max(1, high * 1.1)] } },
        axes: [{ ...axis, space: 80, values: (_, ticks) => ticks.map(clock) }, { ...axis, size: 56, values: (_, ticks) => ticks.map((tick) => this.show(tick)) }],
        series: [
          {},
          ...this.lines.map(([name], place) => ({ label: name, stroke: getComputedStyle(this.legend.children[place], "::before").backgroundColor, width: 1.75, points: { show: false }, spanGaps: false })),
        ],
        hooks: { setCursor: [(plot) => this.point(plot.cursor.idx)] },
      },
      this.data,
      this.room,
    );
  }

  // The legend shows the values under the pointer, or else the last ones.
  point(place) {
    this.lines.forEach((_, line) => {
      const column = this.data[line + 1];
      setText(this.legend.children[line].lastChild, this.show(place === null || place === undefined ? column.at(-1) : column[place]));
    });
  }

  resize() {
    if (!this.plot) this.rebuild();
    else if (this.room.clientWidth) this.plot.setSize({ width: this.room.clientWidth, height: 180 });
  }

  close() {
    this.observer.disconnect();
    window.removeEventListener("themechange", this.restyle);
    this.plot?.destroy();
  }
}
