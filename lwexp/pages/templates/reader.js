// Everything is put on the page as text nodes; nothing that a model, a prompt or a row says is ever read as markup.
(() => {
  const PAGE = 50;
  const [ID, TITLE, LANGUAGE, META, FACETS, MEASURES, BLOCK, SPOT] = [0, 1, 2, 3, 4, 5, 6, 7];
  const find = (id) => document.getElementById(id);
  const number = (value) => value.toLocaleString("en-US");
  const filters = find("filters");
  if (!filters) { document.documentElement.dataset.ready = "yes"; return; }
  const labels = JSON.parse(find("labels")?.textContent ?? "{}");
  const files = JSON.parse(find("files")?.textContent ?? "null"); // of texts beside the page; null if they are in it
  const blocks = new Map();
  let index = { facets: [], measures: [], rows: [] };
  let shown = [];
  let page = 0;
  let reading = null;
  let turn = 0; // of the searches through texts: a newer one ends an older one

  function make(tag, name, ...content) {
    const element = document.createElement(tag);
    if (name) element.className = name;
    element.append(...content);
    return element;
  }

  function said(tag, name, text, language) {
    const element = make(tag, name, text);
    element.lang = language;
    element.dir = "auto";
    return element;
  }

  const chip = (place) => find("mark-" + place).content.cloneNode(true);

  // A name such as X_y with its subscript, as the page's own text has it.
  const label = (text) => text.split(/\b([A-Z]_[a-z]+)\b/).map((part, at) => (at % 2 ? make("span", "", part[0], make("sub", "", part.slice(2))) : part));

  function bytes(text) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
    const letters = atob(text);
    const found = new Uint8Array(letters.length);
    for (let at = 0; at < letters.length; at++) found[at] = letters.charCodeAt(at);
    return found;
  }

  function unpack(packed) {
    const stream = new Blob([bytes(packed.trim())]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).json();
  }

  // A file of texts is a script with one call of this function; a page opened from a disk may load nothing else.
  const arrived = new Map(); // name of a file -> what takes its content
  const loads = new Map(); // name -> promise, so that two who want a file at once both get it
  globalThis.lwexpTexts = (name, packed) => arrived.get(name)?.(packed);

  function load(name) {
    if (loads.has(name)) return loads.get(name);
    const script = make("script");
    const content = new Promise((resolve, reject) => {
      arrived.set(name, resolve);
      script.onerror = script.onload = () => reject(new Error(name + ".js is missing or damaged")); // does nothing if the content came
      script.src = encodeURIComponent(files.folder) + "/" + name + ".js";
      document.head.append(script);
    }).finally(() => { arrived.delete(name); loads.delete(name); script.remove(); });
    loads.set(name, content);
    return content;
  }

  const block = async (at) => unpack(files ? await load(files.names[at]) : find("b" + at).textContent);

  function absent(error) {
    const folder = files ? "the folder \u201c" + files.folder + "\u201d of the same report beside it; copy both together, or make the report again" : "to be whole";
    find("absent").textContent = "The texts cannot be shown (" + error.message + "). This page needs " + folder + ".";
    find("absent").hidden = false;
  }

  async function detailOf(row) {
    if (!blocks.has(row[BLOCK])) {
      if (blocks.size > 8) blocks.delete(blocks.keys().next().value); // a long session keeps a few blocks, not all
      blocks.set(row[BLOCK], block(row[BLOCK]));
    }
    return (await blocks.get(row[BLOCK]))[row[SPOT]];
  }

  const search = textSearch({ files, load, unpack, block, absent, rows: () => index.rows.map((row) => [row[BLOCK], row[SPOT]]) });

  const values = (row, measure) => row[MEASURES][index.measures.indexOf(measure)] ?? [];

  function passes(row, wanted) {
    if (index.facets.some((name, at) => wanted[name] && !row[FACETS][at].includes(wanted[name]))) return false;
    if (wanted.least === "" && wanted.most === "") return true;
    const [least, most] = [wanted.least === "" ? -Infinity : Number(wanted.least), wanted.most === "" ? Infinity : Number(wanted.most)];
    return values(row, wanted.score ?? "words").some((value) => value >= least && value <= most);
  }

  async function select() {
    const mine = ++turn;
    const wanted = Object.fromEntries(new FormData(filters));
    const terms = wanted.q.toLowerCase().split(/\s+/).filter(Boolean);
    const holds = (text) => terms.every((term) => text.includes(term));
    if (wanted.deep && files?.words) search.words(); // also before the first key of a search
    if (!wanted.deep || !terms.length) return choose(wanted, holds, new Set());
    const { found, isSure } = await search.candidates(terms);
    if (mine !== turn) return;
    if (isSure) return choose(wanted, holds, found);
    const tell = (percent) => { if (mine === turn) find("progress").textContent = ", reading the texts: " + percent + "%"; };
    if (files?.words) choose(wanted, holds, found, "at most ");
    tell(0);
    const hits = await search.confirmed([...found].filter((at) => passes(index.rows[at], wanted)), holds, tell);
    if (mine === turn) choose(wanted, holds, hits, "", page); // the reader may have turned a page meanwhile
  }

  // Show the rows that pass the filters and hold all terms: in what the list says of them, or in a text (``hits``).
  function choose(wanted, holds, hits, bound = "", first = 0) {
    const measure = wanted.score ?? "words";
    const found = [];
    for (const [at, row] of index.rows.entries()) {
      if (!passes(row, wanted)) continue;
      const notes = row[META].filter((piece) => piece[1]).map((piece) => piece[0]);
      if (holds([row[ID], row[TITLE], ...notes].join(" ").toLowerCase()) || hits.has(at)) found.push(at);
    }
    const [of, key] = {
      long: ["words", (known) => -Math.max(...known)],
      short: ["words", (known) => Math.min(...known)],
      gap: ["gap", (known) => -Math.max(...known)],
      low: [measure, (known) => Math.min(...known)],
      apart: [measure, (known) => (known.length > 1 ? Math.min(...known) - Math.max(...known) : 1)],
    }[wanted.order] ?? ["", () => 0];
    const keys = new Map(found.map((at) => [at, key(values(index.rows[at], of))])); // without a value: Infinity, last
    shown = found.sort((a, b) => keys.get(a) - keys.get(b) || 0);
    page = Math.max(0, Math.min(first, Math.ceil(shown.length / PAGE) - 1));
    list(bound);
  }

  function item(at) {
    const row = index.rows[at];
    const meta = make("span", "meta");
    for (const [text, name, place] of row[META]) {
      const piece = make("span", name, text);
      if (place !== undefined) { piece.prepend(chip(place)); piece.title = labels[place]; }
      meta.append(piece);
    }
    const link = make("a", "", said("span", "title", row[TITLE], row[LANGUAGE]), meta);
    link.href = "#text-" + (at + 1);
    if (at === reading) link.setAttribute("aria-current", "true");
    return make("li", "", link);
  }

  function list(bound = "") {
    const pages = Math.max(1, Math.ceil(shown.length / PAGE));
    const noun = find("panes").dataset.noun;
    find("found").textContent = bound + number(shown.length) + " of " + number(index.rows.length) + (noun && " " + noun);
    find("progress").textContent = "";
    find("items").replaceChildren(...shown.slice(page * PAGE, (page + 1) * PAGE).map(item));
    find("items").scrollTop = 0;
    const [back, on] = [["Previous", -1], ["Next", 1]].map(([name, by]) => {
      const button = make("button", "", name);
      button.type = "button";
      button.disabled = page + by < 0 || page + by >= pages;
      button.onclick = () => { page += by; list(); };
      return button;
    });
    find("pager").replaceChildren(back, make("span", "", "page " + number(page + 1) + " of " + number(pages)), on);
    find("pager").hidden = pages === 1;
  }

  function facts(pairs) {
    return make("dl", "facts", ...pairs.map(([name, value, kind]) => make("div", "", make("dt", "", ...label(name)), make("dd", kind ?? "", value))));
  }

  // The text of a panel with its marks, and a line that leads to them.
  function marked(part, language) {
    const text = said("div", "text", "", language);
    const jumps = make("p", "jumps", "Marked in the text:");
    let from = 0;
    for (const [start, end, kind, name] of part.marks) {
      const mark = make("mark", kind, part.text.slice(start, end));
      text.append(part.text.slice(from, start), mark);
      from = end;
      if (!name) continue; // goes on behind another mark
      mark.dataset.label = name;
      mark.tabIndex = -1;
      const jump = make("button", kind, name);
      jump.type = "button";
      jump.onclick = () => { mark.scrollIntoView({ block: "center" }); mark.focus({ preventScroll: true }); };
      jumps.append(jump);
    }
    text.append(part.text.slice(from));
    return [jumps, text];
  }

  // One judge's scores of an answer, with its reasons.
  function judged([heading, rows]) {
    const list = make("dl", "dimensions", ...rows.map(([name, value, reasons]) => make("div", reasons.length ? "reasoned" : "", make("dt", "", name), make("dd", "", value), ...reasons.map((reason) => said("dd", "reason", reason, "")))));
    const out = make("details", "judged", make("summary", "", ...label(heading)), list);
    out.open = true;
    return out;
  }

  // One text with what is known of it: an answer, a side of a pair, a turn, a paragraph of a draft, or its plan.
  function panel(part, language) {
    const out = make(part.summary ? "details" : "section", part.kind);
    if (part.summary) out.append(make("summary", "", part.summary));
    if (part.place !== undefined) out.style.setProperty("--c", "var(--m" + part.place + ")");
    if (part.name) out.append(make("h4", "model", ...(part.place === undefined ? [] : [chip(part.place)]), make("span", "", part.name)));
    if (part.point) out.append(said("p", "point", part.point, language));
    if (part.facts) out.append(facts(part.facts));
    const tags = make("div", "gauge", ...(part.tags ?? []).map(([text, name]) => make("span", name, text)));
    if (part.gauge) {
      const bar = make("i");
      const widest = Math.max(...part.gauge) * 1.05;
      part.gauge.forEach((words, at) => bar.style.setProperty(["--asked", "--written"][at], words / widest));
      tags.prepend(bar);
    }
    if (tags.childNodes.length) out.append(tags);
    for (const line of part.fine ?? []) out.append(make("p", "fine", line));
    for (const judge of part.judged ?? []) out.append(judged(judge));
    if (part.thinking) out.append(make("details", "thinking", make("summary", "", "Reasoning before the answer"), said("div", "text", part.thinking, language)));
    if (part.text === "") out.append(make("p", "none", "The answer is empty."));
    else out.append(...(part.marks ? marked(part, language) : [said("div", "text", part.text, language)]));
    return out;
  }

  async function open() {
    const match = /^#text-(\d+)$/.exec(location.hash);
    if (!match) return;
    const at = Number(match[1]) - 1;
    const row = index.rows[at];
    const [detail, panes] = [find("detail"), find("panes")];
    panes.classList.toggle("reading", Boolean(row));
    reading = row ? at : null;
    for (const link of find("items").querySelectorAll("a")) {
      if (link.hash === location.hash) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    if (!row) return;
    const data = await detailOf(row).catch((error) => { blocks.delete(row[BLOCK]); absent(error); });
    if (!data || reading !== at) return; // another text was chosen while this one was unpacked
    const back = make("button", "back", "Back to the list");
    back.type = "button";
    back.onclick = () => { panes.classList.remove("reading"); location.hash = filters.closest("section").id; };
    const header = make("header", "eyebrow", back, [...(data.about ?? []), ""].join(" \u00b7 "), make("code", "", row[ID]));
    const parts = [header, said("h3", "prompt ask", data.ask, row[LANGUAGE])];
    if (data.facts) parts.push(facts(data.facts));
    if (data.notice) parts.push(make("p", "notice", data.notice));
    for (const [layout, panels] of data.groups) parts.push(make("div", layout, ...panels.map((part) => panel(part, row[LANGUAGE]))));
    detail.replaceChildren(...parts);
    if (detail.getBoundingClientRect().top < 0 || matchMedia("(max-width: 58rem)").matches) detail.scrollIntoView();
    detail.focus({ preventScroll: true });
  }

  filters.addEventListener("input", select);
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.addEventListener("reset", () => setTimeout(select));
  addEventListener("hashchange", open);
  unpack(find("index").textContent).then(async (unpacked) => {
    index = unpacked;
    await select();
    await open();
    document.documentElement.dataset.ready = "yes";
    if (files && index.rows.length) detailOf(index.rows[0]).catch(absent); // at once, not only when a text is opened
  }, (error) => { find("found").textContent = "The texts could not be unpacked: " + error; });
})();
