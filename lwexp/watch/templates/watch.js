// Asks the server for the runs and draws them. Text from runs only ever becomes text nodes and attributes, never markup.
"use strict";
(() => {
  const EVERY = 3000, SILENT = 180;  // milliseconds between two requests; seconds without a sign of life
  const SVG = "http://www.w3.org/2000/svg";
  const $ = (id) => document.getElementById(id);
  const TOP = 26;  // above a chart's highest point, for the unit
  let shown = {}, asked = 0, behind = 0, timer = 0;  // behind: this machine's clock, against the server's

  const make = (tag, attributes = {}, ...children) => {
    const isDrawing = ["svg", "g", "path", "line", "text", "circle"].includes(tag);
    const node = isDrawing ? document.createElementNS(SVG, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== undefined && value !== "") node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child !== undefined && child !== null));
    return node;
  };

  // Replace what is in an element if it stands for another value, and give the focus back to the link that had it.
  const fill = (id, value, build) => {
    const text = JSON.stringify(value) + (id === "charts" ? innerWidth : "");
    if (shown[id] === text) return;
    shown[id] = text;
    const href = $(id).contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    $(id).replaceChildren(...build(value));
    for (const child of $(id).children) child.draw?.();  // now that it has a width
    if (href) [...$(id).querySelectorAll("a")].find((link) => link.getAttribute("href") === href)?.focus();
  };

  const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
  const secondsSince = (time) => Math.max(0, (Date.now() - behind - Date.parse(time)) / 1000);
  const span = (seconds) => {
    for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
      if (seconds >= size) return `${Math.round(seconds / size)} ${unit}`;
    }
    return `${Math.round(seconds)} s`;
  };
  const ago = (time) => time ? span(secondsSince(time)) : "";
  const dollars = (value) => value === null ? "" : `$${value.toFixed(value > 0 && value < 0.01 ? 4 : 2)}`;
  const isSilent = (row) => row.state === "running" && row.moved && secondsSince(row.moved) > SILENT;
  const link = (key) => `#${encodeURIComponent(key)}`;

  const state = (row) => isSilent(row)
    ? make("span", { class: "state silent" }, `running, silent for ${span(secondsSince(row.moved))}`)
    : make("span", { class: `state ${row.state}` }, row.state);

  const gone = (row) => {
    if (row.share === null) return make("div", { class: "gone" }, make("p", {}, row.what || "nothing counted yet"));
    const percent = Math.floor(100 * row.share);
    const track = make("span", {
      class: "track", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": percent,
      "aria-valuetext": row.text, "aria-label": row.what,
    }, make("i", { style: `width:${100 * row.share}%` }));
    return make("div", { class: "gone" }, track, make("b", {}, `${percent}%`),
      make("p", {}, row.what === "trials" ? row.text : `${row.what}: ${row.text}`));
  };

  // The list.

  const showList = (found) => {
    const counts = Object.entries(found.counts);
    const all = counts.reduce((sum, [, count]) => sum + count, 0);
    fill("summary", found.counts, () => [headline(found.counts, all)]);
    fill("state", counts, () => {
      const chosen = $("state").value;
      return [["", all], ...counts].map(([name, count]) => {
        const option = make("option", { value: name || undefined }, `${name || "all"} (${count.toLocaleString("en")})`);
        option.value = name;
        option.selected = name === chosen;
        return option;
      });
    });
    const working = found.rows.filter((row) => row.state === "running");
    fill("working", working.map((row) => [row, isSilent(row)]), () => working.map((row) => make(
      "a", { class: "card", href: link(row.key) },
      make("p", { class: "head" }, make("span", {}, [row.kind, row.labels].filter(Boolean).join(" \u00b7 ")), state(row)),
      make("p", { class: "id" }, row.id), gone(row))));
    fill("rows", found.rows.map((row) => [row, ago(row.ended || row.created), isSilent(row)]), () => found.rows.map(line));
    const left = found.fitting - found.rows.length;
    $("more").textContent = !found.fitting ? (all ? "No run fits." : "") : left > 0
      ? `${left.toLocaleString("en")} more; search for a name to see others.` : "";
    document.title = counts.length ? `${headline(found.counts, all)} - lwexp` : "Runs - lwexp";
  };

  const headline = (counts, all) => {
    if (!all) return "No runs yet: start one, and it appears here";
    const parts = [["running", "running"], ["failed", "failed"], ["stopped", "stopped"], ["incomplete", "incomplete"]]
      .filter(([name]) => counts[name]).map(([name, said]) => `${counts[name].toLocaleString("en")} ${said}`);
    return parts.length ? `${plural(all, "run")}: ${parts.join(", ")}` : `${plural(all, "run")}, all of them done`;
  };

  const line = (row) => make("tr", {},
    make("th", { scope: "row" }, make("a", { href: link(row.key) }, row.key)),
    make("td", {}, state(row), row.note ? make("small", {}, row.note) : null),
    make("td", {}, [row.kind, row.labels].filter(Boolean).join(" \u00b7 ")),
    make("td", {}, row.state !== "running" || row.kind === "sweep" ? row.result : row.share === null ? row.what
      : `${row.what} ${Math.floor(100 * row.share)}%`),
    make("td", { class: "number" }, dollars(row.cost_usd)),
    make("td", { class: "number" }, row.state === "running" ? "now" : ago(row.ended || row.created)),
    make("td", { class: "from" }, row.parents.join(", ")));

  // One run.

  const showRun = (run) => {
    const isRunning = run.state === "running";
    const when = isRunning ? `started ${ago(run.starts?.at(-1) || run.created)} ago`
      : `${run.ended ? "ended" : "made"} ${ago(run.ended || run.created)} ago`;
    fill("about", [run.kind, run.labels, run.state, when, isSilent(run)], () => [
      state(run), ` \u00b7 ${[run.kind, run.labels, when].filter(Boolean).join(" \u00b7 ")}`]);
    fill("name", run.id, () => [run.id]);
    fill("place", [run.path, run.pages, run.made_from], () => run.path ? [
      "In ", make("code", {}, run.path), run.pages.length ? `, with ${run.pages.join(" and ")}` : "",
      ...(run.made_from.length ? ["; made from ", ...linked(run.made_from)] : [])] : []);
    const counts = run.share !== null && (isRunning || !["finished", "incomplete"].includes(run.state) || run.trials);
    fill("progress", [counts, run.share, run.text], () => counts ? [gone(run)] : []);
    $("why").hidden = !run.note;
    fill("why", run.note, () => [make("strong", {}, run.state === "failed" ? "It failed. " : "It is not finished. "),
      `${run.note.replace(/[.\s]+$/, "")}. Running its command again resumes it.`]);
    fill("tiles", run.tiles, () => run.tiles.map((tile) => make("div", {}, make("dt", {}, tile.label),
      make("dd", {}, tile.value, tile.note ? make("small", {}, tile.note) : null))));
    fill("charts", run.charts, () => run.charts.map(chart));
    fill("trials", run.trials ?? null, () => run.trials ? [trialsOf(run.trials)] : []);
    $("log-part").hidden = !run.log.length;
    const log = $("log"), isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    fill("log", run.log, () => run.log.map((text) =>
      make("span", { class: text.match(/^\S+ \S+ (WARNING|ERROR)/)?.[1] ?? "" }, `${text}\n`)));
    if (isAtEnd) log.scrollTop = log.scrollHeight;
    $("settings").hidden = !run.command;
    fill("command", run.command ?? "", () => [run.command ?? ""]);
    document.title = isRunning && run.share !== null ? `${Math.floor(100 * run.share)}% ${run.id}` : `${run.id} ${run.state}`;
  };

  const linked = (runs) => runs.flatMap(([id, key], place) => [place ? ", " : "", key ? make("a", { href: link(key) }, id) : id]);

  const trialsOf = (trials) => make("div", { class: "scroll card", tabindex: "0", role: "region", "aria-label": "Trials" },
    make("table", { class: "runs" },
      make("thead", {}, make("tr", {}, ...["Trial", "State", "Time", "Runs"].map((name) => make("th", { scope: "col" }, name)))),
      make("tbody", {}, ...trials.map((trial) => make("tr", {},
        make("th", { scope: "row" }, `${trial.number}. ${trial.label}`),
        make("td", {}, state(trial), trial.note ? make("small", {}, trial.note) : null),
        make("td", { class: "nowrap" }, trial.seconds === null ? "" : span(trial.seconds)),
        make("td", {}, ...linked(trial.runs)))))));

  // Curves: one drawing unit is one CSS pixel, so that labels keep their size at every width.

  const number = (value) => {
    const size = Math.abs(value);
    if (size !== 0 && (size >= 1e6 || size < 1e-3)) return value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
    return value.toLocaleString("en", { maximumSignificantDigits: size >= 1000 ? 6 : 4 });
  };

  const ticks = (low, high, most) => {
    const rough = (high - low) / most || 1, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((base) => base * power).find((size) => size >= rough);
    const found = [];
    for (let place = Math.ceil(low / step - 1e-9); place * step <= high + step * 1e-6; place += 1) found.push(place * step);
    return found;
  };

  const chart = (data) => {
    const last = number(data.lines[0].points.at(-1)[1]), value = make("span", { class: "last" }, last);
    const [begin, end] = [data.lines[0].points[0], data.lines[0].points.at(-1)];
    const svg = make("svg", { role: "img",
      "aria-label": `${data.title}: ${number(begin[1])} at step ${number(begin[0])}, ${last} at step ${number(end[0])}` });
    const legend = data.lines.length > 1 ? make("ul", { class: "legend" }, ...data.lines.map((each, place) =>
      make("li", {}, $(`mark-${place}`).content.cloneNode(true), make("span", {}, each.name)))) : null;
    const figure = make("figure", { class: "card chart" },
      make("figcaption", {}, make("h3", {}, make("span", {}, data.title), value), legend),
      svg, make("p", { class: "caption" }, data.caption));
    figure.draw = () => {
      const { x, height } = draw(svg, data);
      const here = make("line", { class: "here", y1: TOP, y2: height, visibility: "hidden" });
      svg.append(here);
      svg.onpointermove = (event) => {
        const at = event.clientX - svg.getBoundingClientRect().left;
        const near = data.lines[0].points.reduce((best, point) => Math.abs(x(point[0]) - at) < Math.abs(x(best[0]) - at) ? point : best);
        for (const side of ["x1", "x2"]) here.setAttribute(side, x(near[0]));
        here.setAttribute("visibility", "visible");
        value.textContent = `${number(near[1])} at step ${number(near[0])}`;
      };
      svg.onpointerleave = () => { here.setAttribute("visibility", "hidden"); value.textContent = last; };
    };
    return figure;
  };

  // Axes and lines; returns where a step lies and where the horizontal axis does.
  const draw = (svg, data) => {
    const points = data.lines.flatMap((each) => each.points), ys = points.map(([, y]) => y), xs = points.map(([x]) => x);
    const width = svg.clientWidth || 480, height = svg.clientHeight - 26;
    let [low, high] = data.chance === null ? [Math.min(...ys), Math.max(...ys)] : [0, 1];
    const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
    [low, high] = [low >= 0 ? Math.max(0, low - room) : low - room, high + room];
    const [first, end] = [Math.min(...xs), Math.max(Math.max(...xs), Math.min(...xs) + 1)];
    const names = ticks(low, high, 4).map((value) => [value, number(Number(value.toPrecision(10)))]);
    const left = 10 + 7 * Math.max(...names.map(([, name]) => name.length)), right = width - 12;
    const x = (value) => left + (value - first) / (end - first) * (right - left);
    const y = (value) => TOP + (high - value) / (high - low) * (height - TOP);
    svg.setAttribute("viewBox", `0 0 ${width} ${height + 26}`);
    svg.replaceChildren(make("text", { x: 0, y: 12 }, data.unit));
    for (const [value, name] of names) {
      svg.append(make("line", { class: "grid", x1: left, x2: right, y1: y(value), y2: y(value) }),
        make("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, name));
    }
    for (const value of ticks(first, end, Math.max(2, width / 110)).filter((each) => Number.isInteger(each))) {
      const isAtEnd = x(value) > right - 16;
      svg.append(make("text", { x: isAtEnd ? right : x(value), y: height + 20, "text-anchor": isAtEnd ? "end" : "middle" }, number(value)));
    }
    if (data.chance !== null) svg.append(make("line", { class: "guess", x1: left, x2: right, y1: y(data.chance), y2: y(data.chance) }));
    data.lines.forEach((each, place) => {
      const path = each.points.map(([a, b], at) => `${at ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");
      const tip = each.points.at(-1);
      svg.append(make("path", { d: path, stroke: `var(--m${place})` }),
        make("circle", { cx: x(tip[0]), cy: y(tip[1]), r: 3.2, fill: `var(--m${place})` }));
    });
    return { x, height };
  };

  // Requests.

  const key = () => decodeURIComponent(location.hash.slice(1));
  const path = (place) => place.split("/").map(encodeURIComponent).join("/");

  const ask = async () => {
    clearTimeout(timer);
    const number = asked += 1, place = key();
    const query = new URLSearchParams({ text: $("text").value, state: $("state").value });
    try {
      const answer = await fetch(place ? `/api/runs/${path(place)}` : `/api/runs?${query}`);
      const found = await answer.json();
      if (number !== asked) return;  // the user has gone elsewhere meanwhile
      behind = Date.now() - (Date.parse(answer.headers.get("Date")) || Date.now());
      $("lost").hidden = true;
      $("pulse").textContent = "live";
      if (answer.status === 404) { location.hash = ""; return; }
      $("list").hidden = Boolean(place);
      $("run").hidden = !place;
      if (place) showRun(found); else showList(found);
      document.documentElement.dataset.ready = "yes";
    } catch (error) {
      if (number !== asked) return;
      $("lost").hidden = false;
      $("pulse").textContent = "not connected";
    }
    if (!document.hidden) timer = setTimeout(ask, EVERY);
  };

  const showSettings = async () => {
    if (!$("settings").open || shown.values === key()) return;
    shown.values = key();
    const found = await (await fetch(`/api/settings/${path(key())}`)).json();
    $("values").replaceChildren(...found.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
  };

  addEventListener("hashchange", async () => {
    shown = {};
    $("settings").open = false;
    await ask();
    scrollTo(0, 0);
    if (key()) $("name").focus();
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
  addEventListener("resize", () => { if (key()) ask(); });
  $("settings").addEventListener("toggle", showSettings);
  $("search").addEventListener("submit", (event) => event.preventDefault());
  $("search").addEventListener("input", ask);
  ask();
})();
