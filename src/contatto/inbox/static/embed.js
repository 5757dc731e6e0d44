// Inside another site there is no cookie: the visitor's token is kept in this frame's own storage, which browsers
// keep apart for each site. Where that is forbidden, the site around us keeps it; without a site that answers,
// the chat lives as long as the page.
const { account, fresh } = document.body.dataset;
const key = `contatto.visitor.${account}`;
const ANSWER_WITHIN_MS = 1000;

function ownToken() {
  try {
    const kept = localStorage.getItem(key) ?? fresh;
    localStorage.setItem(key, kept);
    return kept;
  } catch {
    return "";
  }
}

function tokenOfSite() {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(fresh), ANSWER_WITHIN_MS);
    window.addEventListener("message", (event) => {
      if (event.source !== window.parent || event.data?.contatto !== "visitor") return;
      clearTimeout(timer);
      const token = event.data.token || fresh;
      window.parent.postMessage({ contatto: "keep", token }, event.origin);
      resolve(token);
    });
    window.parent.postMessage("contatto:hello", "*");
  });
}

function forget() {
  try { localStorage.setItem(key, fresh); } catch { /* see above */ }
}

// a token that the server does not know any more brings us back here, so it is let go
const asked = new URLSearchParams(location.search).get("v");
if (asked && asked === ownToken()) forget();
const found = ownToken() || (await tokenOfSite());
location.replace(`?v=${encodeURIComponent(found === asked ? fresh : found)}`);
