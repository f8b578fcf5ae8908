/** What goes wrong, each with a stable code. */

import type { AssetView } from "./api.js";

/** What is known of a MediaError beside its code and its sentence. */
export interface ErrorDetails extends ErrorOptions {
  /** The status of the answer; undefined where there was none. */
  status?: number | undefined;
  /** Seconds after which to come back, where the answer tells. */
  retryAfter?: number | undefined;
}

/**
 * The pipeline refused; `code` is stable and for programs, the message is for people.
 *
 * Codes of this package itself: `no_answer`, `invalid_answer`, and `timeout` of wait().
 */
export class MediaError extends Error {
  override readonly name: string = "MediaError";
  readonly code: string;
  readonly status: number | undefined;
  readonly retryAfter: number | undefined;

  constructor(code: string, message: string, details: ErrorDetails = {}) {
    super(message, details);
    this.code = code;
    this.status = details.status;
    this.retryAfter = details.retryAfter;
  }
}

/** The uploaded file could not be used; `asset` tells more. */
export class AssetFailedError extends MediaError {
  override readonly name = "AssetFailedError";
  readonly asset: AssetView;

  constructor(asset: AssetView) {
    const { error, status } = asset;
    super(error?.code ?? status, error?.message ?? `The asset is ${status}.`);
    this.asset = asset;
  }
}

/** A webhook's request is forged, changed, or too old. */
export class WebhookVerificationError extends Error {
  override readonly name = "WebhookVerificationError";
}

/** The error that an answer tells; a proxy's page has no code. */
export function refusalOf(answer: Response, body: unknown): MediaError {
  const details = { status: answer.status, retryAfter: retryAfterOf(answer) };
  if (isProblem(body)) return new MediaError(body.code, body.detail, details);
  return new MediaError("invalid_answer", `The pipeline answered ${answer.status}.`, details);
}

/** The JSON in a text, or the text. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Whether a value is an object with fields. */
export const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function isProblem(body: unknown): body is { code: string; detail: string } {
  return isRecord(body) && typeof body["code"] === "string" && typeof body["detail"] === "string";
}

function retryAfterOf(answer: Response): number | undefined {
  const seconds = Number.parseInt(answer.headers.get("Retry-After") ?? "", 10);
  return seconds >= 0 ? seconds : undefined;
}
