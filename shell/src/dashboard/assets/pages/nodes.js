// The nodes: workers with their slots and load, and schedulers.

import { api } from '../api.js';
import { attempt, confirm } from '../dialogs.js';
import { h, keyed, replace, setAttr, setText } from '../dom.js';
import { bytes, count, when } from '../format.js';
import { quoted } from '../query.js';
import { reading } from '../reading.js';
import { toTasks } from '../route.js';
import { mayOperate } from '../session.js';

const WORKER_HEADS = ['Worker', 'State', 'Slots in use', 'Load', 'Total run', 'CPU', 'Memory', 'Weight', 'Queues', 'Types', 'Labels', 'Version', 'Started'];
const SCHEDULER_HEADS = ['Scheduler', 'CPU', 'Memory', 'Version', 'Started'];
const NAMES_SHOWN = 6;

const cpu = (permille) => `${(permille / 10).toFixed(1)} %`;
const names = (list) => (list.length === 0 ? 'all' : list.length > NAMES_SHOWN
  ? `${list.slice(0, NAMES_SHOWN).join(', ')} and ${list.length - NAMES_SHOWN} more` : list.join(', '));

function drainButton(node, again) {
  return h('button', {
    type: 'button',
    'aria-label': `Drain ${node.id}`,
    on: {
      click: async () => {
        const answer = await confirm({
          title: `Drain ${node.id}?`,
          text: 'It takes no more tasks, finishes those that it runs, and hands back the rest.',
          action: 'Drain it',
        });
        if (answer) await attempt(() => api.drain(node.id, answer.reason), `${node.id} is being drained.`);
        if (answer) again();
      },
    },
  }, 'Drain…');
}

function workerRow(node, again) {
  const cells = {
    state: h('span', { class: 'badge' }), slots: h('a', { href: toTasks(`worker:${quoted(node.id)} state:running`) }),
    load: h('meter', { min: 0, max: 1, 'aria-label': `Load of ${node.id}` }), run: h('span'), cpu: h('span'), memory: h('span'),
    weight: h('span'), queues: h('span'), types: h('span'), labels: h('span'),
    drain: mayOperate() ? drainButton(node, again) : null,
  };
  const row = h('tr', { 'data-node': node.id }, h('th', { scope: 'row' }, node.id),
    ['state', 'slots', 'load', 'run', 'cpu', 'memory', 'weight'].map((it) => h('td', {}, cells[it])),
    ['queues', 'types', 'labels'].map((it) => h('td', { class: 'clip' }, cells[it])),
    h('td', {}, node.version), h('td', {}, when(node.started_at)), cells.drain && h('td', {}, cells.drain));
  row.cells_ = cells;
  return row;
}

function updateWorker(row, node) {
  const cells = row.cells_;
  setText(cells.state, node.draining ? '◌ draining' : '▶ serving');
  setAttr(cells.state, 'class', `badge ${node.draining ? 'is-retrying' : 'is-running'}`);
  setText(cells.slots, `${count(node.claims)} of ${count(node.slots)}`);
  const load = node.slots > 0 ? node.claims / node.slots : 0;
  cells.load.value = Math.min(1, load);
  setAttr(cells.load, 'title', `${Math.round(load * 100)} %`);
  setText(cells.run, count(node.total_run));
  setText(cells.cpu, cpu(node.cpu_permille));
  setText(cells.memory, bytes(node.memory_bytes));
  setText(cells.weight, node.weight);
  setText(cells.queues, names(node.queues));
  setText(cells.types, names(node.types));
  setAttr(cells.types, 'title', node.types.join(', '));
  setText(cells.labels, Object.entries(node.labels).map(([name, value]) => `${name}=${value}`).join(', ') || '–');
  if (cells.drain) cells.drain.hidden = node.draining;
}

function schedulerRow(node) {
  const cells = { cpu: h('span'), memory: h('span') };
  const row = h('tr', {}, h('th', { scope: 'row' }, node.id), h('td', {}, cells.cpu), h('td', {}, cells.memory),
    h('td', {}, node.version), h('td', {}, when(node.started_at)));
  row.cells_ = cells;
  return row;
}

function table(name, heads, body, acts) {
  return h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': name }, h('table', { class: 'rows' },
    h('caption', { class: 'unseen' }, name),
    h('thead', {}, h('tr', {}, heads.map((it) => h('th', { scope: 'col' }, it)), acts && h('td'))), body));
}

export function nodes() {
  const workers = h('tbody');
  const schedulers = h('tbody');
  const none = h('p', { class: 'note', hidden: true }, 'There is no worker, so nothing runs. Start one: ',
    h('code', {}, 'windlass worker --etcd URL'), ', or everything in one process: ', h('code', {}, 'windlass dev'));
  const workerTable = table('Workers', WORKER_HEADS, workers, mayOperate());
  const key = (it) => `${it.id} ${it.started_at}`;
  const reader = reading((signal) => api.nodes(signal), ({ nodes: found }) => {
    const ofRole = (role) => found.filter((it) => it.role === role);
    none.hidden = ofRole('worker').length > 0;
    workerTable.hidden = !none.hidden;
    keyed(workers, ofRole('worker'), key, (it) => workerRow(it, reader.now), updateWorker);
    keyed(schedulers, ofRole('scheduler'), key, schedulerRow, (row, it) => {
      setText(row.cells_.cpu, cpu(it.cpu_permille));
      setText(row.cells_.memory, bytes(it.memory_bytes));
    });
  });
  const element = replace(h('div'), h('h1', {}, 'Nodes'), reader.problem,
    h('h2', {}, 'Workers'), workerTable, none, h('h2', {}, 'Schedulers'), table('Schedulers', SCHEDULER_HEADS, schedulers, false));
  reader.now();
  return {
    title: 'Nodes',
    element,
    onLive({ type, data }) {
      if (type === 'resync' || (type === 'changes' && (data.nodes || data.tasks.length > 0))) reader.soon();
    },
    keys: { r: ['Read the nodes again', () => reader.now()] },
    leave: reader.stop,
  };
}
