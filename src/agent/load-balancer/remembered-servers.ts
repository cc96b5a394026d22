import { readFileSync } from "node:fs";
import { parseJson, stringifyJson } from "../../machinery/json.ts";
import { replaceFile } from "../host/files.ts";
import { isHostPort } from "./dial-first.ts";

/** The servers that an agent knew when it last ran, in K3s' file and form (agent/etc/k3s-agent-load-balancer.json). */
interface RememberedServers {
  readonly ServerURL: string;
  readonly ServerAddresses: readonly string[];
}

/**
 * The addresses ("host:port") that were remembered for `serverUrl`; none when the file is missing or damaged, or the
 * agent was told to join by another URL since, which may be that of another cluster.
 */
export function rememberedServers(path: string, serverUrl: string): string[] {
  try {
    const saved = parseJson(readFileSync(path, "utf8")) as Partial<RememberedServers> | null;
    if (saved?.ServerURL !== serverUrl || !Array.isArray(saved.ServerAddresses)) return [];
    return saved.ServerAddresses.filter(isHostPort);
  } catch {
    return [];
  }
}

export function rememberServers(path: string, serverUrl: string, addresses: readonly string[]): Promise<void> {
  const content: RememberedServers = { ServerURL: serverUrl, ServerAddresses: addresses };
  return replaceFile(path, `${stringifyJson(content)}\n`, 0o600);
}
