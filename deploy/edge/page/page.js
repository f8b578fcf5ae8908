// The page: what is uploaded, what becomes of it, and what is ready.

import { Api, Problem, dropToken, keepToken, takeToken } from './api.js';
import { bytes } from './dom.js';
import { Events } from './events.js';
import { Gallery } from './gallery.js';
import { Player } from './player.js';
import { loadRules, look } from './preflight.js';
import { Upload, canResume, fingerprintOf } from './uploader.js';
import { Row } from './work.js';

const PAGE_SIZE = 60;
const ANNOUNCE_MS = 700, DRAW_MS = 250;
const $ = (id) => document.getElementById(id);

function alertWith(text) {
  $('alert').hidden = !text;
  $('alert').textContent = text;
}

/** Tells people who do not see the page what happened; some things at once are told together. */
const announce = (() => {
  let waiting = [], timer = null;
  return (text) => {
    waiting.push(text);
    timer ??= setTimeout(() => {
      $('announcer').textContent = waiting.slice(0, 5).join(' ')
        + (waiting.length > 5 ? ` And ${waiting.length - 5} more.` : '');
      waiting = [];
      timer = null;
    }, ANNOUNCE_MS);
  };
})();

class App {
  #api; #rules; #events; #rows = new Set(); #refreshing = new Map(); #expected = null; #cursor = null;

