// Small plots of the last minutes, each with the same numbers as a table.

import { h, s, setAttribute, setRows, setText, table } from "./dom.js";
import { clock, count, rate, seconds } from "./format.js";

const WIDTH = 300;
const HEIGHT = 90;
const ROWS = 10;

const PLOTS = [
  { title: "Events", unit: rate, series: [["read", "read"], ["written", "written by all sinks"]] },
  { title: "Behind", unit: count, series: [["lag_events", "not read yet"], ["in_flight", "in flight"]] },
  { title: "Latency", unit: seconds, series: [["latency", "mean"], ["latency_p99", "99th percentile"]] },
  {
    title: "Errors", unit: rate,
    series: [["refused", "refused"], ["retried", "tried again"], ["dead", "dead letters"]],
  },
];

export class Plots {
  constructor(pipeline) {
    this.plots = PLOTS.map((plot) => new Plot(pipeline, plot));
    this.node = h("div", { class: "plots" }, ...this.plots.map((plot) => plot.node));
  }

  update(times, columns) {
    for (const plot of this.plots) plot.update(times, columns);
  }
}

class Plot {
  constructor(pipeline, { title, unit, series }) {
    this.title = `${title} of ${pipeline}`;
    this.unit = unit;
    this.series = series.map(([column, name], at) => ({
      column,
      name,
      path: s("path", { class: `series s${at}` }),
      value: h("b"),
      item: h("li", { class: `s${at}` }),
    }));
    for (const { item, name, value } of this.series) item.append(key(), ` ${name} `, value);
    this.drawn = s("svg", {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
    }, s("path", { class: "axis", d: `M0 .5H${WIDTH}M0 ${HEIGHT - 0.5}H${WIDTH}` }),
    ...this.series.map(({ path }) => path));
    this.highest = h("span", { class: "highest" });
    this.earliest = h("span");
    const scale = h("div", { class: "times", "aria-hidden": "true" }, this.earliest, h("span", {}, "now"));
    const numbers = table(this.title, ["Time", ...series.map(([, name]) => name)]);
    this.numbers = numbers.body;
    this.more = h("details", {}, h("summary", {}, "As a table"), numbers.frame);
    this.more.addEventListener("toggle", () => this.fillTable());
    this.node = h("figure", {}, h("figcaption", {}, title), this.highest, this.drawn, scale,
      h("ul", { class: "legend" }, ...this.series.map(({ item }) => item)), this.more);
  }

  update(times, columns) {
    this.times = times;
    this.columns = columns;
    const shown = this.series.filter(({ column }) => columns[column].some((v) => v !== null));
    const values = shown.flatMap(({ column }) => columns[column].filter((v) => v !== null));
    const top = Math.max(...values, 0) || 1;
    const [first, last] = [times[0], times.at(-1)];
    const told = [];
    for (const one of this.series) {
      const column = columns[one.column];
      const now = column.at(-1);
      one.item.hidden = !shown.includes(one);
      setText(one.value, this.unit(now));
      setAttribute(one.path, "d", steps(times, column, first, last - first || 1, top));
      if (!one.item.hidden) told.push(`${one.name} ${this.unit(now)}, at most ${this.unit(highest(column))}`);
    }
    setText(this.highest, values.length ? this.unit(Math.max(...values)) : "");
    setText(this.earliest, clock(first));
    setAttribute(this.drawn, "aria-label",
      `${this.title} since ${clock(first)}: ${told.join("; ") || "nothing yet"}`);
    this.fillTable();
  }

  fillTable() {
    if (!this.more.open || !this.times) return;
    const step = Math.max(1, Math.ceil(this.times.length / ROWS));
    const rows = [];
    for (let at = this.times.length - 1; at >= 0; at -= step) {
      const cells = this.series.map(({ column }) => this.unit(this.columns[column][at]));
      rows.push({ cells: [clock(this.times[at]), ...cells] });
    }
    setRows(this.numbers, rows);
  }
}

const key = () =>
  s("svg", { class: "key", viewBox: "0 0 22 8", "aria-hidden": "true" }, s("path", { class: "series", d: "M0 4H22" }));

const highest = (column) => Math.max(...column.filter((value) => value !== null), 0);

// A line that is broken where nothing was measured.
function steps(times, column, first, span, top) {
  let path = "";
  let drawing = false;
  column.forEach((value, at) => {
    if (value === null) { drawing = false; return; }
    const x = (((times[at] - first) / span) * WIDTH).toFixed(1);
    const y = (HEIGHT - 3 - (value / top) * (HEIGHT - 6)).toFixed(1);
    path += drawing ? `L${x} ${y}` : `M${x} ${y}h.1`;
    drawing = true;
  });
  return path;
}
