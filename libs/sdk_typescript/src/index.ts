/** A client of the media pipeline: uploads that survive anything, and what became of them. */

export type * from "./api.js";
export { MediaPipeline, type WaitOptions } from "./client.js";
export { AssetFailedError, MediaError, WebhookVerificationError } from "./errors.js";
export type { CloudEvent, EventsOptions, MediaEvent } from "./events.js";
export { type BatchOptions, fingerprintOf, type Source, type UploadOptions } from "./uploads.js";
export { type RequestHeaders, verifyWebhook } from "./webhooks.js";
