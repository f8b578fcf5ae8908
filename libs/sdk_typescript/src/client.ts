/**
 * The pipeline as a program uses it: upload, wait, listen.
 *
 * Invariant: an upload that was interrupted, by whatever, is gone on with by the same call: what is
 * stored is not sent again.
 */

import type { Client } from "openapi-fetch";

import type { AssetView, BatchView, paths } from "./api.js";
import { Calls, hasCode } from "./calls.js";
import { AssetFailedError, MediaError } from "./errors.js";
import { type EventsOptions, follow, type MediaEvent } from "./events.js";
import { sleep } from "./tries.js";
import { type BatchOptions, type Source, upload, uploadBatch, type UploadOptions } from "./uploads.js";

const FIRST_LOOK_SECONDS = 0.5;
const LONGEST_LOOK_SECONDS = 5;

export interface WaitOptions {
  /** How long to wait; an hour by default. */
  seconds?: number | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * The pipeline at *url*, in the name of the company that *token* speaks for.
 *
 * Its calls may run side by side. They reject with MediaError: `no_answer` while the pipeline is
 * away, after some tries. `timeout` is the limit of one request, in seconds.
 */
export class MediaPipeline {
  /** The generated client, for all else: it rejects as fetch() does, and tries nothing again. */
  readonly api: Client<paths>;
  readonly #calls: Calls;

  constructor(url: string, token: string, { timeout = 30 }: { timeout?: number } = {}) {
    this.#calls = new Calls(url, token, timeout);
    this.api = this.#calls.api;
  }

  /**
   * Upload a file, and return its asset's id once the file is stored.
   *
   * A file of 16 MiB and more goes in parts: where another call or program began to upload it, this
   * goes on with that.
   */
  upload(file: Blob | Source, options: UploadOptions = {}): Promise<string> {
    return upload(this.#calls, file, options);
  }

  /**
   * Upload up to 1,000 files as one batch, and return its id once all of them are stored.
   *
   * The same call again goes on with the batch for 24 hours.
   */
  uploadBatch(files: readonly (Blob | Source)[], options: BatchOptions = {}): Promise<string> {
    return uploadBatch(this.#calls, files, options);
  }

  /** How far a batch is. */
  batch(batchId: string, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<BatchView> {
    const params = { path: { batch_id: batchId } };
    return this.#calls.answer(
      (api, limited) => api.GET("/api/media/batches/{batch_id}", { params, signal: limited }), signal,
    );
  }

  /**
   * The batch once it is decided; its counts tell what became of it.
   *
   * Rejects with MediaError `timeout` after so many *seconds*.
   */
  async waitBatch(batchId: string, { seconds = 3600, signal }: WaitOptions = {}): Promise<BatchView> {
    const until = Date.now() + seconds * 1000;
    for (let pause = FIRST_LOOK_SECONDS; ; pause = Math.min(pause * 1.5, LONGEST_LOOK_SECONDS)) {
      const batch = await this.batch(batchId, { signal });
      if (batch.decided) return batch;
      if (Date.now() > until) {
        throw new MediaError("timeout", `Batch ${batchId} is not decided after ${seconds} s.`);
      }
      await sleep(pause, signal);
    }
  }

  /** Cancel what of a batch is not decided. */
  cancelBatch(batchId: string): Promise<BatchView> {
    const params = { path: { batch_id: batchId } };
    return this.#calls.answer(
      (api, signal) => api.POST("/api/media/batches/{batch_id}/cancel", { params, signal }),
    );
  }

  /** Process what of a batch has failed again. */
  retryBatch(batchId: string): Promise<BatchView> {
    const params = { path: { batch_id: batchId } };
    return this.#calls.answer(
      (api, signal) => api.POST("/api/media/batches/{batch_id}/retry", { params, signal }),
    );
  }

  /** An asset as it is now; its links lapse after an hour. */
  async asset(assetId: string, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<AssetView> {
    const params = { path: { asset_id: assetId } };
    return this.#calls.answer(
      (api, limited) => api.GET("/api/media/assets/{asset_id}", { params, signal: limited }), signal,
    );
  }

  /**
   * The asset once it is ready.
   *
   * Rejects with AssetFailedError where it fails or is gone, and with MediaError `timeout` after so
   * many *seconds*.
   */
  async wait(assetId: string, { seconds = 3600, signal }: WaitOptions = {}): Promise<AssetView> {
    const until = Date.now() + seconds * 1000;
    for (let pause = FIRST_LOOK_SECONDS; ; pause = Math.min(pause * 1.5, LONGEST_LOOK_SECONDS)) {
      const asset = await this.asset(assetId, { signal });
      if (asset.status === "ready") return asset;
      if (asset.status !== "pending" && asset.status !== "processing") throw new AssetFailedError(asset);
      if (Date.now() > until) {
        throw new MediaError("timeout", `${assetId} is ${asset.status} after ${seconds} s.`);
      }
      await sleep(pause, signal);
    }
  }

  /**
   * What happens to the company's assets, or to one, for ever.
   *
   * It connects again by itself, and goes on after *lastEventId* without loss. Throws MediaError where
   * the token is no good any more.
   */
  events(options: EventsOptions = {}): AsyncGenerator<MediaEvent, never> {
    return follow(this.#calls, options);
  }

  /** Delete an asset and its files. */
  async delete(assetId: string): Promise<void> {
    const params = { path: { asset_id: assetId } };
    let asked = 0;
    try {
      await this.#calls.done((api, signal) => {
        asked++;
        return api.DELETE("/api/media/assets/{asset_id}", { params, signal });
      });
    } catch (error) {
      // Gone by the try before, whose answer was lost.
      if (asked === 1 || !hasCode(error, "asset_not_found")) throw error;
    }
  }
}
