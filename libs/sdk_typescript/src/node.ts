/** Files of Node. */

import { open, stat } from "node:fs/promises";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";

import type { Source } from "./uploads.js";

const NANOSECONDS = 1_000_000n;

/** The file at *path*, for upload(); it is read piece by piece, and must stay as it is meanwhile. */
export async function openFile(path: string | URL): Promise<Source> {
  const place = typeof path === "string" ? path : fileURLToPath(path);
  const { size, mtimeNs } = await stat(place, { bigint: true });
  return {
    name: basename(place),
    size: Number(size),
    // What numbers round away would make another fingerprint; BigInt rounds towards zero.
    lastModified: Number((mtimeNs - (((mtimeNs % NANOSECONDS) + NANOSECONDS) % NANOSECONDS)) / NANOSECONDS),
    part: (begin, end) => read(place, begin, end),
  };
}

async function read(path: string, begin: number, end: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(end - begin);
  const file = await open(path);
  try {
    for (let filled = 0; filled < bytes.length; ) {
      const { bytesRead } = await file.read(bytes, filled, bytes.length - filled, begin + filled);
      if (bytesRead === 0) throw new Error(`${path} became shorter while it was read.`);
      filled += bytesRead;
    }
  } finally {
    await file.close();
  }
  return bytes;
}
