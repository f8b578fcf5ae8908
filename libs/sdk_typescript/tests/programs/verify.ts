// Reads webhooks as lines of JSON, and prints what becomes of each: {"event": …} or {"refused": …}.

import { createInterface } from "node:readline";

import { verifyWebhook, WebhookVerificationError } from "media-pipeline";

interface Request {
  secret: string;
  body: string;
  headers: Record<string, string>;
}

for await (const line of createInterface(process.stdin)) {
  const { secret, body, headers } = JSON.parse(line) as Request;
  try {
    const event = await verifyWebhook(secret, Buffer.from(body, "base64"), headers);
    console.log(JSON.stringify({ event }));
  } catch (error) {
    if (!(error instanceof WebhookVerificationError)) throw error;
    console.log(JSON.stringify({ refused: error.message }));
  }
}
