/**
 * Sends files to storage: small ones in one request, others in parts that any client goes on with.
 *
 * Invariant: what the server says is stored, in its size, is not sent again.
 */

import { webcrypto } from "#webcrypto";

import type { BatchRequest, PartGrant, SignRequest, Upload, UploadView } from "./api.js";
import { type Calls, hasCode } from "./calls.js";
import { MediaError } from "./errors.js";
import { isPassing, linked, retried } from "./tries.js";
import { TYPE_OF_EXTENSION } from "./types-by-name.js";

/** A file that is read piece by piece; openFile() of `media-pipeline/node` gives one. */
export interface Source {
  readonly name: string;
  /** In bytes. */
  readonly size: number;
  /** Milliseconds since 1970. */
  readonly lastModified: number;
  /** MIME type, where more than the name tells it. */
  readonly type?: string;
  /** The bytes from *begin* up to, and without, *end*. */
  part(begin: number, end: number): Promise<Blob | Uint8Array<ArrayBuffer>>;
}

export interface UploadOptions {
  /** Name of the file; a Blob has none of its own. */
  fileName?: string | undefined;
  /** MIME type; without one, the name tells it, then the Blob. */
  contentType?: string | undefined;
  /** Name of a profile of the company. */
  profile?: string | undefined;
  title?: string | undefined;
  alt?: string | undefined;
  /** Words of your own, by which assets are found. */
  metadata?: Record<string, string> | undefined;
  /** Called with the number of bytes that were there, then with that of each part that is stored. */
  onBytes?: ((count: number) => void) | undefined;
  /** Stops the upload; the same call goes on with it. */
  signal?: AbortSignal | undefined;
}

export interface BatchOptions {
  /** Name of a profile of the company. */
  profile?: string | undefined;
  /** Words of your own, by which batches are found. */
  metadata?: Record<string, string> | undefined;
  /** As for an upload, for all files together. */
  onBytes?: ((count: number) => void) | undefined;
  /** Stops it; the same call goes on with it. */
  signal?: AbortSignal | undefined;
}

const IN_PARTS_BYTES = 16 * 1024 * 1024;
const ENDS_BYTES = 1024 * 1024;
const AT_ONCE = 4;
const URLS_AT_ONCE = 100;
const LOOKS = 3;

/** Upload a file, and return its asset's id once the file is stored. */
export async function upload(calls: Calls, file: Blob | Source, options: UploadOptions): Promise<string> {
  const source = sourceOf(file, options.fileName);
  const said: SignRequest = {
    fileName: source.name, size: source.size, type: options.contentType ?? typeOf(source),
    ...given("profile", options.profile), ...given("title", options.title), ...given("alt", options.alt),
    ...given("metadata", options.metadata),
  };
  const sending = new Sending(calls, source, said, options);
  return source.size < IN_PARTS_BYTES ? sending.whole() : sending.inParts();
}

/** Upload up to 1,000 files as one batch, and return its id once all of them are stored. */
export async function uploadBatch(
  calls: Calls, files: readonly (Blob | Source)[], options: BatchOptions,
): Promise<string> {
  const sources = files.map((file) => sourceOf(file, undefined));
  const body: BatchRequest = { uploads: [], ...given("metadata", options.metadata) };
  for (const source of sources) {
    body.uploads.push({
      fileName: source.name, size: source.size, type: typeOf(source), inParts: source.size >= IN_PARTS_BYTES,
      ...given("profile", options.profile), ...given("fingerprint", await fingerprintOf(source)),
    });
  }
  const params = { header: { "Idempotency-Key": await keyOf(body) } };
  const batch = await calls.answer(
    (api, signal) => api.POST("/api/media/batches", { body, params, signal }), options.signal,
  );
  await inTurns(batch.items, options.signal, async ({ number, assetId, upload }, signal) => {
    const [source, said] = [sources[number], body.uploads[number]];
    if (!source || !said) throw new MediaError("invalid_answer", `The batch has no file ${number}.`);
    const sending = new Sending(calls, source, said, { onBytes: options.onBytes, signal });
    await (upload ? sending.whole({ assetId, upload }) : sending.inParts(assetId));
  });
  return batch.batchId;
}

