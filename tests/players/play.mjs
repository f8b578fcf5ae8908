// Plays one film in headless Chromium, on a page of an app of its own origin, and prints as JSON how
// it went: node play.mjs '{"kind": "hls.js"|"shaka", "url": …, "port": …, "modules": …, …}'
import { createReadStream } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';

const asked = JSON.parse(process.argv[2]);
const modules = path.join(asked.modules, 'node_modules');
const { chromium } = createRequire(path.join(asked.modules, 'package.json'))('playwright-core');
const HERE = import.meta.dirname;
const FILES = {
  '/': [path.join(HERE, 'page.html'), 'text/html'],
  '/page.js': [path.join(HERE, 'page.js'), 'text/javascript'],
  '/ear.js': [path.join(HERE, 'ear.js'), 'text/javascript'],
  '/hls.js': [path.join(modules, 'hls.js/dist/hls.min.js'), 'text/javascript'],
  '/shaka.js': [path.join(modules, 'shaka-player/dist/shaka-player.compiled.js'), 'text/javascript'],
};
const GOOD = 0.95, TRIES = 4, LOOK_SECONDS = 3;

const app = http.createServer((request, response) => {
  const [file, type] = FILES[request.url] ?? [];
  if (!file) return response.writeHead(404).end();
  response.writeHead(200, { 'content-type': type });
  createReadStream(file).pipe(response);
});
await new Promise((done) => app.listen(asked.port, '127.0.0.1', done));
const browser = await chromium.launch({
  executablePath: asked.chromium,
  args: ['--autoplay-policy=no-user-gesture-required', '--disable-gpu'],
});
try {
  console.log(JSON.stringify(await play(await browser.newPage({ viewport: { width: 880, height: 560 } }))));
} finally {
  await browser.close();
  app.close();
}

async function play(page) {
  const requests = [], logged = [];
  page.on('console', (message) => message.type() === 'error' && logged.push(message.text()));
  page.on('pageerror', (error) => logged.push(String(error)));
  page.on('response', (response) => {
    if (!response.url().startsWith(asked.url.slice(0, asked.url.indexOf('/v/') + 3))) return;
    const range = response.request().headers().range ?? null;
    requests.push({ name: response.url().split('/').slice(5).join('/'), range, status: response.status() });
  });
  await page.goto(`http://127.0.0.1:${asked.port}/`);
  const run = (name, ...words) => page.evaluate(([name, words]) => globalThis[name](...words), [name, words]);
  const found = { ...(await run('watch', asked.kind, asked.url)), progress: {}, stills: {} };
  if (asked.language) found.text = await run('textIn', asked.language, asked.at);
  else if (asked.tour) await tour(page, run, found);
  else await through(page, run, found);
  return { ...found, ...(await run('state')), requests, logged };
}

/** Look at the beginning, the middle and the end of a film, and at all its sizes. */
async function tour(page, run, found) {
  const { duration } = await run('state');
  found.progress.begin = await steady(run, () => null);
  await page.screenshot({ path: asked.screenshot });
  for (const [name, at] of [['begin', 1], ['middle', duration / 2], ['end', duration - 6]]) {
    found.stills[name] = await run('stillAt', at);
    if (name !== 'begin') found.progress[name] = await steady(run, () => run('stillAt', at));
  }
  found.rungs = await run('rungs');
  for (const [number, height] of found.rungs.entries()) {
    const at = 3 + (7 * number) % (duration - 10);
    await run('force', height);
    found.stills[height] = await run('stillAt', at);
    found.progress[height] = await steady(run, () => run('stillAt', at));
  }
  await run('stillAt', duration - 2);
  found.reachesEnd = await run('toTheEnd', 30);
}

/** Watch a film as it is made, from its beginning to its end. */
async function through(page, run, found) {
  const began = Date.now(), from = found.startsAt;
  const grown = (found.grown = []);
  for (;;) {
    const now = await run('state');
    const { at, duration, buffered, isLive, ended, waits } = now;
    grown.push({ second: (Date.now() - began) / 1000, at, duration, buffered, isLive, waits });
    if (grown.length === 6) await page.screenshot({ path: asked.screenshot });
    if (ended || now.fatal.length || Date.now() - began > asked.patience * 1000) break;
    await new Promise((done) => setTimeout(done, 500));
  }
  const last = grown.at(-1);
  found.progress.all = (last.at - from) / last.second;
  found.reachesEnd = (await run('state')).ended;
  for (const [name, at] of [['begin', 1], ['middle', last.duration / 2]])
    found.stills[name] = await run('stillAt', at);
}

/** The best of some tries: others use this machine as well. */
async function steady(run, again) {
  const tries = [];
  do {
    if (tries.length) await again();
    tries.push(await run('progress', LOOK_SECONDS));
  } while (tries.at(-1) < GOOD && tries.length < TRIES);
  return tries;
}