  constructor(token, rules) {
    this.#rules = rules;
    this.#api = new Api(token, () => this.stop('The token is not good any more. Paste a new one.'));
    this.#events = new Events(this.#api, {
      onEvent: (event) => this.#hear(event),
      onResync: () => this.#list(),
      onState: (state) => {
        $('connection').textContent = state === 'live' ? 'Live' : 'The connection is lost; trying again.';
      },
    });
    this.gallery = new Gallery($('cards'), $('empty'), {
      show: (assetId) => this.#show(assetId),
      remove: (assetId, name) => this.#delete(assetId, name),
      linkLapsed: (assetId) => this.#refresh(assetId),
    });
    this.player = new Player((assetId) => this.#api.get(`/api/media/assets/${assetId}`));
    this.ticker = setInterval(() => this.#tick(), 1000);
  }

  start() {
    $('connection').textContent = 'Connecting';
    $('app').hidden = $('sign-out').hidden = false;
    $('accepted').textContent = `Videos, images and sound, up to ${bytes(this.#rules.maxBytes)} each.`
      + (canResume ? '' : ' This page is not on HTTPS: an upload can be paused, and cannot go on after a reload.');
    $('files').accept = this.#rules.accept;
    this.#events.run();
  }

  /** Forget the token, and ask for another one. */
  stop(why) {
    if (this.isStopped) return;
    this.isStopped = true;
    dropToken();
    this.#events.stop();
    clearInterval(this.ticker);
    for (const { upload } of this.#rows) upload?.pause();
    if ($('player').open) $('player').close();
    $('work').replaceChildren();
    $('cards').replaceChildren();
    $('app').hidden = $('sign-out').hidden = true;
    $('connection').textContent = '';
    alertWith(why);
    askForToken();
  }

  get isSending() {
    return [...this.#rows].some(({ upload }) => ['sending', 'waiting'].includes(upload?.state));
  }

  /** Upload files; what the server would refuse is not sent. */
  async add(files) {
    alertWith('');
    const expected = this.#expected;
    this.#expected = null;
    for (const file of files) {
      if (expected && !(await this.#isWhatWasBegun(expected, file))) continue;
      const row = this.#newRow(file.name, file.size);
      $('work').prepend(row.element);
      const { type, refusal } = await look(this.#rules, file);
      if (refusal) {
        row.refusal = refusal;
        announce(`${file.name}: refused. ${refusal.message}`);
      } else {
        row.upload = new Upload(this.#api, file, type, (upload) => this.#uploadChanged(row, upload));
        row.upload.start();
      }
      this.#place(row);
    }
  }

  pauseAll() { for (const { upload } of this.#rows) upload?.pause(); }

  resumeAll() {
    for (const { upload } of this.#rows) if (upload?.state === 'paused') upload.start();
  }

  async more() {
    const focus = $('cards').lastElementChild;
    await this.#listAssets(this.#cursor);
    focus?.nextElementSibling?.querySelector('button')?.focus();
  }

  async #isWhatWasBegun(row, file) {
    if (file.size === row.open?.size && (!canResume || await fingerprintOf(file) === row.open.fingerprint)) return true;
    row.problem = 'This is another file, or it was changed since. Choose the one that was begun.';
    row.render();
    announce(row.problem);
    return false;
  }

  #newRow(name, size) {
    const row = new Row(name, size, {
      play: (one) => this.#show(one.assetId),
      retry: (one) => this.#retry(one),
      remove: (one) => (one.refusal ? this.#drop(one) : this.#delete(one.assetId, one.name)),
      giveUp: (one) => this.#giveUp(one),
      chooseAgain: (one) => { this.#expected = one; $('files').click(); },
    });
    this.#rows.add(row);
    return row;
  }

  #place(row) {
    row.render();
    if (!row.element.isConnected) $('work').append(row.element);
    this.#headings();
  }

  #headings() {
    $('work-section').hidden = this.#rows.size === 0;
    const states = [...this.#rows].map(({ upload }) => upload?.state);
    $('pause-all').hidden = !states.some((one) => one === 'sending' || one === 'waiting');
    $('resume-all').hidden = !states.includes('paused');
  }

  #drop(row) {
    const hadFocus = row.element.contains(document.activeElement);
    row.element.remove();
    this.#rows.delete(row);
    this.#headings();
    if (hadFocus) $('files').focus();
  }

  #rowOf(assetId) { return [...this.#rows].find((row) => row.assetId === assetId); }

  #uploadChanged(row, upload) {
    if (upload.assetId) {
      // It goes on with one that was listed as stopped, and events may have come before its answer.
      const listed = [...this.#rows].find((one) => one !== row && one.assetId === upload.assetId);
      if (listed) {
        if (listed.live.stage) row.live = listed.live;
        row.asset ??= listed.asset;
        this.#drop(listed);
      }
    }
    if (upload.state === 'failed') announce(`${row.name}: ${upload.problem.message}`);
    if (upload.state === 'sent' && row.lastState !== 'sent') {
      announce(`${row.name}: uploaded.`);
      // It may have become ready before its answer came.
      if (this.gallery.has(upload.assetId)) { this.#drop(row); return; }
    }
    const isNew = row.lastState !== upload.state;
    row.lastState = upload.state;
    if (isNew) { this.#place(row); return; }
    // To draw each step would take from the upload what it needs of a small machine.
    row.timer ??= setTimeout(() => { row.timer = null; row.render(); }, DRAW_MS);
  }

  #tick() { for (const row of this.#rows) row.render(); }

  #hear({ type, subject, data }) {
    if (!type.startsWith('media.asset.')) return;
    if (data.status === 'deleted' || data.status === 'cancelled' || data.status === 'expired') {
      this.#gone(subject);
      return;
    }
    const row = this.#rowOf(subject);
    row?.hear({ type, data });
    const isNews = data.status || data.outcome || data.stage === 'thumbnailed' || type === 'media.asset.playable.v1';
    if (type === 'media.asset.playable.v1' && row) announce(`${row.name}: can be played.`);
    if (isNews || (!row && !this.gallery.has(subject))) this.#refresh(subject);
  }

  #gone(assetId) {
    const row = this.#rowOf(assetId);
    if (row) this.#drop(row);
    this.gallery.remove(assetId);
    if (this.player.assetId === assetId) $('player').close();
  }

  /** Read an asset again; several reasons at once are one request, and one after it. */
  #refresh(assetId) {
    const waiting = this.#refreshing.get(assetId);
    if (waiting) { waiting.again = true; return waiting.done; }
    const now = { again: false };
    this.#refreshing.set(assetId, now);
    now.done = (async () => {
      try {
        do {
          now.again = false;
          this.#take(await this.#api.get(`/api/media/assets/${assetId}`));
        } while (now.again);
      } catch (error) {
        if (error.code === 'asset_not_found') this.#gone(assetId);
        else if (error.status !== 401) alertWith(error.message);
      } finally {
        this.#refreshing.delete(assetId);
      }
    })();
    return now.done;
  }

  #take(asset) {
    const { assetId, status } = asset;
    if (this.player.assetId === assetId) this.player.take(asset);
    const row = this.#rowOf(assetId);
    if (status === 'ready') {
      const hadFocus = row?.element.contains(document.activeElement);
      if (row) { this.#drop(row); announce(`${row.name}: ready.`); }
      this.gallery.put(asset);
      if (hadFocus && !$('player').open) this.gallery.focus(assetId);
    } else if (['pending', 'processing', 'failed'].includes(status)) {
      this.gallery.remove(assetId);
      const shown = row ?? this.#newRow(asset.fileName, asset.size);
      if (status === 'failed' && shown.asset?.status !== 'failed') {
        announce(`${shown.name}: failed. ${asset.error?.message ?? ''}`);
      }
      shown.take(asset);
      this.#place(shown);
    } else {
      this.#gone(assetId);
    }
  }

  async #list() {
    try {
      const { items } = await this.#api.get('/api/media/uploads?limit=100');
      // What this page sends itself it knows better.
      const others = items.filter(({ assetId }) => !this.#rowOf(assetId)?.upload);
      // First: of their assets the list says no more than that they wait.
      await Promise.all(others.map(({ assetId }) => this.#listOpen(assetId)));
      await this.#listAssets(null);
    } catch (error) {
      if (error.status !== 401) alertWith(error.message);
    }
  }

  async #listOpen(assetId) {
    const open = await this.#api.get(`/api/media/uploads/${assetId}`).catch(() => null);
    if (open?.status !== 'open') return;
    const row = this.#rowOf(assetId) ?? this.#newRow(open.fileName, open.size);
    if (row.upload) return;
    row.open = open;
    this.#place(row);
  }

  async #listAssets(cursor) {
    const query = new URLSearchParams(cursor ? { limit: PAGE_SIZE, cursor } : { limit: PAGE_SIZE });
    const { items, nextCursor } = await this.#api.get(`/api/media/assets?${query}`);
    for (const asset of items) {
      const isKnown = this.#rowOf(asset.assetId) || this.gallery.has(asset.assetId);
      if (isKnown || ['ready', 'processing', 'pending', 'failed'].includes(asset.status)) this.#take(asset);
    }
    this.#cursor = nextCursor;
    $('more').hidden = !nextCursor;
  }

  async #show(assetId) {
    await this.#attempt(async () => {
      const asset = await this.#api.get(`/api/media/assets/${assetId}`);
      await this.player.show(asset);
    });
  }

  async #retry(row) {
    await this.#attempt(async () => this.#take(await this.#api.post(`/api/media/assets/${row.assetId}/retry`)));
  }

  async #giveUp(row) {
    const { assetId } = row;
    await this.#attempt(async () => {
      try {
        if (row.upload) await row.upload.giveUp();
        else await this.#api.delete(`/api/media/uploads/${assetId}`);
      } catch (error) {
        if (!['upload_not_found', 'asset_not_found'].includes(error.code)) throw error;
      }
      this.#drop(row);
    });
  }

  async #delete(assetId, name) {
    if (!confirm(`Remove ${name}? Its files are deleted.`)) return;
    await this.#attempt(async () => {
      await this.#api.delete(`/api/media/assets/${assetId}`);
      this.#gone(assetId);
      announce(`${name}: removed.`);
      if (document.activeElement === document.body) $('gallery').focus();
    });
  }

  async #attempt(work) {
    try {
      alertWith('');
      await work();
    } catch (error) {
      if (error.status !== 401) alertWith(error instanceof Problem ? `${error.message} (${error.code})` : String(error));
    }
  }
}

