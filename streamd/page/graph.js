// A pipeline as boxes and lines. The server says where they are; here they come alive.

import { h, s, setAttribute, setText } from "./dom.js";
import { count, rate } from "./format.js";

const MARGIN = 6;
const LEAST = 0.75;
const short = (text, most = 19) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

export const rowId = (pipeline, stage) => `stage-${pipeline}-${stage}`;

export class Graph {
  constructor(picture) {
    this.boxes = new Map();
    this.lines = [];
    const { width, height } = picture;
    const drawn = s("svg", {
      viewBox: `${-MARGIN} ${-MARGIN} ${width + 2 * MARGIN} ${height + 2 * MARGIN}`,
      width: width + 2 * MARGIN,
      role: "group",
      "aria-label": `Stages of ${picture.pipeline}`,
    });
    // Never so small that it cannot be read: a narrow window scrolls it instead.
    drawn.style.minWidth = `${width * LEAST}px`;
    drawn.append(...picture.lines.map((line) => this.line(line)));
    drawn.append(...picture.boxes.map((box) => this.box(box, picture)));
    drawn.append(...labels(picture.lines));
    this.node = h("div", {
      class: "graph scroll", tabindex: 0, role: "region", "aria-label": `Graph of ${picture.pipeline}`,
    }, drawn);
  }

  line({ start, end, failed, points }) {
    const path = s("path", { class: failed ? "line failed" : "line", d: curve(points) });
    this.lines.push({ start, end, path });
    return path;
  }

  box({ key, kind, name, note, x, y }, { pipeline, box_width, box_height }) {
    const frame = s("rect", { width: box_width, height: box_height, rx: kind === "stream" ? 35 : 8 });
    const lines = ["name", "note", "value"].map((part, at) =>
      s("text", { class: part, x: 12, y: 22 + 18 * at }));
    const [title, kindOf, value] = lines;
    title.append(short(name));
    kindOf.append(short(note || kind, 24));
    const about = { class: `box ${kind}`, transform: `translate(${x} ${y})` };
    const stage = kind !== "stream";
    const node = stage
      ? s("a", { ...about, href: `#${rowId(pipeline, name)}` }, frame, ...lines)
      : s("g", { ...about, role: "img", "aria-label": `stream ${name}` }, frame, ...lines);
    node.append(s("title", {}, `${name}, ${note || kind}`));
    this.boxes.set(key, { node, value, name, note, stage });
    return node;
  }

  update({ status, rates }) {
    const flowing = new Set();
    for (const [key, { node, value, name, note, stage }] of this.boxes) {
      const about = status.stages[name];
      if (!stage || !about) continue;
      if (rates[name] > 0) flowing.add(key);
      const parts = [rate(rates[name])];
      if (about.queued) parts.push(`${count(about.queued)} wait`);
      setText(value, parts.join(", "));
      node.classList.toggle("ill", Boolean(about.problem));
      setAttribute(node, "aria-label",
        `${name}, ${note}: ${parts.join(", ")}${about.problem ? `, problem: ${about.problem}` : ""}`);
    }
    for (const { start, end, path } of this.lines) {
      path.classList.toggle("flowing", flowing.has(start) && flowing.has(end));
    }
  }
}

// The streams' names, where their lines arrive; the main one needs none.
function labels(lines) {
  const arrived = new Map();
  return lines.filter(({ label }) => label && label !== "main").map(({ end, label, points }) => {
    const at = arrived.get(end) ?? 0;
    arrived.set(end, at + 1);
    const [x, y] = points.at(-1);
    const place = { class: "label", x: x - 5, y: y - 6 + 20 * at };
    return s("text", place, short(label, 10), s("title", {}, `stream ${label}`));
  });
}

function curve([first, ...rest]) {
  let [x, y] = first;
  let path = `M${x} ${y}`;
  for (const [nextX, nextY] of rest) {
    const middle = (x + nextX) / 2;
    path += `C${middle} ${y} ${middle} ${nextY} ${nextX} ${nextY}`;
    [x, y] = [nextX, nextY];
  }
  return path;
}
