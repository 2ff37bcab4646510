// The query language, as far as the page must understand it: terms are found, added and taken away, and a change is tried
// against the simple ones. The server alone decides what matches.

/** The fields that a term may start with, and what they mean. */
export const FIELDS = {
  state: 'one of the states',
  queue: 'name of a queue; a trailing * for a prefix',
  type: 'type of the task; a trailing * for a prefix',
  worker: 'the worker that has or had it',
  name: 'its name; a trailing * for a prefix',
  id: 'the beginning of its id',
  priority: '0-9, a name, or <3, >=5',
  error: 'text in its error',
  created: '>2026-11-23, <-1h',
  ended: '>2026-11-23, <-1h',
  retries: '>2, =0',
  losses: '>2, =0',
  'meta.': 'a value of its metadata: meta.KEY:VALUE',
};
export const PRIORITIES = ['critical', 'high', 'normal', 'low'];

/** The terms of `q` as they are written; quotes hold blanks together. */
export function terms(q) {
  return q.match(/(?:[^\s"]|"(?:\\.|[^"\\])*"?)+/g) ?? [];
}

/** `value` as it stands in a term. */
export function quoted(value) {
  return /^[^\s",\\]+$/.test(value) ? value : `"${value.replace(/["\\]/g, '\\$&')}"`;
}

/** `q` with `field:value` instead of any term of that field; none when `value` is empty. */
export function withTerm(q, field, value) {
  const rest = terms(q).filter((term) => !term.startsWith(`${field}:`));
  if (value) rest.push(`${field}:${quoted(value)}`);
  return rest.join(' ');
}

/** The value of the only term of `field`, or null. */
export function valueOf(q, field) {
  const found = terms(q).filter((term) => term.startsWith(`${field}:`));
  return found.length === 1 ? found[0].slice(field.length + 1) : null;
}

/**
 * Whether a change of a task may concern the list of `q`: false only when a simple term says no for sure.
 * @param {{ id: string, status: string, queue: string, type?: string }} change
 */
export function mayMatch(q, change) {
  const known = { state: change.status, queue: change.queue, type: change.type };
  return terms(q).every((term) => {
    const [, field, value] = /^(state|queue|type|id):([^"\\]+)$/.exec(term) ?? [];
    if (!field) return true;
    const wanted = value.split(',');
    if (field === 'id') return wanted.some((it) => change.id.startsWith(it));
    const is = known[field];
    if (is === undefined || is === null || is === 'ended') return true;
    return wanted.some((it) => (it.endsWith('*') ? is.startsWith(it.slice(0, -1)) : is === it));
  });
}
