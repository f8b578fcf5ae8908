// A server on this machine that answers as a test says.

import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";

export interface Asked {
  method: string;
  path: string;
  headers: IncomingMessage["headers"];
  body: Buffer;
  at: number;
}

export interface Answers {
  url: string;
  asked: Asked[];
}

/** Serve for as long as *test* runs; *answer* gets each request when it is there in whole. */
export async function serving(
  test: TestContext, answer: (asked: Asked, response: ServerResponse, count: number) => void,
): Promise<Answers> {
  const asked: Asked[] = [];
  const server = createServer(async (request, response) => {
    const pieces: Buffer[] = [];
    try {
      for await (const piece of request) pieces.push(piece as Buffer);
    } catch {
      return; // its client is gone
    }
    const { method = "", url: path = "", headers } = request;
    const one = { method, path, headers, body: Buffer.concat(pieces), at: Date.now() };
    asked.push(one);
    answer(one, response, asked.length);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  test.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

type Headers = Record<string, string>;

export function json(response: ServerResponse, body: unknown, status = 200, headers: Headers = {}): void {
  response.writeHead(status, { "Content-Type": "application/json", ...headers }).end(JSON.stringify(body));
}

export function problem(response: ServerResponse, status: number, code: string, headers: Headers = {}): void {
  json(response, { code, detail: `It is ${code}.`, status }, status, headers);
}
