// The rows of a list of tasks. A row is made once; a change of its task changes its cells.

import { h, keyed, setAttr, setText } from './dom.js';
import { badge, setBadge, setWhen, shortId, when } from './format.js';
import { mayOperate } from './session.js';
import { toTask } from './route.js';

const PRIORITY_NAMES = { 0: 'critical', 3: 'high', 5: 'normal', 7: 'low' };

/** 5 normal */
export const priorityText = (priority) => {
  const name = PRIORITY_NAMES[priority];
  return name ? `${priority} ${name}` : String(priority);
};

/** @param {{ onSelect?: (ids: string[]) => void }} options rows can be selected when somebody wants to know */
export function taskList({ onSelect } = {}) {
  const selectable = Boolean(onSelect) && mayOperate();
  const selected = new Set();
  const all = h('input', { type: 'checkbox', 'aria-label': 'Select all tasks of this page' });
  const body = h('tbody');
  const heads = ['State', 'Type and name', 'Id', 'Queue', 'Priority', 'Created', 'Ended', 'Worker', 'Retries'];
  const element = h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Tasks' },
    h('table', { class: 'rows' },
      h('caption', { class: 'unseen' }, 'Tasks'),
      h('thead', {}, h('tr', {}, selectable && h('td', { class: 'tick' }, all), heads.map((it) => h('th', { scope: 'col', class: it === 'Retries' ? 'number' : null }, it)))),
      body));
  let tasks = [];

  const told = () => {
    all.checked = tasks.length > 0 && tasks.every((it) => selected.has(it.id));
    all.indeterminate = !all.checked && selected.size > 0;
    onSelect?.([...selected]);
  };
  const select = (id, on) => {
    if (on) selected.add(id);
    else selected.delete(id);
    const row = body.knownRows?.get(id);
    if (row) {
      row.cells_.tick.checked = on;
      setAttr(row, 'aria-selected', on ? 'true' : null);
    }
  };
  all.addEventListener('change', () => {
    tasks.forEach((it) => select(it.id, all.checked));
    told();
  });

  const create = (task) => {
    const tick = h('input', {
      type: 'checkbox', 'aria-label': `Select ${task.type} ${task.id}`,
      on: { change: () => { select(task.id, tick.checked); told(); } },
    });
    const cells = {
      tick,
      state: badge(task.status),
      name: h('span', { class: 'faint' }),
      created: when(task.created_at),
      ended: when(task.completed_at),
      worker: h('td', { class: 'clip' }),
      tries: h('td', { class: 'number' }),
    };
    const row = h('tr', { 'data-id': task.id },
      selectable && h('td', { class: 'tick' }, tick),
      h('td', {}, cells.state),
      h('td', { class: 'clip' }, h('a', { href: toTask(task.id) }, task.type), ' ', cells.name),
      h('td', {}, h('code', { title: task.id }, shortId(task.id))),
      h('td', { class: 'clip' }, task.queue),
      h('td', {}, priorityText(task.priority)),
      h('td', {}, cells.created), h('td', {}, cells.ended), cells.worker, cells.tries);
    row.cells_ = cells;
    return row;
  };
  const update = (row, task) => {
    const { state, name, ended, worker, tries } = row.cells_;
    setBadge(state, task.status);
    setText(name, task.name ?? '');
    setWhen(ended, task.completed_at);
    setText(worker, task.worker_id ?? '–');
    const losses = task.losses ? `, ${task.losses} lost` : '';
    setText(tries, `${task.retry_count} of ${task.max_retries}${losses}`);
  };

  return {
    element,
    /** Shows `next`, with every row that stays kept. */
    show(next) {
      tasks = next;
      const ids = new Set(next.map((it) => it.id));
      [...selected].filter((id) => !ids.has(id)).forEach((id) => selected.delete(id));
      keyed(body, next, (it) => it.id, create, update);
      told();
    },
    /** Shows what was read of one task anew. */
    refresh(task) {
      const row = body.knownRows?.get(task.id);
      if (row) update(row, task);
    },
    /** Takes in a change; false when its task is not shown. */
    patch(change) {
      const row = body.knownRows?.get(change.id);
      if (!row) return false;
      setBadge(row.cells_.state, change.status);
      if (change.worker_id) setText(row.cells_.worker, change.worker_id);
      return true;
    },
    clearSelection() {
      [...selected].forEach((id) => select(id, false));
      told();
    },
    size: () => tasks.length,
    /** Moves the focus by `step` rows. */
    move(step) {
      const links = [...body.querySelectorAll('tr > td > a')];
      const at = links.findIndex((it) => it.closest('tr').contains(document.activeElement));
      const next = at < 0 ? (step > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, at + step));
      links[next]?.focus();
    },
    /** Selects the row that has the focus, or no longer. */
    toggle() {
      const row = document.activeElement.closest('tr[data-id]');
      if (!selectable || !row) return;
      select(row.dataset.id, !selected.has(row.dataset.id));
      told();
    },
  };
}
