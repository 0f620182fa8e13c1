// Looks into the stores of dead letters when asked to: they may be large and far away.

import { ask, byId, h, setText, table } from "./dom.js";

const HEADS = ["Failed at", "Stage", "Reason", "Error", "Attempts", "Id", "Whole"];
let known = [];
let shown = null;
let last = "";

export async function showStores() {
  const { stores } = await ask("/status/dead-letters/stores");
  if (JSON.stringify(stores) === JSON.stringify(known)) return;
  known = stores;
  byId("letters").hidden = !known.length;
  byId("letters-store").replaceChildren(...known.map(({ pipeline, sink, plugin }, at) =>
    h("option", { value: at }, `${pipeline}: ${[sink, plugin].filter(Boolean).join(", ")}`)));
}

function chosen() {
  const { pipeline, sink } = known[byId("letters-store").value] ?? {};
  return { pipeline, sink };
}

async function look(after) {
  const store = chosen();
  const order = byId("letters-order").value;
  const news = byId("letters-news");
  setText(news, "Reading…");
  try {
    const { letters, read, more } = await ask("/status/dead-letters", { ...store, order, after });
    fill(store, letters, Boolean(after));
    last = letters.at(-1)?.place ?? "";
    byId("letters-next").hidden = order !== "oldest" || !more;
    setText(news, told(letters.length, order, read, more));
  } catch (error) {
    setText(news, `Not read: ${error.message}`);
  }
}

function told(count, order, read, more) {
  if (!count) return "There are none.";
  const letters = count === 1 ? "1 letter" : `${count} letters`;
  if (order === "oldest") return more ? `${letters}; there are more.` : `${letters}, and no more.`;
  return more
    ? `The newest of the oldest ${read}: the store is too large to be read to its end here.`
    : `${letters} of ${read}, the newest first.`;
}

function fill(store, letters, add) {
  if (!add || !shown) {
    shown = table(`Letters of ${store.pipeline} in ${store.sink}`, HEADS);
    shown.frame.classList.add("letters");
    byId("letters-place").replaceChildren(shown.frame);
  }
  shown.body.append(...letters.map((letter) => row(store, letter)));
}

function row(store, letter) {
  const button = h("button", { type: "button", "aria-label": `Inspect ${letter.id || letter.place}` }, "Inspect");
  button.addEventListener("click", () => inspect(store, letter));
  const { failed_at, stage, reason, error, attempts, id } = letter;
  return h("tr", {}, h("th", { scope: "row" }, failed_at || "unknown"),
    ...[stage, reason, error, attempts, id].map((text) => h("td", {}, text)), h("td", {}, button));
}

async function inspect(store, { place, before }) {
  try {
    const letter = await ask("/status/dead-letters/letter", { ...store, before, place });
    setText(byId("letter-about"), [place, letter.fault, letter.cut && "Too long to be shown whole."]
      .filter(Boolean).join(" · "));
    setText(byId("letter-text"), letter.text);
    byId("letter").showModal();
  } catch (error) {
    setText(byId("letters-news"), `Not read: ${error.message}`);
  }
}

byId("letters-form").addEventListener("submit", (event) => {
  event.preventDefault();
  look("");
});
byId("letters-next").addEventListener("click", () => look(last));
