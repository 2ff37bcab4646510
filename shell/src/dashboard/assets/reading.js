// Reads what a page shows, again when something changed: not more often than it bears, not unseen, not while paused.

import { h, replace, throttled } from './dom.js';
import { live } from './live.js';

/**
 * @param {(signal: AbortSignal) => Promise<any>} read
 * @param {(answer: any) => void} show
 * @param {number} pauseMs between two reads that news asked for
 */
export function reading(read, show, pauseMs = 1000) {
  const problem = h('div', { role: 'alert' });
  let under = null;
  let dirty = false;

  const now = async () => {
    under?.abort();
    const mine = new AbortController();
    under = mine;
    try {
      const answer = await read(mine.signal);
      if (mine.signal.aborted) return;
      replace(problem);
      show(answer);
    } catch (error) {
      if (mine.signal.aborted) return;
      replace(problem, h('p', { class: 'note is-bad' }, error.message, ' ',
        h('button', { type: 'button', on: { click: now } }, 'Try again')));
    } finally {
      if (under === mine) under = null;
    }
  };
  const paced = throttled(() => {
    // A read that is under way would miss what comes now; the next one has it.
    if (under) soon();
    else now();
  }, pauseMs);
  const soon = () => {
    if (live.state === 'paused') return;
    if (document.hidden) dirty = true;
    else paced();
  };
  const seen = () => {
    if (document.hidden || !dirty) return;
    dirty = false;
    soon();
  };
  document.addEventListener('visibilitychange', seen);
  return {
    /** Where it says that a read failed. */
    problem,
    /** Reads at once, whatever is paused: somebody asked. */
    now,
    /** Reads when news allow it. */
    soon,
    stop() {
      document.removeEventListener('visibilitychange', seen);
      paced.stop();
      under?.abort();
    },
  };
}
