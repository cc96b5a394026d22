import { randomBytes } from "node:crypto";
import type Docker from "dockerode";
import { adaptKubeconfig, type KubeconfigFile } from "../../src/cluster/kubeconfig-file.ts";
import { waitForLine } from "../../src/cluster/node-log.ts";
import { waitForNodes } from "../../src/cluster/wait-ready.ts";
import { serverImage } from "../../src/commands/images.ts";
import { run } from "../../tools/run.ts";

export interface ServerContainer extends AsyncDisposable {
  readonly name: string;
  readonly kubeconfig: KubeconfigFile;
  /** When the node was Ready and DNS answered, milliseconds after `docker run` was typed. */
  readonly readyAfterMs: number;
}

export interface ServerContainerOptions {
  readonly image?: string;
  /** Arguments of `docker run` before the image. */
  readonly dockerArgs?: readonly string[];
}

const startTimeoutMs = 60_000;

/** A name that no other container has. */
export function freshName(purpose: string): string {
  return `k3ts-bench-${purpose}-${randomBytes(3).toString("hex")}`;
}

/** Removes containers with their volumes, also those that never started. */
export async function removeContainers(...names: readonly string[]): Promise<void> {
  await run("docker", ["rm", "-fv", ...names]);
}

/**
 * Runs a server as the README says, with its port published, and waits until its node is Ready and a lookup at the
 * cluster's DNS address is answered.
 * @throws, with nothing left behind, when that takes more than a minute
 */
export async function startServerContainer(
  docker: Docker,
  clock: { now(): number },
  options: ServerContainerOptions = {},
): Promise<ServerContainer> {
  const name = freshName("server");
  const signal = AbortSignal.timeout(startTimeoutMs);
  const startedAtMs = clock.now();
  const args = ["--privileged", "--name", name, "--hostname", name, "-p", "127.0.0.1::6443"];
  try {
    await run("docker", ["run", "-d", ...args, ...(options.dockerArgs ?? []), options.image ?? serverImage]);
    const [kubeconfig] = await Promise.all([
      waitForLine(docker, name, "Wrote kubeconfig", signal).then(async () => {
        const kubeconfig = await kubeconfigOf(name);
        await waitForNodes(kubeconfig, [name], signal);
        return kubeconfig;
      }),
      waitForLine(docker, name, "Cluster DNS is answering", signal).then(() => lookUp(name)),
    ]);
    const readyAfterMs = clock.now() - startedAtMs;
    return { name, kubeconfig, readyAfterMs, [Symbol.asyncDispose]: () => removeContainers(name) };
  } catch (error) {
    await removeContainers(name).catch(() => {});
    throw error;
  }
}

async function kubeconfigOf(name: string): Promise<KubeconfigFile> {
  const [text, published] = await Promise.all([
    run("docker", ["exec", name, "cat", "/etc/rancher/k3s/k3s.yaml"]),
    run("docker", ["port", name, "6443/tcp"]),
  ]);
  return adaptKubeconfig(text, name, `https://${published.split("\n")[0]}`);
}

async function lookUp(name: string): Promise<void> {
  const answer = await run("docker", ["exec", name, "nslookup", "kubernetes.default.svc.cluster.local", "10.43.0.10"]);
  if (!/Address.*10\.43\.0\.1\b/.test(answer)) throw new Error(`the cluster's DNS answered otherwise:\n${answer}`);
}
