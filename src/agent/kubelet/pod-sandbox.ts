import type { Pod } from "../../api/generated/core-v1.ts";
import type { Client } from "../../client/client.ts";
import type { Cri } from "../containerd/cri.ts";
import type { PodSandboxConfig } from "../containerd/cri-messages.ts";
import { makeLogDirectory } from "./container-files.ts";
import { type DnsSettings, podDnsConfig } from "./dns-config.ts";
import { podLogDirectory, sandboxConfig } from "./runtime-config.ts";

export interface SandboxContext {
  readonly client: Client;
  readonly cri: Cri;
  readonly logRoot: string;
  readonly dns: () => Promise<DnsSettings>;
}

/** The sandbox as the runtime takes it: when it is made, and again with every container in it. */
export function describeSandbox(pod: Pod, attempt: number, dns: DnsSettings, logRoot: string): PodSandboxConfig {
  const config = sandboxConfig(pod, attempt, { dns: podDnsConfig(pod, dns), clusterDomain: dns.clusterDomain });
  return { ...config, logDirectory: podLogDirectory(pod, logRoot) };
}

/** Makes a sandbox, with its network. Throws what the runtime says. */
export async function createSandbox(pod: Pod, attempt: number, context: SandboxContext): Promise<string> {
  const config = describeSandbox(pod, attempt, await context.dns(), context.logRoot);
  await makeLogDirectory(pod, context.logRoot);
  return context.cri.runPodSandbox(config, await runtimeHandler(pod, context.client));
}

async function runtimeHandler(pod: Pod, client: Client): Promise<string> {
  const name = pod.spec!.runtimeClassName;
  if (!name) return "";
  const { runtimeClasses } = await import("../../api/generated/node-v1.ts");
  return (await client.get(runtimeClasses, name)).handler;
}

/** Whether a sandbox is known not to be usable any more; false also when the runtime does not answer. */
export async function sandboxEnded(cri: Cri, id: string): Promise<boolean> {
  try {
    return (await cri.podSandboxStatus(id)).status?.state !== "SANDBOX_READY";
  } catch (error) {
    return (error as { code?: string }).code === "NOT_FOUND";
  }
}