/** What an upload of this file is found by again; undefined where the origin is not secure. */
export async function fingerprintOf(file: Blob | Source, fileName?: string): Promise<string | undefined> {
  if (!webcrypto.subtle) return undefined;
  const source = sourceOf(file, fileName);
  const { name, size, lastModified } = source;
  const first = await source.part(0, Math.min(ENDS_BYTES, size));
  const last = await source.part(Math.max(0, size - ENDS_BYTES), size);
  const hashed = await new Blob([`${name}\n${size}\n${lastModified}\n`, first, last]).arrayBuffer();
  return `sha256:${hex(new Uint8Array(await webcrypto.subtle.digest("SHA-256", hashed)))}`;
}

class Sending {
  readonly #calls: Calls;
  readonly #source: Source;
  readonly #said: SignRequest;
  readonly #onBytes: (count: number) => void;
  readonly #signal: AbortSignal | undefined;
  #key = randomKey();
  #told = 0;

  constructor(calls: Calls, source: Source, said: SignRequest, options: UploadOptions) {
    this.#calls = calls;
    this.#source = source;
    this.#said = said;
    this.#onBytes = options.onBytes ?? (() => {});
    this.#signal = options.signal;
  }

  /** Send the file in one request, by a grant of its own or the one that is given. */
  async whole(granted?: { assetId: string; upload: Upload }): Promise<string> {
    let grant = granted ?? await this.#grant();
    const body = await this.#source.part(0, this.#said.size);
    await retried(async () => {
      try {
        await this.#calls.put(grant.upload.url, body, grant.upload.headers, this.#signal);
      } catch (error) {
        // It is there: the answer to the try before was lost.
        if (hasCode(error, "already_uploaded")) return;
        if (isExpired(error) && !granted) {
          this.#key = randomKey();
          grant = await this.#grant();
        }
        throw error;
      }
    }, this.#signal, isWorthIt);
    this.#tell(this.#said.size);
    return grant.assetId;
  }

  /** Send the file in parts, of the asset that is given, or one that is found or begun. */
  async inParts(assetId?: string): Promise<string> {
    let upload = assetId ? await this.#look(assetId) : await this.#foundOrBegun();
    for (let looked = 1; ; looked++) {
      await this.#sendMissing(upload);
      try {
        await this.#complete(upload.assetId);
        return upload.assetId;
      } catch (error) {
        // Storage lost a part, or has it in another size: what is there is looked at again.
        if (looked >= LOOKS || !hasCode(error, "parts_missing")) throw error;
        upload = await this.#look(upload.assetId);
      }
    }
  }

  async #foundOrBegun(): Promise<UploadView> {
    const fingerprint = await fingerprintOf(this.#source);
    return await this.#found(fingerprint) ?? await this.#begun(fingerprint);
  }

  #grant() {
    const params = { header: { "Idempotency-Key": this.#key } };
    return this.#calls.answer(
      (api, signal) => api.POST("/api/media/sign", { body: this.#said, params, signal }), this.#signal,
    );
  }

  async #found(fingerprint: string | undefined): Promise<UploadView | undefined> {
    if (!fingerprint) return undefined;
    const params = { query: { fingerprint, limit: 1 } };
    const { items } = await this.#calls.answer(
      (api, signal) => api.GET("/api/media/uploads", { params, signal }), this.#signal,
    );
    try {
      return items[0] && await this.#look(items[0].assetId);
    } catch (error) {
      // It lapsed just now.
      if (hasCode(error, "upload_not_found")) return undefined;
      throw error;
    }
  }

  #begun(fingerprint: string | undefined): Promise<UploadView> {
    const body = { ...this.#said, ...given("fingerprint", fingerprint) };
    const params = { header: { "Idempotency-Key": this.#key } };
    return this.#calls.answer(
      (api, signal) => api.POST("/api/media/uploads", { body, params, signal }), this.#signal,
    );
  }

  #look(assetId: string): Promise<UploadView> {
    const params = { path: { asset_id: assetId } };
    return this.#calls.answer(
      (api, signal) => api.GET("/api/media/uploads/{asset_id}", { params, signal }), this.#signal,
    );
  }

