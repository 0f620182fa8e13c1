// Data from the daemon, elements from data. Text only ever becomes text nodes, so no event can bring markup along.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

export const h = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);

export const s = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

// The answer of the daemon as data. Throws an Error with its words where it refuses.
export async function ask(path, parameters = {}) {
  const query = new URLSearchParams(parameters).toString();
  const response = await fetch(query ? `${path}?${query}` : path, {
    headers: { Accept: "application/json" },
  });
  if (response.status === 401) location.assign("/login");
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error ?? `status ${response.status}`);
  return answer;
}

export const byId = (id) => document.getElementById(id);

// An unchanged node is left alone: what is selected or being read stays so.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

// A table that scrolls by itself where the window is narrow, also by the keyboard.
export function table(caption, heads) {
  const title = h("caption", {}, caption);
  const body = h("tbody");
  const columns = heads.map((head) => h("th", { scope: "col" }, head));
  const node = h("table", {}, title, h("thead", {}, h("tr", {}, ...columns)), body);
  const frame = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption }, node);
  return { frame, body };
}

// Bring the rows of a table body to these cells; the first cell of a row is its head.
export function setRows(body, rows) {
  while (body.rows.length > rows.length) body.lastElementChild.remove();
  rows.forEach(({ id, cells, bad }, at) => {
    const row = body.rows[at] ?? body.appendChild(h("tr"));
    if (id) { row.id = id; row.tabIndex = -1; }
    row.className = bad ? "bad" : "";
    cells.forEach((text, column) => {
      const cell = row.cells[column] ??
        row.appendChild(column ? h("td") : h("th", { scope: "row" }));
      setText(cell, text);
    });
  });
}
