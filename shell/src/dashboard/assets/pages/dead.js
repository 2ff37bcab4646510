// Tasks that failed for good and wait for a person, by queue, with the way back.

import { api } from '../api.js';
import { actOnAll } from '../bulk.js';
import { h, keyed, replace, setText } from '../dom.js';
import { count } from '../format.js';
import { taskList } from '../list.js';
import { live } from '../live.js';
import { quoted } from '../query.js';
import { reading } from '../reading.js';
import { toTasks } from '../route.js';
import { mayOperate } from '../session.js';

const PAGE = 50;
const QUERY = 'state:failed';
const ofQueue = (name) => `${QUERY} queue:${quoted(name)}`;

function row(queue, again) {
  const number = h('a', { class: 'number', href: toTasks(ofQueue(queue.name)) });
  const rerun = async () => { if (await actOnAll('rerun', ofQueue(queue.name))) again(); };
  const node = h('tr', {}, h('th', { scope: 'row' }, queue.name), h('td', { class: 'number' }, number),
    mayOperate() && h('td', {}, h('button', { type: 'button', on: { click: rerun } }, `Rerun all of ${queue.name}…`)));
  node.cells_ = { number };
  return node;
}

export function dead() {
  const body = h('tbody');
  const table = h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Dead tasks by queue' }, h('table', { class: 'rows is-narrow' },
    h('caption', { class: 'unseen' }, 'Dead tasks by queue'),
    h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'Queue'), h('th', { scope: 'col', class: 'number' }, 'Dead tasks'), mayOperate() && h('td'))), body));
  const none = h('p', { class: 'note', hidden: true }, '✓ No task waits for a person. One comes here when its retries are spent: ',
    h('code', {}, 'windlass task submit fail --payload \'{"times":9}\' --max-retries 0'));
  const list = taskList();
  const heading = h('h2', {}, 'The newest');
  const again = () => {
    queues.now();
    tasks.now();
  };
  const queues = reading((signal) => api.queues(signal), ({ queues: found }) => {
    const dead = found.filter((it) => it.dead > 0);
    none.hidden = dead.length > 0;
    table.hidden = dead.length === 0;
    keyed(body, dead, (it) => it.name, (it) => row(it, again), (node, it) => setText(node.cells_.number, count(it.dead)));
  });
  const tasks = reading((signal) => api.tasks({ q: QUERY, order: 'newest', limit: PAGE }, signal), ({ tasks: found }) => {
    list.show(found);
    list.element.hidden = found.length === 0;
    heading.hidden = found.length === 0;
  }, 2000);
  const element = replace(h('div'), h('h1', {}, 'Dead tasks'), queues.problem, none, table, tasks.problem, heading, list.element);
  let known = live.stats?.dead;
  queues.now();
  tasks.now();
  return {
    title: 'Dead tasks',
    element,
    onLive({ type, data }) {
      const counted = type === 'stats' && data.dead !== known;
      const changed = type === 'changes' && data.tasks.some((it) => list.patch(it) || it.status === 'failed');
      if (counted) known = data.dead;
      if (type === 'resync' || counted || changed) {
        queues.soon();
        tasks.soon();
      }
    },
    keys: {
      j: ['Next task', () => list.move(1)],
      k: ['Task before', () => list.move(-1)],
      r: ['Read the list again', again],
    },
    leave() {
      queues.stop();
      tasks.stop();
    },
  };
}
