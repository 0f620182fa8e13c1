// Asks the daemon every other second and brings the page up to date.

import { ask, byId, h, setText } from "./dom.js";
import { moment, seconds } from "./format.js";
import { showStores } from "./letters.js";
import { PipelineView, stateOf } from "./pipeline.js";

const KEPT = 300;
const views = new Map();
const history = { times: [], pipelines: {} };
let digest = null;
let states = new Map();
let paused = false;
let reached = true;

async function refresh() {
  const since = history.times.at(-1) ?? 0;
  const [look, recent] = await Promise.all([ask("/status/live"), ask("/status/history", { since })]);
  remember(recent);
  const fresh = digest !== look.digest;
  showPipelines(look);
  if (fresh) {
    const [graph, config] = await Promise.all([ask("/status/graph"), ask("/status/config")]);
    for (const [name, picture] of Object.entries(graph.pipelines)) views.get(name)?.draw(picture);
    setText(byId("config-about"), `${config.path}, ${config.digest}`);
    setText(byId("config-text"), config.text);
    await showStores();
    digest = look.digest;
  }
  for (const [name, view] of views) {
    view.update(look.pipelines[name]);
    const columns = history.pipelines[name];
    if (columns && history.times.length) view.plots.update(history.times, columns);
  }
  showReload(look.reload);
  byId("logout").hidden = !look.guarded;
  setText(byId("about"), `${look.version}, up ${seconds(Math.floor(look.time - look.started))}`);
  tellNews(look);
}

function remember({ times, pipelines }) {
  const known = history.times.length;
  history.times = [...history.times, ...times].slice(-KEPT);
  const columnsOf = {};
  for (const [name, fresh] of Object.entries(pipelines)) {
    columnsOf[name] = {};
    for (const [column, values] of Object.entries(fresh)) {
      const before = history.pipelines[name]?.[column] ?? Array(known).fill(null);
      columnsOf[name][column] = [...before, ...values].slice(-KEPT);
    }
  }
  history.pipelines = columnsOf;
}

function showPipelines({ pipelines }) {
  const names = Object.keys(pipelines);
  if (names.join() === [...views.keys()].join()) return;
  for (const name of [...views.keys()].filter((name) => !names.includes(name))) {
    views.get(name).node.remove();
    views.delete(name);
  }
  for (const name of names.filter((name) => !views.has(name))) {
    views.set(name, new PipelineView(name));
    byId("pipelines").append(views.get(name).node);
    digest = null;
  }
  const links = names.map((name) => [`#pipeline-${name}`, name]);
  links.push(["#letters", "Dead letters"], ["#reload", "Last reload"], ["#config", "Configuration"]);
  byId("contents").replaceChildren(...links.map(([href, text]) => h("li", {}, h("a", { href }, text))));
}

function showReload(reload) {
  const [result, message] = [byId("reload-result"), byId("reload-message")];
  if (!reload) {
    setText(result, "None since the daemon started.");
  } else {
    setText(result, `${outcome(reload)}, ${moment(reload.time)}.`);
    const { refusal, changes } = reload;
    const lines = [refusal, changes && `Changed: ${changes}`].filter(Boolean);
    setText(message, lines.join("\n") || "Nothing has changed.");
  }
  result.className = reload?.refusal ? "bad" : "";
  message.hidden = !reload;
}

function outcome({ refusal, changes }) {
  if (!refusal) return "Accepted";
  return changes ? "Refused in part" : "Refused, the old configuration goes on";
}

// Only what has changed is said, so that a screen reader is not talking all the time.
function tellNews({ pipelines, time, reload }) {
  const now = new Map(Object.entries(pipelines).map(([name, { status }]) =>
    [`Pipeline ${name}`, [stateOf(status), ...illStages(status)].join(", ")]));
  if (reload) now.set("Reload", `${outcome(reload)}, ${moment(reload.time)}`);
  const news = [...now].filter(([what, state]) => states.get(what) !== state);
  if (!reached) news.unshift(["Daemon", "answers again"]);
  reached = true;
  states = now;
  if (news.length) say(news.map(([what, state]) => `${what}: ${state}.`).join(" "));
}

const illStages = ({ stages }) =>
  Object.entries(stages).filter(([, stage]) => stage.problem).map(([name]) => `trouble with ${name}`);

function say(text) {
  setText(byId("news"), text);
}

async function tick() {
  if (!paused && !document.hidden) {
    try {
      await refresh();
    } catch (error) {
      if (reached) say(`The daemon does not answer. What is shown is from ${new Date().toLocaleTimeString()}.`);
      reached = false;
      console.warn(String(error));
    }
    document.body.classList.toggle("stale", !reached);
  }
  setTimeout(tick, 2000);
}

byId("pause").addEventListener("click", ({ currentTarget }) => {
  paused = !paused;
  currentTarget.setAttribute("aria-pressed", String(paused));
});
tick();
