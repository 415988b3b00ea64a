"use strict";
// Finds the rows of a page with a text that holds all terms. The index of words and pairs (word_index.py) names the
// texts that may hold a term; only if it cannot be sure are these texts loaded and searched.
// ``rows`` returns the block of each row and its place in it.
function textSearch({ files, load, unpack, block, rows, absent }) {
  const EAST = "\\u3040-\\u30ff\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff\\u{20000}-\\u{3ffff}";
  const LETTERS = "a-z0-9\\u00c0-\\u1fff\\u2c00-\\u2dff\\ua000-\\uf8ff\\ufb00-\\ufe0f\\ufe70-\\ufeff\\u{10000}-\\u{1ffff}";
  const PIECES = new RegExp("([" + LETTERS + "]+)|[" + EAST + "]+", "gu");
  const EMPTY = { firsts: [], keys: [], texts: [] };
  const parts = new Map(); // name of a file of the index -> promise of its content

  function part(name) {
    if (!parts.has(name)) parts.set(name, load(name).then(unpack).catch((error) => { parts.delete(name); absent(error); return EMPTY; }));
    return parts.get(name);
  }

  const words = () => part(files.words);

  // Numbers of the texts of all keys that pass a test.
  function textsOf(known, passes) {
    const found = new Set();
    known.keys.forEach((key, at) => {
      if (!passes(key)) return;
      let text = -1;
      for (const step of known.texts[at]) found.add((text += step));
    });
    return found;
  }

  const both = (some, others) => (some ? new Set([...some].filter((text) => others.has(text))) : others);

  async function textsWithPairs(run) {
    const letters = [...run];
    const pairs = letters.length === 1 ? letters : letters.slice(1).map((letter, at) => letters[at] + letter);
    const name = (pair) => files.pairs[pair.codePointAt(0) % files.pairs.length];
    const all = await Promise.all(pairs.map((pair) => (files.pairs.length ? part(name(pair)) : EMPTY))); // loaded side by side
    let found = null;
    pairs.forEach((pair, at) => {
      found = both(found, textsOf(all[at], letters.length === 1 ? (key) => key.startsWith(pair) : (key) => key === pair));
    });
    return found;
  }

  // Texts that may hold a term, null for all, and whether each of them does.
  async function textsWith(term) {
    const pieces = [...term.matchAll(PIECES)];
    const [first] = pieces;
    let texts = null;
    for (const [piece, word] of pieces) {
      texts = both(texts, word ? textsOf(await words(), (key) => key.includes(piece)) : await textsWithPairs(piece));
    }
    return { texts, isSure: first?.[0] === term && (Boolean(first[1]) || [...term].length <= 2) };
  }

  // Numbers of the rows that may have a text that holds all terms, and whether each of them has.
  async function candidates(terms) {
    if (!files?.words) return { found: new Set(rows().keys()), isSure: false };
    let texts = null;
    let isSure = true;
    for (const term of terms) {
      const own = await textsWith(term);
      isSure &&= own.isSure;
      texts = own.texts ? both(texts, own.texts) : texts;
    }
    if (!texts) return { found: new Set(rows().keys()), isSure };
    const { firsts } = await words();
    const found = new Set();
    let row = 0;
    for (const text of [...texts].sort((a, b) => a - b)) {
      while (firsts[row + 1] <= text) row += 1;
      found.add(row);
    }
    return { found, isSure };
  }

  const lowered = new Map(); // number of a row -> its texts in lower case: loaded for a search, and kept
  const loading = new Map(); // block -> promise

  async function lower(at) {
    const details = await block(at);
    for (const [number, [own, spot]] of rows().entries()) {
      if (own !== at) continue;
      const data = details[spot];
      const texts = [data.ask, ...data.groups.flatMap(([, panels]) => panels.flatMap((panel) => [panel.text, panel.thinking ?? ""]))];
      lowered.set(number, texts.map((text) => text.toLowerCase()));
    }
  }

  // The rows among these that have a text that passes; ``tell`` is given how many percent of them are loaded.
  async function confirmed(numbers, passes, tell) {
    const places = rows();
    const wanted = new Set([...numbers].map((number) => places[number][0]));
    const next = wanted.values();
    let done = 0;
    const worker = async () => {
      for (const at of next) {
        if (!loading.has(at)) loading.set(at, lower(at));
        await loading.get(at).catch((error) => { loading.delete(at); absent(error); });
        done += 1;
        tell(Math.round((100 * done) / wanted.size));
      }
    };
    await Promise.all([worker(), worker(), worker(), worker()]);
    return new Set([...numbers].filter((number) => lowered.get(number)?.some(passes)));
  }

  return { words, candidates, confirmed };
}
