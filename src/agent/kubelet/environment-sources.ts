import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Pod } from "../../api/generated/core-v1.ts";
import type { EnvironmentSources } from "./environment.ts";
import type { PodVolumes } from "./pod-volumes.ts";
import type { WorkerContext } from "./worker-context.ts";

/** From where the variables and downward files of a pod's containers come. */
export function environmentSources(
  pod: Pod,
  podIps: readonly string[],
  volumes: PodVolumes,
  context: Pick<WorkerContext, "objects" | "hostIps" | "nodeName" | "allocatable">,
): EnvironmentSources {
  const { objects, hostIps, nodeName } = context;
  const namespace = pod.metadata.namespace ?? "";
  return {
    nodeName,
    hostIp: hostIps[0] ?? "",
    hostIps,
    podIps,
    allocatable: context.allocatable(),
    configMap: (name) => objects.configMap(namespace, name),
    secret: (name) => objects.secret(namespace, name),
    services: () => objects.serviceLinks(namespace, pod.spec!.enableServiceLinks !== false),
    fileKey: async (volume, path, key) => {
      const text = await readFile(join(volumes.path(volume), path), "utf8");
      const line = text.split("\n").find((entry) => entry.startsWith(`${key}=`));
      return line?.slice(key.length + 1).replace(/^(['"])(.*)\1$/, "$2");
    },
  };
}
