"use strict";
// Everything is put on the page as text nodes; nothing that a model or a prompt says is ever read as markup.
(() => {
  const PAGE = 40;
  const [ID, BENCH, RANGE, LANGUAGE, TYPE, ASKED, TITLE, ANSWERS, SIGNS, BLOCK, SPOT] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
  const [PLACE, WORDS, S_L, S_Q, S_BAR, MARKS] = [0, 1, 2, 3, 4, 5];
  const SCORES = { S_l: S_L, S_q: S_Q, S_bar: S_BAR };
  const find = (id) => document.getElementById(id);
  const number = (value) => value.toLocaleString("en-US");
  const filters = find("filters");
  if (!filters) { document.documentElement.dataset.ready = "yes"; return; }
  const labels = JSON.parse(find("labels").textContent);
  const blocks = new Map();
  let rows = [];
  let shown = [];
  let page = 0;
  let reading = null;
  let turn = 0; // of the searches through answers: a newer one ends an older one

  function make(tag, name, text) {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text !== undefined) element.textContent = text;
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

  function passes(row, wanted) {
    if (wanted.bench && row[BENCH] !== wanted.bench) return false;
    if (wanted.range && row[RANGE] !== wanted.range) return false;
    if (wanted.language && row[LANGUAGE] !== wanted.language) return false;
    if (wanted.type && row[TYPE] !== wanted.type) return false;
    if (wanted.sign && !row[SIGNS].includes(wanted.sign)) return false;
    if (wanted.least === "" && wanted.most === "") return true;
    const least = wanted.least === "" ? -Infinity : Number(wanted.least);
    const most = wanted.most === "" ? Infinity : Number(wanted.most);
    const scores = row[ANSWERS].map((answer) => answer[SCORES[wanted.score]]).filter((score) => score !== null);
    return scores.some((score) => score >= least && score <= most);
  }

  const lowest = (index, score) => Math.min(...rows[index][ANSWERS].map((answer) => answer[score] ?? Infinity));
  const longest = (index) => Math.max(...rows[index][ANSWERS].map((answer) => answer[WORDS]));
  function apart(index, score) {
    const known = rows[index][ANSWERS].map((answer) => answer[score]).filter((value) => value !== null);
    return known.length > 1 ? Math.max(...known) - Math.min(...known) : -1;
  }

  async function select() {
    const mine = ++turn;
    const wanted = Object.fromEntries(new FormData(filters));
    const needles = wanted.q.toLowerCase().split(/\s+/).filter(Boolean);
    const has = (hay) => needles.every((needle) => hay.toLowerCase().includes(needle));
    const found = [];
    for (let index = 0; index < rows.length; index += 1) {
      const row = rows[index];
      if (!passes(row, wanted)) continue;
      if (needles.length && !has(row[ID] + " " + row[TITLE])) {
        if (!wanted.deep) continue;
        if (index % 8 === 0) find("found").textContent = "Searching " + number(index) + " of " + number(rows.length);
        const data = (await block(row[BLOCK]))[row[SPOT]];
        if (mine !== turn) return;
        if (!has(data.ask) && !data.answers.some((answer) => has(answer.text))) continue;
      }
      found.push(index);
    }
    const score = SCORES[wanted.score];
    const by = {
      low: (a, b) => lowest(a, score) - lowest(b, score),
      apart: (a, b) => apart(b, score) - apart(a, score),
      long: (a, b) => longest(b) - longest(a),
    }[wanted.order];
    if (by) found.sort(by);
    shown = found;
    page = 0;
    list();
  }

  function chip(place) {
    const mark = find("mark-" + place).content.cloneNode(true);
    return mark;
  }

  function item(index) {
    const row = rows[index];
    const link = make("a");
    link.href = "#answer-" + (index + 1);
    if (index === reading) link.setAttribute("aria-current", "true");
    const title = make("span", "title", row[TITLE]);
    title.lang = row[LANGUAGE];
    title.dir = "auto";
    const meta = make("span", "meta");
    meta.append(make("span", "", number(row[ASKED]) + " asked"));
    for (const answer of row[ANSWERS].slice(0, 6)) {
      const part = make("span", "got");
      part.append(chip(answer[PLACE]), number(answer[WORDS]));
      part.title = labels[answer[PLACE]];
      meta.append(part);
    }
    for (const sign of row[SIGNS]) meta.append(make("span", "note", sign));
    link.append(title, meta);
    const entry = make("li");
    entry.append(link);
    return entry;
  }

  function list() {
    const pages = Math.max(1, Math.ceil(shown.length / PAGE));
    page = Math.min(page, pages - 1);
    find("found").textContent = number(shown.length) + " of " + number(rows.length) + " prompts";
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

  function answer(row, brief, data) {
    const out = make("section", "answer card");
    out.style.setProperty("--c", "var(--m" + brief[PLACE] + ")");
    const name = make("h4", "model");
    name.append(chip(brief[PLACE]), make("span", "", labels[brief[PLACE]]));
    const facts = make("p", "facts");
    const words = make("span");
    words.append(make("b", "", number(brief[WORDS])), " words, " + (brief[WORDS] / row[ASKED]).toFixed(2) + "\u00d7 asked");
    facts.append(words);
    for (const [title, sub, place] of [["S", "l", S_L], ["S", "q", S_Q]]) {
      if (brief[place] === null) continue;
      const part = make("span", "nowrap", title);
      part.append(make("sub", "", sub), " " + brief[place].toFixed(1));
      facts.append(part);
    }
    for (const mark of brief[MARKS]) facts.append(make("span", "tag", mark));
    out.append(name, facts);
    if (data.reason) out.append(make("p", "fine", "Unscored: " + data.reason));
    if (data.directed.length) out.append(make("p", "fine", "Talks to the judge: " + data.directed.join(", ")));
    if (data.text === "") out.append(make("p", "none", "The answer is empty."));
    else {
      const text = make("div", "text", data.text);
      text.lang = row[LANGUAGE];
      text.dir = "auto";
      out.append(text);
    }
    return out;
  }

  async function open() {
    const match = /^#answer-(\d+)$/.exec(location.hash);
    if (!match) return;
    const index = Number(match[1]) - 1;
    const row = rows[index];
    const detail = find("detail");
    find("panes").classList.toggle("reading", Boolean(row));
    reading = row ? index : null;
    for (const link of find("items").querySelectorAll("a")) {
      if (link.hash === location.hash) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    if (!row) return;
    const data = (await block(row[BLOCK]))[row[SPOT]];
    if (reading !== index) return; // another prompt was chosen while this one was unpacked
    const header = make("p", "eyebrow");
    const back = make("button", "back", "Back to the list");
    back.type = "button";
    back.onclick = () => { find("panes").classList.remove("reading"); location.hash = "answers"; };
    header.append(back, [number(row[ASKED]) + " words", row[TYPE]].filter(Boolean).join(" \u00b7 ") + " \u00b7 ", make("code", "", row[ID]));
    const ask = make("h3", "prompt", data.ask);
    ask.lang = row[LANGUAGE];
    ask.dir = "auto";
    const answers = make("div", "answers");
    row[ANSWERS].forEach((brief, at) => answers.append(answer(row, brief, data.answers[at])));
    detail.replaceChildren(header, ask, answers);
    if (detail.getBoundingClientRect().top < 0 || matchMedia("(max-width: 58rem)").matches) detail.scrollIntoView();
    detail.focus({ preventScroll: true });
  }

  filters.addEventListener("input", select);
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.addEventListener("reset", () => setTimeout(select));
  addEventListener("hashchange", open);
  unpack("index").then(async (index) => {
    rows = index;
    await select();
    await open();
    document.documentElement.dataset.ready = "yes";
  }, (error) => { find("found").textContent = "The answers could not be unpacked: " + error; });
})();
