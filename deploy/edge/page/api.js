// Requests to the API in the name of one company.
//
// Each request may be sent twice: what is not safe to repeat carries an Idempotency-Key.

const TRIES = 7;
const FIRST_PAUSE_MS = 400, LONGEST_PAUSE_MS = 20_000;
const KEY = 'media.token';

/** The API, the edge or this page refused; `message` is a sentence for people. */
export class Problem extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** The token that the address brought along, or that this tab has; '' without one. */
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  if (given) {
    sessionStorage.setItem(KEY, given);
    // What stays in the address bar is shared, and kept in the history.
    history.replaceState(null, '', location.pathname);
  }
  return sessionStorage.getItem(KEY) ?? '';
}

export const keepToken = (token) => sessionStorage.setItem(KEY, token);
export const dropToken = () => sessionStorage.removeItem(KEY);

/** Wait, for a time that grows with the number of tries; rejects when *signal* aborts. */
export async function pause(tries, signal, leastMs = 0) {
  const grown = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** tries) * (0.75 + Math.random() / 2);
  await new Promise((done, failed) => {
    const timer = setTimeout(done, Math.max(grown, leastMs));
    signal?.addEventListener('abort', () => { clearTimeout(timer); failed(signal.reason); }, { once: true });
    // Back on a network: what waited for it goes on at once.
    if (!navigator.onLine) addEventListener('online', done, { once: true });
  });
}

/** Characters that nobody else has. crypto.randomUUID() is there on secure origins alone. */
export const randomKey = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (one) => one.toString(16).padStart(2, '0')).join('');

/** The problem that an answer's body tells; what a proxy says in HTML has no code. */
export function problemOf(status, text) {
  try {
    const { code, detail } = JSON.parse(text);
    if (code) return new Problem(status, code, detail);
  } catch { /* it is not JSON */ }
  return new Problem(status, 'unexpected_answer', `The server answered ${status}.`);
}

export class Api {
  /** *onUnauthorized* is called when the token is not good any more. */
  constructor(token, onUnauthorized) {
    this.token = token;
    this.onUnauthorized = onUnauthorized;
  }

  get(path, options) { return this.send('GET', path, options); }
  post(path, options) { return this.send('POST', path, options); }
  delete(path, options) { return this.send('DELETE', path, options); }

  /** The answer's JSON; raises Problem, or what *signal* aborts with. */
  async send(method, path, { body, key, signal, tries = TRIES } = {}) {
    const headers = { Authorization: `Bearer ${this.token}` };
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    if (key) headers['Idempotency-Key'] = key;
    for (let tried = 1; ; tried++) {
      let problem, after = 0;
      try {
        const answer = await fetch(path, {
          method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body),
          cache: 'no-store', credentials: 'omit',
        });
        if (answer.ok) return answer.status === 204 ? null : await answer.json();
        problem = problemOf(answer.status, await answer.text());
        after = 1000 * (Number(answer.headers.get('Retry-After')) || 0);
      } catch (error) {
        if (signal?.aborted) throw signal.reason;
        problem = new Problem(0, 'no_answer', 'The server cannot be reached.');
      }
      if (problem.status === 401) this.onUnauthorized(problem);
      if (tried >= tries || ![0, 429, 502, 503, 504].includes(problem.status)) throw problem;
      await pause(tried, signal, after);
    }
  }
}
