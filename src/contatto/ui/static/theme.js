// Sets the chosen colours before the first paint; runs as a plain script in the head.
(function () {
  "use strict";
  var KEY = "contatto.theme";
  function read() {
    try { return localStorage.getItem(KEY) || ""; } catch { return ""; }
  }
  function apply(choice) {
    if (choice) document.documentElement.dataset.theme = choice;
    else delete document.documentElement.dataset.theme;
  }
  apply(read());
  window.contattoTheme = {
    read: read,
    set: function (choice) {
      try { localStorage.setItem(KEY, choice); } catch { /* a private window keeps it for this page only */ }
      apply(choice);
    },
  };
})();
