// The switch between the system's theme, light and dark; remembered. `theme.js` applies it on the next visit.

import { makeIcon, setIcon } from "./dom.js";
import { ICONS } from "./icons.js";

const THEMES = ["auto", "light", "dark"];
const KEY = "tidings.theme";

export function startThemeButton(node) {
  const icon = makeIcon(ICONS.auto);
  node.append(icon);
  const show = (theme) => {
    setIcon(icon, ICONS[theme]);
    node.title = `Theme: ${theme === "auto" ? "as the system has it" : theme}`;
    node.setAttribute("aria-label", node.title);
  };
  let theme = document.documentElement.dataset.theme ?? "auto";
  show(theme);
  node.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    show(theme);
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // Not remembered, then.
    }
  });
}
