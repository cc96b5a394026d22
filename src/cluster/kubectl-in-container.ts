import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";

/** Commands whose effect on this machine a kubectl inside a container cannot have. */
const onlyHere = new Set(["port-forward", "proxy", "cp", "edit"]);

/**
 * Runs the kubectl inside a node's container, for machines without one: files named with -f or -k are copied in first.
 * @returns its exit code
 */
export async function kubectlInContainer(container: string, args: readonly string[]): Promise<number> {
  const command = args.find((argument) => !argument.startsWith("-"));
  if (command && onlyHere.has(command)) {
    throw new Error(
      `kubectl ${command} acts on this machine and needs a kubectl here; install one (everything else works without)`,
    );
  }
  const directory = `/tmp/kubectl-${randomBytes(4).toString("hex")}`;
  const copies = new Map<string, string>();
  // The node's kubeconfig has one context, `default`.
  const passed = withoutContext(args).map((argument, index, all) => {
    const inline = /^(-f|-k|--filename|--kustomize)=(.+)$/.exec(argument);
    const file = inline
      ? inline[2]!
      : /^(-f|-k|--filename|--kustomize)$/.test(all[index - 1] ?? "")
        ? argument
        : undefined;
    if (file === undefined || file === "-" || /^https?:/.test(file) || !existsSync(file)) return argument;
    const inside = `${directory}/${copies.size}`;
    copies.set(file, inside);
    return inline ? `${inline[1]}=${inside}` : inside;
  });
  if (copies.size > 0) {
    await docker(["exec", container, "mkdir", "-p", directory]);
    for (const [file, inside] of copies) await docker(["cp", file, `${container}:${inside}`]);
  }
  try {
    const terminal = process.stdin.isTTY && process.stdout.isTTY ? ["-t"] : [];
    return await docker(["exec", "-i", ...terminal, container, "kubectl", ...passed], "inherit");
  } finally {
    if (copies.size > 0) await docker(["exec", container, "rm", "-r", directory]);
  }
}

function withoutContext(args: readonly string[]): string[] {
  return args.filter((argument, index) => !argument.startsWith("--context") && args[index - 1] !== "--context");
}

function docker(args: readonly string[], output: "inherit" | "ignore" = "ignore"): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn("docker", args, { stdio: output === "inherit" ? "inherit" : ["ignore", "ignore", "inherit"] });
    child.on("error", () => reject(new Error("the docker command is not installed here; install it, or kubectl")));
    child.on("exit", (code) => {
      if (output === "inherit" || code === 0) resolve(code ?? 1);
      else reject(new Error(`docker ${args[0]} failed with code ${code}`));
    });
  });
}
