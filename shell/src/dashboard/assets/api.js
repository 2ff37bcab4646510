// Asks the HTTP API. Every answer that is not a success becomes an ApiError with the server's own words.

/** Where the API is: beside the page, below whatever path a proxy put in front. */
export const BASE = new URL('../../api/v1/', import.meta.url);

const TIME_OUT_MS = 30_000;

/** What the server refused, or why it was not reached (status 0). */
export class ApiError extends Error {
  /** @param {number} status @param {string} message @param {{field: string, reason: string}[]} faults */
  constructor(status, message, faults = []) {
    super(message);
    this.status = status;
    this.faults = faults;
  }
}

const lostSession = new Set();

/** Calls `listener` when the server wants a token that this browser has not given. */
export function onSignedOut(listener) {
  lostSession.add(listener);
}

/** The address of `path` with what of `query` is given. */
export function address(path, query = {}) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== '') url.searchParams.set(name, value);
  }
  return url;
}

async function failure(response) {
  let told = {};
  try {
    told = await response.json();
  } catch {
    // A proxy in between answers in its own way.
  }
  const faults = Array.isArray(told.errors) ? told.errors : [];
  const detail = told.detail ?? told.title ?? `${response.status} ${response.statusText}`;
  const fields = faults.map((it) => `${it.field} ${it.reason}`).join('; ');
  return new ApiError(response.status, fields || detail, faults);
}

async function send(method, path, { query, body, reason, signal } = {}) {
  const headers = { Accept: 'application/json' };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  // Headers carry ASCII only.
  if (reason) headers['X-Windlass-Reason'] = reason.replace(/[^ -~]/g, '?');
  const limit = AbortSignal.timeout(TIME_OUT_MS);
  let response;
  try {
    response = await fetch(address(path, query), {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
      credentials: 'same-origin',
      cache: 'no-store',
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    const why = error.name === 'TimeoutError' ? 'the server did not answer in time' : 'the server cannot be reached';
    throw new ApiError(0, why);
  }
  if (response.ok) return response;
  const error = await failure(response);
  if (response.status === 401 && path !== 'session') lostSession.forEach((listener) => listener());
  throw error;
}

const json = async (...call) => (await send(...call)).json();
const segment = encodeURIComponent;

export const api = {
  session: () => json('GET', 'session'),
  signIn: (token) => send('POST', 'session', { body: { token } }),
  signOut: () => send('DELETE', 'session'),
  stats: (signal) => json('GET', 'stats', { signal }),
  history: (range, signal) => json('GET', 'history', { query: { range }, signal }),
  tasks: (query, signal) => json('GET', 'tasks', { query, signal }),
  count: (q, signal) => json('GET', 'tasks/count', { query: { q }, signal }),
  bulk: (body, reason, signal) => json('POST', 'tasks/bulk', { body, reason, signal }),
  task: (id, signal) => json('GET', `tasks/${segment(id)}`, { signal }),
  /** The task as text: its payload is shown as it was sent. */
  taskText: async (id, signal) => (await send('GET', `tasks/${segment(id)}`, { signal })).text(),
  why: (id, signal) => json('GET', `tasks/${segment(id)}/why`, { signal }),
  cancel: (id, reason) => json('POST', `tasks/${segment(id)}/cancel`, { reason }),
  rerun: (id, reason) => json('POST', `tasks/${segment(id)}/rerun`, { reason }),
  queues: (signal) => json('GET', 'queues', { signal }),
  pauseQueue: (queue, reason) => json('POST', `queues/${segment(queue)}/pause`, { reason }),
  resumeQueue: (queue, reason) => json('POST', `queues/${segment(queue)}/resume`, { reason }),
  setStrategy: (queue, strategy, reason) => json('PUT', `queues/${segment(queue)}`, { body: { strategy }, reason }),
  audit: (signal) => json('GET', 'audit', { signal }),
  nodes: (signal) => json('GET', 'nodes', { signal }),
  drain: (node, reason) => json('POST', `nodes/${segment(node)}/drain`, { reason }),
};
