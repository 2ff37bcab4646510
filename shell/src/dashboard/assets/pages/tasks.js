// The list of tasks: a query, pages newest first, and actions on what is selected or on all that matches.

import { api } from '../api.js';
import { actOnAll, actOnThese } from '../bulk.js';
import { h, replace, setText, throttled } from '../dom.js';
import { STATES, count, many } from '../format.js';
import { taskList } from '../list.js';
import { live } from '../live.js';
import { mayMatch, valueOf, withTerm } from '../query.js';
import { queryBox } from '../querybox.js';
import { reading } from '../reading.js';
import { go, link } from '../route.js';
import { mayOperate } from '../session.js';

const PAGE = 100;
/** Pages without a match that are read in a row before somebody is asked whether to go on. */
const EMPTY_PAGES_MAX = 20;
const REFRESH_MS = 1500;
/** A frame with more changes than this is not followed row by row. */
const BUSY = 200;
/** How many ended tasks are read one by one, and how often. */
const SETTLED_MAX = 10;
const SETTLE_MS = 700;

function stateTabs(q) {
  const counts = new Map();
  const chosen = valueOf(q, 'state') ?? '';
  const tab = (state) => {
    const number = h('span', { class: 'faint number' });
    counts.set(state, number);
    const current = state === chosen || (state === '' && withTerm(q, 'state', '') === q);
    return h('a', { href: link(['tasks'], { q: withTerm(q, 'state', state) }), 'aria-current': current ? 'true' : null },
      state && h('span', { 'aria-hidden': 'true' }, `${STATES[state]} `), state || 'all', ' ', number);
  };
  const element = h('nav', { class: 'tabs', 'aria-label': 'States' }, ['', ...Object.keys(STATES)].map(tab));
  // The counts are of the whole cluster: beside another filter they would mislead.
  const alone = withTerm(q, 'state', '') === '';
  const show = ({ tasks }) => {
    if (alone) counts.forEach((node, state) => setText(node, count(state ? tasks[state] : tasks.total)));
  };
  return { element, show };
}

/**
 * A change may only say that a task has ended, not how. A few such tasks are read one by one; for many the page is.
 * @param {{ refresh: (task: object) => void }} list
 */
function settling(list, readPageAnew) {
  const ids = new Set();
  const settle = throttled(async () => {
    const asked = [...ids];
    ids.clear();
    if (live.state === 'paused' || document.hidden || asked.length > SETTLED_MAX) readPageAnew();
    else (await Promise.allSettled(asked.map((id) => api.task(id)))).forEach((it) => it.status === 'fulfilled' && list.refresh(it.value));
  }, SETTLE_MS);
  return {
    add(id) {
      ids.add(id);
      settle();
    },
    stop: settle.stop,
  };
}

/** Reads one page, and on while pages are empty and more may follow. */
async function readPage(q, order, cursor, signal, looking) {
  let page = { tasks: [], next_cursor: cursor };
  for (let pages = 0; pages < EMPTY_PAGES_MAX; pages += 1) {
    page = await api.tasks({ q, order, limit: PAGE, cursor: page.next_cursor }, signal);
    if (page.tasks.length > 0 || !page.next_cursor) return page;
    looking(pages + 1);
  }
  return page;
}

function bulkBar(q, list, done) {
  if (!mayOperate()) return { element: null, select: () => {} };
  let ids = [];
  const act = (action) => async () => {
    const acted = ids.length > 0 ? await actOnThese(action, ids) : await actOnAll(action, q);
    if (acted) {
      list().clearSelection();
      done();
    }
  };
  const cancel = h('button', { type: 'button', on: { click: act('cancel') } });
  const rerun = h('button', { type: 'button', on: { click: act('rerun') } });
  const hint = h('span', { class: 'faint' });
  const select = (selected) => {
    ids = selected;
    const what = ids.length > 0 ? `${count(ids.length)} selected` : 'all that match';
    setText(cancel, `Cancel ${what}…`);
    setText(rerun, `Rerun ${what}…`);
    const idle = ids.length === 0 && q === '';
    cancel.disabled = idle;
    rerun.disabled = idle;
    setText(hint, idle ? 'Filter or select tasks to act on many.' : '');
  };
  select([]);
  return { element: h('div', { class: 'actions' }, cancel, rerun, hint), select };
}

