// The page's own state is its address: every view can be shared, and Back works.
// Whatever comes from the server is set as text, never as HTML.
"use strict";

const byId = (id) => document.getElementById(id);
const FILTERS = ["artist", "genre", "style"];
let gallery = null;
let turn = 0; // the newest request: older answers are dropped

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node && name !== "list") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

async function ask(path, parameters = {}, options = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== "" && each !== null && each !== undefined) query.append(name, each);
    }
  }
  const text = query.toString();
  let response;
  try {
    response = await fetch(text ? `${path}?${text}` : path, options);
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  let answer = {};
  try { answer = await response.json(); } catch { /* not ours: the status says it */ }
  if (!response.ok) throw new Error(answer.error || `The server answered ${response.status}.`);
  return answer;
}

function say(words, wrong = false) {
  byId("message").textContent = words;
  byId("message").classList.toggle("wrong", wrong);
}

// ---- The state in the address ---------------------------------------------------------------------

function state() {
  const given = new URLSearchParams(location.search);
  return {
    view: given.get("view") === "classes" ? "classes" : "search",
    image: given.get("image"),
    upload: given.get("upload"),
    models: given.getAll("models"),
    artist: given.get("artist") || "",
    genre: given.get("genre") || "",
    style: given.get("style") || "",
    text: given.get("text") || "",
    k: given.get("k") || "12",
    seed: given.get("seed") || "1",
    why: given.get("why"),
    label: given.get("label"),
    run: given.get("run"),
    true: given.get("true"),
    predicted: given.get("predicted"),
  };
}

function address(changes, from = state()) {
  const next = { ...from, ...changes };
  const query = new URLSearchParams();
  const defaults = { view: "search", k: "12", seed: "1" };
  for (const [name, value] of Object.entries(next)) {
    if (name === "models") {
      if (value.length && value.length < gallery.models.length) for (const each of value) query.append("models", each);
    } else if (value !== null && value !== undefined && value !== "" && value !== defaults[name]) {
      query.append(name, value);
    }
  }
  const text = query.toString();
  return text ? `/?${text}` : "/";
}

function go(changes, from) {
  history.pushState(null, "", address(changes, from));
  return show();
}

const FRESH = { view: "search", image: null, upload: null, why: null, label: null, run: null, true: null, predicted: null };

// ---- Pictures with their labels --------------------------------------------------------------------

function nameOf(card) {
  return card.title || card.name || "uploaded image";
}

function label(card) {
  const facts = ["genre", "style", "timeframe", "nationality"].map((name) => card[name]).filter(Boolean);
  if (!facts.length && card.class) facts.push(card.class);
  return make("div", { className: "label" },
    card.artist ? make("span", { className: "artist" }, card.artist) : "",
    make("span", { className: "title" }, nameOf(card)),
    facts.length ? make("span", { className: "facts" }, facts.join(" · ")) : "",
    card.distance !== undefined ? make("span", { className: "distance", title: "cosine distance" }, card.distance) : "",
    card.probability !== undefined ? make("span", { className: "distance" }, `${(100 * card.probability).toFixed(0)} % sure`) : "");
}

function picture(card) {
  if (card.row === null) return make("span", { className: "gone" }, "not in this collection");
  const image = make("img", { alt: [nameOf(card), card.artist].filter(Boolean).join(", "), loading: "lazy", src: `/thumb/${card.row}?v=${gallery.version}` });
  image.addEventListener("error", () => image.replaceWith(make("span", { className: "gone" }, "file not found")), { once: true });
  return image;
}

function grid(cards) {
  return make("ul", { className: "grid" }, ...cards.map((card) => {
    const inside = [make("div", { className: "frame" }, picture(card)), label(card)];
    if (card.row === null) return make("li", {}, make("div", { className: "lone" }, ...inside));
    const target = { ...FRESH, image: String(card.row), text: "" };
    return make("li", {}, make("a", {
      href: address(target),
      "data-row": card.row,
      onclick: (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        go(target).then(() => { scrollTo({ top: 0 }); byId("results").focus({ preventScroll: true }); });
      },
    }, ...inside));
  }));
}

