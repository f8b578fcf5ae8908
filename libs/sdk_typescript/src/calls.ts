/** Requests to the API and to storage, in the name of one company. */

import createClient, { type Client } from "openapi-fetch";

import type { paths } from "./api.js";
import { MediaError, parsed, refusalOf } from "./errors.js";
import { retried, within } from "./tries.js";

/** What an operation of the generated client resolves to. */
interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

const SEND_SECONDS = 120;
/** A line that is slower than that has died. */
const LEAST_BYTES_A_SECOND = 8 * 1024;

export class Calls {
  readonly api: Client<paths>;
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly #seconds: number;

  constructor(url: string, token: string, seconds: number) {
    this.url = new URL(url).href.replace(/\/+$/, "");
    this.headers = { Authorization: `Bearer ${token}` };
    new Headers(this.headers); // throws for what can be no header
    this.#seconds = seconds;
    this.api = createClient<paths>({
      baseUrl: this.url, headers: this.headers, cache: "no-store", credentials: "omit",
    });
  }

  /** What an operation answers; what may be repeated is tried again. Rejects with MediaError. */
  async answer<T>(
    operation: (api: Client<paths>, signal: AbortSignal) => Promise<Answer<T>>, signal?: AbortSignal,
  ): Promise<T> {
    const { data, response } = await this.#asked(operation, signal);
    if (data === undefined) throw refusalOf(response, undefined);
    return data;
  }

  /** As answer(), of an operation that answers nothing. */
  async done(
    operation: (api: Client<paths>, signal: AbortSignal) => Promise<Answer<unknown>>, signal?: AbortSignal,
  ): Promise<void> {
    const { response } = await this.#asked(operation, signal);
    if (response.status !== 204) throw refusalOf(response, undefined);
  }

  #asked<T>(
    operation: (api: Client<paths>, signal: AbortSignal) => Promise<Answer<T>>, signal?: AbortSignal,
  ): Promise<Answer<T>> {
    const attempt = async (limited: AbortSignal): Promise<Answer<T>> => {
      const answer = await operation(this.api, limited);
      if (!answer.response.ok) throw refusalOf(answer.response, answer.error);
      return answer;
    };
    return retried(() => within(this.#seconds, signal, attempt), signal);
  }

  /** PUT bytes to storage, once. Rejects with MediaError. */
  async put(
    url: string, body: Blob | Uint8Array<ArrayBuffer>, headers: Record<string, string>, signal?: AbortSignal,
  ): Promise<void> {
    const size = body instanceof Blob ? body.size : body.byteLength;
    await within(SEND_SECONDS + size / LEAST_BYTES_A_SECOND, signal, async (limited) => {
      const answer = await fetch(url, { method: "PUT", body, headers, signal: limited, credentials: "omit" });
      const text = await answer.text();
      if (!answer.ok) throw refusalOf(answer, parsed(text));
    });
  }
}

/** Whether an error has this code. */
export const hasCode = (error: unknown, code: string): boolean => error instanceof MediaError && error.code === code;
