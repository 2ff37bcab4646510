// What became of a task, step by step: waits and attempts as bars on one time line.

import { h } from './dom.js';
import { hasEnded, moment, span } from './format.js';

const ENDS = { failed: 'failed', timed_out: 'ran out of time', lost: 'lost with its worker', cancelled: 'stopped' };

const ms = (text) => (text ? new Date(text).getTime() : null);

/**
 * The steps of `task`, in order. Those between kept attempts are known; of older ones only their number is.
 * @returns {{ kind: string, label: string, from: number, to: number, note?: string }[]}
 */
export function steps(task, now) {
  const found = [];
  const add = (kind, label, from, to, note) => {
    if (from !== null && to !== null) found.push({ kind, label, from, to: Math.max(from, to), note });
  };
  let at = ms(task.created_at);
  const due = ms(task.due_at);
  const notes = [...(task.attempts ?? [])].sort((a, b) => a.attempt - b.attempt);
  if (due !== null && due > at && notes.length === 0) {
    const until = Math.min(due, ms(task.assigned_at) ?? ms(task.completed_at) ?? now);
    add('delay', 'not before its time', at, until);
    at = until;
  }
  for (const note of notes) {
    const began = ms(note.started_at) ?? ms(note.ended_at);
    add('wait', 'waited', at, began);
    const how = `${ENDS[note.end] ?? note.end} on ${note.worker_id}`;
    add(note.end === 'lost' ? 'lost' : 'failed', `attempt ${note.attempt}: ${how}`, began, ms(note.ended_at), note.error);
    at = ms(note.ended_at);
  }
  const last = notes.at(-1);
  const ended = ms(task.completed_at);
  // An attempt that spent the last of its tries, or was stopped, is among the notes already.
  if (last && ended !== null && ms(last.ended_at) >= ended) return found;
  const began = ms(task.started_at) ?? (task.status === 'running' ? ms(task.assigned_at) : null);
  if (began !== null && began >= at) {
    add('wait', 'waited', at, began);
    const how = ended === null ? 'running' : task.status;
    add(hasEnded(task.status) ? task.status : 'running', `${how} on ${task.worker_id ?? 'a worker'}`, began, ended ?? now);
  } else if (ended !== null) add('wait', `waited until it was ${task.status}`, at, ended);
  else if (due !== null && due > at) add('delay', `waits for ${moment(task.due_at)}`, at, Math.max(now, at));
  else add('wait', 'waits', at, now);
  return found;
}

/** The steps of `task` as a list of bars. */
export function timeline(task) {
  const all = steps(task, Date.now());
  if (all.length === 0) return h('p', { class: 'faint' }, 'Nothing happened yet.');
  const from = Math.min(...all.map((it) => it.from));
  const whole = Math.max(1, Math.max(...all.map((it) => it.to)) - from);
  const hidden = (task.retry_count ?? 0) + (task.losses ?? 0) - (task.attempts ?? []).length;
  return h('div', {},
    hidden > 0 && h('p', { class: 'faint' }, `Only the last ${task.attempts.length} attempts are kept; ${hidden} before them are not shown.`),
    h('ol', { class: 'timeline' }, all.map((it) => h('li', {},
      h('span', { class: 'step' }, it.label),
      h('span', { class: 'track' }, h('span', {
        class: `bar bar-${it.kind}`,
        style: {
          left: `${((it.from - from) / whole) * 100}%`,
          width: `${Math.max(0.4, ((it.to - it.from) / whole) * 100)}%`,
        },
      })),
      h('span', { class: 'length', title: `${moment(new Date(it.from))} – ${moment(new Date(it.to))}` }, span(it.to - it.from)),
      it.note && h('pre', { class: 'note' }, it.note)))));
}
