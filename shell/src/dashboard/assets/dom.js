// Builds and patches the document. Text is always text: nothing here reads markup.

const SVG = 'http://www.w3.org/2000/svg';

/**
 * An element. `props` are attributes, except `on` (listeners by name), `style` (properties) and `value`/`checked`.
 * Children are nodes, text, numbers, or lists of them; null and false are left out.
 */
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** An element of a drawing. */
export function svg(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) setProp(node, name, value);
  node.append(...flat(children));
  return node;
}

function setProp(node, name, value) {
  if (name === 'on') {
    for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
  } else if (name === 'style') {
    for (const [property, text] of Object.entries(value)) node.style.setProperty(property, text);
  } else if (name === 'value' || name === 'checked' || name === 'indeterminate') {
    node[name] = value;
  } else {
    setAttr(node, name, value);
  }
}

function flat(children) {
  return children.flat(9).filter((it) => it !== null && it !== undefined && it !== false && it !== '');
}

/** Sets an attribute, or takes it away when `value` is null, undefined or false; touches nothing that is right. */
export function setAttr(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else {
    const text = value === true ? '' : String(value);
    if (node.getAttribute(name) !== text) node.setAttribute(name, text);
  }
}

/** Sets the text of `node` if it is another one. */
export function setText(node, text) {
  const wanted = String(text ?? '');
  if (node.textContent !== wanted) node.textContent = wanted;
}

/** Makes `children` the only children of `node`. */
export function replace(node, ...children) {
  node.replaceChildren(...flat(children));
  return node;
}

/**
 * Makes the children of `parent` one for each item, in order. Nodes of items that stay are updated and moved, never made
 * anew, so focus, selection and scroll stay where they are.
 */
export function keyed(parent, items, keyOf, create, update) {
  const known = parent.knownRows ??= new Map();
  const wanted = new Set(items.map(keyOf));
  for (const [key, node] of known) {
    if (!wanted.has(key)) {
      node.remove();
      known.delete(key);
    }
  }
  let next = parent.firstChild;
  for (const item of items) {
    const key = keyOf(item);
    let node = known.get(key);
    if (!node) {
      node = create(item);
      known.set(key, node);
    }
    update(node, item);
    if (node === next) next = next.nextSibling;
    else parent.insertBefore(node, next);
  }
  while (next) {
    const after = next.nextSibling;
    next.remove();
    next = after;
  }
}

/** Calls `work` now, and for calls within the next `pause` milliseconds once at their end. */
export function throttled(work, pause) {
  let last = -Infinity;
  let timer = null;
  const run = () => {
    timer = null;
    last = performance.now();
    work();
  };
  const call = () => {
    if (timer !== null) return;
    const wait = last + pause - performance.now();
    if (wait <= 0) run();
    else timer = setTimeout(run, wait);
  };
  call.stop = () => {
    clearTimeout(timer);
    timer = null;
  };
  return call;
}

/** Says `text` to those who listen to the page. */
export function announce(text) {
  setText(document.getElementById('news'), text);
}
