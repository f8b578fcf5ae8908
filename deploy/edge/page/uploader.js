// Sends files to storage: small ones in one request, others in parts that any page goes on with.
//
// Invariant: what the server says is stored, in its size, is not sent again; nothing is remembered
// in the browser.

import { Problem, pause, problemOf, randomKey } from './api.js';

const LEAST_BYTES_IN_PARTS = 16 * 1024 * 1024;
const ENDS_BYTES = 1024 * 1024;
const AT_ONCE = 4;
const FILES_AT_ONCE = 3;
const URLS_AT_ONCE = 100;
const TRIES = 10;
const WITHOUT_ANSWER = new Set([0, 408, 429, 500, 502, 503, 504]);

/** Lets so many work at a time, in the order in which they came. */
class Turns {
  constructor(count) {
    this.free = count;
    this.waiting = [];
  }

  async take(signal) {
    signal.throwIfAborted();
    if (this.free > 0) { this.free--; return; }
    await new Promise((done, failed) => {
      this.waiting.push(done);
      signal.addEventListener('abort', () => {
        const at = this.waiting.indexOf(done);
        if (at >= 0) { this.waiting.splice(at, 1); failed(signal.reason); }
      }, { once: true });
    });
  }

  give() {
    const next = this.waiting.shift();
    if (next) next(); else this.free++;
  }
}

const fileTurns = new Turns(FILES_AT_ONCE);
const requestTurns = new Turns(AT_ONCE);

/** Whether uploads can be found again: hashing needs a secure origin. */
export const canResume = Boolean(globalThis.crypto?.subtle);

/** What an upload of this file is found by again, as docs/how-to/upload-large-files.md says. */
export async function fingerprintOf(file) {
  const said = `${file.name}\n${file.size}\n${file.lastModified}\n`;
  const ends = [file.slice(0, ENDS_BYTES), file.slice(Math.max(0, file.size - ENDS_BYTES))];
  const digest = await crypto.subtle.digest('SHA-256', await new Blob([said, ...ends]).arrayBuffer());
  return 'sha256:' + Array.from(new Uint8Array(digest), (one) => one.toString(16).padStart(2, '0')).join('');
}

/** PUT a body and return the answer's {status, text}; *onSent* gets the bytes sent so far. */
function put(url, body, headers, onSent, signal) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    const stop = () => { request.abort(); failed(signal.reason); };
    if (signal.aborted) { failed(signal.reason); return; }
    signal.addEventListener('abort', stop, { once: true });
    request.open('PUT', url);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded }) => onSent(loaded);
    request.onloadend = () => {
      signal.removeEventListener('abort', stop);
      done({ status: request.status, text: request.responseText });
    };
    request.send(body);
  });
}

/** One file on its way. `state` is waiting, sending, paused, failed, or sent. */
export class Upload {
  #api; #onChange; #control = null; #running = null; #key = randomKey(); #inFlight = new Map(); #stored = 0;

  constructor(api, file, type, onChange) {
    this.#api = api;
    this.#onChange = onChange;
    this.file = file;
    this.type = type;
    this.state = 'paused';
    this.assetId = null;
    this.problem = null;
  }

  get sent() {
    let sum = this.#stored;
    for (const bytes of this.#inFlight.values()) sum += bytes;
    return Math.min(sum, this.file.size);
  }

  /** Send what is not there yet; returns when it is all there, or stopped. */
  async start() {
    if (this.#control) return;
    const control = this.#control = new AbortController();
    this.#become('waiting');
    // One that was paused just now has its turn, and its lock, for a moment more.
    await this.#running;
    this.#running = this.#run(control);
    await this.#running;
  }

  async #run(control) {
    try {
      await fileTurns.take(control.signal);
      try {
        this.#become('sending');
        await (this.file.size < LEAST_BYTES_IN_PARTS ? this.#whole(control) : this.#inParts(control));
      } finally {
        fileTurns.give();
      }
      if (this.#control === control) this.#control = null;
      this.#become('sent');
    } catch (error) {
      this.#inFlight.clear();
      if (this.#control !== control) return;
      this.#control = null;
      this.#ended(error);
    }
  }

  /** Stop sending; start() goes on. */
  pause() {
    const control = this.#control;
    this.#control = null;
    control?.abort(new Problem(0, 'paused', ''));
    this.#inFlight.clear();
    if (this.state === 'waiting' || this.state === 'sending') this.#become('paused');
  }

  /** Remove what is stored. */
  async giveUp() {
    this.pause();
    if (!this.assetId) return;
    const isInParts = this.file.size >= LEAST_BYTES_IN_PARTS;
    await this.#api.delete(`/api/media/${isInParts ? 'uploads' : 'assets'}/${this.assetId}`);
  }

  #become(state) {
    this.state = state;
    if (state !== 'failed') this.problem = null;
    this.#onChange(this);
  }

  #ended(error) {
    this.problem = error instanceof Problem ? error : new Problem(0, 'page_error', String(error));
    // A new token lets it go on where it is.
    this.#become(this.problem.status === 401 ? 'paused' : 'failed');
  }

  get #declared() {
    return { fileName: this.file.name, size: this.file.size, type: this.type };
  }

  async #whole({ signal }) {
    for (let tried = 1; ; tried++) {
      const grant = await this.#api.post('/api/media/sign', { body: this.#declared, key: this.#key, signal });
      this.assetId = grant.assetId;
      this.#onChange(this);
      const { url, headers } = grant.upload;
      const { status, problem } = await this.#put(0, url, this.file, headers, signal);
      // It is there: the answer to the upload before was lost.
      if (!problem || problem.code === 'already_uploaded') return;
      if (problem.code === 'grant_expired') this.#key = randomKey();
      else if (!WITHOUT_ANSWER.has(status)) throw problem;
      if (tried >= TRIES) throw problem;
      await pause(tried, signal);
    }
  }

