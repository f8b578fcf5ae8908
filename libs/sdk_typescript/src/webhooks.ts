/** Webhooks, as a company's server receives them: Standard Webhooks 1.0 (standardwebhooks.com). */

import { webcrypto } from "#webcrypto";

import { WebhookVerificationError } from "./errors.js";
import type { CloudEvent } from "./events.js";

/** Headers of a request, as fetch, Node's http and most frameworks have them. */
export type RequestHeaders = Headers | Record<string, string | readonly string[] | undefined>;

const TOLERANCE_SECONDS = 5 * 60;
const PREFIX = "whsec_";
const VERSION = "v1";

/**
 * The event in a request's *body*, which somebody who knows the *secret* has signed.
 *
 * Give the body as it came, in bytes or as text: JSON that was parsed and written again has another
 * signature. Rejects with WebhookVerificationError for a request that is forged, or off by more than
 * five minutes.
 */
export async function verifyWebhook(
  secret: string, body: string | Uint8Array | ArrayBuffer, headers: RequestHeaders,
): Promise<CloudEvent> {
  const [id, timestamp, signatures] = ["webhook-id", "webhook-timestamp", "webhook-signature"].map(
    (name) => header(headers, name),
  );
  if (!id || !timestamp || !signatures) throw new WebhookVerificationError("A header is missing.");
  checkTime(timestamp);
  const bytes = typeof body === "string" ? new TextEncoder().encode(body) : new Uint8Array(body);
  const signed = await new Blob([`${id}.${timestamp}.`, bytes]).arrayBuffer();
  for (const one of signatures.split(" ")) {
    const [version, signature = ""] = one.split(",", 2);
    if (version === VERSION && (await isSigned(secret, signature, signed))) {
      return JSON.parse(new TextDecoder().decode(bytes)) as CloudEvent;
    }
  }
  throw new WebhookVerificationError("No signature is right.");
}

function header(headers: RequestHeaders, name: string): string | undefined {
  if (headers instanceof Headers) return headers.get(name) ?? undefined;
  const found = Object.entries(headers).find(([one]) => one.toLowerCase() === name)?.[1];
  return typeof found === "string" ? found : found?.join(" ");
}

function checkTime(timestamp: string): void {
  if (!/^\d{1,15}$/.test(timestamp)) throw new WebhookVerificationError("The timestamp is no number.");
  const late = Date.now() / 1000 - Number(timestamp);
  if (late > TOLERANCE_SECONDS) throw new WebhookVerificationError("The timestamp is too old.");
  if (late < -TOLERANCE_SECONDS) throw new WebhookVerificationError("The timestamp is too new.");
}

async function isSigned(secret: string, signature: string, signed: ArrayBuffer): Promise<boolean> {
  const { subtle } = webcrypto;
  if (!subtle) throw new WebhookVerificationError("There is no Web Cryptography API here.");
  const bytes = secret.startsWith(PREFIX) ? secret.slice(PREFIX.length) : secret;
  const raw = decoded(bytes);
  if (!raw?.length) throw new WebhookVerificationError("The secret is not in base64.");
  const key = await subtle.importKey("raw", raw, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
  const told = decoded(signature);
  // It compares in constant time.
  return told !== undefined && subtle.verify("HMAC", key, told, signed);
}

function decoded(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  } catch {
    return undefined;
  }
}