  async #complete(assetId: string): Promise<void> {
    const params = { path: { asset_id: assetId } };
    await this.#calls.answer(
      (api, signal) => api.POST("/api/media/uploads/{asset_id}/complete", { params, signal }), this.#signal,
    );
  }

  async #urls(upload: UploadView, numbers: number[], stop = this.#signal): Promise<PartGrant[]> {
    const params = { path: { asset_id: upload.assetId } };
    const { parts } = await this.#calls.answer(
      (api, signal) => api.POST("/api/media/uploads/{asset_id}/parts", { body: { numbers }, params, signal }), stop,
    );
    return parts;
  }

  async #sendMissing(upload: UploadView): Promise<void> {
    const sizeOf = (number: number): number => Math.min(upload.partSize, upload.size - (number - 1) * upload.partSize);
    const there = new Set(upload.stored.filter((one) => one.size === sizeOf(one.number)).map((one) => one.number));
    const missing = Array.from({ length: upload.parts }, (_, index) => index + 1).filter((one) => !there.has(one));
    const stored = [...there].reduce((sum, number) => sum + sizeOf(number), 0);
    this.#tell(stored - this.#told);
    for (let begin = 0; begin < missing.length; begin += URLS_AT_ONCE) {
      const grants = await this.#urls(upload, missing.slice(begin, begin + URLS_AT_ONCE));
      await inTurns(grants, this.#signal, (grant, signal) => this.#send(upload, grant, signal));
    }
  }

  /** Send one part, again and with a new URL where that helps. */
  async #send(upload: UploadView, { number, size, url }: PartGrant, signal: AbortSignal): Promise<void> {
    const begin = (number - 1) * upload.partSize;
    const body = await this.#source.part(begin, begin + size);
    await retried(async () => {
      try {
        await this.#calls.put(url, body, {}, signal);
      } catch (error) {
        if (isExpired(error)) [{ url } = { url }] = await this.#urls(upload, [number], signal);
        throw error;
      }
    }, signal, isWorthIt);
    this.#tell(size);
  }

  #tell(count: number): void {
    this.#told += count;
    this.#onBytes(count);
  }
}

const isExpired = (error: unknown): boolean => hasCode(error, "grant_expired");
const isWorthIt = (error: unknown): boolean => isPassing(error) || isExpired(error);

/** Work on all *items*, four at a time; the first error ends it, once nothing is under way any more. */
async function inTurns<T>(
  items: T[], signal: AbortSignal | undefined, work: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const { control, unlink } = linked(signal);
  const queue = items.values();
  const workers = Array.from({ length: AT_ONCE }, async () => {
    for (const item of queue) {
      control.signal.throwIfAborted();
      await work(item, control.signal);
    }
  });
  try {
    await Promise.all(workers);
  } catch (error) {
    control.abort(error);
    await Promise.allSettled(workers);
    throw error;
  } finally {
    unlink();
  }
}

function sourceOf(file: Blob | Source, fileName: string | undefined): Source {
  if (!(file instanceof Blob)) return file;
  const { name = fileName, lastModified = 0 } = file as Partial<File>;
  const known = fileName ?? name;
  if (!known) throw new MediaError("invalid_file_name", "A Blob has no name: give fileName.");
  const part = async (begin: number, end: number): Promise<Blob> => file.slice(begin, end);
  return { name: known, size: file.size, lastModified, type: file.type, part };
}

function typeOf({ name, type }: Source): string {
  const at = name.lastIndexOf(".");
  const found = (at > 0 ? TYPE_OF_EXTENSION[name.slice(at).toLowerCase()] : undefined) ?? type;
  if (!found) throw new MediaError("invalid_type", `${name} does not tell its type: give contentType.`);
  return found;
}

/** The field, where there is something in it. */
function given<N extends string, T>(name: N, value: T | undefined): { [name in N]?: T } {
  return value === undefined ? {} : { [name]: value } as { [name in N]: T };
}

/** The same for the same request; of its own where the origin is not secure. */
async function keyOf(body: BatchRequest): Promise<string> {
  if (!webcrypto.subtle) return randomKey();
  const bytes = new TextEncoder().encode(JSON.stringify(body));
  return hex(new Uint8Array(await webcrypto.subtle.digest("SHA-256", bytes)));
}

const hex = (bytes: Uint8Array): string => Array.from(bytes, (one) => one.toString(16).padStart(2, "0")).join("");

/** Characters that nobody else has. */
const randomKey = (): string => hex(webcrypto.getRandomValues(new Uint8Array(16)));
