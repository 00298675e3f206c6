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

  // Printing shows everything, also what is folded, and folds it again.
  let folded = [];
  window.addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((d) => { d.open = true; });
  });
  window.addEventListener("afterprint", () => folded.forEach((d) => { d.open = false; }));

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
