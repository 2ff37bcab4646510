// Acting on many tasks: count first, ask, then one page of work a call, until none is left or somebody stops it.

import { api } from './api.js';
import { confirm, showDialog, toast } from './dialogs.js';
import { announce, h, replace, setText } from './dom.js';
import { count, many } from './format.js';

/** Above this many tasks their number must be typed. */
const TYPED_ABOVE = 100;
/** How many tasks one call takes: few enough that progress is seen. */
const PAGE = 500;
/** How many refusals are shown. */
const REFUSED_SHOWN = 20;
/** How many selected tasks are acted on at the same time. */
const AT_ONCE = 4;

const WORDS = {
  cancel: { does: 'Cancel', doing: 'Cancelling', done: 'cancelled' },
  rerun: { does: 'Rerun', doing: 'Starting again', done: 'started again' },
};

const tasks = (number) => many(number, 'task');

/** Cancels or reruns every task that matches `q`. Resolves to whether anything was done. */
export async function actOnAll(action, q) {
  let found;
  try {
    found = await api.count(q);
  } catch (error) {
    toast(error.message, true);
    return false;
  }
  if (found.count === 0) {
    toast('No task matches.');
    return false;
  }
  const most = `${found.exact ? '' : 'at least '}${tasks(found.count)}`;
  const answer = await confirm({
    title: `${WORDS[action].does} ${most}?`,
    text: [h('span', {}, 'Every task that matches ', h('code', {}, q), ', also those that come to match meanwhile. Those whose state forbids it are left as they are.')],
    action: `${WORDS[action].does} them`,
    typed: found.count > TYPED_ABOVE || !found.exact ? String(found.count) : null,
  });
  if (!answer) return false;
  await progress(action, found.count, async (step) => {
    let cursor = null;
    do {
      const page = await api.bulk({ action, q, limit: PAGE, ...(cursor && { cursor }) }, answer.reason);
      cursor = page.next_cursor;
      if (!step(page.matched, page.done, page.refused)) return;
    } while (cursor);
  });
  return true;
}

/** Cancels or reruns the tasks `ids`. Resolves to whether anything was done. */
export async function actOnThese(action, ids) {
  const answer = await confirm({
    title: `${WORDS[action].does} ${tasks(ids.length)}?`,
    text: 'Those whose state forbids it are left as they are.',
    action: `${WORDS[action].does} them`,
  });
  if (!answer) return false;
  await progress(action, ids.length, async (step) => {
    const waiting = [...ids];
    let goOn = true;
    const take = async () => {
      while (goOn && waiting.length > 0) {
        const id = waiting.shift();
        try {
          await api[action](id, answer.reason);
          goOn = step(1, 1, []) && goOn;
        } catch (error) {
          goOn = step(1, 0, [{ id, error: error.message }]) && goOn;
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, take));
  });
  return true;
}

const because = ({ error }) => (typeof error === 'string' ? error : error?.detail ?? error?.title ?? 'refused');

/** Shows how far `work` is. `work` gets a step to report with, which says whether to go on. */
async function progress(action, expected, work) {
  const words = WORDS[action];
  const sum = { matched: 0, done: 0, refused: 0 };
  let stopped = false;
  const bar = h('progress', { max: Math.max(1, expected), value: 0, 'aria-label': words.doing });
  const line = h('p', { role: 'status' });
  const refusals = h('ul', { class: 'refusals' });
  const stop = h('button', { type: 'button', class: 'danger', on: { click: () => { stopped = true; stop.disabled = true; } } }, 'Stop');
  const { dialog } = showDialog(`${words.doing} ${tasks(expected)}`, h('div', {}, bar, line, refusals), [stop]);
  // Closing it is no way to go on unseen.
  dialog.addEventListener('close', () => { stopped = true; });
  const tell = (end) => setText(line, `${end}${tasks(sum.done)} ${words.done}, ${count(sum.refused)} left as they are.`);
  const step = (matched, done, refused) => {
    sum.matched += matched;
    sum.done += done;
    sum.refused += refused.length;
    bar.max = Math.max(bar.max, sum.matched);
    bar.value = sum.matched;
    tell('');
    for (const it of refused.slice(0, Math.max(0, REFUSED_SHOWN - refusals.childElementCount))) {
      refusals.append(h('li', {}, h('code', {}, it.id), ' ', because(it)));
    }
    return !stopped;
  };
  try {
    await work(step);
    if (!stopped) bar.value = bar.max;
    tell(stopped ? 'Stopped. ' : 'Done. ');
  } catch (error) {
    tell(`It failed: ${error.message}. So far `);
  }
  replace(stop, 'Finished');
  stop.disabled = true;
  announce(line.textContent);
}
