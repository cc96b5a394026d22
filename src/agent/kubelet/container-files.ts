import { chmod, mkdir, readFile, rm, symlink, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Pod } from "../../api/generated/core-v1.ts";
import type { Mount } from "../containerd/cri-messages.ts";
import { podHosts } from "./dns-config.ts";
import type { ObservedContainer } from "./observed-pod.ts";
import type { AnyContainer } from "./pod-facts.ts";
import { podDirectory } from "./pod-volumes.ts";
import { podLogDirectory } from "./runtime-config.ts";

/** Which one of a pod's containers. */
export type ContainerTurn = Pick<ObservedContainer, "name" | "attempt">;

/** The files on the node that the kubelet keeps for a pod's containers, beside its volumes. */
export class ContainerFiles {
  readonly #directory: string;
  readonly #logRoot: string;

  constructor(uid: string, roots: { readonly rootDir: string; readonly logRoot: string }) {
    this.#directory = podDirectory(roots.rootDir, uid);
    this.#logRoot = roots.logRoot;
  }

  /** Where a container leaves its last words. */
  messagePath({ name, attempt }: ContainerTurn): string {
    return join(this.#directory, "containers", name, String(attempt));
  }

  logPath(pod: Pod, { name, attempt }: ContainerTurn): string {
    return join(podLogDirectory(pod, this.#logRoot), name, `${attempt}.log`);
  }

  /** Makes what every container gets from the kubelet (its hosts file, a place for its last words), and their mounts. */
  async mounts(
    pod: Pod,
    container: AnyContainer,
    attempt: number,
    facts: { readonly podIps: readonly string[]; readonly clusterDomain: string },
  ): Promise<Mount[]> {
    const result: Mount[] = [];
    const taken = new Set((container.volumeMounts ?? []).map(({ mountPath }) => mountPath.replace(/\/+$/, "")));
    await mkdir(this.#directory, { recursive: true, mode: 0o750 });
    if (!taken.has("/etc/hosts")) {
      const path = join(this.#directory, "etc-hosts");
      const hostText = pod.spec!.hostNetwork ? await readFile("/etc/hosts", "utf8").catch(() => "") : undefined;
      // Written in place: running containers have this very file mounted.
      await writeFile(path, podHosts(pod, facts.podIps, facts.clusterDomain, hostText), { mode: 0o644 });
      result.push({ containerPath: "/etc/hosts", hostPath: path });
    }
    const messagePath = container.terminationMessagePath ?? "/dev/termination-log";
    if (messagePath) {
      const path = this.messagePath({ name: container.name, attempt });
      await mkdir(join(path, ".."), { recursive: true, mode: 0o755 });
      await writeFile(path, "");
      // Any user of the container may write it, whatever our umask.
      await chmod(path, 0o666);
      result.push({ containerPath: messagePath, hostPath: path });
    }
    return result;
  }

  /** Makes the directory that the runtime writes a container's log to. */
  async prepareLog(pod: Pod, container: AnyContainer): Promise<void> {
    await mkdir(join(podLogDirectory(pod, this.#logRoot), container.name), { recursive: true, mode: 0o755 });
  }

  /** The name under which log collectors look: /var/log/containers/<pod>_<namespace>_<container>-<id>.log */
  async linkLog(pod: Pod, turn: ContainerTurn, id: string): Promise<void> {
    const link = this.#logLink(pod, turn.name, id);
    await mkdir(join(link, ".."), { recursive: true });
    await symlink(this.logPath(pod, turn), link);
  }

  /** Removes what was made for one container. */
  async remove(pod: Pod, container: ObservedContainer): Promise<void> {
    await rm(this.messagePath(container), { force: true });
    await rm(this.logPath(pod, container), { force: true });
    await unlink(this.#logLink(pod, container.name, container.id)).catch(() => {});
  }

  /** Removes all logs of the pod. */
  async removeLogs(pod: Pod, containers: readonly ObservedContainer[]): Promise<void> {
    for (const { name, id } of containers) await unlink(this.#logLink(pod, name, id)).catch(() => {});
    await rm(podLogDirectory(pod, this.#logRoot), { recursive: true, force: true });
  }

  #logLink(pod: Pod, container: string, id: string): string {
    const { name, namespace } = pod.metadata;
    return join(this.#logRoot, "../containers", `${name}_${namespace}_${container}-${id}.log`);
  }
}

/** The directory of a pod's logs has to be there before its sandbox. */
export async function makeLogDirectory(pod: Pod, logRoot: string): Promise<string> {
  const path = podLogDirectory(pod, logRoot);
  await mkdir(path, { recursive: true, mode: 0o755 });
  return path;
}
