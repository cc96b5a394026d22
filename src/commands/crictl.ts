import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { type Cri, createCri } from "../agent/containerd/cri.ts";
import { normalizeImageName } from "../agent/containerd/image-name.ts";
import { readLog } from "../agent/kubelet/log-reader.ts";
import { runtimeLabels } from "../agent/kubelet/runtime-config.ts";
import { ioClock } from "../machinery/clock.ts";
import { runInContainer } from "./crictl-exec.ts";
import { formatTable } from "./print-table.ts";

const defaultSocket = "/run/k3s/containerd/containerd.sock";

interface Invocation {
  readonly cri: Cri;
  readonly args: readonly string[];
  readonly flags: Readonly<Record<string, string | boolean | undefined>>;
}

interface Command {
  readonly usage: string;
  readonly help: string;
  run(invocation: Invocation): Promise<number>;
}

const print = (text: string): void => void process.stdout.write(text);
const printJson = (value: unknown): void =>
  print(`${JSON.stringify(value, (_, item) => (Buffer.isBuffer(item) ? item.toString("base64") : item), 2)}\n`);

function since(nanoseconds: number): string {
  const seconds = Math.max(0, Math.floor((ioClock.now() - nanoseconds / 1e6) / 1000));
  for (const [size, unit] of [
    [86_400, "day"],
    [3600, "hour"],
    [60, "minute"],
  ] as const)
    if (seconds >= 2 * size) return `${Math.floor(seconds / size)} ${unit}s ago`;
  return `${seconds} seconds ago`;
}

const shortId = (id: string): string => id.replace(/^sha256:/, "").slice(0, 13);

