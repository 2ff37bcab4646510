// JSON as it was sent: numbers keep every digit, members their order and doubles. Reading it into values would lose that.

const SPACE = /\s/;
/** Deeper values are indented no further. */
const INDENT_MAX = 40;

/** Where the value that starts at `at` ends. Nothing recurses, whatever the depth. */
function endOfValue(text, at) {
  let depth = 0;
  for (let i = at; i < text.length; i += 1) {
    const c = text[i];
    if (c === '"') i = endOfString(text, i) - 1;
    else if (c === '{' || c === '[') depth += 1;
    else if (c === '}' || c === ']') {
      if (depth === 0) return i;
      depth -= 1;
      if (depth === 0) return i + 1;
      continue;
    } else if (depth > 0) continue;
    else if (c === ',' || SPACE.test(c)) return i;
    else continue;
    if (depth === 0) return i + 1;
  }
  return text.length;
}

/** Where the string that starts at `at` ends. */
function endOfString(text, at) {
  for (let i = at + 1; i < text.length; i += 1) {
    if (text[i] === '\\') i += 1;
    else if (text[i] === '"') return i + 1;
  }
  return text.length;
}

function skipSpace(text, at) {
  while (at < text.length && SPACE.test(text[at])) at += 1;
  return at;
}

/** The members of the object in `text`: name → the text of its value. */
export function members(text) {
  const found = new Map();
  let at = skipSpace(text, 0);
  if (text[at] !== '{') return found;
  at = skipSpace(text, at + 1);
  while (at < text.length && text[at] === '"') {
    const end = endOfString(text, at);
    const name = JSON.parse(text.slice(at, end));
    at = skipSpace(text, end);
    at = skipSpace(text, at + 1);
    const valueEnd = endOfValue(text, at);
    found.set(name, text.slice(at, valueEnd));
    at = skipSpace(text, valueEnd);
    if (text[at] !== ',') break;
    at = skipSpace(text, at + 1);
  }
  return found;
}

/** `text` with line breaks and indents, every other character as it was. */
export function indented(text) {
  const out = [];
  let depth = 0;
  const line = () => out.push('\n', '  '.repeat(Math.min(depth, INDENT_MAX)));
  for (let i = 0; i < text.length; i += 1) {
    const c = text[i];
    if (c === '"') {
      const end = endOfString(text, i);
      out.push(text.slice(i, end));
      i = end - 1;
    } else if (c === '{' || c === '[') {
      const next = skipSpace(text, i + 1);
      out.push(c);
      if (text[next] === '}' || text[next] === ']') {
        out.push(text[next]);
        i = next;
      } else {
        depth += 1;
        line();
      }
    } else if (c === '}' || c === ']') {
      depth -= 1;
      line();
      out.push(c);
    } else if (c === ',') {
      out.push(c);
      line();
    } else if (c === ':') out.push(': ');
    else if (!SPACE.test(c)) out.push(c);
  }
  return out.join('');
}
