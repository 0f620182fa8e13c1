// One pipeline's part of the page: its state, graph, plots, stages and windows.

import { h, setRows, setText, table } from "./dom.js";
import { count, gauge, rate, seconds, several } from "./format.js";
import { Graph, rowId } from "./graph.js";
import { Plots } from "./plots.js";

const SHOWN_ELSEWHERE = new Set(["window_open", "window_keys", "watermark_lag_seconds"]);

// "running", or in which way it is not well.
export const stateOf = ({ state, ready }) =>
  ready || state !== "running" ? state : "running, not well";

export class PipelineView {
  constructor(name) {
    this.name = name;
    this.state = h("span", { class: "state" });
    this.problems = h("ul", { class: "problems" });
    this.facts = h("p", { class: "facts" });
    this.place = h("div");
    this.plots = new Plots(name);
    this.stages = table(`Stages of ${name}`,
      ["Stage", "Kind", "Now", "Events", "Waiting", "Problem", "More"]);
    this.windows = table(`Windows of ${name}`, ["Window", "Open", "Keys", "Watermark behind by"]);
    const id = `pipeline-${name}`;
    this.node = h("section", { id, "aria-labelledby": `${id}-title` },
      h("h2", { id: `${id}-title` }, name, " ", this.state), this.problems, this.facts, this.place,
      this.plots.node, this.stages.frame, this.windows.frame);
  }

  draw(picture) {
    this.graph = new Graph(picture);
    this.place.replaceChildren(this.graph.node);
  }

  update(look) {
    const { status, now } = look;
    setText(this.state, stateOf(status));
    this.state.className = status.ready ? "state well" : "state bad";
    this.tellProblems(status.problems);
    const facts = [
      `${count(status.read)} read`, several(status.dead_lettered, "dead letter"),
      `${count(status.in_flight_events)} in flight`, several(status.restarts, "restart"),
    ];
    if (now.lag_seconds !== null) facts.push(`${seconds(now.lag_seconds)} behind`);
    setText(this.facts, facts.join(" · "));
    this.graph?.update(look);
    this.showStages(look);
    this.showWindows(look);
  }

  tellProblems(problems) {
    if (this.told === problems.join("\n")) return;
    this.told = problems.join("\n");
    this.problems.replaceChildren(...problems.map((problem) => h("li", {}, problem)));
  }

  showStages({ status, rates, gauges }) {
    this.stages.frame.classList.toggle("plain", !Object.values(gauges).some(more));
    setRows(this.stages.body, Object.entries(status.stages).map(([name, stage]) => ({
      id: rowId(this.name, name),
      bad: Boolean(stage.problem),
      cells: [
        name, `${stage.role} ${stage.plugin}`, rate(rates[name]), count(stage.events), count(stage.queued),
        stage.problem ?? "none", more(gauges[name]),
      ],
    })));
  }

  showWindows({ gauges }) {
    const windows = Object.entries(gauges).filter(([, has]) => "watermark_lag_seconds" in has);
    this.windows.frame.hidden = !windows.length;
    setRows(this.windows.body, windows.map(([name, has]) => ({
      cells: [name, count(has.window_open), count(has.window_keys), seconds(has.watermark_lag_seconds)],
    })));
  }
}

function more(gauges = {}) {
  return Object.entries(gauges)
    .filter(([name]) => !SHOWN_ELSEWHERE.has(name))
    .map(([name, value]) => gauge(name, value))
    .join(", ");
}
