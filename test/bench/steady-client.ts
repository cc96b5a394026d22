import { Agent, request } from "node:https";
import { performance } from "node:perf_hooks";

/** What a client met that never gives up. */
export interface ClientReport {
  readonly requests: number;
  /** How often a request was sent once more. */
  readonly retries: number;
  /** The longest time until a request was answered, its retries with it. */
  readonly slowestMs: number;
  /** What failed, the first few. */
  readonly failures: readonly string[];
}

export interface SteadyClientOptions {
  readonly url: string;
  /** As PEM. */
  readonly credentials: { readonly ca: string; readonly cert: string; readonly key: string };
  readonly method: "GET" | "PUT";
  readonly path: string;
  readonly body?: string;
}

const pauseMs = 50;
const timeoutMs = 20_000;
const afterFailureMs = 10;
const keptFailures = 3;

/**
 * Sends a request every 50 ms over one kept connection, each again until it is answered.
 * @returns ends it and tells what it met
 */
export function startSteadyClient(options: SteadyClientOptions): () => Promise<ClientReport> {
  const { url, credentials, method, path, body } = options;
  const agent = new Agent({ ...credentials, keepAlive: true, maxSockets: 1 });
  const failures: string[] = [];
  let [requests, retries, slowestMs] = [0, 0, 0];
  let stopping = false;
  const send = () =>
    new Promise<void>((resolve, reject) => {
      const headers = { "content-type": "application/json" };
      const sent = request(new URL(path, url), { agent, method, headers, timeout: timeoutMs }, (response) => {
        response.resume();
        response.once("error", reject);
        response.once("close", () => {
          if (response.statusCode === 200 && response.complete) resolve();
          else reject(new Error(`answered ${response.statusCode}${response.complete ? "" : ", cut off"}`));
        });
      });
      sent.once("timeout", () => sent.destroy(new Error(`no answer in ${timeoutMs / 1000} s`)));
      sent.once("error", reject);
      sent.end(body);
    });
  const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  const running = (async () => {
    while (!stopping) {
      const startedMs = performance.now();
      requests++;
      for (;;) {
        try {
          await send();
          break;
        } catch (error) {
          if (failures.length < keptFailures) failures.push((error as Error).message);
          retries++;
          await sleep(afterFailureMs);
        }
      }
      slowestMs = Math.max(slowestMs, performance.now() - startedMs);
      await sleep(pauseMs);
    }
  })();
  return async () => {
    stopping = true;
    await running;
    agent.destroy();
    return { requests, retries, slowestMs, failures };
  };
}
