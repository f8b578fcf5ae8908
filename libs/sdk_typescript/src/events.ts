/**
 * What happens to a company's assets, as Server-Sent Events (WHATWG HTML, section 9.2).
 *
 * Invariant: a lost stream goes on after the last position that was heard, so no event is missed.
 */

import type { Calls } from "./calls.js";
import { isRecord, parsed, refusalOf } from "./errors.js";
import { isPassing, linked, pause, told } from "./tries.js";

/** A CloudEvent (CloudEvents 1.0, JSON format); `type` says what is in `data`. */
export interface CloudEvent {
  /** The same each time one event comes. */
  id: string;
  /** As "media.asset.processed.v1"; newer servers have types of which this package does not know. */
  type: string;
  source: string;
  /** What it tells of: an asset's id, as a rule. */
  subject: string;
  /** RFC 3339. */
  time: string;
  data: Record<string, unknown>;
  [name: string]: unknown;
}

/**
 * One event of the stream, which resumes after `lastEventId`.
 *
 * After `media_resync` events were lost to retention: read the assets again. A newer server may send
 * kinds that are not here; they come as they are, so have a default for them.
 */
export type MediaEvent =
  | { kind: "media_status" | "media_processed"; lastEventId: string; event: CloudEvent }
  | { kind: "media_resync"; lastEventId: string; event: Record<string, unknown> };

export interface EventsOptions {
  /** The one asset to hear of. */
  assetId?: string | undefined;
  /** Position after which to go on: `lastEventId` of an event. */
  lastEventId?: string | undefined;
  /** Ends the stream: the iterator throws what it aborts with. */
  signal?: AbortSignal | undefined;
}

/** The server sends something at least every 15 seconds. */
const SILENT_SECONDS = 60;
const HELLO = "media_hello";

/** Yield events for ever, through any number of connections. Throws MediaError where it is refused. */
export async function* follow(calls: Calls, options: EventsOptions): AsyncGenerator<MediaEvent, never> {
  const { assetId, signal } = options;
  let last = options.lastEventId ?? "";
  for (let failed = 0; ; failed++) {
    let problem: unknown;
    try {
      for await (const { kind, id, data } of connection(calls, assetId, last, signal)) {
        failed = 0;
        last = id ?? last;
        const event = data === "" || kind === HELLO ? undefined : parsed(data);
        if (isRecord(event)) yield { kind, lastEventId: last, event } as MediaEvent;
      }
    } catch (error) {
      signal?.throwIfAborted();
      if (!isPassing(error)) throw error;
      problem = error;
    }
    await pause(failed + 1, problem, signal);
  }
}

interface ServerSent {
  kind: string;
  id: string | undefined;
  data: string;
}

/** The events of one connection; throws MediaError unless the server ends it. */
async function* connection(
  calls: Calls, assetId: string | undefined, last: string, signal: AbortSignal | undefined,
): AsyncGenerator<ServerSent, void> {
  const { control, unlink } = linked(signal);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const inTime = async <T>(awaited: Promise<T>): Promise<T> => {
    timer = setTimeout(() => control.abort(), SILENT_SECONDS * 1000);
    try {
      return await awaited;
    } catch (error) {
      throw told(error);
    } finally {
      clearTimeout(timer);
    }
  };
  try {
    const query = assetId ? `?assetId=${encodeURIComponent(assetId)}` : "";
    const answer = await inTime(fetch(`${calls.url}/api/media/events${query}`, {
      headers: { ...calls.headers, Accept: "text/event-stream", ...(last && { "Last-Event-ID": last }) },
      signal: control.signal, cache: "no-store", credentials: "omit",
    }));
    const { body } = answer;
    if (!answer.ok || !body || !answer.headers.get("Content-Type")?.startsWith("text/event-stream")) {
      throw refusalOf(answer, parsed(await inTime(answer.text())));
    }
    const parser = new Parser(), decoder = new TextDecoder(), reader = body.getReader();
    for (;;) {
      const { value, done } = await inTime(reader.read());
      if (done) return;
      yield* parser.take(decoder.decode(value, { stream: true }));
    }
  } finally {
    unlink();
    control.abort();
  }
}

/** Cuts a stream of text into events, wherever its pieces end. */
class Parser {
  #rest = "";
  #fields = new Map<string, string>();

  *take(text: string): Generator<ServerSent> {
    // A CR at the end may be half of a CRLF.
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line !== "") this.#add(line);
      else if (this.#fields.size > 0) yield this.#event();
    }
  }

  #add(line: string): void {
    const at = line.indexOf(":");
    if (at === 0) return;
    const name = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? "" : line.slice(at + 1).replace(/^ /, "");
    const before = this.#fields.get(name);
    this.#fields.set(name, name === "data" && before !== undefined ? `${before}\n${value}` : value);
  }

  #event(): ServerSent {
    const fields = this.#fields;
    this.#fields = new Map();
    return { kind: fields.get("event") || "message", id: fields.get("id"), data: fields.get("data") ?? "" };
  }
}
