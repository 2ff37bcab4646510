// How numbers, times and states are spelled.

import { h, setAttr, setText } from './dom.js';
import { settings } from './settings.js';

const whole = new Intl.NumberFormat('en');
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

/** 1,234,567 */
export const count = (value) => (value === null || value === undefined ? '–' : whole.format(value));
/** 1 task, 2 tasks */
export const many = (value, noun) => `${count(value)} ${noun}${value === 1 ? '' : 's'}`;
/** 1.2M */
export const compact = (value) => (value === null || value === undefined ? '–' : short.format(value));

/** 0.25/s, 3.1/s, 1,234/s */
export function rate(value) {
  if (value === null || value === undefined) return '–';
  const digits = value >= 100 || value === 0 ? 0 : value >= 1 ? 1 : 2;
  return `${value.toLocaleString('en', { maximumFractionDigits: digits })}/s`;
}

/** A length of time: 12 ms, 1.5 s, 2 min 5 s, 3 h 2 min, 4 d 1 h. */
export function span(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return '–';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  const parts = [[86_400_000, 'd'], [3_600_000, 'h'], [60_000, 'min'], [1000, 's']];
  const first = parts.findIndex(([size]) => ms >= size);
  const [size, unit] = parts[first];
  const next = parts[first + 1];
  const rest = next ? Math.floor((ms % size) / next[0]) : 0;
  return `${Math.floor(ms / size)} ${unit}${rest ? ` ${rest} ${next[1]}` : ''}`;
}

/** 12.3 MiB */
export function bytes(value) {
  if (value === null || value === undefined) return '–';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let size = value;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${size.toFixed(unit === 0 || size >= 100 ? 0 : 1)} ${units[unit]}`;
}

/** A point in time in the chosen zone: 2026-11-23 06:01:02.345 */
export function moment(text, withMillis = true) {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return String(text ?? '–');
  const shifted = settings.zone === 'utc' ? at : new Date(at.getTime() - at.getTimezoneOffset() * 60_000);
  const iso = shifted.toISOString().replace('T', ' ').slice(0, withMillis ? 23 : 19);
  return settings.zone === 'utc' ? `${iso} UTC` : iso;
}

/** The time of day in the chosen zone: 06:01:02 */
export const clock = (text) => moment(text, false).slice(11, 19);

function distance(text) {
  const ms = Date.now() - new Date(text).getTime();
  if (Number.isNaN(ms)) return '–';
  if (Math.abs(ms) < 1500) return 'now';
  // Beyond a minute the seconds would only flicker.
  const step = Math.abs(ms) < 60_000 ? 1000 : 60_000;
  const size = span(Math.max(1000, Math.floor(Math.abs(ms) / step) * step)).replace('.0 ', ' ');
  return ms < 0 ? `in ${size}` : `${size} ago`;
}

/** An element that says how long ago `text` is, and keeps saying it; the exact time is its title. */
export function when(text) {
  return setWhen(h('time', { class: 'when' }), text);
}

/** Makes `node` say how long ago `text` is. */
export function setWhen(node, text) {
  setAttr(node, 'datetime', text ?? null);
  setAttr(node, 'title', text ? moment(text) : null);
  setText(node, text ? distance(text) : '–');
  return node;
}

setInterval(() => {
  if (document.hidden) return;
  for (const node of document.querySelectorAll('time.when[datetime]')) setWhen(node, node.getAttribute('datetime'));
}, 1000);

/** The states of a task, each with the sign that stands beside its word. */
export const STATES = {
  scheduled: '◷',
  pending: '○',
  running: '▶',
  retrying: '↻',
  completed: '✓',
  failed: '✕',
  cancelled: '⊘',
};
/** Whether a task in this state is over. */
export const hasEnded = (state) => ['completed', 'failed', 'cancelled', 'ended'].includes(state);

/** The state as sign and word; colour only adds to them. */
export function badge(state) {
  return setBadge(h('span', {}, h('span', { 'aria-hidden': 'true', class: 'sign' }), h('span')), state);
}

/** Makes `node` show `state`. */
export function setBadge(node, state) {
  setAttr(node, 'class', `badge is-${state}`);
  setText(node.firstChild, STATES[state] ?? '■');
  setText(node.lastChild, state);
  return node;
}

/** The end of an id, which differs, unlike its beginning, which is a time. */
export const shortId = (id) => (id.length > 14 ? `${id.slice(0, 8)}…${id.slice(-6)}` : id);
