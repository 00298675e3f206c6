(() => {
  // Marks of a drawing that tell their numbers under the pointer, with the keyboard, and on a tap.
  const marks = [...document.querySelectorAll("[data-tip]")];
  if (!marks.length) return;
  const box = document.createElement("div");
  box.className = "tooltip";
  box.hidden = true;
  box.setAttribute("aria-hidden", "true"); // each mark carries the same words as its label
  document.body.append(box);
  marks.forEach((mark) => mark.querySelector("title")?.remove());
  const place = (x, y) => {
    const width = document.documentElement.clientWidth;
    const left = Math.max(8, Math.min(x + 14, width - box.offsetWidth - 8));
    box.style.left = `${left + window.scrollX}px`;
    box.style.top = `${Math.max(8, y - box.offsetHeight - 12) + window.scrollY}px`;
  };
  const hide = () => {
    box.hidden = true;
    marks.forEach((mark) => mark.classList.remove("on"));
  };
  const show = (mark, x, y) => {
    hide();
    box.textContent = mark.dataset.tip;
    box.hidden = false;
    mark.parentElement.querySelectorAll("[data-tip]").forEach((other) => other.classList.toggle("on", other.dataset.tip === mark.dataset.tip));
    place(x, y);
  };
  marks.forEach((mark) => {
    mark.addEventListener("pointermove", (event) => show(mark, event.clientX, event.clientY));
    mark.addEventListener("pointerleave", hide);
    mark.addEventListener("focus", () => {
      const at = mark.getBoundingClientRect();
      show(mark, at.left + at.width / 2, at.top + 10);
    });
    mark.addEventListener("blur", hide);
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
})();
