import { existsSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { ioClock } from "../../machinery/clock.ts";
import { JsonDepthError, type ParseOptions, parseJson } from "../../machinery/json.ts";
import type { YamlOutcome } from "./yaml-worker.ts";

export interface YamlBodyOptions extends ParseOptions {
  /** Called with the text of strict YAML decoding when keys stand twice. The last one wins. */
  readonly onStrictYaml?: (text: string) => void;
}

/**
 * Longer texts are read in a thread: the library needs a second for a megabyte, and minutes for one that means it badly,
 * in which nobody else would be answered.
 */
const threadFromBytes = 8 * 1024;
/** Several times what three megabytes of honest YAML take on a slow machine. */
const threadTimeMs = 60_000;
/** Threads at a time; further texts wait for their turn. */
const maxThreads = 2;

interface Read {
  readonly value: unknown;
  readonly repeatedKeys: readonly string[];
}

let running = 0;
const waiting: (() => void)[] = [];

function workerUrl(): URL {
  const source = new URL("./yaml-worker.ts", import.meta.url);
  return existsSync(source) ? source : new URL("./yaml-worker.mjs", import.meta.url);
}

/** A thread for one text: it is gone afterwards, with all that the text made it hold. */
async function readInThread(text: string): Promise<Read> {
  if (running >= maxThreads) await new Promise<void>((resolve) => waiting.push(resolve));
  running++;
  const worker = new Worker(workerUrl(), { execArgv: [], resourceLimits: { maxOldGenerationSizeMb: 512 } });
  try {
    const outcome = await new Promise<YamlOutcome>((resolve, reject) => {
      const timer = ioClock.after(threadTimeMs, () => reject(new Error("yaml: the document takes too long to read")));
      const settle = (act: () => void) => {
        timer.cancel();
        act();
      };
      worker.once("message", (outcome: YamlOutcome) => settle(() => resolve(outcome)));
      worker.once("error", () => settle(() => reject(new Error("yaml: the document is too complex to read"))));
      worker.postMessage(text);
    });
    if ("error" in outcome) throw new Error(outcome.error);
    return { value: parseJson(outcome.json), repeatedKeys: outcome.repeatedKeys };
  } finally {
    running--;
    waiting.shift()?.();
    void worker.terminate();
  }
}

async function readHere(text: string): Promise<Read> {
  const { readYaml } = await import("./yaml-values.ts");
  const repeatedKeys: string[] = [];
  return { value: readYaml(text, { onRepeatedKey: (key) => repeatedKeys.push(key) }), repeatedKeys };
}

/** The value of a YAML (or JSON, which is YAML) body. Throws Error with a text for the client. */
export async function parseYaml(body: Buffer, options: YamlBodyOptions = {}): Promise<unknown> {
  const { onStrictYaml } = options;
  const text = body.toString("utf8");
  // Apply patches are sent as YAML and are JSON nearly always.
  if (/^\s*[{[]/.test(text)) {
    let isStrict = true;
    try {
      const value = parseJson(body, onStrictYaml ? { onDuplicate: () => (isStrict = false) } : options);
      // Keys that stand twice are told with their lines.
      if (isStrict) return value;
    } catch (error) {
      if (error instanceof JsonDepthError) throw error;
      // Flow style YAML looks like it, too.
    }
  }
  const outcome = body.length > threadFromBytes ? await readInThread(text) : await readHere(text);
  if (outcome.repeatedKeys.length > 0) {
    onStrictYaml?.(`yaml: unmarshal errors:\n${outcome.repeatedKeys.map((key) => `  ${key}`).join("\n")}`);
  }
  return outcome.value;
}
