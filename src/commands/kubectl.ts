import { accessSync, constants, existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { clusterOfContext } from "../cluster/cluster-names.ts";
import { defaultKubeconfigPath, readKubeconfigFile } from "../cluster/kubeconfig-file.ts";
import { kubectlInContainer } from "../cluster/kubectl-in-container.ts";
import { defaultKubeconfigPath as nodeKubeconfig } from "../server/kubeconfig.ts";
import { runProgram } from "./run-program.ts";

const bundled = "/usr/libexec/k3ts/kubectl";

/**
 * `k3ts kubectl`: inside a node the image's own kubectl; elsewhere the one on the PATH, or, where there is none, the one
 * inside the cluster that the current context stands for.
 */
export async function kubectl(args: readonly string[]): Promise<number> {
  if (existsSync(bundled)) {
    const environment = { ...process.env };
    if (!environment["KUBECONFIG"] && existsSync(nodeKubeconfig)) environment["KUBECONFIG"] = nodeKubeconfig;
    return runProgram(bundled, args, environment);
  }
  const installed = findOnPath("kubectl");
  if (installed) return runProgram(installed, args, process.env);
  const context = contextFrom(args) ?? readKubeconfigFile(defaultKubeconfigPath(process.env))["current-context"];
  const cluster = context && clusterOfContext(context);
  if (!cluster) {
    throw new Error(
      "kubectl is not installed here, and the current context is no cluster of k3ts; " +
        "create one with k3ts cluster create, or install kubectl",
    );
  }
  const [{ connectDocker }, { getCluster, serversOf }] = await Promise.all([
    import("../cluster/docker.ts"),
    import("../cluster/inventory.ts"),
  ]);
  const [server] = serversOf(await getCluster(await connectDocker(), cluster));
  if (!server) throw new Error(`cluster "${cluster}" has no server; create it again`);
  return kubectlInContainer(server.name, args);
}

function contextFrom(args: readonly string[]): string | undefined {
  const index = args.indexOf("--context");
  return index >= 0
    ? args[index + 1]
    : args.find((argument) => argument.startsWith("--context="))?.slice("--context=".length);
}

function findOnPath(program: string): string | undefined {
  return (process.env["PATH"] ?? "")
    .split(delimiter)
    .filter(Boolean)
    .map((directory) => join(directory, program))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}