let app = null, rules = null;

function begin(token) {
  $('token-form').hidden = true;
  alertWith('');
  app = new App(token, rules);
  app.start();
}

function askForToken() {
  $('token-form').hidden = false;
  $('token').value = '';
  $('token').focus();
}

function wire() {
  $('token-form').onsubmit = (event) => {
    event.preventDefault();
    const token = $('token').value.trim();
    keepToken(token);
    begin(token);
  };
  $('sign-out').onclick = () => app.stop('');
  $('files').onchange = () => {
    const files = [...$('files').files];
    // Else the same file, chosen again, would be no change.
    $('files').value = '';
    app.add(files);
  };
  $('pause-all').onclick = () => app.pauseAll();
  $('resume-all').onclick = () => app.resumeAll();
  $('more').onclick = () => app.more();
  addEventListener('dragover', (event) => {
    event.preventDefault();
    document.body.classList.add('dragging');
  });
  addEventListener('dragleave', ({ relatedTarget }) => {
    if (!relatedTarget) document.body.classList.remove('dragging');
  });
  addEventListener('drop', (event) => {
    event.preventDefault();
    document.body.classList.remove('dragging');
    if (app && !app.isStopped) app.add([...event.dataTransfer.files]);
  });
  addEventListener('beforeunload', (event) => { if (app?.isSending) event.preventDefault(); });
  // A link with another token, opened in this tab, loads nothing anew.
  addEventListener('hashchange', () => {
    if (location.hash.startsWith('#token=')) { app?.stop(''); begin(takeToken()); }
  });
}

const token = takeToken();
wire();
try {
  rules = await loadRules();
  if (token) begin(token); else askForToken();
} catch {
  alertWith('The page cannot be loaded; try again.');
}
