// The page's own state is its address: every view can be shared, and Back works.
// Whatever comes from the server is set as text, never as HTML.
"use strict";

const byId = (id) => document.getElementById(id);
const MANY = 60; // values of a filter from which on it is a field to type in
const picked = new Map(); // the selection: image name -> card; kept in this browser
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
  if (!response.ok) throw Object.assign(new Error(answer.error || `The server answered ${response.status}.`), { status: response.status });
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
    filter: given.getAll("filter"),
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
    if (name === "filter") for (const each of value) query.append("filter", each);
    else if (name === "models") {
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

const PARTS = { train: "training image", val: "validation image", test: "test image" };

function significant(distance) {
  return distance === 0 ? "0" : String(Number(distance.toPrecision(3)));
}

function label(card) {
  const facts = ["date", "genre", "style", "timeframe", "nationality"].map((name) => card[name]).filter(Boolean);
  if (card.class && !facts.includes(card.class)) facts.push(card.class);
  return make("div", { className: "label" },
    card.artist ? make("span", { className: "artist" }, card.artist) : "",
    make("span", { className: "title", title: nameOf(card) }, nameOf(card)),
    facts.length ? make("span", { className: "facts" }, facts.join(" · ")) : "",
    card.part ? make("span", { className: "facts part" }, PARTS[card.part] || card.part) : "",
    card.both ? make("span", { className: "facts both" }, "found by every model") : "",
    card.distance !== undefined ? make("span", { className: "distance" }, `distance ${significant(card.distance)}`) : "",
    card.probability !== undefined ? make("span", { className: "distance" }, `${(100 * card.probability).toFixed(0)} % sure`) : "");
}

// Everything that is known of a work, for the large view.
function fullLabel(card) {
  const hidden = ["row", "name", "title", "artist", "both", "distance", "probability", "caption", "token"];
  const rows = Object.entries(card).filter(([name, value]) => !hidden.includes(name) && value);
  const shown = (name, value) => {
    if (name === "part") return PARTS[value] || value;
    if (name === "record" && /^https?:\/\//.test(value)) return make("a", { href: value, rel: "noreferrer", target: "_blank" }, "the museum's record");
    return String(value);
  };
  return make("div", {},
    card.artist ? make("p", { className: "artist" }, card.artist) : "",
    make("p", { className: "title" }, nameOf(card)),
    make("dl", {}, ...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, shown(name, value))]),
      make("dt", {}, "file"), make("dd", {}, card.name || "")));
}

function thumb(card, size = "small") {
  if (card.token) return `/upload/${encodeURIComponent(card.token)}`;
  return `/thumb/${card.row}?size=${size}&v=${gallery.version}`;
}

function picture(card) {
  if (card.row === null) return make("span", { className: "gone" }, "not in this collection");
  const image = make("img", { alt: "", loading: "lazy", src: thumb(card) }); // the label beside it says what it is
  image.addEventListener("error", () => image.replaceWith(make("span", { className: "gone" }, "file not found")), { once: true });
  return image;
}

function grid(cards, ranked = false) {
  return make(ranked ? "ol" : "ul", { className: "grid" }, ...cards.map((card, index) => {
    const rank = ranked ? make("span", { className: "rank" }, `${index + 1}`) : "";
    const inside = [make("div", { className: "frame" }, rank, picture(card)), label(card)];
    if (card.row === null) return make("li", {}, make("div", { className: "lone" }, ...inside));
    const target = { ...FRESH, image: card.name, text: "" };
    const box = make("input", { type: "checkbox", checked: picked.has(card.name), onchange: () => pick(card, box.checked) });
    return make("li", {}, make("a", {
      href: address(target),
      "data-row": card.row,
      "data-name": card.name,
      onclick: (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        go(target).then(() => { scrollTo({ top: 0 }); byId("results").focus({ preventScroll: true }); });
      },
    }, ...inside), make("div", { className: "tools" },
      make("button", { type: "button", className: "large", "aria-label": `${nameOf(card)}: large`, onclick: (event) => enlarge(card, event.currentTarget) }, "Large"),
      make("label", {}, box, make("span", { className: "hidden" }, `select ${nameOf(card)}`), make("span", { ariaHidden: "true" }, "select"))));
  }));
}

// ---- One picture, large; two side by side ----------------------------------------------------------

let asked = null; // the card of the query that stands there
let opener = null; // what had the focus before a dialog

