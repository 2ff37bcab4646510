// The address of what is shown. It lies behind the `#`, so that one file serves every page below any path.

/** @typedef {{ path: string[], query: URLSearchParams }} Route */

/** The route in the address bar. @returns {Route} */
export function current() {
  const [path, query] = location.hash.replace(/^#\/?/, '').split(/\?(.*)/s);
  return { path: path.split('/').filter(Boolean).map(decode), query: new URLSearchParams(query ?? '') };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The link to `path` with what of `query` is given. */
export function link(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== '');
  const text = new URLSearchParams(given).toString();
  return `#/${path.map(encodeURIComponent).join('/')}${text ? `?${text}` : ''}`;
}

/** Goes to `href`; `replace` leaves no step to come back to. */
export function go(href, replace = false) {
  if (replace) location.replace(href);
  else location.hash = href;
}

/** The link to one task. */
export const toTask = (id) => link(['tasks', id]);
/** The link to the tasks that match `q`. */
export const toTasks = (q) => link(['tasks'], { q });
