"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");

  // Contents: open beside the text, closed above it; the section in view is marked.
  const contents = document.querySelector(".contents details");
  const wide = window.matchMedia("(min-width: 60.01rem)");
  const fold = () => { if (contents) contents.open = wide.matches; };
  fold();
  wide.addEventListener("change", fold);
  const links = new Map([...document.querySelectorAll(".contents a[href^='#']")]
    .map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    const entry = entries.find((item) => item.isIntersecting);
    if (!entry) return;
    links.forEach((link) => link.removeAttribute("aria-current"));
    links.get(entry.target.id)?.setAttribute("aria-current", "true");
  }, { rootMargin: "0px 0px -75% 0px" });
  links.forEach((_, id) => { const part = document.getElementById(id); if (part) seen.observe(part); });

  // Printing shows everything, also what is folded.
  window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => { d.open = true; }));

  const table = document.querySelector("table.evidence");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const text = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const control = (name) => document.querySelector(`[data-filter=${name}]`);
  const search = control("search"), verdict = control("verdict"), kind = control("kind");
  const origin = control("rows"), posterior = control("posterior");
  const shown = document.getElementById("shown");

  // Filter
  const apply = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const fits = words.every((word) => text.get(row).includes(word))
        && (!verdict.value || row.dataset.verdict === verdict.value)
        && (!kind.value || row.dataset.kind === kind.value)
        && (!origin.value || (origin.value === "printed") === ("printed" in row.dataset))
        && (!posterior.checked || "posterior" in row.dataset);
      row.hidden = !fits;
      if (fits) count += 1;
    }
    shown.textContent = count === rows.length ? `All ${count} rows` : `${count} of ${rows.length} rows`;
  };
  const clear = () => { search.value = ""; verdict.value = ""; kind.value = ""; origin.value = ""; posterior.checked = false; apply(); };
  [search, verdict, kind, origin, posterior].forEach((item) => item.addEventListener("input", apply));
  control("clear").addEventListener("click", clear);
  document.querySelectorAll("a[data-verdict]").forEach((link) => link.addEventListener("click", () => {
    clear();
    verdict.value = link.dataset.verdict;
    apply();
  }));

  // Sort: numbers by value, text by alphabet, empty cells last, a third click restores the order printed.
  const key = (row, column) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
  const compare = (a, b) => {
    const [x, y] = [Number(a), Number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en", { numeric: true }) : x - y;
  };
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.dataset.name = header.textContent;
    header.replaceChildren(button);
    button.addEventListener("click", () => {
      const next = { ascending: "descending", descending: "none" }[header.getAttribute("aria-sort")] ?? "ascending";
      headers.forEach((other) => other.removeAttribute("aria-sort"));
      if (next !== "none") header.setAttribute("aria-sort", next);
      const sign = next === "descending" ? -1 : 1;
      const order = next === "none" ? rows : [...rows].sort((a, b) => {
        const [x, y] = [key(a, column), key(b, column)];
        if (x === "" || y === "") return (x === "") - (y === "");
        return sign * compare(x, y);
      });
      body.append(...order);
    });
  });

  // A link to a row or a fit always shows its target.
  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    if (target.hidden) { clear(); target.scrollIntoView(); }
    const folded = target.querySelector("details");
    if (folded && target.classList.contains("fit")) folded.open = true;
  };
  window.addEventListener("hashchange", reveal);
  apply();
  reveal();
})();
