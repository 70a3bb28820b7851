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

  function fits(row, choice) {
    const key = choice.dataset.control;
    const known = [row.dataset[key], key === "shift" ? row.dataset.kind : undefined];
    return known.every((value) => value === undefined) || known.includes(choice.value);
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
    count.textContent = `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows`;
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
