(() => {
  const root = document.documentElement;
  root.classList.add("js");

  // Contents: open beside the text, a bar above it on a narrow screen; the section in view is marked.
  const contents = document.querySelector(".contents details");
  const wide = window.matchMedia("(min-width: 60.01rem)");
  const fold = () => { if (contents) contents.open = wide.matches; };
  fold();
  wide.addEventListener("change", fold);
  const links = new Map([...document.querySelectorAll(".contents a[href^='#']")]
    .map((link) => [link.hash.slice(1), link]));
  links.forEach((link) => link.addEventListener("click", fold));
  const seen = new IntersectionObserver((entries) => {
    const entry = entries.find((item) => item.isIntersecting);
    if (!entry) return;
    links.forEach((link) => link.removeAttribute("aria-current"));
    links.get(entry.target.id)?.setAttribute("aria-current", "true");
  }, { rootMargin: "0px 0px -75% 0px" });
  links.forEach((_, id) => { const part = document.getElementById(id); if (part) seen.observe(part); });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !contents?.open || wide.matches) return;
    contents.open = false;
    contents.querySelector("summary").focus();
  });

  // What is unfolded is printed. Two buttons unfold everything, one of them to print it.
  const folds = () => [...document.querySelectorAll("main details")];
  const unfold = document.querySelector("[data-unfold]");
  unfold?.addEventListener("click", () => {
    const open = folds().some((fold) => !fold.open);
    folds().forEach((fold) => { fold.open = open; });
    unfold.textContent = open ? "Fold everything" : "Unfold everything";
  });
  document.querySelector("[data-print]")?.addEventListener("click", () => {
    const closed = folds().filter((fold) => !fold.open);
    closed.forEach((fold) => { fold.open = true; });
    root.classList.add("whole");
    window.addEventListener("afterprint", () => {
      closed.forEach((fold) => { fold.open = false; });
      root.classList.remove("whole");
    }, { once: true });
    window.print();
  });

  // A link to a fit, or to something folded, opens it.
  const addressed = () => { try { return decodeURIComponent(location.hash.slice(1)); } catch { return ""; } };
  const reveal = () => {
    const target = document.getElementById(addressed());
    if (!target) return;
    for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
    if (target.classList.contains("fit")) target.querySelector("details").open = true;
  };
  window.addEventListener("hashchange", reveal);
  reveal();
})();
