// The audit log: who changed what, and how that ended, as far back as this scheduler remembers.

import { api } from '../api.js';
import { h, replace } from '../dom.js';
import { when } from '../format.js';
import { reading } from '../reading.js';

const HEADS = ['When', 'Who', 'Role', 'Did', 'To', 'Reason', 'Answer', 'From'];

/** POST tasks/{id}/cancel → cancel; PUT queues/{queue} → put queues */
function deed(record) {
  const parts = record.route.replace('/api/v1/', '').split('/').filter((it) => !it.startsWith('{'));
  return parts.length > 1 ? `${parts.at(-1)} (${parts[0]})` : `${record.method.toLowerCase()} ${parts[0]}`;
}

const row = (record) => h('tr', {},
  h('td', {}, when(record.at)), h('td', {}, record.principal), h('td', {}, record.role), h('td', {}, deed(record)),
  h('td', {}, h('code', {}, record.object ?? '')), h('td', { class: 'clip' }, record.reason ?? ''),
  h('td', { class: record.status >= 400 ? 'bad-text' : null }, `${record.status >= 400 ? '✕' : '✓'} ${record.status}`),
  h('td', {}, record.source));

export function audit() {
  const body = h('tbody');
  const none = h('p', { class: 'note', hidden: true }, 'Nobody has changed anything by way of this scheduler yet.');
  const table = h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Audit log' }, h('table', { class: 'rows' },
    h('caption', { class: 'unseen' }, 'Audit log'),
    h('thead', {}, h('tr', {}, HEADS.map((it) => h('th', { scope: 'col' }, it)))), body));
  const reader = reading((signal) => api.audit(signal), ({ records }) => {
    none.hidden = records.length > 0;
    table.hidden = records.length === 0;
    replace(body, records.map(row));
  });
  const element = replace(h('div'), h('h1', {}, 'Audit log'),
    h('p', { class: 'faint' }, 'The last actions that went through this scheduler, newest first. Other schedulers keep their own.'),
    reader.problem, none, table);
  reader.now();
  return {
    title: 'Audit log',
    element,
    onLive: ({ type }) => type === 'resync' && reader.soon(),
    keys: { r: ['Read the log again', () => reader.now()] },
    leave: reader.stop,
  };
}
