// What the page's rules say of files, as JSON: node preflight.mjs FOLDER
// reads {"cases": […], "maxBytes": …}.
// Each case has a name, a size, a type, and the first bytes in Base64, or null.
import { readFileSync } from 'node:fs';
import path from 'node:path';

const folder = process.argv[2], asked = JSON.parse(readFileSync(0, 'utf8'));
// Not by its path: without a package.json some versions of node take it for another kind of module.
const source = readFileSync(path.join(folder, 'preflight.js'), 'utf8').replace(/^import .*$/gm, '');
const { Rules } = await import(`data:text/javascript,${encodeURIComponent(source)}`);
const rules = new Rules(JSON.parse(readFileSync(path.join(folder, 'rules.json'), 'utf8')), asked.maxBytes);
const { Buffer } = globalThis;
console.log(JSON.stringify(asked.cases.map(({ name, size, type, head }) => {
  const refusal = rules.refusalOf(name, size, type);
  if (refusal) return refusal;
  return head === null ? null : rules.mismatchOf(new Uint8Array(Buffer.from(head, 'base64')), type);
})));
