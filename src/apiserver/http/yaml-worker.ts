/** Reads YAML texts in a thread of its own. */
import { parentPort } from "node:worker_threads";
import { stringifyJson } from "../../machinery/json.ts";
import { readYaml } from "./yaml-values.ts";

/** What a text became: JSON, or why it is no YAML. */
export type YamlOutcome =
  | { readonly json: string; readonly repeatedKeys: readonly string[] }
  | { readonly error: string };

function outcomeOf(text: string): YamlOutcome {
  const repeatedKeys: string[] = [];
  try {
    return { json: stringifyJson(readYaml(text, { onRepeatedKey: (key) => repeatedKeys.push(key) })), repeatedKeys };
  } catch (error) {
    return { error: (error as Error).message };
  }
}

parentPort!.on("message", (text: string) => parentPort!.postMessage(outcomeOf(text)));
