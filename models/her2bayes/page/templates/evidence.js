(() => {
  const table = document.querySelector("table.evidence");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const text = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const names = ["search", "verdict", "section", "place", "kind", "rows", "fit", "posterior"];
  const controls = new Map(names.map((name) => [name, document.querySelector(`[data-filter=${name}]`)]));
  const shown = document.getElementById("shown");
  const read = (name) => { const item = controls.get(name); return item.type === "checkbox" ? (item.checked ? "yes" : "") : item.value; };
  const write = (name, value) => {
    const item = controls.get(name);
    if (item.type === "checkbox") item.checked = Boolean(value); else item.value = value ?? "";
    if (item.tagName === "SELECT" && item.selectedIndex < 0) item.value = "";
  };

  // Filter: what is set stands in the address, so that a link leads to the same rows.
  const tests = {
    search: (row, value) => value.toLowerCase().split(/\s+/).filter(Boolean).every((word) => text.get(row).includes(word)),
    rows: (row, value) => (value === "printed") === ("printed" in row.dataset),
    posterior: (row) => "posterior" in row.dataset,
  };
  const apply = () => {
    const set = names.map((name) => [name, read(name)]).filter(([, value]) => value);
    let count = 0;
    for (const row of rows) {
      row.hidden = !set.every(([name, value]) => tests[name] ? tests[name](row, value) : row.dataset[name] === value);
      if (!row.hidden) count += 1;
    }
    shown.textContent = count === rows.length ? `All ${count} rows` : `${count} of ${rows.length} rows`;
    return set;
  };
  const remember = () => {
    const query = new URLSearchParams(apply()).toString();
    const of = query ? `#evidence?${query}` : "#evidence";
    if (query || location.hash.startsWith("#evidence?")) history.replaceState(null, "", of);
  };
  const clear = () => names.forEach((name) => write(name, ""));
  const show = (query) => {
    clear();
    new URLSearchParams(query).forEach((value, name) => { if (controls.has(name)) write(name, value); });
    remember();
    document.getElementById("evidence").scrollIntoView();
  };
  controls.forEach((item) => item.addEventListener("input", remember));
  document.querySelector("[data-filter=clear]").addEventListener("click", () => { clear(); remember(); });
  controls.get("search").addEventListener("keydown", (event) => {
    if (event.key === "Escape") { event.currentTarget.value = ""; remember(); }
  });
  document.querySelectorAll("a[data-show]").forEach((link) => link.addEventListener("click", (event) => {
    event.preventDefault();
    history.pushState(null, "", `#evidence?${link.dataset.show}`);
    show(link.dataset.show);
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

  // An address with filters sets them; a link to a row that is filtered out shows it.
  const follow = () => {
    const [id, query] = location.hash.slice(1).split("?");
    if (id === "evidence" && query) { show(query); return; }
    const target = document.getElementById(id);
    if (target?.hidden) { clear(); apply(); target.scrollIntoView(); }
  };
  window.addEventListener("hashchange", follow);
  apply();
  follow();
})();