  async #put(number, url, body, headers, signal) {
    await requestTurns.take(signal);
    try {
      const { status, text } = await put(url, body, headers, (bytes) => {
        this.#inFlight.set(number, bytes);
        this.#onChange(this);
      }, signal);
      if (status >= 200 && status < 300) return { status, problem: null };
      const problem = status === 0
        ? new Problem(0, 'no_answer', 'The server cannot be reached.') : problemOf(status, text);
      return { status, problem };
    } finally {
      this.#inFlight.delete(number);
      requestTurns.give();
    }
  }

  async #inParts(control) {
    const fingerprint = canResume ? await fingerprintOf(this.file) : null;
    // Two tabs would send each part twice.
    const lock = navigator.locks && fingerprint
      ? (work) => navigator.locks.request(`media.${fingerprint}`, { ifAvailable: true }, work)
      : (work) => work(true);
    await lock(async (mine) => {
      if (!mine) throw new Problem(0, 'elsewhere', 'This file is being sent already, here or in another tab.');
      await this.#sendParts(fingerprint, control);
    });
  }

  async #sendParts(fingerprint, { signal }) {
    for (let tried = 1; ; tried++) {
      const upload = await this.#begin(fingerprint, signal);
      const parts = new Parts(this.#api, upload, this.file);
      this.#stored = parts.storedBytes;
      this.#onChange(this);
      const stop = new AbortController();
      const both = AbortSignal.any([signal, stop.signal]);
      const senders = Array.from({ length: AT_ONCE }, () => this.#sendNext(parts, both));
      try {
        await Promise.all(senders);
      } catch (error) {
        stop.abort(error);
        await Promise.allSettled(senders);
        throw error;
      }
      try {
        await this.#api.post(`/api/media/uploads/${upload.assetId}/complete`, { signal });
        return;
      } catch (error) {
        // Storage lost a part, or has it in another size: what is there is looked at again.
        if (error.code !== 'parts_missing' || tried >= 3) throw error;
      }
    }
  }

  async #begin(fingerprint, signal) {
    let upload = null;
    if (this.assetId || fingerprint) {
      const known = this.assetId ?? await this.#find(fingerprint, signal);
      if (known) upload = await this.#look(known, signal);
    }
    upload ??= await this.#api.post('/api/media/uploads', {
      body: { ...this.#declared, fingerprint }, key: this.#key, signal,
    });
    if (upload.size !== this.file.size) throw new Problem(0, 'other_file', 'This is not the file that was begun.');
    this.assetId = upload.assetId;
    return upload;
  }

  async #find(fingerprint, signal) {
    const { items } = await this.#api.get(
      `/api/media/uploads?limit=1&fingerprint=${encodeURIComponent(fingerprint)}`, { signal });
    return items[0]?.assetId;
  }

  async #look(assetId, signal) {
    try {
      return await this.#api.get(`/api/media/uploads/${assetId}`, { signal });
    } catch (error) {
      if (error.code !== 'upload_not_found') throw error;
      // It lapsed: the same key would give it again.
      this.assetId = null;
      this.#key = randomKey();
      return null;
    }
  }

  async #sendNext(parts, signal) {
    for (let number; (number = parts.next()) !== undefined;) {
      for (let tried = 1; ; tried++) {
        const url = await parts.urlOf(number, signal);
        const { status, problem } = await this.#put(number, url, parts.bytesOf(number), {}, signal);
        if (!problem) break;
        if (problem.code === 'grant_expired') parts.forgetUrls();
        else if (!WITHOUT_ANSWER.has(status)) throw problem;
        if (tried >= TRIES) throw problem;
        await pause(tried, signal);
      }
      this.#stored += parts.sizeOf(number);
      this.#onChange(this);
    }
  }
}

/** The parts of an upload that are still to send, and where they go. */
class Parts {
  #api; #upload; #file; #todo; #urls = new Map(); #asked = null;

  constructor(api, upload, file) {
    this.#api = api;
    this.#upload = upload;
    this.#file = file;
    const there = new Set(upload.stored
      .filter(({ number, size }) => size === this.sizeOf(number)).map(({ number }) => number));
    this.#todo = Array.from({ length: upload.parts }, (_, n) => n + 1).filter((one) => !there.has(one));
    this.storedBytes = [...there].reduce((sum, number) => sum + this.sizeOf(number), 0);
  }

  next() { return this.#todo.shift(); }

  sizeOf(number) {
    const { partSize, size } = this.#upload;
    return Math.min(partSize, size - (number - 1) * partSize);
  }

  bytesOf(number) {
    const from = (number - 1) * this.#upload.partSize;
    return this.#file.slice(from, from + this.sizeOf(number));
  }

  forgetUrls() { this.#urls.clear(); }

  async urlOf(number, signal) {
    while (!this.#urls.has(number)) {
      // One request for those that come next, whoever waits for it.
      this.#asked ??= this.#ask(number, signal).finally(() => { this.#asked = null; });
      await this.#asked;
    }
    return this.#urls.get(number);
  }

  async #ask(number, signal) {
    const numbers = [number, ...this.#todo.slice(0, URLS_AT_ONCE - 1)];
    const { parts } = await this.#api.post(
      `/api/media/uploads/${this.#upload.assetId}/parts`, { body: { numbers }, signal });
    for (const { number: one, url } of parts) this.#urls.set(one, url);
  }
}