function nothing(q) {
  if (q) return ['No task matches. ', h('a', { href: link(['tasks']) }, 'Show all tasks')];
  return ['There is no task yet. Submit one: ', h('code', {}, 'windlass task submit echo --payload \'{"hello":"world"}\'')];
}

/** @param {import('../route.js').Route} route */
export function tasks(route) {
  const q = route.query.get('q') ?? '';
  const order = route.query.get('order') === 'oldest' ? 'oldest' : 'newest';
  const cursor = route.query.get('cursor');
  const follows = order === 'newest' && !cursor;

  const box = queryBox({ value: q, onSubmit: (text) => go(link(['tasks'], { q: text, order: order === 'oldest' ? order : '' })) });
  const tabs = stateTabs(q);
  const total = h('span', { class: 'faint', role: 'status' });
  const fresh = h('button', { type: 'button', class: 'fresh', hidden: true, on: { click: () => reader.now() } });
  const bar = bulkBar(q, () => list, () => reader.now());
  const list = taskList({ onSelect: bar.select });
  const empty = h('p', { class: 'note', hidden: true });
  const pager = h('nav', { class: 'pager', 'aria-label': 'Parts of the list' });

  const looking = (pages) => setText(total, `Looking… ${many(pages, 'page')} without a match so far`);
  const show = ({ tasks: found, next_cursor: next }) => {
    fresh.hidden = true;
    box.setError(null);
    list.show(found);
    list.element.hidden = found.length === 0;
    empty.hidden = found.length > 0;
    replace(empty, next ? 'No match so far; there is more to look through.' : nothing(q));
    replace(pager,
      cursor && h('a', { href: link(['tasks'], { q, order: route.query.get('order') }) }, '« First page'),
      next && h('a', { href: link(['tasks'], { q, order: route.query.get('order'), cursor: next }) }, found.length > 0 ? 'Next page »' : 'Look further »'));
  };
  const reader = reading((signal) => readPage(q, order, cursor, signal, looking), show, REFRESH_MS);
  const counter = reading((signal) => (q ? api.count(q, signal) : api.stats(signal).then((it) => ({ count: it.tasks.total, exact: true, ever: true }))),
    (it) => setText(total, it.ever ? `${many(it.count, 'task')} ever accepted` : `${it.exact ? '' : 'more than '}${count(it.count)} match`), 10_000);

  const settler = settling(list, reader.soon);
  const onChanges = (frame) => {
    const unknown = [];
    for (const it of frame.tasks) {
      if (!list.patch(it)) {
        if (mayMatch(q, it)) unknown.push(it);
      } else if (it.status === 'ended') settler.add(it.id);
    }
    const busy = frame.tasks_omitted > 0 || frame.tasks.length > BUSY;
    if (!follows || (unknown.length === 0 && !busy)) return;
    const reads = list.element.contains(document.activeElement) || list.element.querySelector('tr[aria-selected]');
    if (!busy && !reads) reader.soon();
    else {
      fresh.hidden = false;
      setText(fresh, busy ? 'Many changes: show the newest' : 'There are newer tasks: show them');
    }
  };

  const other = order === 'oldest' ? 'newest' : 'oldest';
  const element = replace(h('div'),
    h('h1', {}, 'Tasks'), box.element, tabs.element,
    h('div', { class: 'beside' }, total,
      h('a', { href: link(['tasks'], { q, order: other === 'newest' ? '' : other }) }, `Show the ${other} first`), fresh),
    bar.element, reader.problem, list.element, empty, pager);
  if (live.stats) tabs.show(live.stats);
  reader.now();
  counter.now();
  return {
    title: q ? `Tasks: ${q}` : 'Tasks',
    element,
    onLive({ type, data }) {
      if (type === 'changes') onChanges(data);
      else if (type === 'stats') tabs.show(data);
      else if (type === 'resync') reader.soon();
    },
    keys: {
      '/': ['Write a filter', () => { box.input.focus(); box.input.select(); }],
      j: ['Next task', () => list.move(1)],
      k: ['Task before', () => list.move(-1)],
      x: ['Select the task, or no longer', () => list.toggle()],
      r: ['Read the list again', () => reader.now()],
      Enter: ['Open the task that has the focus'],
    },
    leave() {
      settler.stop();
      reader.stop();
      counter.stop();
    },
  };
}
