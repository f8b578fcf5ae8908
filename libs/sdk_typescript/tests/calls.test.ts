import assert from "node:assert/strict";
import test from "node:test";

import { AssetFailedError, MediaError, MediaPipeline } from "media-pipeline";

import { json, problem, serving } from "./server.ts";

const ID = "0d5f3c1e-8a44-4a4e-9d7b-6f6d7b1c2a11";

test("what passes is asked again, when the answer says", async (test) => {
  const server = await serving(test, (_, response, count) => {
    if (count === 1) problem(response, 503, "storage_not_ready", { "Retry-After": "1" });
    else if (count === 2) response.destroy();
    else json(response, { assetId: ID, status: "ready" });
  });
  const asset = await new MediaPipeline(server.url, "token").asset(ID);
  assert.equal(asset.status, "ready");
  assert.equal(server.asked.length, 3);
  assert.equal(server.asked[0]?.headers.authorization, "Bearer token");
  assert.ok(server.asked[1]!.at - server.asked[0]!.at >= 990);
});

test("what is refused is told by its code, at once", async (test) => {
  const server = await serving(test, (_, response) => problem(response, 404, "asset_not_found"));
  await assert.rejects(new MediaPipeline(server.url, "token").asset(ID), (error) => {
    assert.ok(error instanceof MediaError);
    assert.deepEqual([error.code, error.status, error.message], ["asset_not_found", 404, "It is asset_not_found."]);
    return true;
  });
  assert.equal(server.asked.length, 1);
});

test("who is to come back in an hour is told so", async (test) => {
  const server = await serving(test, (_, response) => {
    problem(response, 429, "rate_limited", { "Retry-After": "3600" });
  });
  await assert.rejects(new MediaPipeline(server.url, "token").asset(ID), { code: "rate_limited", retryAfter: 3600 });
});

for (const page of ["<html>Bad gateway</html>", ""]) {
  test(`a page of a proxy is no answer: "${page}"`, async (test) => {
    const server = await serving(test, (_, response) => {
      response.writeHead(200, { "Content-Type": "text/html", "Content-Length": page.length }).end(page);
    });
    await assert.rejects(new MediaPipeline(server.url, "token").asset(ID), { code: "invalid_answer" });
  });
}

test("a request that gets no answer is given up in its time", async (test) => {
  const server = await serving(test, (_, response, count) => {
    if (count > 1) json(response, { assetId: ID, status: "ready" });
  });
  await new MediaPipeline(server.url, "token", { timeout: 0.5 }).asset(ID);
  assert.ok(server.asked.length > 1);
});

test("waiting ends by its time, by failure and by its signal", async (test) => {
  const statuses = ["pending", "processing", "failed"];
  const server = await serving(test, (_, response, count) => {
    const error = { code: "type_mismatch", message: "It is none." };
    json(response, { assetId: ID, status: statuses[count - 1] ?? "pending", error });
  });
  const media = new MediaPipeline(server.url, "token");
  await assert.rejects(media.wait(ID), (error) => {
    assert.ok(error instanceof AssetFailedError);
    assert.deepEqual([error.code, error.message, error.asset.assetId], ["type_mismatch", "It is none.", ID]);
    return true;
  });
  await assert.rejects(media.wait(ID, { seconds: 0 }), { code: "timeout" });
  await assert.rejects(media.wait(ID, { signal: AbortSignal.timeout(100) }), { name: "TimeoutError" });
});

test("what is gone by a try whose answer was lost is deleted", async (test) => {
  const server = await serving(test, (_, response, count) => {
    if (count === 1) response.destroy();
    else problem(response, 404, "asset_not_found");
  });
  const media = new MediaPipeline(server.url, "token");
  await media.delete(ID);
  await assert.rejects(media.delete(ID), { code: "asset_not_found" });
});

test("an address or a token that can be none is refused at once", () => {
  assert.throws(() => new MediaPipeline("media.example.com", "token"), TypeError);
  assert.throws(() => new MediaPipeline("https://media.example.com", "to\nken"), TypeError);
});
