"use strict";
const root = document.documentElement;
const toggle = document.querySelector(".toggle");
const dark = matchMedia("(prefers-color-scheme: dark)");
toggle.addEventListener("click", () => {
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : dark.matches;
  root.dataset.theme = isDark ? "light" : "dark";
});

// Sorting: numbers by data-value, empty cells always last, the written order as tie-break.
const valueOf = (row, column) => {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  return text === "" ? null : isNaN(text) ? text.toLowerCase() : Number(text);
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
      const rows = [...table.tBodies[0].rows];
      rows.sort((left, right) => {
        const a = valueOf(left, column), b = valueOf(right, column);
        if (a === null || b === null) return (a === null) - (b === null);
        return a < b ? -sign : a > b ? sign : 0;
      });
      table.tBodies[0].append(...rows);
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
