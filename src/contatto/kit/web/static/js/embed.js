// Inside another site there is no cookie: the visitor's token is kept in this frame's own storage, which browsers
// keep apart for each site. Where even that is forbidden, the chat lives as long as the page.
const { account, fresh } = document.body.dataset;
const key = `contatto.visitor.${account}`;

function known() {
  try {
    const kept = localStorage.getItem(key) ?? fresh;
    localStorage.setItem(key, kept);
    return kept;
  } catch {
    return fresh;
  }
}

// a token that the server does not know any more would bring us back here
const asked = new URLSearchParams(location.search).get("v");
if (asked && asked === known()) {
  try { localStorage.setItem(key, fresh); } catch { /* see above */ }
}
location.replace(`?v=${encodeURIComponent(asked === fresh ? fresh : known())}`);
