// The box that takes a query, and suggests fields and values while it is written.

import { api } from './api.js';
import { h, replace, setAttr, setText } from './dom.js';
import { STATES } from './format.js';
import { FIELDS, PRIORITIES, quoted } from './query.js';

const SUGGESTIONS_MAX = 8;
const KNOWN_FOR_MS = 30_000;

const known = { at: -Infinity, queue: [], type: [], worker: [] };

/** Reads the names of queues, types and workers, unless they were read a moment ago. */
async function learn() {
  if (performance.now() - known.at < KNOWN_FOR_MS) return;
  known.at = performance.now();
  const [queues, nodes] = await Promise.allSettled([api.queues(), api.nodes()]);
  if (queues.status === 'fulfilled') known.queue = queues.value.queues.map((it) => it.name);
  if (nodes.status === 'fulfilled') {
    const workers = nodes.value.nodes.filter((it) => it.role === 'worker');
    known.worker = workers.map((it) => it.id);
    known.type = [...new Set(workers.flatMap((it) => it.types))].sort();
  }
}

const valuesOf = (field) => ({
  state: Object.keys(STATES), priority: PRIORITIES, queue: known.queue, type: known.type, worker: known.worker,
})[field] ?? [];

/** The term at `caret`: where it starts, and its text up to there. */
function termAt(text, caret) {
  const before = text.slice(0, caret);
  const start = Math.max(before.lastIndexOf(' '), before.lastIndexOf('\t')) + 1;
  return { start, part: before.slice(start) };
}

/** What may stand for `part`: text to put there, and a word about it. */
function suggest(part) {
  const minus = part.startsWith('-') ? '-' : '';
  const bare = part.slice(minus.length);
  const [field, value] = bare.split(/:(.*)/s);
  if (value === undefined) {
    return Object.entries(FIELDS)
      .filter(([name]) => name.startsWith(bare))
      .map(([name, about]) => ({ text: `${minus}${name}${name.endsWith('.') ? '' : ':'}`, about }));
  }
  const chosen = value.includes(',') ? value.slice(0, value.lastIndexOf(',') + 1) : '';
  const last = value.slice(chosen.length);
  return valuesOf(field)
    .filter((it) => it.startsWith(last) && it !== last)
    .map((it) => ({ text: `${minus}${field}:${chosen}${quoted(it)} `, about: '' }));
}

/** @param {{ value: string, onSubmit: (q: string) => void }} options */
export function queryBox({ value, onSubmit }) {
  const input = h('input', {
    id: 'query', type: 'search', role: 'combobox', 'aria-expanded': 'false', 'aria-controls': 'suggestions',
    'aria-autocomplete': 'list', 'aria-describedby': 'query-error', autocomplete: 'off', spellcheck: 'false',
    autocapitalize: 'off', placeholder: 'state:failed queue:mail created:>-1h', value,
  });
  const options = h('ul', { id: 'suggestions', role: 'listbox', 'aria-label': 'Suggestions', hidden: true });
  const error = h('p', { id: 'query-error', class: 'bad-text', role: 'alert' });
  const element = h('form', { role: 'search', class: 'query' },
    h('label', { for: 'query' }, 'Filter'),
    h('div', { class: 'box' }, input, options),
    h('button', { type: 'submit' }, 'Apply'), error);
  let shown = [];
  let active = -1;

  const close = () => {
    shown = [];
    active = -1;
    options.hidden = true;
    setAttr(input, 'aria-expanded', 'false');
    setAttr(input, 'aria-activedescendant', null);
  };
  const mark = (index) => {
    active = index;
    [...options.children].forEach((it, i) => setAttr(it, 'aria-selected', i === index ? 'true' : 'false'));
    setAttr(input, 'aria-activedescendant', index < 0 ? null : `suggestion-${index}`);
  };
  const take = (index) => {
    const { start } = termAt(input.value, input.selectionStart);
    const rest = input.value.slice(input.selectionStart).trimStart();
    const head = input.value.slice(0, start) + shown[index].text;
    input.value = head + rest;
    input.setSelectionRange(head.length, head.length);
    open();
  };
  const open = () => {
    shown = suggest(termAt(input.value, input.selectionStart ?? 0).part).slice(0, SUGGESTIONS_MAX);
    if (shown.length === 0) return close();
    replace(options, shown.map(({ text, about }, index) => h('li', {
      id: `suggestion-${index}`, role: 'option', 'aria-selected': 'false',
      // Before the box loses the focus.
      on: { mousedown: (event) => { event.preventDefault(); take(index); } },
    }, h('code', {}, text), about && h('span', { class: 'faint' }, ` ${about}`))));
    options.hidden = false;
    setAttr(input, 'aria-expanded', 'true');
    return mark(-1);
  };
  const submit = () => {
    close();
    onSubmit(input.value.trim());
  };

  input.addEventListener('focus', () => learn().then(() => document.activeElement === input && !options.hidden && open()));
  input.addEventListener('input', open);
  input.addEventListener('blur', close);
  input.addEventListener('keydown', (event) => {
    const count = shown.length;
    if (event.key === 'ArrowDown' && count === 0) open();
    else if (event.key === 'ArrowDown') mark((active + 1) % count);
    else if (event.key === 'ArrowUp' && count > 0) mark((active <= 0 ? count : active) - 1);
    else if (event.key === 'Enter' && active >= 0) take(active);
    else if (event.key === 'Tab' && active >= 0) take(active);
    else if (event.key === 'Escape' && count > 0) close();
    else if (event.key === 'Escape') input.blur();
    else return;
    event.preventDefault();
  });
  element.addEventListener('submit', (event) => {
    event.preventDefault();
    submit();
  });
  return {
    element,
    input,
    setValue: (text) => { if (input.value !== text) input.value = text; },
    setError: (text) => {
      setText(error, text ?? '');
      setAttr(input, 'aria-invalid', text ? 'true' : null);
    },
  };
}
