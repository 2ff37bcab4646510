// The queues: what waits in them, and how they are served.

import { api } from '../api.js';
import { attempt, confirm } from '../dialogs.js';
import { h, keyed, replace, setAttr, setText } from '../dom.js';
import { count, setWhen, when } from '../format.js';
import { reading } from '../reading.js';
import { quoted } from '../query.js';
import { toTasks } from '../route.js';
import { mayOperate } from '../session.js';

const STRATEGIES = ['least_load', 'round_robin', 'random', 'weighted'];
const NUMBERS = ['Pending', 'Running', 'Delayed', 'Dead'];
const HEADS = ['Queue', 'Service', 'Pending', 'Running', 'Delayed', 'Dead', 'Oldest waits since', 'Placement'];

function strategyBox(queue, again) {
  const box = h('select', { 'aria-label': `Placement of queue ${queue.name}` }, STRATEGIES.map((it) => h('option', { value: it }, it)));
  box.addEventListener('change', async () => {
    await attempt(() => api.setStrategy(queue.name, box.value), `Queue ${queue.name} places by ${box.value}.`);
    again();
  });
  return box;
}

function pauseButton(queue, again) {
  const button = h('button', { type: 'button' });
  button.addEventListener('click', async () => {
    const paused = button.dataset.paused === 'yes';
    if (paused) await attempt(() => api.resumeQueue(queue.name), `Queue ${queue.name} is served again.`);
    else {
      const answer = await confirm({
        title: `Pause queue ${queue.name}?`,
        text: 'Nothing that waits in it is started until it is resumed. What runs goes on.',
        action: 'Pause it',
      });
      if (!answer) return;
      await attempt(() => api.pauseQueue(queue.name, answer.reason), `Queue ${queue.name} is paused.`);
    }
    again();
  });
  return button;
}

function row(queue, again) {
  const cell = (state) => h('a', { class: 'number', href: toTasks(`queue:${quoted(queue.name)} state:${state}`) });
  const cells = {
    service: h('span', { class: 'badge' }),
    pending: cell('pending'),
    running: cell('running'),
    delayed: cell('scheduled,retrying'),
    dead: cell('failed'),
    oldest: when(queue.oldest_at),
    strategy: mayOperate() ? strategyBox(queue, again) : h('span'),
    button: mayOperate() ? pauseButton(queue, again) : null,
  };
  const node = h('tr', { 'data-queue': queue.name },
    h('th', { scope: 'row' }, h('a', { href: toTasks(`queue:${quoted(queue.name)}`) }, queue.name)),
    h('td', {}, cells.service),
    ['pending', 'running', 'delayed', 'dead'].map((it) => h('td', { class: 'number' }, cells[it])),
    h('td', {}, cells.oldest), h('td', {}, cells.strategy), cells.button && h('td', {}, cells.button));
  node.cells_ = cells;
  return node;
}

function update(node, queue) {
  const { service, oldest, strategy, button } = node.cells_;
  setText(service, queue.paused ? '❚❚ paused' : '▶ served');
  setAttr(service, 'class', `badge ${queue.paused ? 'is-retrying' : 'is-running'}`);
  for (const name of ['pending', 'running', 'delayed', 'dead']) setText(node.cells_[name], count(queue[name]));
  setAttr(node.cells_.dead, 'class', `number${queue.dead ? ' bad-text' : ''}`);
  setWhen(oldest, queue.oldest_at);
  if (strategy.tagName !== 'SELECT') setText(strategy, queue.strategy);
  else if (document.activeElement !== strategy) strategy.value = queue.strategy;
  if (button) {
    button.dataset.paused = queue.paused ? 'yes' : 'no';
    setText(button, queue.paused ? 'Resume' : 'Pause…');
    setAttr(button, 'aria-label', `${queue.paused ? 'Resume' : 'Pause'} queue ${queue.name}`);
  }
}

export function queues() {
  const body = h('tbody');
  const none = h('p', { class: 'note', hidden: true }, 'There is no queue yet: the first task of a queue makes it. ',
    h('code', {}, 'windlass task submit echo --queue mail'));
  const table = h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Queues' }, h('table', { class: 'rows' },
    h('caption', { class: 'unseen' }, 'Queues'),
    h('thead', {}, h('tr', {}, HEADS.map((it) => h('th', { scope: 'col', class: NUMBERS.includes(it) ? 'number' : null }, it)), mayOperate() && h('td'))), body));
  const reader = reading((signal) => api.queues(signal), ({ queues: found }) => {
    none.hidden = found.length > 0;
    table.hidden = found.length === 0;
    keyed(body, found, (it) => it.name, (it) => row(it, reader.now), update);
  });
  const element = replace(h('div'), h('h1', {}, 'Queues'), reader.problem, table, none);
  reader.now();
  return {
    title: 'Queues',
    element,
    onLive({ type, data }) {
      if (type === 'resync' || (type === 'changes' && (data.queues.length > 0 || data.tasks.length > 0))) reader.soon();
    },
    keys: { r: ['Read the queues again', () => reader.now()] },
    leave: reader.stop,
  };
}
