// Why a task does not run: the reasons, its place in the row, and when its turn may come.

import { h, replace } from './dom.js';
import { count, moment, rate } from './format.js';
import { link } from './route.js';

const HELP = {
  no_workers: () => ['Start one: ', h('code', {}, 'windlass worker --etcd URL')],
  no_worker_serves_queue: () => ['See which queues are served: ', h('a', { href: link(['nodes']) }, 'nodes')],
  no_worker_runs_type: () => ['See which types are run: ', h('a', { href: link(['nodes']) }, 'nodes')],
  queue_paused: () => ['Resume it: ', h('a', { href: link(['queues']) }, 'queues')],
  no_free_slot: () => ['See what is running: ', h('a', { href: link(['tasks'], { q: 'state:running' }) }, 'running tasks')],
};

/** Shows `why` within `element`. */
export function showWhy(element, why) {
  const estimate = why.estimate;
  replace(element,
    h('ul', { class: 'reasons' }, why.reasons.map((it) => h('li', {},
      h('strong', {}, it.message),
      h('code', { class: 'faint' }, ` ${it.reason}`),
      HELP[it.reason] && h('div', { class: 'faint' }, HELP[it.reason]())))),
    h('dl', { class: 'facts' },
      why.ahead !== null && why.ahead !== undefined && [h('dt', {}, 'Ahead of it'), h('dd', {}, count(why.ahead))],
      estimate && [h('dt', {}, 'Starts, by estimate'), h('dd', {}, `in ${estimate.in}, at ${moment(estimate.start_at, false)}`)],
      estimate?.rate_per_second !== undefined && estimate && [h('dt', {}, 'The queue moves'), h('dd', {}, rate(estimate.rate_per_second))]));
}
