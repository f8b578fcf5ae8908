import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import test from "node:test";

import { verifyWebhook, WebhookVerificationError } from "media-pipeline";

const KEY = Buffer.from("0123456789abcdef01234567");
const SECRET = `whsec_${KEY.toString("base64")}`;
const BODY = '{"type":"media.webhook.ping.v1"}';

function signed(seconds = 0, key = KEY, body = BODY) {
  const timestamp = String(Math.floor(Date.now() / 1000) + seconds);
  const signature = createHmac("sha256", key).update(`id.${timestamp}.${body}`).digest("base64");
  return { "webhook-id": "id", "webhook-timestamp": timestamp, "webhook-signature": `v1,${signature}` };
}

test("a request is verified in whatever form it comes", async () => {
  const headers = signed();
  const title = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toUpperCase(), [value]]));
  for (const body of [BODY, Buffer.from(BODY), new TextEncoder().encode(BODY).buffer]) {
    for (const one of [headers, title, new Headers(headers)]) {
      assert.equal((await verifyWebhook(SECRET, body, one)).type, "media.webhook.ping.v1");
    }
  }
  assert.ok(await verifyWebhook(SECRET.slice("whsec_".length), BODY, headers));
});

test("one of several signatures is enough", async () => {
  const headers = signed(), right = headers["webhook-signature"];
  const all = ["v1a,AAAA", "v1,", "v1,???", signed(0, Buffer.from("other"))["webhook-signature"], right].join(" ");
  assert.ok(await verifyWebhook(SECRET, BODY, { ...headers, "webhook-signature": all }));
});

const refused: [string, string, Record<string, string | undefined>][] = [
  ["a changed body", `${BODY} `, signed()],
  ["another secret", BODY, signed(0, Buffer.from("other"))],
  ["an old one", BODY, signed(-301)],
  ["one from the future", BODY, signed(310)],
  ["another id", BODY, { ...signed(), "webhook-id": "other" }],
  ["another version", BODY, { ...signed(), "webhook-signature": signed()["webhook-signature"].replace("v1", "v2") }],
  ["a signature cut short", BODY, { ...signed(), "webhook-signature": signed()["webhook-signature"].slice(0, 11) }],
  ["no timestamp", BODY, { ...signed(), "webhook-timestamp": undefined }],
  ["no number", BODY, { ...signed(), "webhook-timestamp": "NaN" }],
  ["no signature", BODY, { ...signed(), "webhook-signature": "" }],
];
for (const [what, body, headers] of refused) {
  test(`${what} is refused`, async () => {
    await assert.rejects(verifyWebhook(SECRET, body, headers), WebhookVerificationError);
  });
}

test("a secret that is none is refused", async () => {
  for (const secret of ["", "whsec_", "whsec_é"]) {
    await assert.rejects(verifyWebhook(secret, BODY, signed()), WebhookVerificationError);
  }
});
