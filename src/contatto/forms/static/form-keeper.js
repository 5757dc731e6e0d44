// Unsent answers and the id of the submission, in this browser's own storage: a repeat is the same submission.
function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Full or forbidden storage: the form still sends, it only forgets on a reload.
export function createKeeper(account, page) {
  const key = `contatto.form.${account}.${page}`;
  let state = { id: newId(), answers: {}, verdict: "" };
  try { state = { ...state, ...JSON.parse(localStorage.getItem(key)) }; } catch { /* nothing is kept */ }

  function save() {
    try { localStorage.setItem(key, JSON.stringify(state)); } catch { /* see above */ }
  }
  return {
    id: () => state.id,
    answers: () => state.answers,
    verdict: () => state.verdict,
    keep(answers) {
      state = { ...state, answers };
      save();
    },
    // what was sent need not stay in the browser
    finish(verdict) {
      state = { ...state, answers: verdict === "taken" ? {} : state.answers, verdict };
      if (verdict !== "taken") state.id = newId();
      save();
    },
    startAnew() {
      state = { id: newId(), answers: state.answers, verdict: "" };
      save();
    },
  };
}
