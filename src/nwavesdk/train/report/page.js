"use strict";
// Plots and tables of a page: no library, no network; the numbers are the JSON inside the page.
const data = JSON.parse(document.getElementById("data").textContent);
const hue = (i) => `var(--h${i % 6})`;
const dash = (i) => ["none", "6 3", "2 3"][Math.floor(i / 6) % 3]; // for more arms than colors
const round = (v) => Number(v.toPrecision(3));

function element(name, attributes, parent, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

// Draws a frame with axes; returns the scale from numbers to positions.
function frame(svg, [x0, x1], [y0, y1], xLabel, yLabel) {
  svg.replaceChildren();
  const W = Math.max(300, svg.clientWidth); // the text keeps its size in a wide window
  const H = Math.min(320, 0.62 * W);
  svg.setAttribute("viewBox", `0 0 ${W} ${H}`);
  const [left, right, top, bottom] = [48, W - 12, 30, H - 36];
  const x = (v) => left + ((v - x0) / (x1 - x0)) * (right - left);
  const y = (v) => bottom - ((v - y0) / (y1 - y0)) * (bottom - top);
  for (let i = 0; i <= 4; i++) {
    const [xv, yv] = [x0 + (i / 4) * (x1 - x0), y0 + (i / 4) * (y1 - y0)];
    element("line", { x1: left, x2: right, y1: y(yv), y2: y(yv), stroke: "var(--line)" }, svg);
    element("text", { x: left - 6, y: y(yv) + 4, "text-anchor": "end" }, svg, round(yv));
    element("text", { x: x(xv), y: bottom + 15, "text-anchor": "middle" }, svg, round(xv));
  }
  element("text", { x: (left + right) / 2, y: H - 5, "text-anchor": "middle" }, svg, xLabel);
  element("text", { x: 6, y: 12 }, svg, yLabel);
  return { x, y };
}

function line(svg, scale, xs, ys, color, extra = {}) {
  const d = xs.map((v, i) => `${i ? "L" : "M"}${scale.x(v).toFixed(1)},${scale.y(ys[i]).toFixed(1)}`).join("");
  element("path", { d, fill: "none", stroke: color, "stroke-width": 1.7, "stroke-linejoin": "round", ...extra }, svg);
}

function keyOf(keys, name, i) {
  const key = document.createElement("span");
  key.textContent = name;
  keys.append(key);
  const mark = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  mark.setAttribute("viewBox", "0 0 22 6");
  element("line", { x1: 0, x2: 22, y1: 3, y2: 3, stroke: hue(i), "stroke-width": 3, "stroke-dasharray": dash(i) }, mark);
  key.prepend(mark);
}

function curves(section) {
  const { z, curves: rows } = data.curves;
  const [svg, keys] = [section.querySelector("svg"), section.querySelector(".keys")];
  const relative = section.querySelector("input");
  rows.forEach((row, i) => keyOf(keys, row.name, i));
  const draw = () => {
    const shown = rows.map((row) => {
      const peak = relative.checked ? Math.max(...row.values.map(Math.abs)) || 1 : 1;
      return row.values.map((v) => v / peak);
    });
    const top = Math.max(1, ...shown.flat());
    const scale = frame(svg, [z[0], z[z.length - 1]], [Math.min(0, ...shown.flat()), top], "z = u − θ", "σ'(z)");
    line(svg, scale, [z[0], 0, 0, z[z.length - 1]], [0, 0, 1, 1], "var(--soft)", { "stroke-dasharray": "4 4" });
    shown.forEach((values, i) => line(svg, scale, z, values, hue(i), { "stroke-dasharray": dash(i) }));
  };
  relative.addEventListener("input", draw);
  return draw;
}

function trace(section) {
  const { dt, z, spikes, arms } = data.trace;
  const [svg, slider] = [section.querySelector("svg"), section.querySelector("input[type=range]")];
  const [choice, label] = [section.querySelector("select"), section.querySelector("output")];
  arms.forEach((arm) => choice.add(new Option(arm.name)));
  const times = z.map((_, t) => t * dt * 1e3);
  const draw = () => {
    const arm = arms[choice.selectedIndex];
    const at = Math.min(Number(slider.value), arm.settings.length - 1);
    slider.max = arm.settings.length - 1;
    const { label: text, derivative } = arm.settings[at];
    label.textContent = text;
    const [low, high] = [Math.min(0, ...z), Math.max(0.2 * -Math.min(0, ...z), ...z)];
    const scale = frame(svg, [0, times[times.length - 1]], [low, high], "time [ms]", "z");
    const peak = Math.max(...arm.settings.map((s) => Math.max(...s.derivative)));
    const shade = derivative.map((v) => low + (0.9 * (high - low) * v) / (peak || 1));
    line(svg, scale, [times[0], ...times, times[times.length - 1]], [low, ...shade, low], "none",
      { fill: "var(--h1)", "fill-opacity": 0.28, class: "derivative" });
    const ends = [times[0], times[times.length - 1]];
    line(svg, scale, ends, [0, 0], "var(--soft)", { "stroke-dasharray": "4 4" });
    line(svg, scale, times, z, "var(--h0)");
    for (const t of spikes) element("line", { x1: scale.x(times[t]), x2: scale.x(times[t]), y1: 14, y2: 26,
      stroke: "var(--ink)", "stroke-width": 1.5 }, svg);
    const reached = derivative.filter((v) => v > 0.01 * peak).length / derivative.length;
    section.querySelector(".reached").textContent =
      `the gradient is above 1 % of its maximum in ${(100 * reached).toFixed(0)} % of the steps`;
  };
  choice.addEventListener("input", () => { slider.value = arms[choice.selectedIndex].start; draw(); });
  slider.addEventListener("input", draw);
  slider.max = arms[0].settings.length - 1;
  slider.value = arms[0].start;
  return draw;
}

function courses(section) {
  const choice = section.querySelector("select");
  const [svg, keys] = [section.querySelector("svg"), section.querySelector(".keys")];
  Object.keys(data.courses).forEach((name) => choice.add(new Option(name)));
  const draw = () => {
    const arms = data.courses[choice.value];
    keys.replaceChildren();
    const all = Object.values(arms).flat(2);
    const length = Math.max(...Object.values(arms).flat().map((run) => run.length));
    const [low, high] = [Math.min(...all), Math.max(...all)];
    const scale = frame(svg, [1, Math.max(2, length)], [low, high > low ? high : low + 1], "epoch", choice.value);
    Object.entries(arms).forEach(([name, runs], i) => {
      keyOf(keys, name, i);
      const look = { "stroke-opacity": 0.75, "stroke-dasharray": dash(i) };
      runs.forEach((run) => line(svg, scale, run.map((_, e) => e + 1), run, hue(i), look));
    });
  };
  choice.addEventListener("input", draw);
  return draw;
}

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const order = (a, b) => {
      const [p, q] = [key(a), key(b)];
      const numbers = p !== "" && q !== "" && !isNaN(p) && !isNaN(q);
      return numbers ? p - q : p.localeCompare(q);
    };
    const rows = [...table.tBodies[0].rows].sort((a, b) => (down ? order(b, a) : order(a, b)));
    table.tBodies[0].append(...rows);
  }));
}

const plots = { curves, trace, courses };
const draws = [...document.querySelectorAll("section[data-plot]")].map((section) => plots[section.dataset.plot](section));
const all = () => draws.forEach((draw) => draw());
addEventListener("resize", all);
all();
document.querySelectorAll("table.sortable").forEach(sortable);
