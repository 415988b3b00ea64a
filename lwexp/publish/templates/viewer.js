"use strict";
// Everything is put on the page as text nodes; no string of a data set is ever read as markup.
(() => {
  const PAGE = 50;
  const [ID, LANGUAGE, STATUS, ASKED, WORDS, TITLE, NOTES, GAP, BLOCK, PLACE] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
  const find = (id) => document.getElementById(id);
  const number = (value) => value.toLocaleString("en-US");
  const filters = find("filters");
  const blocks = new Map();
  let rows = [];
  let shown = [];
  let page = 0;
  let reading = null;

  function make(tag, name, text) {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text !== undefined) element.textContent = text;
    return element;
  }

  function drawn(tag, attributes) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  }

  async function unpack(id) {
    const packed = Uint8Array.from(atob(find(id).textContent.trim()), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).json();
  }

  function block(index) {
    if (!blocks.has(index)) {
      if (blocks.size > 8) blocks.delete(blocks.keys().next().value); // a long session keeps a few blocks, not all
      blocks.set(index, unpack("b" + index));
    }
    return blocks.get(index);
  }

  function select() {
    const wanted = Object.fromEntries(new FormData(filters));
    const needles = wanted.q.toLowerCase().split(/\s+/).filter(Boolean);
    const least = wanted.least === "" ? -1 : Number(wanted.least);
    const most = wanted.most === "" ? Infinity : Number(wanted.most);
    shown = [];
    rows.forEach((row, index) => {
      if (wanted.language && row[LANGUAGE] !== wanted.language) return;
      if (wanted.status && row[STATUS] !== wanted.status && !row[NOTES].includes(wanted.status)) return;
      if (row[WORDS] === null ? least >= 0 || most < Infinity : row[WORDS] < least || row[WORDS] > most) return;
      if (needles.length) {
        const hay = (row[ID] + " " + row[TITLE] + " " + row[NOTES].join(" ")).toLowerCase();
        if (!needles.every((needle) => hay.includes(needle))) return;
      }
      shown.push(index);
    });
    const by = {
      long: (a, b) => (rows[b][WORDS] ?? -1) - (rows[a][WORDS] ?? -1),
      short: (a, b) => (rows[a][WORDS] ?? Infinity) - (rows[b][WORDS] ?? Infinity),
      gap: (a, b) => (rows[b][GAP] ?? -1) - (rows[a][GAP] ?? -1),
    }[wanted.order];
    if (by) shown.sort(by);
    page = 0;
    list();
  }

  function item(index) {
    const row = rows[index];
    const link = make("a");
    link.href = "#" + encodeURIComponent(index + 1);
    if (index === reading) link.setAttribute("aria-current", "true");
    const title = make("span", "title", row[TITLE]);
    title.lang = row[LANGUAGE];
    const meta = make("span", "meta");
    if (row[STATUS] === "failed") meta.append(make("span", "bad", row[NOTES].join(", ")));
    else {
      meta.append(make("span", "", row[ASKED] === null ? number(row[WORDS]) + " words" : number(row[ASKED]) + " asked, " + number(row[WORDS]) + " written"));
      if (row[GAP] !== null && row[STATUS] === "pair") meta.append(make("span", "", "score gap " + row[GAP].toFixed(1)));
      for (const note of row[NOTES]) meta.append(make("span", "note", note));
    }
    link.append(title, meta);
    const entry = make("li");
    entry.append(link);
    return entry;
  }

  function list() {
    const pages = Math.max(1, Math.ceil(shown.length / PAGE));
    page = Math.min(page, pages - 1);
    find("found").textContent = number(shown.length) + " of " + number(rows.length);
    const items = find("items");
    items.replaceChildren(...shown.slice(page * PAGE, (page + 1) * PAGE).map(item));
    items.scrollTop = 0;
    const back = make("button", "", "Previous");
    const on = make("button", "", "Next");
    back.type = on.type = "button";
    back.disabled = page === 0;
    on.disabled = page === pages - 1;
    back.onclick = () => { page -= 1; list(); };
    on.onclick = () => { page += 1; list(); };
    find("pager").replaceChildren(back, make("span", "", "page " + number(page + 1) + " of " + number(pages)), on);
    find("pager").hidden = pages === 1;
  }

  function facts(pairs) {
    const out = make("dl", "facts");
    for (const [label, value, kind] of pairs) {
      const part = make("div");
      part.append(make("dt", "", label), make("dd", kind || "", value));
      out.append(part);
    }
    return out;
  }

  function text(content, language) {
    const out = make("div", "text", content);
    out.lang = language;
    return out;
  }

  function gauge(step) {
    const out = make("div", "gauge");
    const widest = Math.max(step.asked, step.words) * 1.05;
    const bar = drawn("svg", { viewBox: "0 0 120 8", preserveAspectRatio: "none", "aria-hidden": "true" });
    bar.append(
      drawn("rect", { class: "track", width: 120, height: 8, rx: 2 }),
      drawn("rect", { class: "fill", width: (120 * step.words) / widest, height: 8, rx: 2 }),
      drawn("rect", { class: "mark", x: (120 * step.asked) / widest - 1, width: 2, height: 8 }),
    );
    out.append(bar, make("span", "", number(step.asked) + " words asked, " + number(step.words) + " written"));
    if (step.cost) out.append(make("span", "", "$" + step.cost.toFixed(4)));
    if (step.attempts > 1) out.append(make("span", "tag", step.attempts + " tries"));
    if (step.finish !== "stop") out.append(make("span", "tag bad", "ended by " + step.finish));
    for (const rule of step.rules) out.append(make("span", "tag", "cleaned: " + rule));
    return out;
  }

  function draft(data, language) {
    const plan = make("details", "plan");
    plan.append(make("summary", "", "The plan as the teacher wrote it, " + data.steps.length + " paragraphs"), text(data.plan, language));
    const parts = data.steps.map((step, index) => {
      const out = make("section", "step");
      const point = make("p", "point");
      point.lang = language;
      point.append(make("b", "", index + 1 + ". "), step.point);
      out.append(point, gauge(step), text(step.text, language));
      return out;
    });
    return [plan, ...parts];
  }

  function conversation(turns, language) {
    return turns.flatMap(([role, content]) => [make("p", "role", role), text(content, language)]);
  }

  function sides(data, language) {
    const out = make("div", "sides");
    for (const name of ["chosen", "rejected"]) {
      const side = make("section", "side " + name);
      side.append(make("h3", "", name), facts(data[name].facts), text(data[name].text, language));
      out.append(side);
    }
    return out;
  }

  async function open() {
    const index = Number(decodeURIComponent(location.hash.slice(1))) - 1;
    const row = rows[index];
    const detail = find("detail");
    find("panes").classList.toggle("reading", Boolean(row));
    reading = row ? index : null;
    for (const link of find("items").querySelectorAll("a")) {
      if (link.hash === location.hash) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    if (!row) return;
    const data = (await block(row[BLOCK]))[row[PLACE]];
    if (reading !== index) return; // another text was chosen while this one was unpacked
    const header = make("header");
    const back = make("button", "back", "Back to the list");
    back.type = "button";
    back.onclick = () => { location.hash = "texts"; };
    header.append(back, make("code", "", row[ID]));
    const ask = make("h2", "ask", data.ask);
    ask.lang = row[LANGUAGE];
    const parts = [header, ask, facts(data.facts)];
    if (data.notice) parts.push(make("p", "notice", data.notice));
    if (data.steps) parts.push(...draft(data, row[LANGUAGE]));
    if (data.turns) parts.push(...conversation(data.turns, row[LANGUAGE]));
    if (data.chosen) parts.push(sides(data, row[LANGUAGE]));
    detail.replaceChildren(...parts);
    if (detail.getBoundingClientRect().top < 0 || matchMedia("(max-width: 58rem)").matches) detail.scrollIntoView();
    detail.focus({ preventScroll: true });
  }

  filters.addEventListener("input", select);
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.addEventListener("reset", () => setTimeout(select));
  addEventListener("hashchange", open);
  unpack("index").then((index) => {
    rows = index;
    select();
    document.documentElement.dataset.ready = "yes";
    if (location.hash) open();
  }, (error) => { find("found").textContent = "The texts could not be unpacked: " + error; });
})();