function enlarge(card, from) {
  opener = from;
  const dialog = byId("large");
  const image = make("img", { src: thumb(card, "large"), alt: nameOf(card), className: "fit" });
  const zoom = make("button", { type: "button", ariaPressed: "false", onclick: () => {
    const full = image.classList.toggle("fit");
    zoom.setAttribute("aria-pressed", String(!full));
  } }, "Zoom");
  const actions = make("div", { className: "actions" }, zoom,
    card.row !== null && !card.token ? make("button", { type: "button", onclick: () => { dialog.close(); go({ ...FRESH, image: card.name, text: "" }); } }, "Similar to this") : "",
    asked && asked.name !== card.name ? make("button", { type: "button", id: "compare", onclick: () => compare(asked, card) }, "Compare with the query") : "",
    make("button", { type: "button", onclick: () => dialog.close() }, "Close"));
  byId("large-inside").replaceChildren(actions, make("div", { className: "stage" }, make("div", { className: "canvas" }, image), fullLabel(card)));
  if (!dialog.open) dialog.showModal();
  cutting(image, card);
}

function compare(one, other) {
  const side = (card, words) => make("figure", {}, make("img", { src: thumb(card, "large"), alt: nameOf(card) }), make("figcaption", {}, make("strong", {}, words), label(card)));
  const maps = make("div", { className: "pair", id: "pair-maps" });
  const buttons = gallery.explainable.map((model) => make("button", { type: "button", onclick: () => gradcams(model, one, other, maps) }, `Grad-CAM of ${gallery.short[model]}`));
  byId("large-inside").replaceChildren(
    make("div", { className: "actions" }, ...buttons, make("button", { type: "button", onclick: () => byId("large").close() }, "Close")),
    make("div", { className: "pair" }, side(one, "Query"), side(other, "Found")), maps);
  byId("large-inside").querySelector("button").focus();
}

async function gradcams(model, one, other, room) {
  room.replaceChildren(make("p", { className: "small" }, "Asking …"));
  try {
    const said = [];
    for (const card of [one, other]) said.push(await ask("/api/explain", { model, image: card.token ? null : card.name, upload: card.token }, { method: "POST" }));
    room.replaceChildren(...said.map((each) => make("figure", {}, make("img", { src: each.activation, alt: `Grad-CAM for ${each.explained}` }), make("figcaption", {}, `${gallery.short[model]} says ${each.classes[0].name} (${(100 * each.classes[0].probability).toFixed(0)} %)`))));
  } catch (error) {
    room.replaceChildren(make("p", { className: "small" }, error.message));
  }
}

// A box drawn on the large picture is cut out and searched: by mouse, touch, or arrow keys.
function cutting(image, card) {
  const canvas = image.parentElement;
  const box = make("div", { className: "cut", hidden: true, tabIndex: 0, role: "group", ariaLabel: "detail: arrow keys move it, with Shift they change its size, Enter searches" });
  canvas.append(box);
  let area = null; // in parts of the picture: left, top, width, height
  const search = make("button", { type: "button", id: "cut-search", hidden: true, onclick: () => cutOut(image, card, area) }, "Search this detail");
  const begin = make("button", { type: "button", id: "cut-begin", onclick: () => { area = [0.3, 0.3, 0.4, 0.4]; draw(); box.focus(); } }, "Choose a detail");
  byId("large-inside").querySelector(".actions").prepend(begin, search);
  function draw() {
    area[2] = Math.min(1, Math.max(0.05, area[2])); area[3] = Math.min(1, Math.max(0.05, area[3]));
    area[0] = Math.min(1 - area[2], Math.max(0, area[0])); area[1] = Math.min(1 - area[3], Math.max(0, area[1]));
    box.hidden = search.hidden = false;
    box.style.left = `${image.offsetLeft + area[0] * image.offsetWidth}px`; box.style.top = `${image.offsetTop + area[1] * image.offsetHeight}px`;
    box.style.width = `${area[2] * image.offsetWidth}px`; box.style.height = `${area[3] * image.offsetHeight}px`;
  }
  let from = null;
  const at = (event) => { const there = image.getBoundingClientRect(); return [(event.clientX - there.left) / there.width, (event.clientY - there.top) / there.height]; };
  image.draggable = false;
  image.addEventListener("pointerdown", (event) => { from = at(event); image.setPointerCapture(event.pointerId); event.preventDefault(); });
  image.addEventListener("pointermove", (event) => {
    if (!from) return;
    const to = at(event).map((each) => Math.min(1, Math.max(0, each)));
    if (Math.abs(to[0] - from[0]) < 0.03 && Math.abs(to[1] - from[1]) < 0.03) return;
    area = [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1])];
    draw();
  });
  image.addEventListener("pointerup", () => { from = null; });
  box.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "Enter") search.click();
    if (!step) return;
    event.preventDefault(); event.stopPropagation();
    const first = event.shiftKey ? 2 : 0;
    area[first] += 0.02 * step[0]; area[first + 1] += 0.02 * step[1];
    draw();
  });
}

