// Tables: sorting by the buttons in their heads, filtering by choices and by text, with a live count.
"use strict";
(() => {
  const text = (cell) => cell.textContent.trim();

  function compare(column, numeric, sign) {
    return (one, other) => {
      const [a, b] = [one.cells[column], other.cells[column]];
      if (!numeric) return sign * text(a).localeCompare(text(b), "en", { numeric: true });
      const [blankA, blankB] = [a.dataset.v === "", b.dataset.v === ""];
      if (blankA || blankB) return blankA - blankB; // what has no value stays last, either way
      return sign * (Number(a.dataset.v) - Number(b.dataset.v));
    };
  }

  function sort(table, head) {
    const first = head.dataset.first || "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === first ? other : first;
    for (const one of table.tHead.rows[0].cells) one.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", order);
    const rows = [...table.tBodies[0].rows];
    rows.sort(compare(head.cellIndex, head.classList.contains("number"), order === "ascending" ? 1 : -1));
    table.tBodies[0].append(...rows);
  }

  function sortable(table) {
    for (const head of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => sort(table, head));
    }
  }

  // Choices of the table itself and of the page; a row that knows nothing of a choice is not hidden by it.
  function choices(holder) {
    const page = [...document.querySelectorAll("select[data-control]:not([data-filter])")];
    const own = [...holder.querySelectorAll("select[data-filter]")];
    return [...page, ...own].filter((choice) => choice.value !== "");
  }

  function known(row, choice) {
    const key = choice.dataset.control;
    return [row.dataset[key], key === "shift" ? row.dataset.kind : undefined].filter((value) => value !== undefined);
  }

  function fits(row, choice) {
    const values = known(row, choice);
    return values.length === 0 || values.includes(choice.value);
  }

  const label = (choice) => choice.closest("label").querySelector("span").textContent.toLowerCase();

  // What hides rows: "shift: all natural, track: T2".
  function reasons(rows, chosen, wanted) {
    const felt = chosen.filter((choice) => rows.some((row) => known(row, choice).length));
    const said = felt.map((choice) => `${label(choice)}: ${choice.selectedOptions[0].textContent}`);
    return [...said, ...(wanted ? [`text: ${wanted}`] : [])].join(", ");
  }

  function filter(holder, table) {
    const search = holder.querySelector("input[data-search]");
    const wanted = (search ? search.value : "").trim().toLowerCase();
    const chosen = choices(holder);
    const rows = [...table.tBodies[0].rows];
    let shown = 0;
    for (const row of rows) {
      const found = !wanted || row.textContent.toLowerCase().includes(wanted);
      row.hidden = !(found && chosen.every((choice) => fits(row, choice)));
      shown += !row.hidden;
    }
    const count = holder.querySelector("output");
    const all = `${rows.length.toLocaleString("en")} row${rows.length === 1 ? "" : "s"}`;
    const few = `${shown.toLocaleString("en")} of ${all} (${reasons(rows, chosen, wanted)})`;
    count.textContent = shown === rows.length ? all : few;
  }

  for (const holder of document.querySelectorAll(".data")) {
    const table = holder.querySelector("table");
    const apply = () => filter(holder, table);
    sortable(table);
    holder.addEventListener("input", apply);
    for (const choice of document.querySelectorAll("select[data-control]:not([data-filter])")) {
      choice.addEventListener("change", apply);
    }
    apply();
  }
})();