// ---- Searching --------------------------------------------------------------------------------------

async function showSearch(now, mine) {
  const asked = now.image !== null || now.upload !== null;
  byId("drop").classList.toggle("slim", asked);
  byId("query-figure").hidden = byId("query-actions").hidden = !asked;
  byId("text-field").hidden = asked;
  byId("shuffle").hidden = asked;
  for (const name of [...FILTERS, "text", "k"]) byId(name).value = now[name];
  for (const box of document.querySelectorAll("#models input")) box.checked = !now.models.length || now.models.includes(box.value);
  const wanted = Object.fromEntries(FILTERS.map((name) => [name, now[name]]));
  if (!asked) {
    byId("why").hidden = byId("why-actions").hidden = true;
    const found = await ask("/api/pick", { ...wanted, text: now.text, seed: now.seed, n: 24 });
    if (mine !== turn) return;
    byId("results").replaceChildren(grid(found.images));
    say(found.total ? `${found.total.toLocaleString("en")} images${found.total > found.images.length ? "; some of them" : ""}. Choose one to see what is like it.` : "No image of the collection is like that.");
    document.title = `Similar works – ${gallery.collection}`;
    return;
  }
  say("Searching …");
  const found = await ask("/api/search", { ...wanted, image: now.image, upload: now.upload, models: now.models, k: now.k });
  if (mine !== turn) return;
  const card = found.query;
  byId("query-image").src = now.image !== null ? `/thumb/${card.row}?size=large&v=${gallery.version}` : `/upload/${encodeURIComponent(now.upload)}`;
  byId("query-image").alt = `Query: ${nameOf(card)}`;
  byId("query-caption").replaceChildren(label(card));
  byId("why-actions").hidden = !gallery.explainable.length;
  byId("why-actions").replaceChildren(...gallery.explainable.map((model) =>
    make("button", { type: "button", onclick: () => go({ why: model, label: null }) }, `What does ${model} say?`)));
  const columns = make("div", { className: "columns" }, ...found.results.map((each) => make("section", { className: "column" },
    make("h2", {}, each.model),
    each.images.length ? grid(each.images) : make("p", { className: "small" }, "Nothing in the collection passes the filters."))));
  columns.style.setProperty("--models", found.results.length);
  byId("results").replaceChildren(columns);
  say("");
  document.title = `${nameOf(card)} – similar works`;
  await showWhy(now, mine);
}

async function send(file) {
  if (!file) return;
  const mine = ++turn;
  say(`Looking at ${file.name} …`);
  try {
    const answer = await ask("/api/upload", {}, { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } });
    if (mine === turn) await go({ ...FRESH, upload: answer.token, text: "" });
  } catch (error) {
    if (mine === turn) say(error.message, true);
  }
}

async function showWhy(now, mine) {
  const room = byId("why");
  room.hidden = !now.why;
  if (!now.why) return;
  room.replaceChildren(make("p", { className: "small" }, `Asking ${now.why} …`));
  let said;
  try {
    said = await ask("/api/explain", { model: now.why, image: now.image, upload: now.upload, label: now.label });
  } catch (error) {
    if (mine === turn) room.replaceChildren(make("p", { className: "small" }, error.message));
    return;
  }
  if (mine !== turn) return;
  const bars = make("div", { className: "bars" });
  for (const each of said.classes) {
    const bar = make("i");
    bar.style.width = `${100 * each.probability}%`;
    bars.append(
      make("button", { type: "button", title: `show the maps of ${each.name}`, onclick: () => go({ label: each.name }) }, each.name),
      make("output", {}, `${(100 * each.probability).toFixed(1)} %`),
      make("div", { className: "bar" }, bar));
  }
  const shown = (source, words) => make("figure", {}, make("img", { src: source, alt: words }), make("figcaption", {}, words));
  room.replaceChildren(
    make("button", { type: "button", id: "close", onclick: () => go({ why: null, label: null }) }, "Close"),
    make("h2", {}, `${now.why} says: ${said.classes[0].name}`),
    make("div", { className: "maps" }, bars,
      shown(said.seen, "What the net sees: the centre"),
      shown(said.activation, `What speaks for “${said.explained}” (Grad-CAM on ${said.layer})`),
      shown(said.saliency, `Where a change would matter most for “${said.explained}” (saliency)`)),
    said.nearest.length ? make("h2", {}, "The nearest among the images it learnt from") : "",
    said.nearest.length ? grid(said.nearest) : "",
    said.note ? make("p", { className: "small" }, said.note) : "");
}

