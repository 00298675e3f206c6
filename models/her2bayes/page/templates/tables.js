(() => {
  const make = (name, attributes, ...children) => {
    const item = document.createElement(name);
    Object.entries(attributes).forEach(([key, value]) => item.setAttribute(key, value));
    item.append(...children);
    return item;
  };

  // Copy: the rows that are shown, as a table for a text processor and as columns for a spreadsheet.
  const guarded = (text) => (/^[=+\-@\t\r]/.test(text) && !/^[-+]?[\d.]+$/.test(text) ? `'${text}` : text);
  const line = (cell) => {
    const parts = [...cell.querySelectorAll(":scope > span, :scope > a, :scope > code")].map((part) => part.textContent.trim());
    return (parts.length ? parts.filter(Boolean).join("; ") : cell.textContent).replace(/\s+/g, " ").trim();
  };
  const copied = (table) => {
    const rows = [...table.rows].filter((row) => !row.hidden)
      .map((row) => [...row.cells].map((cell) => [cell.dataset.name ?? line(cell), row.parentElement.tagName === "THEAD"]));
    const clean = document.createElement("table");
    rows.forEach((cells) => clean.append(make("tr", {}, ...cells.map(([text, head]) => make(head ? "th" : "td", {}, text)))));
    const title = table.caption?.textContent.trim();
    return {
      html: (title ? make("p", {}, title).outerHTML : "") + clean.outerHTML,
      plain: rows.map((cells) => cells.map(([text]) => guarded(text)).join("\t")).join("\n"),
    };
  };
  document.querySelectorAll("[data-copy]").forEach((tools) => {
    const table = tools.dataset.copy ? document.querySelector(`table.${tools.dataset.copy}`) : tools.previousElementSibling?.querySelector("table");
    if (!table) return;
    const button = make("button", { type: "button" }, "Copy table");
    const title = table.caption?.querySelector("strong")?.textContent ?? table.caption?.textContent;
    if (title) button.setAttribute("aria-label", `Copy table: ${title}`);
    const told = make("span", { role: "status" });
    button.addEventListener("click", () => {
      const { html, plain } = copied(table);
      document.addEventListener("copy", (event) => {
        event.clipboardData.setData("text/html", html);
        event.clipboardData.setData("text/plain", plain);
        event.preventDefault();
      }, { once: true });
      told.textContent = document.execCommand("copy") ? "Copied: paste into a document or a spreadsheet." : "The browser did not allow it.";
      setTimeout(() => { told.textContent = ""; }, 4000);
    });
    tools.prepend(button);
    tools.append(told);
  });

  // Choose: lists of the values of some columns, each narrowing the next; the rows chosen are shown.
  document.querySelectorAll("[data-choose]").forEach((box) => {
    const table = box.querySelector("table");
    const rows = [...table.tBodies[0].rows];
    const columns = box.dataset.choose.split(",").map(Number);
    const value = (row, column) => row.cells[column].textContent;
    const told = make("p", { role: "status", class: "muted" });
    const chosen = [];
    const filters = make("div", { class: "filters" });
    const fill = (from) => {
      for (let k = from; k < columns.length; k += 1) {
        const left = rows.filter((row) => columns.slice(0, k).every((column, j) => value(row, column) === chosen[j].value));
        const values = [...new Set(left.map((row) => value(row, columns[k])))];
        chosen[k].replaceChildren(...values.map((text) => make("option", {}, text)));
        chosen[k].parentElement.hidden = values.length < 2 && k > 0;
      }
      let count = 0;
      rows.forEach((row) => {
        row.hidden = !columns.every((column, k) => value(row, column) === chosen[k].value);
        if (!row.hidden) count += 1;
      });
      told.textContent = `${count} of ${rows.length} rows: ${chosen.map((list) => list.value).filter(Boolean).join(", ")}`;
    };
    columns.forEach((column, k) => {
      chosen[k] = make("select", {});
      chosen[k].addEventListener("input", () => fill(k + 1));
      filters.append(make("label", {}, table.tHead.rows[0].cells[column].textContent, chosen[k]));
    });
    box.before(filters, told);
    fill(0);
    [...table.rows].forEach((row) => columns.forEach((column) => { row.cells[column].hidden = true; }));
  });
})();
