// Uses the page of the edge as people do, in headless Chromium, and prints as JSON how it went:
// node use_page.mjs '{"scenario": …, "url": …, "token": …, "modules": …, "chromium": …, …}'
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import net from 'node:net';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const asked = JSON.parse(process.argv[2]);
const { chromium } = createRequire(path.join(asked.modules, 'package.json'))('playwright-core');
const ARGS = ['--disable-gpu', '--autoplay-policy=no-user-gesture-required'];
const DESK = { width: 1280, height: 900 }, PHONE = { width: 360, height: 780 };
const LONG = 240_000;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const row = (name) => `#work > li:has(.name:text("${name}"))`;
const card = (name) => `#cards > li:has(.name:text("${name}"))`;

/** Note what the browser says, asks and gets. */
function watch(tab) {
  const told = { logged: [], requests: [], refused: [], sent: [], begun: [] };
  tab.on('console', (message) => message.type() === 'error' && told.logged.push(message.text()));
  tab.on('pageerror', (error) => told.logged.push(String(error.stack)));
  tab.on('request', (request) => {
    told.requests.push(request.url().slice(0, 300));
    const part = /partNumber=(\d+)/.exec(request.url());
    if (part && request.method() === 'PUT') told.begun.push(Number(part[1]));
  });
  tab.on('response', (response) => {
    const part = /partNumber=(\d+)/.exec(response.url());
    if (part && response.ok()) told.sent.push(Number(part[1]));
    if (response.status() >= 400) told.refused.push([response.status(), new URL(response.url()).pathname]);
  });
  return told;
}

async function open(context, token = asked.token) {
  const tab = await context.newPage(), told = watch(tab);
  tab.setDefaultTimeout(60_000);
  await tab.goto(`${asked.url}/#token=${token}`);
  await tab.waitForFunction(() => document.getElementById('connection').textContent === 'Live');
  return { tab, told };
}

const textOf = (tab, selector) => tab.locator(selector).innerText();

