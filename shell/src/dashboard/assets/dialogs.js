// Questions, messages and the clipboard.

import { announce, h } from './dom.js';

const TOAST_MS = 6000;
const REASON_MAX = 200;

/** Opens a modal dialog. It is gone from the document once closed. */
export function showDialog(title, body, buttons = []) {
  const id = 'dialog-title';
  const close = h('button', { type: 'button', class: 'quiet', on: { click: () => dialog.close() } }, 'Close');
  const dialog = h('dialog', { 'aria-labelledby': id },
    h('h2', { id }, title), body, h('div', { class: 'actions' }, close, buttons));
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return { dialog, close };
}

/**
 * Asks whether to act. `typed` is a text that must be typed first.
 * @returns {Promise<{ reason: string } | null>} null when the answer is no
 */
export function confirm({ title, text, action, typed = null }) {
  return new Promise((resolve) => {
    const reason = h('input', { id: 'reason', maxlength: REASON_MAX, autocomplete: 'off' });
    const proof = typed && h('input', { id: 'proof', autocomplete: 'off', spellcheck: 'false' });
    const go = h('button', { type: 'submit', class: 'danger', disabled: Boolean(typed) }, action);
    proof?.addEventListener('input', () => { go.disabled = proof.value.trim() !== typed; });
    let answer = null;
    const form = h('form', {
      on: {
        submit: (event) => {
          event.preventDefault();
          if (go.disabled) return;
          answer = { reason: reason.value.trim() };
          shown.dialog.close();
        },
      },
    },
    [text].flat().map((it) => h('p', {}, it)),
    proof && h('p', { class: 'field' }, h('label', { for: 'proof' }, 'Type ', h('strong', {}, typed), ' to confirm'), proof),
    h('p', { class: 'field' }, h('label', { for: 'reason' }, 'Reason, for the audit log (optional)'), reason),
    h('div', { class: 'actions' }, go));
    const shown = showDialog(title, form);
    shown.close.textContent = 'Do nothing';
    form.querySelector('.actions').prepend(shown.close);
    shown.dialog.addEventListener('close', () => resolve(answer));
    (proof ?? go).focus();
  });
}

/** A message that goes away by itself; an error stays until it is closed. */
export function toast(text, isError = false) {
  const node = h('div', { class: `toast${isError ? ' is-bad' : ''}` },
    h('span', {}, isError ? '✕ ' : '✓ ', text),
    h('button', { type: 'button', class: 'quiet', 'aria-label': 'Close the message', on: { click: () => node.remove() } }, '×'));
  document.getElementById('toasts').append(node);
  announce(text);
  if (!isError) setTimeout(() => node.remove(), TOAST_MS);
}

/** Does `work`, and says how it went. */
export async function attempt(work, done) {
  try {
    const result = await work();
    if (done) toast(done);
    return result;
  } catch (error) {
    toast(error.message, true);
    return null;
  }
}

/** Puts `text` into the clipboard, also where only an old way is allowed. */
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h('textarea', { class: 'unseen', value: text });
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    if (!done) {
      toast(`This browser does not let the page copy the ${what}.`, true);
      return;
    }
  }
  toast(`Copied the ${what}.`);
}

/** A button that copies what `text` gives. */
export function copyButton(label, what, text) {
  return h('button', { type: 'button', class: 'quiet', on: { click: () => copy(text(), what) } }, label);
}
