import { runProgram } from "./run-program.ts";

/** `k3ts ctr`: containerd's client, pointed at this node's containerd and at Kubernetes' namespace. */
export function ctr(args: readonly string[]): Promise<number> {
  const environment = {
    CONTAINERD_ADDRESS: "/run/k3s/containerd/containerd.sock",
    CONTAINERD_NAMESPACE: "k8s.io",
    ...process.env,
  };
  return runProgram("/usr/libexec/k3ts/ctr", args, environment);
}
