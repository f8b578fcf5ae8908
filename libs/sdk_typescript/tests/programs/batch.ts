// Uploads the files that are named as a batch, and prints it once it is decided.

import { MediaPipeline } from "media-pipeline";
import { openFile } from "media-pipeline/node";

const { MEDIA_URL = "", TOKEN = "" } = process.env;
const media = new MediaPipeline(MEDIA_URL, TOKEN);
const files = await Promise.all(process.argv.slice(2).map((path) => openFile(path)));
const metadata = { shoot: "harbour" };
// A program that died, and the one that goes on.
const stop = new AbortController();
const died = media.uploadBatch(files, { metadata, signal: stop.signal, onBytes: () => stop.abort() });
await died.then(() => { throw new Error("it did not stop"); }, () => undefined);
const batchId = await media.uploadBatch(files, { metadata });
console.log(JSON.stringify(await media.waitBatch(batchId)));
await media.retryBatch(batchId);
console.log(JSON.stringify(await media.cancelBatch(batchId)));