const scenarios = {
  /** A film from its upload to its end in the gallery, played before and after it is ready. */
  async watch(browser) {
    const context = await browser.newContext({ viewport: DESK });
    const { tab, told } = await open(context);
    const found = { address: tab.url(), stages: [] };
    await tab.setInputFiles('#files', asked.files);
    const name = path.basename(asked.files[0]);
    // Sampled, as people look at it.
    const sampling = setInterval(async () => {
      const text = await textOf(tab, `${row(name)} .stage-text`).catch(() => null);
      if (text && text !== found.stages.at(-1)) found.stages.push(text);
    }, 60);
    await tab.locator(`${row(name)} button:text-is("Play")`).click({ timeout: LONG });
    await tab.waitForFunction(() => document.getElementById('video').currentTime > 0.5);
    found.playedBefore = await tab.locator(row(name)).count();
    await tab.screenshot({ path: `${asked.screenshot}-early.png` });
    await tab.locator(card(name)).waitFor({ state: 'attached', timeout: LONG });
    clearInterval(sampling);
    await tab.keyboard.press('Escape');
    await tab.waitForFunction(() => document.getElementById('announcer').textContent.endsWith('ready.'));
    await tab.locator(`${card(name)} .open`).click();
    await tab.waitForFunction(() => document.getElementById('video').currentTime > 0.5);
    const options = (id) => tab.$$eval(`#${id} option`, (list) => list.map((one) => one.textContent));
    found.rungs = await options('rungs');
    found.speeds = await options('speed');
    await tab.waitForFunction(() => document.querySelectorAll('#texts option').length > 1);
    found.texts = await options('texts');
    const heights = [];
    for (const rung of asked.rungs) {
      await tab.selectOption('#rungs', { label: rung });
      await tab.waitForFunction((height) => document.getElementById('video').videoHeight === height, Number(rung));
      heights.push(Number(rung));
    }
    found.heights = heights;
    found.cues = [];
    for (const word of asked.words) {
      await tab.selectOption('#texts', { index: found.cues.length + 1 });
      const cue = await tab.waitForFunction((begins) => [...document.getElementById('video').textTracks]
        .filter((one) => one.mode === 'showing').flatMap((one) => [...(one.activeCues ?? [])])
        .map(({ text }) => text).find((text) => text.startsWith(begins)), word);
      found.cues.push(await cue.jsonValue());
    }
    await tab.selectOption('#texts', { index: 0 });
    found.isOff = await tab.evaluate(() => [...document.getElementById('video').textTracks]
      .every((one) => one.kind !== 'subtitles' || one.mode !== 'showing'));
    await tab.selectOption('#speed', '2');
    found.rate = await tab.evaluate(() => document.getElementById('video').playbackRate);
    await tab.hover('#seek');
    await tab.locator('#tile').waitFor();
    found.tile = await tab.$eval('#tile', (one) => [one.clientWidth, one.clientHeight, one.style.backgroundImage]);
    found.pip = await tab.locator('#pip').isVisible();
    await tab.screenshot({ path: `${asked.screenshot}-player.png` });
    await tab.keyboard.press('Escape');
    found.picture = await tab.$eval(`${card(name)} img`, (one) => one.complete && one.currentSrc);
    await context.close();
    return { ...found, ...told };
  },

  /** What axe-core says of all that the page shows, light and dark, wide and narrow. */
  async axe(browser) {
    const axe = readFileSync(path.join(asked.modules, 'node_modules/axe-core/axe.min.js'), 'utf8');
    const found = [], context = await browser.newContext({ viewport: DESK, reducedMotion: 'reduce' });
    const { tab, told } = await open(context);
    const look = async (what) => {
      for (const colorScheme of ['light', 'dark']) {
        for (const size of [DESK, PHONE]) {
          await tab.emulateMedia({ colorScheme });
          await tab.setViewportSize(size);
          // The page runs no script but its own, so this comes by the debugger, past its policy.
          await tab.evaluate(axe);
          const { violations, passes } = await tab.evaluate(() => globalThis.axe.run(document, {
            resultTypes: ['violations', 'passes'],
          }));
          const wide = await tab.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          found.push({
            what, colorScheme, width: size.width, wide, passes: passes.length,
            violations: violations.map(({ id, nodes }) => `${id}: ${nodes.map((one) => one.html.slice(0, 150)).join(' | ')}`),
          });
          await tab.screenshot({ path: `${asked.screenshot}-${what}-${size.width}-${colorScheme}.png` });
        }
      }
      await tab.setViewportSize(DESK);
    };
    const [film, picture, broken, other, large] = asked.files;
    await tab.setInputFiles('#files', [broken, other, picture, film]);
    await tab.locator(`${card(path.basename(picture))}`).waitFor({ timeout: LONG });
    await tab.locator(`${card(path.basename(film))}`).waitFor({ timeout: LONG });
    await tab.locator(`${row(path.basename(broken))}.bad`).waitFor({ timeout: LONG });
    // A slow line: it is still under way while it is looked at.
    const line = await context.newCDPSession(tab);
    await line.send('Network.emulateNetworkConditions', { offline: false, latency: 5, downloadThroughput: -1, uploadThroughput: 1_500_000 });
    await tab.setInputFiles('#files', large);
    await tab.locator(`${row(path.basename(large))} .stage-text:text("Uploading")`).waitFor();
    await look('list');
    await tab.locator(`${row(path.basename(large))} button:text-is("Pause")`).click();
    await line.detach();
    await tab.locator(`${card(path.basename(film))} .open`).click();
    await tab.waitForFunction(() => document.getElementById('video').currentTime > 0.2);
    await look('player');
    await tab.keyboard.press('Escape');
    await tab.locator(`${card(path.basename(picture))} .open`).click();
    await look('picture');
    await tab.keyboard.press('Escape');
    await tab.locator(`${row(path.basename(large))} button:text-is("Give up")`).click();
    await tab.locator('#sign-out').click();
    await look('token');
    await context.close();
    return { looked: found, logged: told.logged };
  },

  /** All of it by the keyboard: from the token to a removed asset. */
  async keyboard(browser) {
    const context = await browser.newContext({ viewport: DESK });
    const tab = await context.newPage(), told = watch(tab), found = { focus: [] };
    const focus = () => tab.evaluate(() => {
      const { activeElement: one } = document, style = getComputedStyle(one.closest('label.drop') ?? one);
      return [one === document.body ? '' : one.id || one.getAttribute('aria-label') || one.textContent.trim().slice(0, 40), style.outlineStyle];
    });
    const tabTo = async (name) => {
      for (let pressed = 0; pressed < 60; pressed++) {
        await tab.keyboard.press('Tab');
        const [at, outline] = await focus();
        found.focus.push([at, outline]);
        if (at.startsWith(name)) return;
      }
      throw new Error(`the tabulator key does not lead to ${name}: ${JSON.stringify(found.focus.slice(-60))}`);
    };
    await tab.goto(`${asked.url}/`);
    await tab.locator('#token-form').waitFor();
    // The field has the focus.
    await tab.keyboard.insertText(asked.token);
    await tab.keyboard.press('Enter');
    await tab.waitForFunction(() => document.getElementById('connection').textContent === 'Live');
    await tabTo('files');
    const [chooser] = await Promise.all([tab.waitForEvent('filechooser'), tab.keyboard.press('Enter')]);
    await chooser.setFiles(asked.files[0]);
    const name = path.basename(asked.files[0]);
    await tab.locator(card(name)).waitFor({ timeout: LONG });
    await tabTo(`Play ${name}`);
    await tab.keyboard.press('Enter');
    await tab.waitForFunction(() => document.getElementById('video').currentTime > 0.3);
    found.inDialog = (await focus())[0];
    await tab.keyboard.press('Space');
    found.paused = await tab.evaluate(() => document.getElementById('video').paused);
    await tabTo('seek');
    const before = await tab.evaluate(() => document.getElementById('video').currentTime);
    for (let n = 0; n < 5; n++) await tab.keyboard.press('ArrowRight');
    await tab.waitForFunction((at) => document.getElementById('video').currentTime > at, before);
    await tabTo('rungs');
    await tab.keyboard.press('End');
    found.rung = await tab.$eval('#rungs', (one) => one.selectedOptions[0].textContent);
    await tabTo('mute');
    await tab.keyboard.press('Enter');
    found.muted = await tab.evaluate(() => document.getElementById('video').muted);
    await tab.keyboard.press('Escape');
    found.afterDialog = (await focus())[0];
    tab.on('dialog', (dialog) => dialog.accept());
    await tabTo(`Remove ${name}`);
    await tab.keyboard.press('Enter');
    await tab.locator(card(name)).waitFor({ state: 'detached' });
    found.afterRemoval = (await focus())[0];
    await context.close();
    return { ...found, logged: told.logged };
  },

  /** Refusals before a byte is sent: what the page says of files, and what it asked the server. */
  async refuse(browser) {
    const context = await browser.newContext({ viewport: PHONE });
    const { tab, told } = await open(context);
    const before = told.requests.length;
    await tab.setInputFiles('#files', asked.files);
    await tab.waitForFunction((count) => document.querySelectorAll('#work > li.bad').length === count, asked.files.length);
    const texts = await tab.$$eval('#work > li', (list) => list.map((one) => one.querySelector('.stage-text').textContent));
    const asks = told.requests.slice(before);
    await context.close();
    return { texts, asks };
  },

  /** An upload that is killed again and again, each time at another point, and then goes on. */
  async kill() {
    const sessions = [], name = path.basename(asked.files[0]);
    const folder = mkdtempSync(path.join(tmpdir(), 'page-'));
    let context = null, assetId = null;
    // So slow that it is not over between a look and a kill.
    const line = await slowLine(new URL(asked.url), asked.bytesPerSecond);
    let profile = 0;
    const start = () => chromium.launchPersistentContext(path.join(folder, String(profile)), {
      executablePath: asked.chromium, args: [...ARGS, ...through(line)], viewport: DESK,
    });
    try {
      for (const { how, at } of asked.kills) {
        context ??= await start();
        const { tab, told } = await open(context);
        const listed = sessions.length ? await textOf(tab, `${row(name)} .stage-text`) : null;
        await tab.setInputFiles('#files', asked.files[0]);
        // By the bytes that went out, and not by what is drawn.
        const isThere = await Promise.race([
          tab.waitForFunction((percent) => {
            const bar = document.querySelector('#work progress');
            return bar && bar.value >= percent;
          }, at, { polling: 5, timeout: 120_000 }).then(() => true, () => false),
          tab.waitForResponse((one) => one.url().endsWith('/complete'), { timeout: 120_000 }).then(() => false, () => false),
        ]);
        if (how === 'close') {
          await tab.close({ runBeforeUnload: false });
        } else {
          for (const pid of browsersOf(path.join(folder, String(profile)))) process.kill(pid, 'SIGKILL');
          await context.close().catch(() => {});
          context = null;
          if (how === 'profile') profile++;
        }
        sessions.push({ how, at, listed, isThere, begun: told.begun, sent: told.sent, logged: told.logged });
        await sleep(300);
      }
      context ??= await start();
      const { tab, told } = await open(context);
      const listed = await textOf(tab, `${row(name)} .stage-text`);
      const [done] = await Promise.all([
        tab.waitForResponse((one) => one.url().endsWith('/complete'), { timeout: 120_000 }),
        tab.setInputFiles('#files', asked.files[0]),
      ]);
      assetId = (await done.json()).assetId;
      sessions.push({ how: 'done', listed, begun: told.begun, sent: told.sent, logged: told.logged });
    } finally {
      await context?.close();
      line?.close();
      rmSync(folder, { recursive: true, force: true });
    }
    return { sessions, assetId };
  },

  /** Pause, a reload, and another file than the one that was begun. */
  async pause(browser) {
    const context = await browser.newContext({ viewport: DESK });
    const { tab, told } = await open(context);
    const name = path.basename(asked.files[0]), found = {};
    await tab.setInputFiles('#files', asked.files[0]);
    await tab.waitForFunction(() => document.querySelector('#work progress')?.value > 20, null, { polling: 5 });
    await tab.locator(`${row(name)} button:text-is("Pause")`).click();
    await tab.locator(`${row(name)} .stage-text:text("Paused")`).waitFor();
    await sleep(400);
    const begun = told.begun.length;
    await sleep(600);
    found.sentWhilePaused = told.begun.length - begun;
    await tab.locator(`${row(name)} button:text-is("Resume")`).click();
    await tab.waitForFunction(() => document.querySelector('#work progress')?.value > 50, null, { polling: 5 });
    tab.on('dialog', (dialog) => dialog.accept());
    await tab.reload();
    await tab.waitForFunction(() => document.getElementById('connection').textContent === 'Live');
    await tab.locator(`${row(name)} .stage-text:text("Stopped")`).waitFor();
    const choose = async (file) => {
      const [chooser] = await Promise.all([
        tab.waitForEvent('filechooser'), tab.locator(`${row(name)} button:text-is("Choose file")`).click(),
      ]);
      await chooser.setFiles(file);
    };
    await choose(asked.files[1]);
    await tab.locator(`${row(name)}.bad`).waitFor();
    found.otherFile = await textOf(tab, `${row(name)} .stage-text`);
    await choose(asked.files[0]);
    const done = await tab.waitForResponse((one) => one.url().endsWith('/complete'));
    found.assetId = (await done.json()).assetId;
    found.rows = await tab.locator(row(name)).count();
    await context.close();
    return { ...found, ...told };
  },

  /** How fast the page uploads, beside curl with one grant for the same bytes: {page, curl}. */
  async speed() {
    const size = statSync(asked.files[0]).size, found = { page: [], curl: [] };
    const headers = { authorization: `Bearer ${asked.token}` };
    const to = new URL(asked.url), line = await slowLine(to, asked.bytesPerSecond);
    const browser = await chromium.launch({ executablePath: asked.chromium, args: [...ARGS, ...through(line)] });
    const clean = async (assetId) => {
      await fetch(`${asked.url}/api/media/assets/${assetId}`, { method: 'DELETE', headers });
      await sleep(1500);
      execFileSync('sync');
    };
    try {
      for (let round = 0; round < asked.rounds; round++) {
        const answer = await fetch(`${asked.url}/api/media/sign`, {
          method: 'POST', headers: { ...headers, 'content-type': 'application/json' },
          body: JSON.stringify({ fileName: 'curl.mp4', size, type: 'video/mp4' }),
        });
        const grant = await answer.json();
        execFileSync('sync');
        const words = line ? ['--connect-to', `${to.host}:127.0.0.1:${line.port}`] : [];
        const { stdout } = await promisify(execFile)('curl', ['-sS', '--fail', '-o', '/dev/null',
          '-w', '%{time_total}', '-T', asked.files[0], '-H', 'Content-Type: video/mp4', ...words, grant.upload.url]);
        found.curl.push(size / Number(stdout));
        await clean(grant.assetId);
        const context = await browser.newContext();
        const { tab } = await open(context);
        const began = performance.now();
        const [done] = await Promise.all([
          tab.waitForResponse((one) => one.url().endsWith('/complete'), { timeout: LONG }),
          tab.setInputFiles('#files', asked.files[0]),
        ]);
        found.page.push(size / ((performance.now() - began) / 1000));
        const { assetId } = await done.json();
        await context.close();
        await clean(assetId);
      }
    } finally {
      await browser.close();
      line?.close();
    }
    return { ...found, passed: line?.passed ?? null };
  },
};

