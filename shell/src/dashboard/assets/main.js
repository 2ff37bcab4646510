// Starts the dashboard: finds out who is there, shows the page that the address names, and hands it the news.

import { api, onSignedOut } from './api.js';
import { announce, h, replace, setAttr, setText } from './dom.js';
import { count } from './format.js';
import { bind, bindPage, showHelp } from './keys.js';
import { live, onLive, pause, resume, start, stop, tellStats } from './live.js';
import { audit } from './pages/audit.js';
import { dead } from './pages/dead.js';
import { nodes } from './pages/nodes.js';
import { overview } from './pages/overview.js';
import { queues } from './pages/queues.js';
import { settingsPage } from './pages/settings.js';
import { signIn } from './pages/sign_in.js';
import { task } from './pages/task.js';
import { tasks } from './pages/tasks.js';
import { reading } from './reading.js';
import { current, go, link } from './route.js';
import { mayAudit, mustSignIn, refreshSession } from './session.js';
import { onSettings } from './settings.js';

const NAV = [
  ['overview', 'Overview', 'o'], ['tasks', 'Tasks', 't'], ['queues', 'Queues', 'q'],
  ['nodes', 'Nodes', 'n'], ['dead', 'Dead tasks', 'd'], ['audit', 'Audit', 'a'], ['settings', 'Settings', 's'],
];
const STATES = { connecting: '◌ connecting', live: '● live', offline: '✕ offline', paused: '❚❚ paused' };

const main = document.getElementById('main');
let page = null;
let failures = 0;
/** What gets the focus on the next page. */
let wanted = null;
const links = new Map();
const state = h('span', { class: 'live', role: 'status' });
const toggle = h('button', { type: 'button', class: 'quiet', on: { click: togglePause } });
const stats = reading((signal) => api.stats(signal), tellStats);
const nav = h('nav', { 'aria-label': 'Pages' });

function pageOf(route) {
  const [first, second] = route.path;
  switch (first) {
    case undefined: case 'overview': return overview(route);
    case 'tasks': return second ? task(route) : tasks(route);
    case 'queues': return queues();
    case 'nodes': return nodes();
    case 'dead': return dead();
    case 'audit': return audit();
    case 'settings': return settingsPage();
    default: return {
      title: 'Not found',
      element: h('div', {}, h('h1', {}, 'Not found'), h('p', {}, 'There is no such page. ', h('a', { href: link([]) }, 'Overview'))),
      onLive() {},
      leave() {},
    };
  }
}

function setTitle() {
  document.title = `${failures > 0 ? `(${count(failures)} failed) ` : ''}${page?.title ?? ''} · Windlass`;
}

function show(next, focus) {
  page?.leave();
  page = next;
  bindPage(page.keys);
  replace(main, page.element);
  setTitle();
  if (focus) main.focus({ preventScroll: true });
  if (focus) window.scrollTo(0, 0);
}

function navigate(focus = true) {
  if (mustSignIn()) return;
  const route = current();
  const here = route.path[0] ?? 'overview';
  links.forEach((node, name) => setAttr(node, 'aria-current', name === here ? 'page' : null));
  show(pageOf(route), focus);
  if (wanted) document.getElementById(wanted)?.focus();
  wanted = null;
}

function togglePause() {
  if (live.state === 'paused') resume();
  else pause();
}

function showState() {
  setText(state, STATES[live.state]);
  setAttr(state, 'data-state', live.state);
  setText(toggle, live.state === 'paused' ? 'Resume' : 'Pause');
}

function onNews(event) {
  if (event.type === 'state') showState();
  if (event.type === 'resync') stats.soon();
  if (event.type === 'stats' && event.data.dead !== failures) {
    if (event.data.dead > failures) announce(`${count(event.data.dead)} failed tasks wait for a person`);
    failures = event.data.dead;
    setTitle();
  }
  page?.onLive(event);
}

function askForToken() {
  stop();
  document.getElementById('top').hidden = true;
  show(signIn(begin), true);
  document.getElementById('token')?.focus();
}

function begin() {
  document.getElementById('top').hidden = false;
  links.get('audit').hidden = !mayAudit();
  start();
  showState();
  navigate(false);
  stats.now();
}

function buildTop() {
  for (const [name, label] of NAV) links.set(name, h('a', { href: link([name]) }, label));
  replace(nav, [...links.values()]);
  main.before(stats.problem);
  replace(document.getElementById('top'),
    h('a', { class: 'brand', href: link([]) }, 'Windlass'), nav,
    h('div', { class: 'right' }, state, toggle,
      h('button', { type: 'button', class: 'quiet', 'aria-label': 'Keyboard shortcuts', on: { click: showHelp } }, '?')));
  // The address is the route, so the link must not change it.
  document.getElementById('skip').addEventListener('click', (event) => {
    event.preventDefault();
    main.focus();
  });
}

bind({
  '?': ['Show this help', showHelp],
  p: ['Pause or resume the news', togglePause],
  '/': ['Search tasks', () => { wanted = 'query'; go(link(['tasks'])); }],
  ...Object.fromEntries(NAV.map(([name, label, key]) => [`g ${key}`, [label, () => go(link([name]))]])),
});
buildTop();
onLive(onNews);
onSignedOut(() => { if (live.state !== 'paused' || !mustSignIn()) refreshSession().then(() => mustSignIn() && askForToken(), () => {}); });
onSettings(() => page && navigate(false));
window.addEventListener('hashchange', () => navigate());

async function boot() {
  try {
    await refreshSession();
  } catch (error) {
    replace(main, h('h1', {}, 'Windlass'), h('p', { class: 'note is-bad', role: 'alert' }, error.message, ' ',
      h('button', { type: 'button', on: { click: boot } }, 'Try again')));
    return;
  }
  if (mustSignIn()) askForToken();
  else begin();
}
boot();
