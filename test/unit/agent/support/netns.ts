import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { fileURLToPath } from "node:url";

/** Programs, and the Debian packages that hold them. */
const needed = { ip: "iproute2", nft: "nftables", conntrack: "conntrack", nsenter: "util-linux", ping: "iputils-ping" };

/** Throws unless this process is root and has the programs that network tests run; names the Debian packages. */
export function requireNetworkTools(): void {
  if (process.getuid?.() !== 0) throw new Error("network tests make network namespaces: run them as root");
  const folders = [...(process.env["PATH"] ?? "").split(":"), "/usr/sbin", "/sbin"];
  for (const [program, debianPackage] of Object.entries(needed)) {
    const found = folders.some((folder) => {
      try {
        accessSync(`${folder}/${program}`, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
    if (!found) throw new Error(`network tests need "${program}": install the Debian package "${debianPackage}"`);
  }
}

/** A network namespace of a test. Its name is unique, so that test files can run side by side. */
export class NetworkNamespace {
  readonly name: string;
  readonly #children = new Set<ChildProcess>();

  constructor(label: string) {
    this.name = `k3ts-${process.pid}-${label}`;
    execFileSync("ip", ["netns", "add", this.name]);
    this.ip("link set lo up");
  }

  /** Runs a program inside and gives its stdout; throws with everything that it printed. */
  exec(program: string, args: readonly string[], input?: string): string {
    try {
      return execFileSync("ip", ["netns", "exec", this.name, program, ...args], {
        encoding: "utf8",
        stdio: ["pipe", "pipe", "pipe"],
        ...(input === undefined ? {} : { input }),
      });
    } catch (error) {
      const { stdout, stderr } = error as { stdout: string; stderr: string };
      throw new Error(`${program} ${args.join(" ")} in ${this.name}: ${stderr}${stdout}`);
    }
  }

  ip(command: string): string {
    return this.exec("ip", command.split(" "));
  }

  nft(text: string): string {
    return this.exec("nft", ["-f", "-"], text);
  }

  sysctl(path: string, value: string): void {
    this.exec("sh", ["-c", `echo ${value} > /proc/sys/${path}`]);
  }

  /** Starts a Node program of this folder inside, with an IPC channel. It ends with {@link remove}. */
  start(script: URL, args: readonly string[] = []): ChildProcess {
    const child = spawn(
      "nsenter",
      [`--net=/run/netns/${this.name}`, process.execPath, fileURLToPath(script), ...args],
      { stdio: ["ignore", "inherit", "inherit", "ipc"] },
    );
    this.#children.add(child);
    child.once("exit", () => this.#children.delete(child));
    return child;
  }

  async remove(): Promise<void> {
    for (const child of this.#children) {
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
    }
    execFileSync("ip", ["netns", "delete", this.name]);
  }
}

/** Joins two namespaces by a veth pair; each end gets the name and the address ("192.168.9.1/24") given. */
export function joinByVeth(
  a: { namespace: NetworkNamespace; device: string; address?: string },
  b: { namespace: NetworkNamespace; device: string; address?: string },
): void {
  const peer = `peer name ${b.device} netns ${b.namespace.name}`;
  a.namespace.ip(`link add ${a.device} type veth ${peer}`);
  for (const { namespace, device, address } of [a, b]) {
    if (address) namespace.ip(`address add ${address} dev ${device}`);
    namespace.ip(`link set ${device} up`);
  }
}
