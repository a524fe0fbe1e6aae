// What axe-core asks of the theme: code and tables that scroll take the focus, and the buttons
// beside it, which the theme adds later, are told apart. The search has a name.
const mend = () => {
  const search = document.querySelector(".md-search");
  if (search && !search.ariaLabel) search.ariaLabel = "Search";
  const wide = document.querySelectorAll("pre > code, .md-typeset__scrollwrap");
  for (const part of wide) part.tabIndex = 0;
  document.querySelectorAll(".md-code__nav").forEach((nav, number) => {
    const label = `Code ${number + 1}`;
    if (nav.ariaLabel !== label) nav.ariaLabel = label;
  });
};
new MutationObserver(mend).observe(document.body, { childList: true, subtree: true });
mend();
