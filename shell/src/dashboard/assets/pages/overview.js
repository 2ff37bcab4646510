// The whole cluster at a glance.

import { api } from '../api.js';
import { chart } from '../charts.js';
import { h, keyed, replace, setAttr, setText } from '../dom.js';
import { badge, bytes, clock, compact, count, many, rate, setBadge, shortId, span } from '../format.js';
import { live } from '../live.js';
import { reading } from '../reading.js';
import { link, toTask, toTasks } from '../route.js';

const RANGES = { '1h': 'Last hour', '24h': 'Last day' };
const EVENTS_MAX = 20;
const HISTORY_MS = 5000;
/** When nothing happens the charts still move on. */
const HISTORY_IDLE_MS = 30_000;

const perSecond = (name) => (point) => point[name] / point.step;
const length = (value) => (value === null ? '–' : span(value));
const level = (value) => (value === null ? '–' : compact(value));

function charts() {
  const percentiles = (of) => ['p50', 'p95', 'p99'].map((name) => ({ name, value: (it) => it[of]?.[name] ?? null }));
  const levels = (...names) => names.map((name) => ({ name, value: (it) => it[name] ?? null }));
  const rates = (...names) => names.map((name) => ({ name, value: perSecond(name) }));
  return [
    chart({ title: 'Tasks a second', spell: rate, series: rates('accepted', 'completed') }),
    chart({ title: 'Failures a second', spell: rate, series: rates('failed', 'retried', 'lost', 'cancelled') }),
    chart({ title: 'Tasks in the queues', spell: level, series: levels('pending', 'running', 'scheduled', 'retrying') }),
    chart({ title: 'Age of the oldest waiting task', spell: length, series: [{ name: 'oldest', value: (it) => it.oldest_age_ms ?? null }] }),
    chart({ title: 'Wait before the start', spell: length, series: percentiles('wait_ms') }),
    chart({ title: 'Time to run', spell: length, series: percentiles('run_ms') }),
    chart({ title: 'Slots', spell: level, series: [{ name: 'all', value: (it) => it.slots ?? null }, { name: 'in use', value: (it) => it.slots_used ?? null }] }),
  ];
}

/** A figure with its name, which leads to what it counts. */
function tile(name, href) {
  const value = h('span', { class: 'figure' }, '–');
  const more = h('span', { class: 'faint' });
  const element = h(href ? 'a' : 'div', { class: 'tile', href }, h('span', { class: 'tile-name' }, name), value, more);
  return { element, set: (text, about = '') => { setText(value, text); setText(more, about); } };
}

function tiles() {
  const of = (state) => toTasks(`state:${state}`);
  const all = {
    total: tile('All tasks', link(['tasks'])),
    pending: tile('Queue length', of('pending')),
    running: tile('Running', of('running')),
    completed: tile('Completed', of('completed')),
    failed: tile('Failed', of('failed')),
    scheduled: tile('Scheduled', of('scheduled')),
    retrying: tile('Retrying', of('retrying')),
    cancelled: tile('Cancelled', of('cancelled')),
    workers: tile('Workers', link(['nodes'])),
    store: tile('Store', null),
  };
  const show = (stats) => {
    const { tasks, rates, store } = stats;
    const about = (name) => (rates?.[name] === undefined || rates?.[name] === null ? '' : rate(rates[name]));
    all.total.set(count(tasks.total), about('accepted'));
    all.completed.set(count(tasks.completed), about('completed'));
    all.failed.set(count(tasks.failed), stats.dead ? `${count(stats.dead)} wait for a person` : about('failed'));
    all.retrying.set(count(tasks.retrying), about('retried'));
    for (const name of ['pending', 'running', 'scheduled', 'cancelled']) all[name].set(count(tasks[name]));
    all.workers.set(count(stats.workers), `${many(stats.slots, 'slot')}, ${many(stats.schedulers, 'scheduler')}`);
    const used = store.quota_bytes ? `${bytes(store.used_bytes)} of ${bytes(store.quota_bytes)}` : bytes(store.used_bytes);
    all.store.set(store.level, used);
    setAttr(all.store.element, 'data-level', store.level);
  };
  return { element: h('div', { class: 'tiles' }, Object.values(all).map((it) => it.element)), show };
}

/** The last changes that this tab heard of. */
function lastEvents() {
  const list = h('ol', { class: 'events' });
  const none = h('p', { class: 'faint' }, 'None since this page was opened. Submit a task: ',
    h('code', {}, 'windlass task submit echo --payload \'{"hello":"world"}\''));
  let events = [];
  let number = 0;
  const add = (frame) => {
    const at = new Date().toISOString();
    const fresh = frame.tasks.slice(-EVENTS_MAX).reverse().map((it) => ({ ...it, at, number: (number += 1) }));
    events = [...fresh, ...events].slice(0, EVENTS_MAX);
    none.hidden = events.length > 0;
    keyed(list, events, (it) => it.number, (it) => h('li', {},
      h('time', { datetime: it.at, class: 'faint' }, clock(it.at)), ' ', badge(it.status), ' ',
      h('a', { href: toTask(it.id), title: it.id }, it.type ?? 'task', ' ', shortId(it.id)), ' ', h('span', { class: 'faint' }, it.queue)),
    (node, it) => setBadge(node.querySelector('.badge'), it.status));
  };
  return { element: h('section', { 'aria-labelledby': 'last-events' }, h('h2', { id: 'last-events' }, 'Last changes'), none, list), add };
}

/** @param {import('../route.js').Route} route */
export function overview(route) {
  const range = Object.hasOwn(RANGES, route.query.get('range')) ? route.query.get('range') : '1h';
  const figures = tiles();
  const drawn = charts();
  const events = lastEvents();
  const history = reading((signal) => api.history(range, signal), ({ step_seconds: step, points }) => {
    const known = points.map((it) => ({ ...it, step }));
    drawn.forEach((it) => it.update(known));
  }, HISTORY_MS);
  const ranges = h('nav', { class: 'tabs', 'aria-label': 'Range of the charts' }, Object.entries(RANGES).map(([key, name]) =>
    h('a', { href: link(['overview'], { range: key }), 'aria-current': key === range ? 'true' : null }, name)));
  const element = replace(h('div'), h('h1', {}, 'Overview'), figures.element,
    h('div', { class: 'beside' }, h('h2', {}, 'Over time'), ranges), history.problem,
    h('div', { class: 'charts' }, drawn.map((it) => it.element)), events.element);

  if (live.stats) figures.show(live.stats);
  history.now();
  const idle = setInterval(history.soon, HISTORY_IDLE_MS);
  return {
    title: 'Overview',
    element,
    onLive({ type, data }) {
      if (type === 'changes') events.add(data);
      else if (type === 'stats') {
        figures.show(data);
        history.soon();
      } else if (type === 'resync') history.soon();
    },
    leave() {
      clearInterval(idle);
      history.stop();
    },
  };
}
