// Asks for a token. It goes to the server once, which answers with a cookie that no script can read.

import { api } from '../api.js';
import { h, replace, setText } from '../dom.js';
import { mustSignIn, refreshSession } from '../session.js';

/** @param {() => void} done called once the server knows this browser */
export function signIn(done) {
  const token = h('input', { id: 'token', type: 'password', autocomplete: 'current-password', required: true, 'aria-describedby': 'token-error' });
  const error = h('p', { id: 'token-error', class: 'bad-text', role: 'alert' });
  const go = h('button', { type: 'submit' }, 'Sign in');
  const submit = async (event) => {
    event.preventDefault();
    go.disabled = true;
    setText(error, '');
    try {
      await api.signIn(token.value.trim());
      await refreshSession();
      if (mustSignIn()) setText(error, 'The server took the token but does not know this browser: are cookies switched off?');
      else done();
    } catch (failure) {
      setText(error, failure.message);
      token.select();
    } finally {
      go.disabled = false;
    }
  };
  const element = replace(h('div', { class: 'narrow' }), h('h1', {}, 'Sign in'),
    h('form', { on: { submit } },
      h('p', { class: 'field' }, h('label', { for: 'token' }, 'Token'), token), error, h('p', {}, go)),
    h('p', { class: 'faint' }, 'An administrator makes one with ', h('code', {}, 'windlass token new NAME --role read'), '.'));
  return { title: 'Sign in', element, onLive() {}, leave() {} };
}