// ---- Test images by class ---------------------------------------------------------------------------

let drawn = null; // the run whose matrix stands there

async function showClasses(now, mine) {
  const run = gallery.tested.includes(now.run) ? now.run : gallery.tested[0];
  byId("run").value = run;
  document.title = `Test images by class – ${run}`;
  if (drawn !== run) {
    const found = await ask("/api/confusion", { model: run });
    if (mine !== turn) return;
    drawMatrix(run, found);
    drawn = run;
  }
  for (const button of document.querySelectorAll("#matrix button")) {
    button.setAttribute("aria-pressed", String(button.dataset.true === now.true && button.dataset.predicted === now.predicted));
  }
  if (!now.true || !now.predicted) { byId("cell").replaceChildren(); return; }
  const found = await ask("/api/cell", { model: run, true: now.true, predicted: now.predicted });
  if (mine !== turn) return;
  const words = now.true === now.predicted ? `${now.true}, recognised` : `${now.true}, taken for ${now.predicted}`;
  const more = found.total > found.images.length ? `, the first ${found.images.length}` : "";
  byId("cell").replaceChildren(make("h2", {}, `${words}: ${found.total} test images${more}`), grid(found.images));
  byId("cell").focus({ preventScroll: false });
}

function drawMatrix(run, { classes, counts }) {
  const head = make("tr", {}, make("th", {}), ...classes.map((name) => make("th", { scope: "col" }, name)));
  const rows = classes.map((name, row) => {
    const total = counts[row].reduce((sum, count) => sum + count, 0) || 1;
    return make("tr", {}, make("th", { scope: "row" }, name), ...counts[row].map((count, column) => {
      if (!count) return make("td");
      const share = count / total;
      const button = make("button", {
        type: "button",
        title: `${name} → ${classes[column]}: ${count} (${(100 * share).toFixed(0)} %)`,
        className: share > 0.5 ? "dark" : "",
        onclick: () => go({ run, true: name, predicted: classes[column] }),
      }, String(count));
      button.dataset.true = name;
      button.dataset.predicted = classes[column];
      button.setAttribute("aria-label", `true ${name}, predicted ${classes[column]}: ${count}`);
      const cell = make("td", {}, button);
      cell.style.backgroundColor = `rgb(122 59 29 / ${Math.round(12 + 88 * share)}%)`;
      return cell;
    }));
  });
  byId("matrix").replaceChildren(make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
}

// ---- All together ------------------------------------------------------------------------------------

async function show() {
  const mine = ++turn;
  const now = state();
  if (now.view === "classes" && !gallery.tested.length) now.view = "search";
  byId("search-view").hidden = now.view !== "search";
  byId("classes-view").hidden = now.view !== "classes";
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === now.view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  try {
    await (now.view === "search" ? showSearch(now, mine) : showClasses(now, mine));
  } catch (error) {
    if (mine !== turn) return;
    byId("results").replaceChildren();
    say(error.message, true);
  }
}

function fill() {
  byId("classes-link").hidden = !gallery.tested.length;
  for (const name of FILTERS) {
    const values = gallery.filters[name];
    byId(name).closest(".field").hidden = !values.length;
    const target = name === "artist" ? byId("artist-list") : byId(name);
    target.append(...values.map(([value, count]) => make("option", { value }, name === "artist" ? String(count) : `${value} (${count.toLocaleString("en")})`)));
  }
  byId("models").append(...gallery.models.map((model) => make("label", {},
    make("input", { type: "checkbox", value: model, checked: true }), ` ${model}`)));
  byId("models").hidden = gallery.models.length < 2;
  byId("run").append(...gallery.tested.map((model) => make("option", { value: model }, model)));
}

function listen() {
  byId("file").addEventListener("change", () => { send(byId("file").files[0]); byId("file").value = ""; });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      byId("drop").classList.toggle("over", kind === "dragover");
      if (kind === "drop") send(event.dataTransfer.files[0]);
    });
  }
  document.addEventListener("paste", (event) => { if (event.clipboardData.files.length) send(event.clipboardData.files[0]); });
  byId("filters").addEventListener("submit", (event) => { event.preventDefault(); event.target.contains(document.activeElement) && document.activeElement.blur(); });
  byId("filters").addEventListener("change", () => {
    const models = [...document.querySelectorAll("#models input:checked")].map((box) => box.value);
    const artist = byId("artist").value;
    if (artist && !gallery.filters.artist.some(([value]) => value === artist)) {
      say(`No artist is called “${artist}” in the collection; choose one of the list.`, true);
      return;
    }
    go({ models, artist, genre: byId("genre").value, style: byId("style").value, k: byId("k").value, text: byId("text").value.trim(), seed: "1" });
  });
  byId("shuffle").addEventListener("click", () => go({ seed: String(1 + Math.floor(Math.random() * 1e6)) }));
  byId("clear").addEventListener("click", () => go({ ...FRESH, text: "" }));
  byId("copy").addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(location.href); say("The link is copied."); }
    catch { say(`The link: ${location.href}`); }
  });
  byId("run").addEventListener("change", () => go({ run: byId("run").value, true: null, predicted: null }));
  for (const link of document.querySelectorAll("nav a, h1 a")) {
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      history.pushState(null, "", link.getAttribute("href"));
      show();
    });
  }
  addEventListener("popstate", show);
  document.addEventListener("keydown", keys);
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input:not([type=checkbox]), select, textarea");
  if (event.key === "Escape") {
    if (typing) event.target.blur();
    else if (state().image !== null || state().upload !== null) go({ ...FRESH, text: "" });
    return;
  }
  if (typing) return;
  if (event.key === "/" && !byId("text-field").hidden && !byId("search-view").hidden) { event.preventDefault(); byId("text").focus(); }
  if (event.key === "u" && !byId("search-view").hidden) byId("file").click();
  if (event.key.startsWith("Arrow")) move(event);
}

// Arrow keys go to the image that lies nearest in that direction.
function move(event) {
  const links = [...document.querySelectorAll(".grid a")].filter((link) => link.offsetParent);
  const from = document.activeElement;
  if (!links.length) return;
  if (!links.includes(from)) {
    if (from === document.body || from === byId("results") || from === byId("cell")) { event.preventDefault(); links[0].focus(); }
    return;
  }
  event.preventDefault();
  const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  const middle = (link) => { const box = link.getBoundingClientRect(); return [box.left + box.width / 2, box.top + 40]; };
  const [x, y] = middle(from);
  let best = null;
  let least = Infinity;
  for (const link of links) {
    const [left, top] = middle(link);
    const along = (left - x) * dx + (top - y) * dy;
    const across = Math.abs((left - x) * dy) + Math.abs((top - y) * dx);
    if (along > 10 && along + 3 * across < least) { least = along + 3 * across; best = link; }
  }
  if (best) best.focus();
}

async function begin() {
  try {
    gallery = await ask("/api/gallery");
  } catch (error) {
    say(error.message, true);
    return;
  }
  fill();
  listen();
  await show();
}

begin();
