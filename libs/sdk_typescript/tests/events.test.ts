import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import test from "node:test";

import { type MediaEvent, MediaPipeline } from "media-pipeline";

import { problem, serving } from "./server.ts";

const STREAM = { "Content-Type": "text/event-stream; charset=utf-8" };
const HELLO = "retry: 2000\nevent: media_hello\nid: p0\ndata: {}\n\n";

const sent = (kind: string, id: string, event: object): string =>
  `event: ${kind}\nid: ${id}\ndata: ${JSON.stringify(event)}\n\n`;

async function heard(url: string, count: number, lastEventId?: string): Promise<MediaEvent[]> {
  const found: MediaEvent[] = [];
  for await (const one of new MediaPipeline(url, "token").events({ lastEventId })) {
    if (found.push(one) === count) break;
  }
  return found;
}

function streamed(response: ServerResponse, text: string): void {
  response.writeHead(200, STREAM).end(text);
}

test("a lost stream goes on after the last position, as soon as the server says", async (test) => {
  const server = await serving(test, (_, response, count) => {
    const first = sent("media_status", "p1", { subject: "a" });
    if (count === 1) streamed(response, `${HELLO}${first}: heartbeat\nid: p2\n\n`);
    else if (count === 2) problem(response, 429, "too_many_event_streams", { "Retry-After": "1" });
    else if (count === 3) response.writeHead(200, STREAM).write(HELLO.slice(0, 20), () => response.destroy());
    else streamed(response, sent("media_processed", "p3", { subject: "b" }));
  });
  assert.deepEqual(await heard(server.url, 2, "p-1"), [
    { kind: "media_status", lastEventId: "p1", event: { subject: "a" } },
    { kind: "media_processed", lastEventId: "p3", event: { subject: "b" } },
  ]);
  assert.deepEqual(server.asked.map((one) => one.headers["last-event-id"]), ["p-1", "p2", "p2", "p2"]);
  assert.ok(server.asked[2]!.at - server.asked[1]!.at >= 990);
});

test("events of kinds and types that nobody knows come as they are", async (test) => {
  const batch = { type: "media.batch.decided.v1", subject: "a", data: { outcomes: [] } };
  const server = await serving(test, (_, response) => streamed(response, [
    HELLO, sent("media_status", "p1", batch), sent("media_moon", "p2", { phase: "full" }),
    "event: media_text\ndata: no JSON\n\n", sent("media_resync", "p3", { reason: "events_lost" }),
  ].join("")));
  assert.deepEqual(await heard(server.url, 3), [
    { kind: "media_status", lastEventId: "p1", event: batch },
    { kind: "media_moon", lastEventId: "p2", event: { phase: "full" } },
    { kind: "media_resync", lastEventId: "p3", event: { reason: "events_lost" } },
  ]);
});

test("it does not matter where pieces end, and what ends lines", async (test) => {
  const text = ': note\r\nevent: media_status\rid: p1\ndata: {"name":\r\ndata: "Füße 🎬"}\r\n\r\n';
  const server = await serving(test, (_, response) => {
    const bytes = [...Buffer.from(text)];
    response.writeHead(200, STREAM);
    const next = (): void => {
      const byte = bytes.shift();
      if (byte !== undefined) response.write(Buffer.from([byte]), () => setImmediate(next));
    };
    next();
  });
  assert.deepEqual(await heard(server.url, 1), [
    { kind: "media_status", lastEventId: "p1", event: { name: "Füße 🎬" } },
  ]);
});

test("a token that is no good any more ends it", async (test) => {
  const server = await serving(test, (_, response, count) => {
    if (count === 1) streamed(response, HELLO);
    else problem(response, 401, "unauthorized");
  });
  await assert.rejects(heard(server.url, 1), { code: "unauthorized", status: 401 });
});

test("a page of a proxy is no stream", async (test) => {
  const server = await serving(test, (_, response) => {
    response.writeHead(200, { "Content-Type": "text/html" }).end("<html>Bad gateway</html>");
  });
  await assert.rejects(heard(server.url, 1), { code: "invalid_answer" });
});

test("who breaks off and who aborts closes the connection", async (test) => {
  const closed: Promise<void>[] = [];
  const server = await serving(test, (_, response) => {
    closed.push(new Promise((done) => response.on("close", done)));
    response.writeHead(200, STREAM).write(sent("media_status", "p1", {}));
  });
  await heard(server.url, 1);
  await closed[0];
  const control = new AbortController();
  const events = new MediaPipeline(server.url, "token").events({ signal: control.signal });
  await events.next();
  const next = events.next();
  control.abort(new Error("enough"));
  await assert.rejects(next, { message: "enough" });
  await closed[1];
});