function bytes(count: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = count;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${Number(value.toPrecision(3))}${units[unit]}`;
}

function wanted(args: readonly string[], what: string): readonly string[] {
  if (args.length === 0) throw new Error(`name at least one ${what}`);
  return args;
}

/** The one container whose id begins like this. */
async function containerId(cri: Cri, prefix: string): Promise<string> {
  return theOnly(await cri.listContainers(), prefix, "container");
}

async function sandboxId(cri: Cri, prefix: string): Promise<string> {
  return theOnly(await cri.listPodSandboxes(), prefix, "pod sandbox");
}

function theOnly(all: readonly { readonly id: string }[], prefix: string, what: string): string {
  const found = all.filter(({ id }) => id.startsWith(prefix));
  if (found.length !== 1)
    throw new Error(
      found.length === 0
        ? `no ${what} has an id like "${prefix}"`
        : `"${prefix}" begins the ids of ${found.length} ${what}s`,
    );
  return found[0]!.id;
}

async function listContainers({ cri, flags }: Invocation): Promise<number> {
  const all = await cri.listContainers();
  const pods = new Map((await cri.listPodSandboxes()).map((sandbox) => [sandbox.id, sandbox]));
  const pattern = typeof flags["name"] === "string" ? new RegExp(flags["name"]) : undefined;
  const shown = all
    .filter(({ state }) => flags["all"] || state === "CONTAINER_RUNNING")
    .filter(({ metadata }) => !pattern || pattern.test(metadata?.name ?? ""))
    .filter(({ podSandboxId }) => !flags["pod"] || podSandboxId.startsWith(String(flags["pod"])))
    .sort((a, b) => b.createdAt - a.createdAt);
  if (flags["output"] === "json") printJson({ containers: shown });
  else if (flags["quiet"]) print(shown.map(({ id }) => `${id}\n`).join(""));
  else
    print(
      formatTable(
        ["CONTAINER", "IMAGE", "CREATED", "STATE", "NAME", "ATTEMPT", "POD ID", "POD", "NAMESPACE"],
        shown.map((container) => [
          shortId(container.id),
          shortId(container.image?.userSpecifiedImage || container.image?.image || ""),
          since(container.createdAt),
          word(container.state, "CONTAINER_"),
          container.metadata?.name ?? "",
          String(container.metadata?.attempt ?? 0),
          shortId(container.podSandboxId),
          pods.get(container.podSandboxId)?.metadata?.name ?? container.labels[runtimeLabels.podName] ?? "",
          pods.get(container.podSandboxId)?.metadata?.namespace ?? container.labels[runtimeLabels.podNamespace] ?? "",
        ]),
      ),
    );
  return 0;
}

function word(state: string, prefix: string): string {
  const text = state.replace(prefix, "").toLowerCase();
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

async function listPods({ cri, flags }: Invocation): Promise<number> {
  const all = (await cri.listPodSandboxes())
    .filter(({ metadata }) => !flags["name"] || new RegExp(String(flags["name"])).test(metadata?.name ?? ""))
    .filter(({ metadata }) => !flags["namespace"] || metadata?.namespace === flags["namespace"])
    .sort((a, b) => b.createdAt - a.createdAt);
  if (flags["output"] === "json") printJson({ items: all });
  else if (flags["quiet"]) print(all.map(({ id }) => `${id}\n`).join(""));
  else
    print(
      formatTable(
        ["POD ID", "CREATED", "STATE", "NAME", "NAMESPACE", "ATTEMPT", "RUNTIME"],
        all.map(({ id, createdAt, state, metadata, runtimeHandler }) => [
          shortId(id),
          since(createdAt),
          word(state, "SANDBOX_"),
          metadata?.name ?? "",
          metadata?.namespace ?? "",
          String(metadata?.attempt ?? 0),
          runtimeHandler || "(default)",
        ]),
      ),
    );
  return 0;
}

async function listImages({ cri, flags, args }: Invocation): Promise<number> {
  const all = (await cri.listImages()).filter(
    ({ repoTags }) => args.length === 0 || repoTags.some((tag) => tag.includes(args[0]!)),
  );
  if (flags["output"] === "json") printJson({ images: all });
  else if (flags["quiet"]) print(all.map(({ id }) => `${id}\n`).join(""));
  else {
    const rows = all.flatMap((image) =>
      (image.repoTags.length > 0 ? image.repoTags : ["<none>:<none>"]).map((tag) => {
        const colon = tag.lastIndexOf(":");
        return [tag.slice(0, colon), tag.slice(colon + 1), shortId(image.id), bytes(image.size)];
      }),
    );
    print(
      formatTable(
        ["IMAGE", "TAG", "IMAGE ID", "SIZE"],
        rows.sort((a, b) => (a[0]! < b[0]! ? -1 : 1)),
      ),
    );
  }
  return 0;
}

async function showLogs({ cri, args, flags }: Invocation): Promise<number> {
  const id = await containerId(cri, wanted(args, "container")[0]!);
  const { logPath } = await cri.containerStatus(id);
  const abort = new AbortController();
  const running = async () => (await cri.containerStatus(id)).state === "CONTAINER_RUNNING";
  const options = {
    follow: flags["follow"] === true,
    timestamps: flags["timestamps"] === true,
    ...(typeof flags["tail"] === "string" && Number(flags["tail"]) >= 0 ? { tailLines: Number(flags["tail"]) } : {}),
  };
  for await (const part of readLog({ path: logPath, signal: abort.signal, running }, options))
    process.stdout.write(part);
  return 0;
}

async function execute({ cri, args, flags }: Invocation): Promise<number> {
  const [prefix, ...command] = wanted(args, "container");
  if (command.length === 0) throw new Error("name a command to run in the container");
  const id = await containerId(cri, prefix!);
  if (flags["interactive"] || flags["tty"]) {
    const tty = flags["tty"] === true;
    const url = await cri.exec({
      containerId: id,
      cmd: command,
      tty,
      stdin: flags["interactive"] === true,
      stdout: true,
      stderr: !tty,
    });
    return runInContainer(url, { tty, stdin: flags["interactive"] === true });
  }
  const { stdout, stderr, exitCode } = await cri.execSync(id, command, Number(flags["timeout"] ?? 0));
  process.stdout.write(stdout);
  process.stderr.write(stderr);
  return exitCode;
}

async function forEach(args: readonly string[], act: (arg: string) => Promise<string>): Promise<number> {
  let code = 0;
  for (const arg of args)
    try {
      print(`${await act(arg)}\n`);
    } catch (error) {
      process.stderr.write(`crictl: ${arg}: ${(error as Error).message}\n`);
      code = 1;
    }
  return code;
}

async function showStats({ cri, flags }: Invocation): Promise<number> {
  const all = await cri.listContainerStats();
  if (flags["output"] === "json") printJson({ stats: all });
  else
    print(
      formatTable(
        ["CONTAINER", "NAME", "CPU (cores)", "MEM", "DISK"],
        all.map(({ attributes, cpu, memory, writableLayer }) => [
          shortId(attributes?.id ?? ""),
          attributes?.metadata?.name ?? "",
          ((cpu?.usageNanoCores?.value ?? 0) / 1e9).toFixed(3),
          bytes(memory?.workingSetBytes?.value ?? 0),
          bytes(writableLayer?.usedBytes?.value ?? 0),
        ]),
      ),
    );
  return 0;
}

const commands: Readonly<Record<string, Command>> = {
  ps: { usage: "[-a] [-q] [--name PATTERN] [--pod ID] [-o json]", help: "List containers", run: listContainers },
  pods: { usage: "[-q] [--name PATTERN] [--namespace NAME] [-o json]", help: "List pods", run: listPods },
  images: { usage: "[-q] [-o json] [IMAGE]", help: "List images", run: listImages },
  pull: {
    usage: "IMAGE",
    help: "Pull an image",
    run: async ({ cri, args }) => {
      const image = normalizeImageName(wanted(args, "image")[0]!);
      const reference = await cri.pullImage({ image: { image } });
      print(`Image is up to date for ${reference}\n`);
      return 0;
    },
  },
  rmi: {
    usage: "IMAGE...",
    help: "Remove images",
    run: ({ cri, args }) =>
      forEach(wanted(args, "image"), async (arg) => {
        const found = (await cri.listImages()).find(({ id }) =>
          id.replace("sha256:", "").startsWith(arg.replace("sha256:", "")),
        );
        const name = found?.id ?? normalizeImageName(arg);
        if (!(await cri.imageStatus(name))) throw new Error("no such image");
        await cri.removeImage(name);
        return `Deleted: ${arg}`;
      }),
  },
  inspect: {
    usage: "CONTAINER...",
    help: "Show all about containers",
    run: async ({ cri, args }) => {
      for (const arg of wanted(args, "container")) {
        const { status, info } = await cri.inspectContainer(await containerId(cri, arg));
        printJson({ status, info: parsedInfo(info) });
      }
      return 0;
    },
  },
  inspectp: {
    usage: "POD...",
    help: "Show all about pods",
    run: async ({ cri, args }) => {
      for (const arg of wanted(args, "pod")) {
        const { status, info } = await cri.podSandboxStatus(await sandboxId(cri, arg), true);
        printJson({ status, info: parsedInfo(info) });
      }
      return 0;
    },
  },
  inspecti: {
    usage: "IMAGE...",
    help: "Show all about images",
    run: async ({ cri, args }) => {
      for (const arg of wanted(args, "image")) {
        const { image, info } = await cri.imageInfo(
          /^(sha256:)?[0-9a-f]{12,}$/.test(arg) ? arg : normalizeImageName(arg),
        );
        if (!image) throw new Error(`no such image "${arg}"`);
        printJson({ status: image, info: parsedInfo(info) });
      }
      return 0;
    },
  },
  logs: { usage: "[-f] [--tail N] [-t] CONTAINER", help: "Show a container's log", run: showLogs },
  exec: {
    usage: "[-i] [-t] [--timeout SECONDS] CONTAINER COMMAND...",
    help: "Run a command in a container",
    run: execute,
  },
  stop: {
    usage: "[--timeout SECONDS] CONTAINER...",
    help: "Stop containers",
    run: ({ cri, args, flags }) =>
      forEach(wanted(args, "container"), async (arg) => {
        await cri.stopContainer(await containerId(cri, arg), Number(flags["timeout"] ?? 0));
        return arg;
      }),
  },
  rm: {
    usage: "CONTAINER...",
    help: "Remove containers",
    run: ({ cri, args }) =>
      forEach(wanted(args, "container"), async (arg) => {
        await cri.removeContainer(await containerId(cri, arg));
        return arg;
      }),
  },
  stopp: {
    usage: "POD...",
    help: "Stop pods",
    run: ({ cri, args }) =>
      forEach(wanted(args, "pod"), async (arg) => {
        await cri.stopPodSandbox(await sandboxId(cri, arg));
        return `Stopped sandbox ${arg}`;
      }),
  },
  rmp: {
    usage: "[-f] POD...",
    help: "Remove pods",
    run: ({ cri, args, flags }) =>
      forEach(wanted(args, "pod"), async (arg) => {
        const id = await sandboxId(cri, arg);
        const { status } = await cri.podSandboxStatus(id);
        if (status?.state === "SANDBOX_READY" && !flags["follow"] && !flags["force"])
          throw new Error("the pod is running; stop it first, or use --force");
        await cri.stopPodSandbox(id);
        await cri.removePodSandbox(id);
        return `Removed sandbox ${arg}`;
      }),
  },
  version: {
    usage: "",
    help: "Show versions of the runtime",
    run: async ({ cri }) => {
      const { version, runtimeName, runtimeVersion, runtimeApiVersion } = await cri.version();
      print(
        `Version:  ${version}\nRuntimeName:  ${runtimeName}\nRuntimeVersion:  ${runtimeVersion}\nRuntimeApiVersion:  ${runtimeApiVersion}\n`,
      );
      return 0;
    },
  },
  info: {
    usage: "",
    help: "Show the state of the runtime",
    run: async ({ cri }) => {
      const { status, info, runtimeHandlers } = await cri.status(true);
      printJson({ status, runtimeHandlers, ...parsedInfo(info) });
      return 0;
    },
  },
  stats: { usage: "[-o json]", help: "Show what containers use", run: showStats },
  imagefsinfo: {
    usage: "",
    help: "Show the file system of images",
    run: async ({ cri }) => {
      printJson({ status: await cri.imageFsInfo() });
      return 0;
    },
  },
};

/** The runtime's details are JSON texts. */
function parsedInfo(info: Readonly<Record<string, string>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(info).map(([key, value]) => {
      try {
        return [key, JSON.parse(value)];
      } catch {
        return [key, value];
      }
    }),
  );
}

function usage(): string {
  const lines = Object.entries(commands).map(
    ([name, command]) => `  ${`${name} ${command.usage}`.trim().padEnd(66)}${command.help}`,
  );
  return `crictl - talk to the container runtime\n\nUsage: crictl [-r ENDPOINT] <command>\n\nCommands:\n${lines.join("\n")}\n`;
}

/** The socket: an argument, the environment, crictl.yaml, or this node's containerd. */
async function endpoint(given: string | undefined): Promise<string> {
  let address = given ?? process.env["CONTAINER_RUNTIME_ENDPOINT"];
  if (!address) {
    const text = await readFile(process.env["CRI_CONFIG_FILE"] ?? "/etc/crictl.yaml", "utf8").catch(() => "");
    address = /^runtime-endpoint:\s*["']?([^"'\s]+)/m.exec(text)?.[1] ?? defaultSocket;
  }
  return address.replace(/^unix:\/\//, "");
}

/** `k3ts crictl`: the commands of crictl that people and scripts use most. Returns the exit code. */
export async function crictl(args: readonly string[]): Promise<number> {
  let given: string | undefined;
  let index = 0;
  for (; args[index]?.startsWith("-"); index++) {
    const [flag, value] = args[index]!.split("=");
    if (flag === "-r" || flag === "--runtime-endpoint") given = value ?? args[++index];
    else if (flag === "-i" || flag === "--image-endpoint" || flag === "--timeout" || flag === "-t")
      index += value ? 0 : 1;
    else if (flag === "--version" || flag === "-v") return crictl(["version"]);
    else if (flag === "--help" || flag === "-h") {
      print(usage());
      return 0;
    } else if (flag !== "--debug" && flag !== "-D")
      throw new Error(`crictl knows no flag "${flag}"; see crictl --help`);
  }
  const name = args[index];
  const command = name && commands[name];
  if (!command) {
    process.stderr.write(
      name && name !== "help" ? `crictl: the command "${name}" is not supported\n\n${usage()}` : usage(),
    );
    return name && name !== "help" ? 1 : 0;
  }
  // What follows a container's name in exec belongs to the command that runs there.
  const rest = args.slice(index + 1);
  let own = rest;
  let foreign: readonly string[] = [];
  if (name === "exec") {
    let first = rest.findIndex((argument, at) => !argument.startsWith("-") && rest[at - 1] !== "--timeout");
    if (first < 0) first = rest.length;
    own = rest.slice(0, first);
    foreign = rest.slice(first).filter((argument, at) => !(at === 1 && argument === "--"));
  }
  const { values, positionals } = parseArgs({
    args: [...own],
    allowPositionals: true,
    options: {
      all: { type: "boolean", short: "a" },
      quiet: { type: "boolean", short: "q" },
      output: { type: "string", short: "o" },
      name: { type: "string" },
      namespace: { type: "string" },
      pod: { type: "string", short: "p" },
      follow: { type: "boolean", short: "f" },
      force: { type: "boolean" },
      tail: { type: "string" },
      timestamps: { type: "boolean" },
      interactive: { type: "boolean", short: "i" },
      tty: { type: "boolean", short: "t" },
      timeout: { type: "string" },
      "no-trunc": { type: "boolean" },
    },
  });
  const cri = createCri(await endpoint(given));
  try {
    return await command.run({ cri, args: [...positionals, ...foreign], flags: values });
  } finally {
    cri.close();
  }
}
