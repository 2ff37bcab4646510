// What this browser prefers, who it is to the server, and where everything else is.

import { api, BASE } from '../api.js';
import { attempt } from '../dialogs.js';
import { h, replace, setText } from '../dom.js';
import { live, pause, resume, stop } from '../live.js';
import { reading } from '../reading.js';
import { session } from '../session.js';
import { CHOICES, choose, settings } from '../settings.js';

const TITLES = { theme: 'Colours', density: 'Density', zone: 'Times', shortcuts: 'Keyboard shortcuts' };

function choice(name) {
  return h('fieldset', {}, h('legend', {}, TITLES[name]), Object.entries(CHOICES[name]).map(([value, label]) => h('label', {},
    h('input', { type: 'radio', name, value, checked: settings[name] === value, on: { change: () => choose(name, value) } }), ` ${label}`)));
}

async function signOut() {
  stop();
  await attempt(() => api.signOut(), 'Signed out.');
  location.reload();
}

export function settingsPage() {
  const hold = h('input', { type: 'checkbox', id: 'hold', checked: live.state === 'paused', on: { change: () => (hold.checked ? pause() : resume()) } });
  const version = h('dd', {}, '–');
  const reader = reading((signal) => api.nodes(signal), ({ nodes }) => {
    const versions = new Set(nodes.filter((it) => it.role === 'scheduler').map((it) => it.version));
    setText(version, [...versions].sort().join(', ') || '–');
  });
  const root = new URL('../..', BASE);
  const who = session.required ? `${session.principal ?? 'nobody'}, as ${session.role}` : 'the server asks for no token: everybody may do everything';
  const element = replace(h('div'), h('h1', {}, 'Settings and about'),
    h('section', { class: 'choices' }, Object.keys(CHOICES).map(choice),
      h('fieldset', {}, h('legend', {}, 'News'), h('label', {}, hold, ' Pause: this tab asks for nothing by itself'))),
    h('section', {}, h('h2', {}, 'You'), h('p', {}, who),
      session.required && h('button', { type: 'button', on: { click: signOut } }, 'Sign out')),
    h('section', {}, h('h2', {}, 'About'), reader.problem, h('dl', { class: 'facts' },
      h('dt', {}, 'Version of the schedulers'), version,
      h('dt', {}, 'Server'), h('dd', {}, root.href),
      h('dt', {}, 'Description of the API'), h('dd', {}, h('a', { href: new URL('openapi.json', BASE).href }, 'openapi.json')),
      h('dt', {}, 'Metrics for Prometheus'), h('dd', {}, h('a', { href: new URL('metrics', root).href }, 'metrics')),
      h('dt', {}, 'Command line'), h('dd', {}, h('code', {}, `windlass --server ${root.href.replace(/\/$/, '')} stats`)))));
  if (live.state !== 'paused') reader.now();
  return {
    title: 'Settings',
    element,
    onLive({ type }) {
      if (type === 'state') hold.checked = live.state === 'paused';
    },
    leave: reader.stop,
  };
}
