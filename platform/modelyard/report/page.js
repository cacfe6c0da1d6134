"use strict";
// The reading under the pointer, copying of digests, and open details on paper. The page is whole without it.
const reading = document.createElement("div");
reading.className = "reading";
reading.hidden = true;
document.body.append(reading);

const shown = (value) =>
  Math.abs(value) >= 10000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(4)));

function nearest(points, x) {
  let low = 0, high = points.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (points[middle][2] < x) low = middle; else high = middle;
  }
  return Math.abs(points[low][2] - x) < Math.abs(points[high][2] - x) ? points[low] : points[high];
}

function row(name, value, look) {
  const line = document.createElement("div");
  const key = document.createElement("span");
  key.className = "key " + look;
  const words = document.createElement("span");
  words.textContent = name;
  const number = document.createElement("b");
  number.textContent = value;
  line.append(key, words, number);
  return line;
}

function read(svg, series, event) {
  const box = svg.getBoundingClientRect();
  const scale = svg.viewBox.baseVal.width / box.width;
  const x = (event.clientX - box.left) * scale;
  const first = nearest(series[series.length > 1 ? 1 : 0].points, x);
  const head = document.createElement("div");
  head.className = "head";
  head.textContent = "step " + first[0].toLocaleString("en");
  const rows = series.map((one) => [one, nearest(one.points, x)])
    .filter(([, point]) => Math.abs(point[2] - first[2]) < 8)
    .map(([one, point]) => row(one.name, shown(point[1]), one.look));
  reading.replaceChildren(head, ...rows);
  reading.hidden = false;
  const cursor = svg.querySelector(".cursor");
  cursor.setAttribute("x1", first[2]);
  cursor.setAttribute("x2", first[2]);
  cursor.classList.add("on");
  const left = box.left + first[2] / scale;
  const flip = left + reading.offsetWidth + 24 > document.documentElement.clientWidth;
  reading.style.left = (flip ? left - reading.offsetWidth - 12 : left + 12) + "px";
  reading.style.top = box.top + window.scrollY + 8 + "px";
}

for (const svg of document.querySelectorAll("svg[data-series]")) {
  const series = JSON.parse(svg.dataset.series);
  svg.addEventListener("pointermove", (event) => read(svg, series, event));
  svg.addEventListener("pointerleave", () => {
    reading.hidden = true;
    svg.querySelector(".cursor").classList.remove("on");
  });
}

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "copied";
  });
}

window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
