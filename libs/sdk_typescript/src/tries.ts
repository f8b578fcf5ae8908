/** Tries again where that helps, and stops in time. */

import { MediaError } from "./errors.js";

const TRIES = 6;
const FIRST_PAUSE = 0.5;
const LONGEST_PAUSE = 10;
/** Who is to come back later than that is told so, and waits by itself. */
const LONGEST_WISH = 60;
const PASSING = new Set([408, 429, 500, 502, 503, 504]);

/** Whether the same request may do better in a moment. */
export function isPassing(error: unknown): boolean {
  if (!(error instanceof MediaError)) return false;
  if ((error.retryAfter ?? 0) > LONGEST_WISH) return false;
  return error.code === "no_answer" || (error.status !== undefined && PASSING.has(error.status));
}

/** What *attempt* returns, of up to six tries; rejects with the last error, or what *signal* aborts with. */
export async function retried<T>(
  attempt: () => Promise<T>, signal: AbortSignal | undefined, isWorthIt = isPassing,
): Promise<T> {
  for (let tried = 1; ; tried++) {
    try {
      return await attempt();
    } catch (error) {
      signal?.throwIfAborted();
      if (tried >= TRIES || !isWorthIt(error)) throw error;
      await pause(tried, error, signal);
    }
  }
}

/** Wait before another try: longer each time, and as long as *error* asks for. */
export function pause(tried: number, error: unknown, signal: AbortSignal | undefined): Promise<void> {
  const grown = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (tried - 1)) * (0.75 + Math.random() / 2);
  const wish = error instanceof MediaError ? (error.retryAfter ?? 0) : 0;
  return sleep(Math.max(grown, wish), signal);
}

/** Wait; rejects when *signal* aborts. */
export function sleep(seconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((done, failed) => {
    const stop = (): void => {
      clearTimeout(timer);
      failed(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      done();
    }, seconds * 1000);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}

/** A controller that aborts when *signal* does, until `unlink` is called. */
export function linked(signal: AbortSignal | undefined): { control: AbortController; unlink: () => void } {
  const control = new AbortController();
  const abort = (): void => control.abort(signal?.reason);
  if (signal?.aborted) abort();
  else signal?.addEventListener("abort", abort, { once: true });
  return { control, unlink: () => signal?.removeEventListener("abort", abort) };
}

/**
 * What *work* returns within so many seconds. Rejects with what *signal* aborts with, and with
 * MediaError: `no_answer` where the network fails or the time is over.
 */
export async function within<T>(
  seconds: number, signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { control, unlink } = linked(signal);
  const timer = setTimeout(() => control.abort(), seconds * 1000);
  try {
    return await work(control.signal);
  } catch (error) {
    signal?.throwIfAborted();
    throw told(error);
  } finally {
    clearTimeout(timer);
    unlink();
  }
}

/** An error of fetch() as this package's. */
export function told(error: unknown): MediaError {
  if (error instanceof MediaError) return error;
  if (error instanceof SyntaxError) {
    return new MediaError("invalid_answer", "The answer is not the API's.", { cause: error });
  }
  return new MediaError("no_answer", "The pipeline does not answer.", { cause: error });
}
