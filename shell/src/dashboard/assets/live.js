// News from the server: one stream however many tabs. The tab that holds a lock has the stream and passes on what it hears.
// Where a browser has no locks (plain http by another name than localhost), a tab has its own stream while it is seen.

import { address, api, BASE } from './api.js';

const NAME = `windlass-live ${BASE.pathname}`;
const WAIT_FIRST_MS = 500;
const WAIT_MAX_MS = 15_000;
const PAUSED = 'windlass.paused';
const LOOK_MS = 4000;
/** A clock that jumps by more than this was asleep: nobody tells a sleeper that its connection is gone. */
const ASLEEP_MS = 150_000;

const listeners = new Set();
const channel = 'BroadcastChannel' in window ? new BroadcastChannel(NAME) : null;
const alone = !navigator.locks;

/** @type {{ state: 'connecting'|'live'|'offline'|'paused', leads: boolean, stats: object|null }} */
export const live = { state: 'connecting', leads: false, stats: null };

let revision = null;
let started = false;
let source = null;
let retry = null;
let waits = 0;
let release = null;
let asking = null;

/** Calls `listener({ type, data })` for `changes`, `stats`, `resync` (read anew) and `state`. */
export function onLive(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function emit(type, data = null) {
  if (type === 'stats') live.stats = data;
  listeners.forEach((listener) => listener({ type, data }));
}

/** Hands on what this tab read by itself, as if it had been news. */
export function tellStats(stats) {
  emit('stats', stats);
}

function setState(state) {
  if (live.state === state) return;
  live.state = state;
  emit('state', state);
}

const isPaused = () => live.state === 'paused';

/** Begins to listen, unless this tab was paused before it was loaded again. */
export function start() {
  if (started) return;
  started = true;
  if (wasPaused()) live.state = 'paused';
  emit('state', live.state);
  if (!isPaused()) join();
}

/** Stops for good, as when the session ended. */
export function stop() {
  started = false;
  leave();
  if (!isPaused()) setState('connecting');
}

// Storage may be forbidden; then a pause ends with the page.
function wasPaused() {
  try {
    return sessionStorage.getItem(PAUSED) !== null;
  } catch {
    return false;
  }
}

function notePause(on) {
  try {
    if (on) sessionStorage.setItem(PAUSED, 'yes');
    else sessionStorage.removeItem(PAUSED);
  } catch {
    // See above.
  }
}

/** Pauses: no request goes out by itself until [`resume`]. */
export function pause() {
  notePause(true);
  leave();
  setState('paused');
}

/** Goes on. What happened meanwhile is read anew. */
export function resume() {
  notePause(false);
  setState('connecting');
  emit('resync');
  join();
}

function join() {
  if (alone) {
    if (!document.hidden) open();
    return;
  }
  channel?.postMessage({ kind: 'hello' });
  asking = new AbortController();
  const hold = () => new Promise((resolve) => {
    release = resolve;
    live.leads = true;
    open();
  });
  navigator.locks.request(NAME, { signal: asking.signal }, hold).catch((error) => {
    if (error.name !== 'AbortError') throw error;
  });
}

function leave() {
  asking?.abort();
  close();
  live.leads = false;
  release?.();
  release = null;
}

function close() {
  clearTimeout(retry);
  source?.close();
  source = null;
}

function open() {
  close();
  const first = revision === null;
  source = new EventSource(address('events', { after: revision }));
  source.addEventListener('open', () => {
    waits = 0;
    tellState('live');
    // The page was read before the stream began: what happened in between would be missed.
    if (first) emit('resync');
  });
  for (const type of ['changes', 'stats', 'resync']) {
    source.addEventListener(type, (event) => hear(type, event));
  }
  source.addEventListener('error', () => lose(source?.readyState === EventSource.CLOSED));
}

function hear(type, event) {
  const data = JSON.parse(event.data);
  if (type !== 'stats') revision = data.revision ?? event.lastEventId;
  channel?.postMessage({ kind: 'frame', type, data, revision });
  emit(type, data);
}

async function lose(refused) {
  close();
  tellState('offline');
  const wait = Math.min(WAIT_MAX_MS, WAIT_FIRST_MS * 2 ** waits) * (0.75 + Math.random() / 2);
  waits += 1;
  retry = setTimeout(open, wait);
  // A stream does not say why it was refused; a session that ended is found by asking for anything.
  if (refused) await api.stats().catch(() => null);
}

function tellState(state) {
  setState(state);
  channel?.postMessage({ kind: 'state', state, revision });
}

channel?.addEventListener('message', ({ data: message }) => {
  if (!started || isPaused()) return;
  if (message.kind === 'hello') {
    if (live.leads) channel.postMessage({ kind: 'state', state: live.state, revision, stats: live.stats });
    return;
  }
  if (message.kind === 'nudge') {
    if (live.leads && live.state === 'offline') open();
    return;
  }
  if (live.leads || alone) return;
  revision = message.revision ?? revision;
  if (message.kind === 'frame') emit(message.type, message.data);
  else {
    setState(message.state);
    if (message.stats && !live.stats) emit('stats', message.stats);
  }
});

document.addEventListener('visibilitychange', () => {
  if (!alone || !started || isPaused()) return;
  if (document.hidden) close();
  else open();
});

let looked = Date.now();
setInterval(() => {
  const slept = Date.now() - looked > ASLEEP_MS;
  looked = Date.now();
  if (!started || isPaused()) return;
  if (slept && source) open();
  // The timers of a tab that nobody sees are slow: one that is seen makes it try again.
  if (!document.hidden && live.state === 'offline' && !live.leads) channel?.postMessage({ kind: 'nudge' });
}, LOOK_MS);

window.addEventListener('online', () => {
  if (started && live.state === 'offline' && (live.leads || alone)) open();
});
