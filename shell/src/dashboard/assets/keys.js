// The keyboard: single keys and pairs such as `g t`. Nothing is taken while somebody types.

import { h } from './dom.js';
import { showDialog } from './dialogs.js';
import { settings } from './settings.js';

const PAIR_MS = 1200;
const everywhere = new Map();
let ofPage = new Map();
let first = null;
let firstAt = 0;

/** Binds keys on every page; one without a deed is only explained. @param {Record<string, [string, (() => void)?]>} keys */
export function bind(keys) {
  for (const [key, bound] of Object.entries(keys)) everywhere.set(key, bound);
}

/** Binds keys for the page that is shown, instead of those of the page before. */
export function bindPage(keys) {
  ofPage = new Map(Object.entries(keys ?? {}));
}

const find = (key) => ofPage.get(key) ?? everywhere.get(key);

function isTyping(target) {
  return target.isContentEditable || ['TEXTAREA', 'SELECT'].includes(target.tagName)
    || (target.tagName === 'INPUT' && !['checkbox', 'radio', 'button'].includes(target.type));
}

document.addEventListener('keydown', (event) => {
  if (settings.shortcuts === 'off' || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (isTyping(event.target) || document.querySelector('dialog[open]')) return;
  const now = performance.now();
  const pair = first !== null && now - firstAt < PAIR_MS ? `${first} ${event.key}` : null;
  const bound = (pair && find(pair)) ?? find(event.key);
  first = bound ? null : event.key;
  firstAt = now;
  if (!bound?.[1]) return;
  event.preventDefault();
  bound[1]();
});

/** Shows what the keys do. */
export function showHelp() {
  const rows = (keys) => [...keys].map(([key, [does]]) => h('tr', {},
    h('td', {}, key.split(' ').map((it) => [h('kbd', {}, it), ' '])), h('td', {}, does)));
  showDialog('Keyboard', h('div', {},
    h('table', { class: 'plain' }, h('tbody', {}, rows(ofPage), rows(everywhere))),
    h('p', { class: 'faint' }, 'Shortcuts can be switched off under Settings.')));
}
