import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import test, { type TestContext } from "node:test";

import { MediaPipeline, type UploadOptions } from "media-pipeline";

import { type Answers, type Asked, json, problem, serving } from "./server.ts";

const PART = 8 * 1024 * 1024;
const ID = "0d5f3c1e-8a44-4a4e-9d7b-6f6d7b1c2a11";

/** An API with one upload; *faults* answers a PUT before storage does, where it returns true. */
async function storing(test: TestContext, faults: (asked: Asked, response: ServerResponse, puts: number) => boolean) {
  const stored = new Map<number, Buffer>();
  let size = 0, grants = 0, puts = 0;
  const server: Answers = await serving(test, (asked, response) => {
    const { method, path } = asked;
    const view = () => ({
      assetId: ID, size, partSize: PART, parts: Math.ceil(size / PART),
      stored: [...stored].map(([number, data]) => ({ number, size: data.length })),
    });
    const body = method === "POST" && asked.body.length > 0 ? JSON.parse(asked.body.toString()) : {};
    const put = (number: number) => ({
      number, size: Math.min(PART, size - (number - 1) * PART), url: `${server.url}/part/${number}?grant=${++grants}`,
    });
    if (method === "PUT") {
      if (faults(asked, response, ++puts)) return;
      stored.set(Number(new URL(path, server.url).pathname.split("/").pop()), asked.body);
      response.end();
    } else if (path === "/api/media/sign") {
      size = body.size;
      json(response, { assetId: ID, upload: { ...put(1), headers: { "Content-Type": body.type } } }, 201);
    } else if (path.startsWith("/api/media/uploads?")) json(response, { items: stored.size > 0 ? [view()] : [] });
    else if (path === "/api/media/uploads") {
      size = body.size;
      json(response, view(), 201);
    } else if (path.endsWith("/parts")) json(response, { parts: body.numbers.map(put) });
    else if (path.endsWith("/complete") && stored.size < view().parts) problem(response, 409, "parts_missing");
    else json(response, view());
  });
  const upload = (file: Blob, options: UploadOptions = {}): Promise<string> =>
    new MediaPipeline(server.url, "token").upload(file, options);
  const written = (): Buffer => Buffer.concat([...stored].sort(([a], [b]) => a - b).map(([, data]) => data));
  return { asked: server.asked, stored, upload, written };
}

const photo = (name = "photo.JPG", type = ""): File => new File([Buffer.from("a photo")], name, { type });
const film = (): File => new File([Buffer.alloc(2 * PART + 9, "film")], "film.mp4", { lastModified: 1 });

test("a small file goes in one request, again where it must", async (test) => {
  const storage = await storing(test, (_, response, puts) => {
    if (puts === 1) response.destroy();
    else if (puts === 2) problem(response, 403, "grant_expired");
    return puts < 3;
  });
  const bytes: number[] = [];
  assert.equal(await storage.upload(photo(), { title: "A photo", onBytes: (count) => bytes.push(count) }), ID);
  assert.equal(storage.written().toString(), "a photo");
  assert.deepEqual(bytes, [7]);
  const signed = storage.asked.filter((one) => one.method === "POST");
  const said = JSON.parse(signed[0]!.body.toString());
  assert.deepEqual(said, { fileName: "photo.JPG", size: 7, type: "image/jpeg", title: "A photo" });
  assert.equal(new Set(signed.map((one) => one.headers["idempotency-key"])).size, 2);
  const puts = storage.asked.filter((one) => one.method === "PUT");
  assert.ok(puts.every((one) => one.headers["content-type"] === "image/jpeg"));
});

test("what is stored already is good", async (test) => {
  const storage = await storing(test, (_, response, puts) => {
    if (puts === 1) response.destroy();
    else problem(response, 409, "already_uploaded");
    return true;
  });
  assert.equal(await storage.upload(photo()), ID);
});

test("a refusal is not asked for again", async (test) => {
  const storage = await storing(test, (_, response) => {
    problem(response, 403, "grant_refused");
    return true;
  });
  await assert.rejects(storage.upload(photo()), { code: "grant_refused", status: 403 });
  assert.equal(storage.asked.filter((one) => one.method === "PUT").length, 1);
});

test("parts are sent again alone, with a new URL where the old one lapsed", async (test) => {
  let lost = false;
  const storage = await storing(test, ({ path }, response) => {
    if (path === "/part/2?grant=2") problem(response, 403, "grant_expired");
    else if (path === "/part/3?grant=3" && !lost) {
      lost = true;
      response.destroy();
    } else return false;
    return true;
  });
  const data = film(), bytes: number[] = [];
  assert.equal(await storage.upload(data, { onBytes: (count) => bytes.push(count) }), ID);
  assert.ok(storage.written().equals(Buffer.from(await data.arrayBuffer())));
  assert.equal(bytes[0], 0);
  assert.equal(bytes.reduce((sum, one) => sum + one), data.size);
  const puts = storage.asked.filter((one) => one.method === "PUT").map((one) => one.path);
  assert.deepEqual(puts.sort(), [
    "/part/1?grant=1", "/part/2?grant=2", "/part/2?grant=4", "/part/3?grant=3", "/part/3?grant=3",
  ]);
});

test("an upload that is stopped is gone on with, and what storage loses is sent again", async (test) => {
  // Of the first upload, the last part alone gets there.
  const storage = await storing(test, ({ path }) => /^\/part\/[12]\?grant=[123]$/.test(path));
  const control = new AbortController();
  const onBytes = (count: number): void => {
    if (count > 0) control.abort(new Error("enough"));
  };
  const stopped = storage.upload(film(), { signal: control.signal, onBytes });
  await assert.rejects(stopped, { message: "enough" });
  assert.deepEqual([...storage.stored.keys()], [3]);
  const bytes: number[] = [];
  await storage.upload(film(), {
    onBytes: (count) => {
      bytes.push(count);
      if (bytes.length === 2) storage.stored.delete(3);
    },
  });
  assert.equal(storage.stored.size, 3);
  assert.equal(bytes[0], 9);
  assert.ok(bytes.includes(-9));
  assert.equal(bytes.reduce((sum, one) => sum + one), film().size);
  const again = storage.asked.map((one) => one.path).filter((path) => /grant=([4-9]|\d\d)$/.test(path));
  assert.deepEqual(again.sort(), ["/part/1?grant=4", "/part/2?grant=5", "/part/3?grant=6"]);
});

test("a type is told by the name, then by the file, or has to be given", async (test) => {
  const storage = await storing(test, () => false);
  const types = async (file: Blob, options: UploadOptions = {}): Promise<string> => {
    await storage.upload(file, options);
    return JSON.parse(storage.asked.filter((one) => one.path.endsWith("/sign")).pop()!.body.toString()).type;
  };
  assert.equal(await types(photo("photo.HeiC", "image/x-unknown")), "image/heic");
  assert.equal(await types(photo("photo", "image/png")), "image/png");
  assert.equal(await types(photo("photo.jpg"), { contentType: "image/webp" }), "image/webp");
  assert.equal(await types(new Blob(["x"]), { fileName: "a.gif" }), "image/gif");
  await assert.rejects(storage.upload(photo(".jpg")), { code: "invalid_type" });
  await assert.rejects(storage.upload(new Blob(["x"])), { code: "invalid_file_name" });
});
