// Shows the pictures of assets on a page, as docs/how-to/show-pictures.md says, and prints as JSON
// what the browser loaded: node gallery.mjs '{"assets": […], "port": …, "modules": …, "views": […]}'
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';

const asked = JSON.parse(process.argv[2]);
const { chromium } = createRequire(path.join(asked.modules, 'package.json'))('playwright-core');
const thumbhash = readFileSync(path.join(asked.modules, 'node_modules/thumbhash/thumbhash.js'));
const SIZES = '(max-width: 600px) 100vw, 400px';

const page = `<!doctype html><meta name="viewport" content="width=device-width">
<style>
  body { margin: 0; font: 16px sans-serif; display: grid; gap: 8px; }
  @media (min-width: 601px) { body { grid-template-columns: repeat(2, 400px); } }
  img { width: 100%; height: auto; display: block; }
</style>
${asked.assets.map(figure).join('')}
<script type="module">
  import { thumbHashToDataURL } from './thumbhash.js';
  for (const image of document.images) {
    const bytes = Uint8Array.from(atob(image.dataset.thumbhash), (one) => one.charCodeAt(0));
    image.style.background = 'center / cover url(' + thumbHashToDataURL(bytes) + ')';
    image.onload = () => { image.style.background = 'none'; };
  }
  globalThis.hashed = true;
</script>`;

function figure({ alt, placeholder, responsive: [found] }) {
  const sources = found.sources.map(
    (one) => `<source type="${one.type}" srcset="${one.srcset}" sizes="${SIZES}">`,
  );
  return `<figure style="margin:0"><picture>${sources.join('')}
    <img src="${found.src}" srcset="${found.srcset}" sizes="${SIZES}" alt="${alt}"
      width="${found.width}" height="${found.height}" data-thumbhash="${placeholder.thumbhash}"
      style="background: ${placeholder.colour}"></picture><figcaption>${alt}</figcaption></figure>`;
}

const app = http.createServer((request, response) => {
  const [body, type] =
    request.url === '/thumbhash.js' ? [thumbhash, 'text/javascript'] : [page, 'text/html; charset=utf-8'];
  response.writeHead(200, { 'content-type': type }).end(body);
});
await new Promise((done) => app.listen(asked.port, '127.0.0.1', done));
const browser = await chromium.launch({ executablePath: asked.chromium, args: ['--disable-gpu'] });
try {
  const found = [];
  for (const view of asked.views) found.push(await look(view));
  console.log(JSON.stringify(found));
} finally {
  await browser.close();
  app.close();
}

/** Load the page as a screen of this width and density does, its pictures late. */
async function look({ width, density, screenshot }) {
  const context = await browser.newContext({
    viewport: { width, height: 900 }, deviceScaleFactor: density,
  });
  const tab = await context.newPage(), logged = [];
  tab.on('console', (message) => message.type() === 'error' && logged.push(message.text()));
  tab.on('pageerror', (error) => logged.push(String(error)));
  let release;
  const late = new Promise((done) => { release = done; });
  await tab.route((url) => url.port !== String(asked.port), async (route) => {
    await late;
    await route.continue();
  });
  await tab.addInitScript(() => {
    globalThis.shifts = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) globalThis.shifts += entry.value;
    }).observe({ type: 'layout-shift', buffered: true });
  });
  await tab.goto(`http://127.0.0.1:${asked.port}/`, { waitUntil: 'commit' });
  await tab.waitForFunction(() => globalThis.hashed);
  await tab.screenshot({ path: `${screenshot}-before.png` });
  release();
  await tab.waitForFunction(() => [...document.images].every((one) => one.complete));
  await tab.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  await tab.screenshot({ path: `${screenshot}-after.png` });
  const images = await tab.evaluate(() => [...document.images].map((one) => ({
    loaded: one.currentSrc, width: one.naturalWidth, alt: one.alt, background: one.style.background,
  })));
  const shifts = await tab.evaluate(() => globalThis.shifts);
  await context.close();
  return { images, shifts, logged };
}
