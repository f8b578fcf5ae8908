// The company's events, for as long as the page is open.
//
// Invariant: a lost stream goes on by its last id, so no event is missed; where that cannot be,
// onResync is called, and the assets are read again.

import { pause } from './api.js';

const PATH = '/api/media/events';
const KINDS = ['media_hello', 'media_status', 'media_processed', 'media_resync'];

export class Events {
  #api; #last = ''; #stopped = new AbortController();

  /** *onEvent* gets CloudEvents, *onState* 'live' or 'lost'. */
  constructor(api, { onEvent, onResync, onState }) {
    this.#api = api;
    Object.assign(this, { onEvent, onResync, onState });
  }

  stop() { this.#stopped.abort(new Error('stopped')); }

  async run() {
    const { signal } = this.#stopped;
    for (let failed = 0; !signal.aborted;) {
      try {
        // EventSource sends no headers: a ticket opens one stream, and is used up by it.
        const { ticket } = await this.#api.post(`${PATH}/ticket`, { signal, tries: 1 });
        failed = await this.#follow(ticket, signal) ? 0 : failed + 1;
      } catch (error) {
        if (error.status === 401) return;
        failed++;
      }
      if (signal.aborted) return;
      this.onState('lost');
      // It may be its position that is refused.
      if (failed > 2) this.#last = '';
      await pause(failed, signal).catch(() => {});
    }
  }

  /** Follow one stream to its end; returns whether it was open. */
  #follow(ticket, signal) {
    const query = new URLSearchParams(this.#last ? { ticket, lastEventId: this.#last } : { ticket });
    const source = new EventSource(`${PATH}?${query}`);
    return new Promise((done) => {
      let wasOpen = false;
      const end = () => { source.close(); done(wasOpen); };
      signal.addEventListener('abort', end, { once: true });
      source.onerror = end;
      for (const kind of KINDS) {
        source.addEventListener(kind, ({ data, lastEventId }) => {
          const isNew = kind === 'media_resync' || (kind === 'media_hello' && !this.#last);
          this.#last = lastEventId || this.#last;
          if (!wasOpen) { wasOpen = true; this.onState('live'); }
          if (isNew) this.onResync();
          else if (kind !== 'media_hello') this.onEvent(JSON.parse(data));
        });
      }
    });
  }
}
