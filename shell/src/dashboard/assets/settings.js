// What this person chose for this browser. It stays in the browser.

const DEFAULTS = { theme: 'system', density: 'comfortable', zone: 'local', shortcuts: 'on' };
const STORE = 'windlass.settings';
const listeners = new Set();

/** The values that each setting may have, and what they are called. */
export const CHOICES = {
  theme: { system: 'As the system', light: 'Light', dark: 'Dark' },
  density: { comfortable: 'Comfortable', compact: 'Compact' },
  zone: { local: 'Local time', utc: 'UTC' },
  shortcuts: { on: 'On', off: 'Off' },
};

function load() {
  let saved = {};
  try {
    saved = JSON.parse(localStorage.getItem(STORE) ?? '{}');
  } catch {
    // Storage may be forbidden, or hold what another page wrote.
  }
  const chosen = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS)) {
    if (Object.hasOwn(CHOICES[name], saved?.[name])) chosen[name] = saved[name];
  }
  return chosen;
}

export const settings = load();

function apply() {
  const root = document.documentElement;
  root.dataset.theme = settings.theme;
  root.dataset.density = settings.density;
}

/** Chooses `value` for `name`, for all tabs of this browser. */
export function choose(name, value) {
  settings[name] = value;
  try {
    localStorage.setItem(STORE, JSON.stringify(settings));
  } catch {
    // Then it holds for this tab only.
  }
  changed();
}

/** Calls `listener` after a setting changed. */
export function onSettings(listener) {
  listeners.add(listener);
}

function changed() {
  apply();
  listeners.forEach((listener) => listener());
}

window.addEventListener('storage', (event) => {
  if (event.key === STORE) {
    Object.assign(settings, load());
    changed();
  }
});
apply();