async function cutOut(image, card, area) {
  const [left, top, width, height] = area;
  const canvas = make("canvas", { width: Math.max(1, Math.round(width * image.naturalWidth)), height: Math.max(1, Math.round(height * image.naturalHeight)) });
  canvas.getContext("2d").drawImage(image, left * image.naturalWidth, top * image.naturalHeight, canvas.width, canvas.height, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  byId("large").close();
  await send(new File([blob], `detail of ${nameOf(card)}`, { type: "image/png" }));
}

// ---- The selection ----------------------------------------------------------------------------------

const KEPT = () => `selection of ${gallery.collection}`;

function pick(card, chosen) {
  if (chosen) picked.set(card.name, card); else picked.delete(card.name);
  keep();
}

function keep() {
  try { localStorage.setItem(KEPT(), JSON.stringify([...picked.values()])); } catch { /* a browser that keeps nothing */ }
  byId("selection").hidden = !picked.size;
  byId("selection-count").textContent = `${picked.size} selected`;
}

function bringBackSelection() {
  try { for (const card of JSON.parse(localStorage.getItem(KEPT()) || "[]")) picked.set(card.name, card); } catch { /* not ours */ }
  keep();
}

function exportSelection() {
  const cards = [...picked.values()];
  const columns = [...new Set(cards.flatMap((card) => Object.keys(card)))].filter((name) => !["row", "both"].includes(name));
  // A cell that begins like a formula is text to a spreadsheet.
  const cell = (value) => { let text = String(value ?? ""); if (/^[=+@\t\r-]/.test(text)) text = `'${text}`; return `"${text.replaceAll('"', '""')}"`; };
  const lines = [columns, ...cards.map((card) => columns.map((name) => card[name]))].map((row) => row.map(cell).join(","));
  const link = make("a", { href: URL.createObjectURL(new Blob(["\ufeff" + lines.join("\r\n") + "\r\n"], { type: "text/csv" })), download: "selection.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// ---- Searching --------------------------------------------------------------------------------------

async function showSearch(now, mine) {
  const searching = now.image !== null || now.upload !== null;
  byId("drop").classList.toggle("slim", searching);
  document.body.classList.toggle("asked", searching);
  byId("query-figure").hidden = byId("query-actions").hidden = !searching;
  byId("text-field").hidden = searching;
  byId("shuffle").hidden = searching;
  for (const name of ["text", "k"]) byId(name).value = now[name];
  for (const field of filterFields()) field.value = valueOf(now, field.dataset.column);
  for (const box of document.querySelectorAll("#models input")) box.checked = !now.models.length || now.models.includes(box.value);
  byId("filters-box").open = innerWidth > 768 || !searching;
  if (!searching) {
    asked = null;
    byId("why").hidden = byId("why-actions").hidden = true;
    const found = await ask("/api/pick", { filter: now.filter, text: now.text, seed: now.seed, n: 24 });
    if (mine !== turn) return;
    byId("results").replaceChildren(grid(found.images));
    say(found.total ? `${found.total.toLocaleString("en")} images${found.total > found.images.length ? "; some of them" : ""}. Choose one to see what is like it.` : "No image of the collection is like that.");
    document.title = `Similar works – ${gallery.collection}`;
    return;
  }
  say("Searching …");
  const found = await search(now);
  if (mine !== turn) return;
  const card = found.query;
  asked = card;
  byId("query-figure").dataset.image = card.name || "";
  byId("query-image").src = thumb(card, "large");
  byId("query-image").alt = `Query: ${nameOf(card)}`;
  byId("query-caption").replaceChildren(label(card));
  byId("why-actions").hidden = !gallery.explainable.length;
  byId("why-actions").replaceChildren(...gallery.explainable.map((model) =>
    make("button", { type: "button", title: model, onclick: () => go({ why: model, label: null }) }, `What does ${gallery.short[model]} say?`)));
  if (found.results.length > 1) {
    const counts = new Map();
    for (const each of found.results) for (const one of each.images) counts.set(one.name, (counts.get(one.name) || 0) + 1);
    for (const each of found.results) for (const one of each.images) one.both = counts.get(one.name) === found.results.length;
  }
  const columns = make("div", { className: "columns" }, ...found.results.map((each) => make("section", { className: "column", ariaLabel: each.model },
    make("h2", { title: each.model }, gallery.short[each.model]),
    each.images.length ? grid(each.images, true) : make("p", { className: "small" }, "Nothing in the collection passes the filters."))));
  columns.style.setProperty("--models", found.results.length);
  byId("results").replaceChildren(columns);
  say(gallery.notes.join(" "));
  document.title = `${nameOf(card)} – similar works`;
  await showWhy(now, mine);
}

// An upload that is older than a model's features gets its vectors anew.
async function search(now) {
  const wanted = { filter: now.filter, image: now.image, upload: now.upload, models: now.models, k: now.k };
  try {
    return await ask("/api/search", wanted);
  } catch (error) {
    if (error.status !== 409) throw error;
    await ask(`/api/upload/${encodeURIComponent(now.upload)}/vectors`, {}, { method: "POST" });
    return ask("/api/search", wanted);
  }
}

function filterFields() { return [...document.querySelectorAll("#filter-fields [data-column]")]; }

function valueOf(now, column) {
  const found = now.filter.find((each) => each.startsWith(`${column}:`));
  return found ? found.slice(column.length + 1) : "";
}

async function send(file) {
  if (!file) return;
  const mine = ++turn;
  say(`Looking at ${file.name} …`);
  try {
    const answer = await ask("/api/upload", {}, { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream", "X-File-Name": encodeURIComponent(file.name) } });
    if (mine === turn) await go({ ...FRESH, upload: answer.token, text: "" });
  } catch (error) {
    if (mine === turn) say(error.message, true);
  }
}

async function showWhy(now, mine) {
  const room = byId("why");
  room.hidden = !now.why;
  if (!now.why) return;
  room.replaceChildren(make("p", { className: "small" }, `Asking ${gallery.short[now.why] || now.why} …`));
  room.scrollIntoView({ block: "start" });
  room.focus({ preventScroll: true });
  let said;
  try {
    said = await ask("/api/explain", { model: now.why, image: now.image, upload: now.upload, label: now.label }, { method: "POST" });
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
    make("button", { type: "button", id: "close", onclick: closeWhy }, "Close"),
    make("h2", { title: now.why }, `${gallery.short[now.why]} says: ${said.classes[0].name}`),
    said.truth ? make("p", { className: said.classes[0].name === said.truth ? "right" : "wrong" },
      `${said.classes[0].name === said.truth ? "Right" : "Wrong"}: the true class is ${said.truth}. This is a ${PARTS[said.part]} of this run${said.part === "train" ? ", which it may know by heart" : ""}.`)
      : said.note ? "" : make("p", { className: "small" }, "The run has not seen this image: it is in none of its lists."),
    make("div", { className: "maps" }, bars,
      shown(said.seen, "What the net sees: the centre"),
      shown(said.activation, `What speaks for “${said.explained}” (Grad-CAM on ${said.layer})`),
      shown(said.saliency, `Where a change would matter most for “${said.explained}” (saliency)`)),
    said.nearest.length ? make("h2", {}, "The nearest of its other training images") : "",
    said.nearest.length ? grid(said.nearest, true) : "",
    said.note ? make("p", { className: "small" }, said.note) : "");
}

async function closeWhy() {
  await go({ why: null, label: null });
  byId("why-actions").querySelector("button")?.focus();
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
  const sums = counts.map((row) => row.reduce((sum, count) => sum + count, 0));
  const columns = classes.map((_, column) => counts.reduce((sum, row) => sum + row[column], 0));
  const total = sums.reduce((sum, count) => sum + count, 0);
  const axes = make("tr", {}, make("td"), make("th", { scope: "colgroup", colSpan: classes.length + 2, className: "axis" }, "predicted class"));
  const head = make("tr", {}, make("th", { className: "axis", scope: "col" }, "true class"), ...[...classes, "right", "images"].map((name) => make("th", { scope: "col" }, name)));
  const rows = classes.map((name, row) => make("tr", {}, make("th", { scope: "row" }, name), ...counts[row].map((count, column) => {
    if (!count) return make("td");
    const share = count / (sums[row] || 1);
    const button = make("button", {
      type: "button",
      className: share > 0.5 ? "dark" : "",
      onclick: () => go({ run, true: name, predicted: classes[column] }),
    }, String(count), make("span", { className: "percent" }, ` ${Math.round(100 * share)} %`));
    button.dataset.true = name;
    button.dataset.predicted = classes[column];
    button.dataset.count = count;
    button.setAttribute("aria-label", `true ${name}, predicted ${classes[column]}: ${count}, ${Math.round(100 * share)} per cent`);
    const cell = make("td", {}, button);
    // No shade in between: the figures keep a contrast of 4.5:1 on either side of it.
    cell.style.setProperty("--share", `${Math.round(share > 0.5 ? 80 + 20 * share : 12 + 60 * share)}%`);
    cell.className = "filled";
    return cell;
  }), make("td", { className: "sum" }, `${Math.round((100 * counts[row][row]) / (sums[row] || 1))} %`), make("td", { className: "sum" }, String(sums[row]))));
  const right = classes.reduce((sum, _, place) => sum + counts[place][place], 0);
  const foot = make("tr", {}, make("th", { scope: "row" }, "images"), ...columns.map((count) => make("td", { className: "sum" }, String(count))),
    make("td", { className: "sum" }, `${Math.round((100 * right) / (total || 1))} %`), make("td", { className: "sum" }, String(total)));
  byId("matrix").replaceChildren(make("table", {}, make("caption", {}, `Test images of ${run}: true class by predicted class`),
    make("thead", {}, axes, head), make("tbody", {}, ...rows), make("tfoot", {}, foot)));
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
  byId("filter-fields").append(...Object.entries(gallery.filters).map(([column, values]) => {
    const id = `filter-${column}`;
    const options = values.map(([value, count]) => make("option", { value }, values.length > MANY ? String(count) : `${value} (${count.toLocaleString("en")})`));
    const field = values.length > MANY
      ? make("input", { id, list: `${id}-list`, maxLength: 300, placeholder: "all" })
      : make("select", { id }, make("option", { value: "" }, "all"), ...options);
    field.dataset.column = column;
    return make("div", { className: "field" }, make("label", { htmlFor: id }, column), field,
      values.length > MANY ? make("datalist", { id: `${id}-list` }, ...options) : "");
  }));
  byId("models").append(...gallery.models.map((model) => make("label", { title: model },
    make("input", { type: "checkbox", value: model, checked: true }), ` ${gallery.short[model]}`)));
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
  byId("filters").addEventListener("change", (event) => {
    const models = [...document.querySelectorAll("#models input:checked")].map((box) => box.value);
    if (!models.length) { event.target.checked = true; return; } // one model at least
    const filter = [];
    for (const field of filterFields()) {
      const column = field.dataset.column;
      const found = gallery.filters[column].find(([value]) => simple(value) === simple(field.value));
      if (field.value && !found) { say(`No ${column} is called “${field.value}” in the collection; choose one of the list.`, true); return; }
      if (field.value) filter.push(`${column}:${found[0]}`);
    }
    go({ models, filter, k: byId("k").value, text: byId("text").value.trim(), seed: "1" });
  });
  byId("large").addEventListener("close", () => { if (opener && opener.isConnected) opener.focus(); });
  byId("query-large").addEventListener("click", (event) => enlarge(asked, event.currentTarget));
  byId("export").addEventListener("click", exportSelection);
  byId("print").addEventListener("click", () => {
    const sheet = grid([...picked.values()]);
    byId("sheet").replaceChildren(make("h2", {}, `Selection of ${gallery.collection}`), sheet);
    for (const image of sheet.querySelectorAll("img")) image.loading = "eager";
    document.body.classList.add("printing");
    Promise.allSettled([...sheet.querySelectorAll("img")].map((image) => image.decode())).then(() => print());
  });
  addEventListener("afterprint", () => { document.body.classList.remove("printing"); byId("sheet").replaceChildren(); });
  byId("unselect").addEventListener("click", () => {
    picked.clear();
    keep();
    for (const box of document.querySelectorAll(".tools input:checked")) box.checked = false;
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
    if (byId("large").open) return; // it closes itself
    if (typing) event.target.blur();
    else if (state().why) closeWhy();
    return;
  }
  if (typing || byId("large").open) return;
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

// Without accents and capitals.
function simple(text) { return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().trim(); }

async function begin() {
  try {
    gallery = await ask("/api/gallery");
  } catch (error) {
    say(error.message, true);
    return;
  }
  fill();
  bringBackSelection();
  listen();
  await show();
}

begin();
