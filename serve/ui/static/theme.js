// Before anything is drawn: the theme that was chosen here, else the system's.
(function () {
  var said = null;
  try { said = localStorage.getItem("raygate.theme"); } catch (_) { /* a browser that keeps nothing */ }
  if (said === "light" || said === "dark") document.documentElement.dataset.theme = said;
})();
