"use strict";
const root = document.documentElement;
const toggle = document.querySelector(".toggle");
const dark = matchMedia("(prefers-color-scheme: dark)");
toggle.addEventListener("click", () => {
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : dark.matches;
  root.dataset.theme = isDark ? "light" : "dark";
});

// Sorting: a column of numbers by data-value, any other as text, empty cells always last, the written order as tie-break.
const textOf = (row, column) => {
  const text = row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  return text === "–" ? "" : text;
};
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const first = head.dataset.first || "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const direction = head.getAttribute("aria-sort") === first ? other : first;
      for (const each of heads) if (each.hasAttribute("aria-sort")) each.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", direction);
      const sign = direction === "ascending" ? 1 : -1;
      const rows = [...table.tBodies[0].rows].map((row) => ({ row, text: textOf(row, column) }));
      const numbers = rows.every(({ text }) => !isNaN(text)); // one key such as 12e45678 among others is none
      const valueOf = (text) => (numbers ? Number(text) : text.toLowerCase());
      rows.sort((left, right) => {
        if (left.text === "" || right.text === "") return (left.text === "") - (right.text === "");
        const a = valueOf(left.text), b = valueOf(right.text);
        return a < b ? -sign : a > b ? sign : 0;
      });
      table.tBodies[0].append(...rows.map(({ row }) => row));
    });
  });
}

// Charts: drawn one after another, so that the page answers meanwhile; two lists bring methods out in all of them.
const views = [];
const choices = { first: document.querySelector("#first"), second: document.querySelector("#second") };
const draw = async () => {
  for (const place of document.querySelectorAll(".chart")) {
    const spec = JSON.parse(place.nextElementSibling.textContent);
    for (const param of spec.params ?? []) if (choices[param.name]) param.value = choices[param.name].value;
    spec.config.axis.labelLimit = place.clientWidth < 480 ? 150 : 240;
    if (place.clientWidth < 480) spec.config.axisX = { titleAnchor: "end" }; // long titles have the labels' room, too
    const legend = spec.encoding?.color?.legend;
    if (legend && place.clientWidth < 480) legend.columns = 1; // side by side, the last ones would be cut off
    spec.description = place.dataset.description;
    const { view } = await vegaEmbed(place, spec, { renderer: "svg", actions: false, tooltip: { theme: "custom" } });
    views.push({ view, follows: (spec.params ?? []).map((param) => param.name) });
  }
  root.dataset.drawn = "yes";
};
for (const [name, list] of Object.entries(choices)) {
  list?.addEventListener("change", () => {
    for (const { view, follows } of views) if (follows.includes(name)) view.signal(name, list.value).runAsync();
  });
}
draw();

addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
