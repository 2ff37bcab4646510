// Lines over time. A value can be read under the pointer, with the arrow keys, and in a table.

import { h, keyed, replace, setAttr, setText, svg } from './dom.js';
import { clock, moment } from './format.js';

const WIDTH = 560;
const HEIGHT = 150;
/** Room for what a scale says at its longest: 16 min 40 s. */
const LEFT = 66;
const TOP = 8;
const BOTTOM = 20;
/** Into how many steps a scale is cut by the first digit of its top. */
const GRID = { 1: 2, 2: 4, 5: 5 };

/** The smallest round number that is not below `value`: 1, 2 or 5 times a power of ten. */
function roundAbove(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((it) => it * power).find((it) => it >= value * 0.999_999);
}

/**
 * @param {{ title: string, spell: (value: number|null) => string,
 *   series: { name: string, value: (point: object) => number|null }[] }} options
 */
export function chart({ title, spell, series }) {
  const grid = svg('g', { class: 'grid' });
  const lines = series.map((_, i) => svg('path', { class: `line line-${i}`, fill: 'none' }));
  const cursor = svg('line', { class: 'cursor', y1: TOP, y2: HEIGHT - BOTTOM, visibility: 'hidden' });
  const dots = series.map((_, i) => svg('circle', { class: `dot line-${i}`, r: 3, visibility: 'hidden' }));
  const drawing = svg('svg', {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, tabindex: '0', role: 'slider', 'aria-label': `${title}, over time`,
    'aria-valuemin': 0, 'aria-valuemax': 0, 'aria-valuenow': 0, 'aria-valuetext': 'no values yet',
  }, grid, lines, cursor, dots);
  const readAt = h('span', { class: 'faint' });
  const values = series.map(() => h('span', { class: 'number' }));
  const legend = h('div', { class: 'legend' }, series.map((it, i) => h('span', {},
    svg('svg', { viewBox: '0 0 18 6', class: 'swatch', 'aria-hidden': 'true' }, svg('path', { class: `line line-${i}`, d: 'M0 3H18' })),
    `${it.name} `, values[i])), readAt);
  const rows = h('tbody');
  const table = h('details', { class: 'as-table' }, h('summary', {}, 'As a table'),
    h('div', { class: 'scroll low', tabindex: '0', role: 'region', 'aria-label': `${title}, as a table` },
      h('table', { class: 'plain' },
        h('caption', { class: 'unseen' }, title),
        h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'Until'), series.map((it) => h('th', { scope: 'col' }, it.name)))),
        rows)));
  const element = h('figure', { class: 'chart' }, h('figcaption', {}, title), drawing, legend, table);
  let points = [];
  let top = 1;
  let chosen = null;

  const x = (i) => LEFT + (points.length < 2 ? 1 : i / (points.length - 1)) * (WIDTH - LEFT - 4);
  const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - BOTTOM - TOP);
  const path = (value) => {
    let text = '';
    let pen = 'M';
    points.forEach((point, i) => {
      const at = value(point);
      if (at === null || at === undefined) pen = 'M';
      else {
        text += `${pen}${x(i).toFixed(1)} ${y(at).toFixed(1)}`;
        pen = 'L';
      }
    });
    // A lone value is seen as a short stroke.
    return text.replace(/M([\d.]+) ([\d.]+)(?=M|$)/g, 'M$1 $2h1.5');
  };
  const drawGrid = () => {
    const cuts = GRID[top.toExponential()[0]];
    const levels = Array.from({ length: cuts + 1 }, (_, i) => (top * i) / cuts);
    const times = points.length < 2 ? [] : [0, 0.5, 1].map((it) => Math.round(it * (points.length - 1)));
    replace(grid,
      levels.map((level) => [
        svg('line', { x1: LEFT, x2: WIDTH - 4, y1: y(level), y2: y(level) }),
        svg('text', { x: LEFT - 6, y: y(level) + 4, 'text-anchor': 'end' }, spell(level)),
      ]),
      times.map((i, n) => svg('text', { x: x(i), y: HEIGHT - 5, 'text-anchor': ['start', 'middle', 'end'][n] }, clock(points[i].at))));
  };
  const read = () => {
    const at = chosen ?? points.length - 1;
    const point = points[at];
    setText(readAt, point && chosen !== null ? moment(point.at, false) : '');
    setAttr(cursor, 'visibility', chosen === null ? 'hidden' : 'visible');
    setAttr(cursor, 'x1', point ? x(at) : 0);
    setAttr(cursor, 'x2', point ? x(at) : 0);
    series.forEach((it, i) => {
      const value = point ? it.value(point) : null;
      setText(values[i], spell(value ?? null));
      const seen = chosen !== null && value !== null && value !== undefined;
      setAttr(dots[i], 'visibility', seen ? 'visible' : 'hidden');
      if (seen) {
        setAttr(dots[i], 'cx', x(at));
        setAttr(dots[i], 'cy', y(value));
      }
    });
    setAttr(drawing, 'aria-valuemax', Math.max(0, points.length - 1));
    setAttr(drawing, 'aria-valuenow', Math.max(0, at));
    const words = point && series.map((it) => `${it.name} ${spell(it.value(point) ?? null)}`).join(', ');
    setAttr(drawing, 'aria-valuetext', point ? `${moment(point.at, false)}: ${words}` : 'no values yet');
  };
  const choose = (index) => {
    chosen = index === null ? null : Math.min(points.length - 1, Math.max(0, index));
    if (points.length === 0) chosen = null;
    read();
  };
  const fillTable = () => {
    if (!table.open) return;
    keyed(rows, [...points].reverse(), (it) => it.at,
      (it) => h('tr', {}, h('th', { scope: 'row' }, moment(it.at, false)), series.map(() => h('td', { class: 'number' }))),
      (row, it) => series.forEach((one, i) => setText(row.children[i + 1], spell(one.value(it) ?? null))));
  };

  drawing.addEventListener('pointermove', (event) => {
    const box = drawing.getBoundingClientRect();
    const share = ((event.clientX - box.left) / box.width * WIDTH - LEFT) / (WIDTH - LEFT - 4);
    choose(Math.round(share * (points.length - 1)));
  });
  drawing.addEventListener('pointerleave', () => choose(null));
  drawing.addEventListener('blur', () => choose(null));
  drawing.addEventListener('keydown', (event) => {
    const at = chosen ?? points.length - 1;
    const steps = { ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1, Home: 0, End: points.length - 1, PageDown: at - 12, PageUp: at + 12 };
    if (!(event.key in steps) && event.key !== 'Escape') return;
    event.preventDefault();
    choose(event.key === 'Escape' ? null : steps[event.key]);
  });
  table.addEventListener('toggle', fillTable);

  return {
    element,
    /** Draws `next`, oldest first. */
    update(next) {
      points = next;
      const all = points.flatMap((point) => series.map((it) => it.value(point) ?? 0));
      const most = all.reduce((most, it) => Math.max(most, it), 0);
      top = most > 0 ? roundAbove(most) : 1;
      series.forEach((it, i) => setAttr(lines[i], 'd', path(it.value)));
      drawGrid();
      choose(chosen);
      fillTable();
    },
  };
}
