// Applies the saved theme before the first paint. A plain script in the head: a module would run too late and flash.
(() => {
  try {
    const theme = localStorage.getItem("tidings.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage may be forbidden; the system's theme does.
  }
})();
