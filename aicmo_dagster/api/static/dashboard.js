// Draws the page's charts from the JSON beside them, and keeps the page as the server has it now:
// the same page is asked for again, and what is marked `data-live` and differs is replaced.
"use strict";

const PAUSE = 2000;
const LONGEST_PAUSE = 30000;
const COLOURS = ["--c1", "--c2", "--c3", "--c4", "--c5"];
const CONFIG = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false };

const styles = () => getComputedStyle(document.documentElement);
const colour = (name) => styles().getPropertyValue(name).trim();

function traces(told) {
  return told.series.map((series, at) => {
    const paint = { color: colour(COLOURS[at % COLOURS.length]) };
    const named = { name: series.name };
    if (told.kind === "lines") {
      return { ...named, type: "scatter", mode: "lines", x: told.labels, y: series.values, line: { ...paint, width: 2 } };
    }
    if (told.kind === "columns") {
      return { ...named, type: "bar", x: told.labels, y: series.values, marker: paint };
    }
    if (told.kind === "intervals") {
      const beyond = (ends, sign) => series.values.map((value, i) => sign * ((ends[i] ?? value) - value));
      const error = { type: "data", symmetric: false, array: beyond(series.high, 1), arrayminus: beyond(series.low, -1), color: paint.color };
      return { ...named, type: "scatter", mode: "markers", x: series.values, y: told.labels, error_x: error, marker: { ...paint, size: 10 } };
    }
    const text = told.kind === "bars" ? { text: series.values.map((value) => value?.toLocaleString("en") ?? ""), textposition: "auto", textangle: 0, cliponaxis: false, insidetextfont: { color: colour("--card") }, outsidetextfont: { color: colour("--text") } } : {};
    return { ...named, ...text, type: "bar", orientation: "h", x: series.values, y: told.labels, marker: paint };
  });
}

function ticks(told) {
  if (/^\d{4}-/.test(told.labels[0])) return { type: "date", nticks: 5 };
  // Labels are "low to high": numbers stand at the edges of their bars, which lie half a bar before
  // their middles, as the mark does.
  const edges = [...told.labels.map((label) => label.split(" ")[0]), told.labels.at(-1).split(" ").at(-1)];
  const some = [...edges.keys()].filter((at) => at % 4 === 0);
  return { type: "category", tickmode: "array", tickvals: some.map((at) => at - 0.5), ticktext: some.map((at) => edges[at]) };
}

function layout(told) {
  const grid = { gridcolor: colour("--line"), zerolinecolor: colour("--line"), automargin: true, fixedrange: true };
  const flat = ["bars", "stacked", "intervals"].includes(told.kind);
  const rows = told.labels.length * (told.kind === "bars" ? told.series.length : 1);
  const values = { ...grid, rangemode: "tozero", title: { text: told.unit }, nticks: 6 };
  const labels = { ...grid, ...ticks(told), tickangle: 0, ticklabelstandoff: 8 };
  const mark = told.mark && { type: "line", xref: "x", yref: "paper", x0: told.mark[1], x1: told.mark[1], y0: 0, y1: 1, line: { color: colour("--mark"), width: 2, dash: "dash" } };
  return {
    height: flat ? Math.max(200, 110 + 26 * rows) : 300,
    margin: { l: 8, r: 16, t: 8, b: 8 },
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    font: { color: colour("--text"), family: styles().fontFamily, size: 13 },
    barmode: told.kind === "stacked" ? "stack" : "group",
    hovermode: flat ? "closest" : "x unified",
    hoverlabel: { bgcolor: colour("--card"), font: { color: colour("--text") } },
    dragmode: false,
    showlegend: told.series.length > 1,
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, traceorder: "normal" },
    xaxis: flat ? (told.kind === "intervals" ? { ...values, rangemode: "normal" } : values) : labels,
    yaxis: flat ? { ...grid, type: "category", autorange: "reversed", ticksuffix: " " } : values,
    shapes: mark ? [mark] : [],
    annotations: mark ? [{ x: told.mark[1], xref: "x", y: 1, yref: "paper", yanchor: "bottom", showarrow: false, text: told.mark[0], font: { color: colour("--mark") } }] : [],
  };
}

function draw(plot) {
  const told = JSON.parse(document.getElementById(`${plot.id}-data`).textContent);
  const margin = told.mark ? { margin: { l: 8, r: 16, t: 28, b: 8 } } : {};
  return Plotly.react(plot, traces(told), { ...layout(told), ...margin }, CONFIG);
}

const drawAll = () => Promise.all([...document.querySelectorAll(".plot")].map(draw));

function idsOf(page) {
  return [...page.querySelectorAll("[data-live]")].map((part) => part.id).join(" ");
}

async function take(text) {
  const next = new DOMParser().parseFromString(text, "text/html");
  if (idsOf(next) !== idsOf(document)) {
    document.querySelectorAll(".plot").forEach((plot) => Plotly.purge(plot));
    document.querySelector("main").replaceWith(next.querySelector("main"));
    return drawAll();
  }
  for (const part of next.querySelectorAll("[data-live]")) {
    const here = document.getElementById(part.id);
    if (here.innerHTML === part.innerHTML) continue;
    here.replaceChildren(...part.childNodes);
    if (part.id.endsWith("-data")) await draw(document.getElementById(part.id.slice(0, -5)));
  }
}

const state = { etag: null, pause: PAUSE };

function say(text) {
  const place = document.getElementById("state");
  if (place.textContent !== text) place.textContent = text;
}

async function refresh() {
  const headers = state.etag ? { "If-None-Match": state.etag } : {};
  const answer = await fetch(location.href, { headers, cache: "no-store", redirect: "manual" });
  if (answer.type === "opaqueredirect" || answer.status === 404) return location.reload();
  if (answer.status === 200) {
    state.etag = answer.headers.get("ETag");
    await take(await answer.text());
  } else if (answer.status !== 304) {
    throw new Error(`status ${answer.status}`);
  }
}

async function live() {
  if (!document.hidden) {
    try {
      await refresh();
      state.pause = PAUSE;
      say("");
    } catch {
      state.pause = Math.min(2 * state.pause, LONGEST_PAUSE);
      say("These figures are not live: the service does not answer.");
    }
  }
  setTimeout(live, state.pause);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
drawAll().then(() => {
  document.documentElement.dataset.drawn = "true";
  setTimeout(live, PAUSE);
});
