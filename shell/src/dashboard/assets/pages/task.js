// One task: what became of it, what it was given, what it gave, and why it waits.

import { api, BASE } from '../api.js';
import { attempt, confirm, copyButton } from '../dialogs.js';
import { h, replace, setText } from '../dom.js';
import { badge, bytes, hasEnded, moment, setBadge, when } from '../format.js';
import { indented, members } from '../json.js';
import { priorityText } from '../list.js';
import { reading } from '../reading.js';
import { link, toTasks } from '../route.js';
import { mayOperate } from '../session.js';
import { timeline } from '../timeline.js';
import { quoted } from '../query.js';
import { showWhy } from '../why.js';

const REFRESH_MS = 500;
const WHY_MS = 3000;

const shellQuoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** A value as it was sent, laid out for reading. */
function viewer(title, raw) {
  if (raw === undefined || raw === 'null') return null;
  const size = new TextEncoder().encode(raw).length;
  return h('section', { class: 'viewer' },
    h('div', { class: 'beside' }, h('h2', {}, title), h('span', { class: 'faint' }, bytes(size)),
      copyButton('Copy', title.toLowerCase(), () => raw)),
    h('pre', { tabindex: '0', 'aria-label': title }, indented(raw)));
}

const fact = (name, value) => value !== null && value !== undefined && value !== '' && [h('dt', {}, name), h('dd', {}, value)];

function facts(task, raw) {
  // As it was sent: it may be a number that only text holds whole.
  const fence = task.fence && raw.get('fence').replaceAll('"', '');
  return h('dl', { class: 'facts' },
    fact('Queue', h('a', { href: toTasks(`queue:${quoted(task.queue)}`) }, task.queue)),
    fact('Priority', priorityText(task.priority)),
    fact('Created', [moment(task.created_at), ' (', when(task.created_at), ')']),
    fact('Not before', task.due_at && moment(task.due_at)),
    fact('Assigned', task.assigned_at && moment(task.assigned_at)),
    fact('Started', task.started_at && moment(task.started_at)),
    fact('Ended', task.completed_at && [moment(task.completed_at), ' (', when(task.completed_at), ')']),
    fact('Worker', task.worker_id && h('a', { href: link(['nodes']) }, task.worker_id)),
    fact('Fence', fence && h('code', {}, fence)),
    fact('Retries', `${task.retry_count} of ${task.max_retries}`),
    fact('Losses', task.losses || null),
    fact('Time-out', task.timeout),
    fact('Run', task.run || null));
}

function metadata(task) {
  const entries = Object.entries(task.metadata ?? {});
  if (entries.length === 0) return null;
  return h('section', {}, h('h2', {}, 'Metadata'), h('dl', { class: 'facts' }, entries.map(([name, value]) => [
    h('dt', {}, name), h('dd', {}, h('a', { href: toTasks(`meta.${name}:${quoted(value)}`) }, value || '""'))])));
}

function copies(task, text) {
  const server = new URL('../..', BASE).href.replace(/\/$/, '');
  const submit = () => {
    const payload = members(text).get('payload') ?? 'null';
    return `windlass --server ${server} task submit ${task.type} --queue ${task.queue} --priority ${task.priority}`
      + ` --max-retries ${task.max_retries} --timeout ${task.timeout} --payload ${shellQuoted(payload)}`;
  };
  return [
    copyButton('Copy id', 'id', () => task.id),
    copyButton('Copy as CLI', 'command', submit),
    copyButton('Copy as curl', 'command', () => `curl -sS ${shellQuoted(`${BASE.href}tasks/${task.id}`)}`),
  ];
}

/** @param {import('../route.js').Route} route */
export function task(route) {
  const id = route.path[1];
  const state = badge('pending');
  const name = h('span', {}, 'Task');
  const buttons = h('div', { class: 'actions' });
  const body = h('div');
  const why = h('section', { 'aria-labelledby': 'why', hidden: true });
  const reasons = h('div');
  replace(why, h('h2', { id: 'why' }, 'Why it does not run'), reasons);
  let status = null;

  const act = (action, title, text) => async () => {
    const answer = await confirm({ title, text, action: title.replace('?', '') });
    if (answer && await attempt(() => api[action](id, answer.reason), action === 'cancel' ? 'Cancelled, or told to stop.' : 'Started again.')) reader.now();
  };
  const cancel = h('button', { type: 'button', class: 'danger', on: { click: act('cancel', 'Cancel the task?', 'A task that runs is told to stop; one that waits never starts.') } }, 'Cancel…');
  const rerun = h('button', { type: 'button', on: { click: act('rerun', 'Rerun the task?', 'It waits again as if it had just been submitted; its outcome is forgotten.') } }, 'Rerun…');

  const show = (text) => {
    const shown = JSON.parse(text);
    const raw = members(text);
    status = shown.status;
    state.hidden = false;
    setBadge(state, status);
    setText(name, shown.name ? `${shown.type}: ${shown.name}` : shown.type);
    cancel.hidden = !mayOperate() || hasEnded(status);
    rerun.hidden = !mayOperate() || !['failed', 'cancelled'].includes(status);
    if (buttons.childElementCount === 0) replace(buttons, cancel, rerun, copies(shown, text));
    why.hidden = hasEnded(status);
    if (!why.hidden) asking.soon();
    // What somebody opened stays open.
    const open = body.querySelector('details.raw')?.open ?? false;
    replace(body,
      shown.error && h('section', {}, h('h2', {}, 'Error'), h('pre', { class: 'is-bad', tabindex: '0', 'aria-label': 'Error' }, shown.error)),
      h('section', {}, h('h2', {}, 'What became of it'), timeline(shown)),
      h('section', {}, h('h2', { class: 'unseen' }, 'Facts'), facts(shown, raw)),
      viewer('Payload', raw.get('payload')), viewer('Result', raw.get('result')), viewer('Progress', raw.get('progress')),
      metadata(shown),
      h('details', { class: 'raw', open }, h('summary', {}, 'Everything, as JSON'), h('pre', { tabindex: '0', 'aria-label': 'The task as JSON' }, indented(text))));
  };
  const reader = reading((signal) => api.taskText(id, signal), show, REFRESH_MS);
  const asking = reading((signal) => api.why(id, signal), (it) => showWhy(reasons, it), WHY_MS);
  state.hidden = true;
  cancel.hidden = true;
  rerun.hidden = true;
  const element = replace(h('div'),
    h('p', {}, h('a', { href: link(['tasks']) }, '« Tasks')),
    h('h1', {}, state, ' ', name), h('p', {}, h('code', { class: 'id' }, id)),
    buttons, reader.problem, why, asking.problem, body);
  reader.now();
  return {
    title: `Task ${id}`,
    element,
    onLive({ type, data }) {
      if (type === 'changes' && data.tasks.some((it) => it.id === id)) reader.soon();
      else if (type === 'changes' && data.tasks_omitted > 0) reader.soon();
      else if (type === 'stats' && status !== null && !hasEnded(status)) asking.soon();
      else if (type === 'resync') reader.soon();
    },
    keys: { r: ['Read the task again', () => reader.now()] },
    leave() {
      reader.stop();
      asking.stop();
    },
  };
}