/** The processes of the browser with this profile: its first one, which the others end with. */
function browsersOf(profile) {
  return readdirSync('/proc').filter((pid) => /^\d+$/.test(pid)).filter((pid) => {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      return words.includes(`--user-data-dir=${profile}`) && !words.some((one) => one.startsWith('--type='));
    } catch {
      return false;
    }
  }).map(Number);
}

/** What has a browser take this line to the edge. */
const through = (line) =>
  (line ? [`--host-resolver-rules=MAP ${new URL(asked.url).host} 127.0.0.1:${line.port}`] : []);

/** A line to a server that lets so many bytes a second go up, over all its connections. */
async function slowLine({ hostname, port }, bytesPerSecond) {
  if (!bytesPerSecond) return null;
  const found = { passed: 0 };
  let free = performance.now();
  const server = net.createServer((client) => {
    const behind = net.connect(Number(port), hostname);
    client.on('data', (piece) => {
      found.passed += piece.length;
      free = Math.max(free, performance.now()) + (piece.length / bytesPerSecond) * 1000;
      client.pause();
      setTimeout(() => {
        if (!behind.destroyed) behind.write(piece);
        client.resume();
      }, free - performance.now());
    });
    behind.pipe(client);
    client.on('end', () => behind.end());
    for (const one of [client, behind]) one.on('error', () => { client.destroy(); behind.destroy(); });
    client.on('close', () => behind.destroy());
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return Object.assign(found, { port: server.address().port, close: () => server.close() });
}

const isOwn = ['kill', 'speed'].includes(asked.scenario);
const browser = isOwn ? null : await chromium.launch({ executablePath: asked.chromium, args: ARGS });
try {
  console.log(JSON.stringify(await scenarios[asked.scenario](browser)));
} finally {
  await browser?.close();
}
