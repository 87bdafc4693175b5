"use strict";
// What the page can do beyond being read. All facts stand in its rows (core/report/rows.py);
// this script shows, hides and follows them, and keeps none of its own. Texts are copied as
// text or as nodes, never put together to HTML; only rows from the page's own server, which
// escapes them as it does in the page, are parsed.

const one = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

function make(tag, parts = [], className = "") {
  const element = document.createElement(tag);
  element.append(...[parts].flat());
  if (className) element.className = className;
  return element;
}

// The name in the address, as elements are named.
function named() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return location.hash.slice(1);
  }
}

// --- search: every word must occur in a row, a card or a bar --------------------------------

const texts = new WeakMap();

function textOf(element) {
  if (!texts.has(element)) texts.set(element, element.textContent.toLowerCase());
  return texts.get(element);
}

function search() {
  const words = one("#search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (element) => words.every((word) => textOf(element).includes(word));
  const count = { items: 0, events: 0 };
  for (const part of Object.keys(count)) {
    for (const chunk of all(`#${part} .chunk`)) {
      let left = 0;
      for (const row of all("tr", chunk)) {
        const wanted = fits(row);
        row.classList.toggle("no", !wanted);
        if (wanted) left += 1;
      }
      chunk.classList.toggle("no", !left);
      count[part] += left;
    }
  }
  for (const part of all("#board li, #trouble tbody tr")) part.classList.toggle("no", !fits(part));
  markBars(words, fits);
  one("#found").textContent = words.length ? `${count.items} items, ${count.events} events` : "";
}

function markBars(words, fits) {
  const time = one("#time .time");
  if (!time) return;
  time.classList.toggle("searched", words.length > 0);
  for (const bar of all("a", time)) bar.classList.toggle("hit", words.length > 0 && fits(bar));
}

// --- zoom: a wider picture in a part that scrolls -------------------------------------------

const zooms = { time: 1, graph: 1 };

function zoom(what, by, atX) {
  const scroll = one(`#${what} .scroll`);
  const picture = scroll && one("svg", scroll);
  if (!picture) return;
  const x = atX ?? scroll.clientWidth / 2;
  const part = (scroll.scrollLeft + x) / picture.getBoundingClientRect().width;
  zooms[what] = by ? Math.min(2000, Math.max(what === "time" ? 1 : 0.2, zooms[what] * by)) : 1;
  size(what, picture);
  scroll.scrollLeft = part * picture.getBoundingClientRect().width - x;
  tellWindow();
}

function size(what, picture) {
  if (what === "time") {
    picture.setAttribute("width", `${zooms.time * 100}%`);
  } else {
    const [, , width, height] = picture.getAttribute("viewBox").split(" ").map(Number);
    picture.setAttribute("width", width * zooms.graph);
    picture.setAttribute("height", height * zooms.graph);
  }
}

const clock = (ms) => new Date(ms).toISOString().slice(0, 19).replace("T", " ");

// Which part of the time is in sight; the axis is labelled for it.
function tellWindow() {
  const picture = one("#timeline");
  if (!picture) return;
  const scroll = picture.parentElement;
  const [from, to] = [Number(picture.dataset.from), Number(picture.dataset.to)];
  const wide = picture.getBoundingClientRect().width || 1;
  const at = (x) => from + (x / wide) * (to - from);
  const [left, right] = [scroll.scrollLeft, scroll.scrollLeft + scroll.clientWidth];
  one("#window").textContent = `${clock(at(left))} to ${clock(at(Math.min(right, wide)))}`;
  const labels = all(".axis text", picture);
  const shown = Math.min(labels.length, Math.max(2, Math.floor(scroll.clientWidth / 140)));
  labels.forEach((label, number) => {
    const x = left + (number / (shown - 1)) * (Math.min(right, wide) - left);
    label.setAttribute("x", `${(x / wide) * 100}%`);
    label.setAttribute("text-anchor", number === 0 ? "start" : number === shown - 1 ? "end" : "middle");
    label.textContent = number < shown ? clock(at(x)).slice(0, to - from > 3e8 * zooms.time ? 10 : 19) : "";
  });
}

// --- the panel: an item with what hangs on it, an event with its causes -------------------------

const isRow = (element, kind) => element?.tagName === "TR" && element.id.startsWith(kind);
const linksIn = (cell) => all("a", cell).map((link) => link.hash);
const fragment = (element) => `#${element.id.replaceAll("%", "%25")}`;

function linkTo(element, text) {
  const link = make("a", text);
  link.setAttribute("href", fragment(element));
  return link;
}

function pairs(names, cells) {
  return make("ul", names.flatMap((name, number) =>
    cells[number].textContent.trim() ? [make("li", [make("small", `${name} `), ...copied(cells[number])])] : []));
}

const copied = (cell) => [...cell.childNodes].map((node) => node.cloneNode(true));

function list(title, parts) {
  return parts.length ? [make("h3", `${title} (${parts.length})`), make("ul", parts)] : [];
}

function itemLine(row) {
  return make("li", [linkTo(row, row.cells[0].textContent), ` ${row.cells[2].textContent} · `,
    (one("summary", row.cells[3]) ?? row.cells[3]).textContent]);
}

function eventLine(row, here = false) {
  const [when, kind, who, , said] = row.cells;
  return make("li", [make("small", `${when.textContent} `), linkTo(row, kind.textContent),
    ` ${who.textContent} `, said.textContent], here ? "here" : "");
}

function showItem(row) {
  const hash = fragment(row);
  const title = one("summary", row.cells[3]) ?? row.cells[3];
  const more = all("details p", row).map((part) => part.cloneNode(true));
  const needed = all("#items tr").filter((other) => linksIn(other.cells[5]).includes(hash));
  const history = all("#events tr").filter((other) => linksIn(other.cells[3]).includes(hash));
  const names = ["", "", "status", "", "who", "needs", "changed"];
  const cells = [...row.cells].map((cell, n) => (names[n] ? cell : document.createElement("td")));
  open(`${row.cells[0].textContent} · ${row.cells[1].textContent}`, [
    make("p", copied(title)), pairs(names, cells), ...more,
    ...list("Needed by, or contains", needed.map(itemLine)),
    ...list("What happened, the newest first", history.slice(0, 200).map((other) => eventLine(other))),
    ...(history.length ? [] : [make("p", ["Its events are older than those told here: ",
      make("code", `wk log ${row.cells[0].textContent}`)])]),
  ]);
}

function showEvent(row) {
  const about = one("a", row.cells[3]);
  open(row.cells[1].textContent, [
    make("p", [make("small", row.id.slice(2))]),
    pairs(["when", "", "who", "about", "says", "causes"],
      [...row.cells].map((cell, n) => (n === 1 ? document.createElement("td") : cell))),
    ...(about ? itemAbout(about) : []),
    make("h3", "What led to it, and what followed"), causesOf(row),
  ]);
}

function itemAbout(link) {
  const row = document.getElementById(decode(link.hash));
  return isRow(row, "i-") ? [make("ul", [itemLine(row)])] : [];
}

function decode(hash) {
  return hash.slice(1).replaceAll("%25", "%");
}

const DEEPEST = 40;
const BRANCHES = 200;
const SIBLINGS = 40;

// Up along the first cause to the root, and down from there to this event and beyond.
function causesOf(row) {
  const followers = new Map();
  for (const other of all("#events tr")) {
    for (const hash of linksIn(other.cells[5])) {
      const name = decode(hash);
      if (!followers.has(name)) followers.set(name, []);
      followers.get(name).push(other);
    }
  }
  const above = [row];
  while (above.length < DEEPEST) {
    const cause = one("a", above[0].cells[5]);
    const up = cause && document.getElementById(decode(cause.hash));
    if (!isRow(up, "e-") || above.includes(up)) break;
    above.unshift(up);
  }
  const room = { left: BRANCHES };
  const tree = branch(above[0], { here: row, path: new Set(above), followers, seen: new Set(), room });
  const more = room.left > 0 ? [] : [make("li", ["and more: ", make("code", `ev tree ${row.id.slice(2)}`)])];
  return make("ul", [tree, ...more], "causes");
}

// An event and what followed. What leads to the one that was asked for is always told.
function branch(row, asked) {
  const { here, path, followers, seen, room } = asked;
  const line = eventLine(row, row === here);
  room.left -= 1;
  if (seen.has(row) || (room.left <= 0 && !path.has(row))) return line;
  seen.add(row);
  // The rows are the newest first, and a tree is read from the oldest on.
  const below = (followers.get(row.id) ?? []).reverse();
  const told = below.filter((next, number) => number < SIBLINGS || path.has(next));
  if (told.length < below.length) room.left = 0;
  if (told.length) line.append(make("ul", told.map((next) => branch(next, asked))));
  return line;
}

// The page has no room for everything, and may tell of what no clone has.
function showAbsent(name) {
  const command = name.startsWith("i-") ? "wk show" : "ev show";
  open(name.slice(2), [make("p", ["It is not told on this page. ",
    make("code", `${command} ${name.slice(2)}`), " asks the store."])]);
}

let opener = null;

function open(title, parts) {
  const panel = one("#panel");
  if (panel.hidden) opener = document.activeElement;
  one("div", panel).replaceChildren(make("h2", title), ...parts);
  panel.hidden = false;
  panel.scrollTop = 0;
  panel.focus({ preventScroll: true });
}

function close() {
  one("#panel").hidden = true;
  all("tr.shown").forEach((row) => row.classList.remove("shown"));
  opener?.focus?.({ preventScroll: true });
  history.replaceState(null, "", location.pathname + location.search);
}

function follow() {
  const row = document.getElementById(named());
  all("tr.shown").forEach((other) => other.classList.remove("shown"));
  if (isRow(row, "i-")) showItem(row);
  else if (isRow(row, "e-")) showEvent(row);
  else {
    one("#panel").hidden = true;
    if (/^[ie]-/.test(named())) showAbsent(named());
    return;
  }
  row.classList.add("shown");
}

// --- live: rows as they come, the pictures soon after ---------------------------------------

// How long the pictures may be behind; longer where making them takes long.
const BEHIND_MS = 1500;
let waiting = 0;
let cost = 0;

function live() {
  const source = new EventSource(document.body.dataset.live);
  source.onopen = () => state("live", "live, as of");
  source.onerror = () => state("lost", "not connected; as of");
  // What happened between the page and now, or while nobody listened.
  source.addEventListener("hello", (message) => {
    if (one("#events tr")?.id !== `e-${message.data}`) redraw(true);
  });
  source.addEventListener("due", () => redraw(true));
  source.addEventListener("news", (message) => take(JSON.parse(message.data)));
}

function state(className, text) {
  one("#state").className = className;
  one("#state").textContent = text;
}

function rowsOf(htmls) {
  const inside = document.createElement("template");
  inside.innerHTML = `<table><tbody>${htmls.join("")}</tbody></table>`;
  return all("tr", inside.content);
}

function take(news) {
  for (const id of news.gone) document.getElementById(id)?.remove();
  for (const [kind, place] of [["items", "append"], ["events", "prepend"]]) {
    for (const row of rowsOf(news[kind])) {
      const known = document.getElementById(row.id);
      if (known) known.replaceWith(row);
      else one(`#${kind} tbody`)[place](row);
    }
  }
  one("#when time").textContent = news.when;
  if (one("#search").value) search();
  waiting ||= setTimeout(() => redraw(false), Math.max(BEHIND_MS, 2 * cost));
}

// All that is drawn from many facts comes anew from the server, as the page itself does.
async function redraw(withRows) {
  const began = performance.now();
  clearTimeout(waiting);
  waiting = 0;
  const answer = await fetch(location.pathname).catch(() => null);
  if (!answer?.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const parts = ["told", "board", "trouble", "plots", ...(withRows ? ["items", "events"] : [])];
  for (const id of parts) one(`#${id}`).replaceChildren(...one(`#${id}`, fresh).childNodes);
  for (const what of ["graph", "time"]) swapPicture(what, fresh);
  showTools();
  if (one("#search").value) search();
  tellWindow();
  cost = performance.now() - began;
}

function swapPicture(what, fresh) {
  const before = one(`#${what} .scroll`);
  const [left, top] = [before?.scrollLeft ?? 0, before?.scrollTop ?? 0];
  one(`#${what}`).replaceChildren(...one(`#${what}`, fresh).childNodes);
  const scroll = one(`#${what} .scroll`);
  const picture = scroll && one("svg", scroll);
  if (!picture) return;
  size(what, picture);
  scroll.scrollTo(left, top);
  listen(what);
}

// --- begin ----------------------------------------------------------------------------------

function showTools() {
  for (const part of all(".tools")) {
    const section = part.closest("section");
    part.hidden = section !== null && !one(".scroll", section);
  }
}

function listen(what) {
  const scroll = one(`#${what} .scroll`);
  if (!scroll) return;
  scroll.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.altKey) return;
    event.preventDefault();
    zoom(what, event.deltaY < 0 ? 1.25 : 0.8, event.clientX - scroll.getBoundingClientRect().left);
  }, { passive: false });
  if (what === "time") scroll.addEventListener("scroll", tellWindow, { passive: true });
  scroll.addEventListener("keydown", (event) => {
    if (event.key === "+" || event.key === "-") zoom(what, event.key === "+" ? 1.5 : 1 / 1.5);
  });
}

let typing = 0;

function begin() {
  showTools();
  one("#search").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(search, 120);
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-zoom]");
    if (button) zoom(button.dataset.zoom, Number(button.dataset.by));
    // A way to where one is already leads to its panel all the same.
    if (event.target.closest("a")?.hash === location.hash) follow();
    const row = event.target.closest("#items tr, #events tr");
    if (row && !event.target.closest("a, summary, details")) location.hash = fragment(row);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !one("#panel").hidden) close();
    if (event.key === "/" && event.target === document.body) {
      event.preventDefault();
      one("#search").focus();
    }
  });
  one("#close").addEventListener("click", close);
  addEventListener("hashchange", follow);
  addEventListener("resize", tellWindow);
  listen("time");
  listen("graph");
  tellWindow();
  follow();
  if (document.body.dataset.live) live();
  document.body.dataset.ready = "yes";
}

begin();
