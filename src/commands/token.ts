import { randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { caHash } from "../agent/bootstrap/token.ts";
import { type Secret, secrets } from "../api/generated/core-v1.ts";
import { createHttpsClient } from "../client/https-client.ts";
import { readKubeconfig } from "../client/kubeconfig.ts";
import { formatTime, ioClock } from "../machinery/clock.ts";
import { parseDuration } from "../machinery/duration.ts";
import { silentLogger } from "../machinery/log.ts";
import { defaultKubeconfigPath } from "../server/kubeconfig.ts";
import { formatTable } from "./print-table.ts";

const namespace = "kube-system";
const secretType = "bootstrap.kubernetes.io/token";
const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789";
const pattern = /^([a-z0-9]{6})\.([a-z0-9]{16})$/;

function randomText(length: number): string {
  return Array.from({ length }, () => alphabet[randomInt(alphabet.length)]).join("");
}

/** Does something with a client of this server's own API. */
async function withClient<T>(
  kubeconfig: string,
  act: (client: ReturnType<typeof createHttpsClient>) => Promise<T>,
): Promise<T> {
  const connection = await readKubeconfig(kubeconfig);
  const client = createHttpsClient({ ...connection, userAgent: "k3ts token", logger: silentLogger });
  try {
    return await act(client);
  } finally {
    client.close();
  }
}

/** `k3ts token`: tokens by which nodes join, made and forgotten while the server runs (K3s documentation, "token"). */
export async function token(args: readonly string[]): Promise<number> {
  const program = new Command("k3ts token").description("Manage join tokens").exitOverride();
  const kubeconfig = [
    "--kubeconfig <file>",
    "the server's admin kubeconfig",
    process.env["KUBECONFIG"] ?? defaultKubeconfigPath,
  ] as const;
  program
    .command("create")
    .description("Make a token and print it")
    .argument("[token]", "the token itself, as <6 characters>.<16 characters> (default: a random one)")
    .option("-d, --data-dir <folder>", "the server's data", "/var/lib/rancher/k3s")
    .option("--description <text>", "what it is for")
    .option("--groups <groups>", "groups of its bearer", "system:bootstrappers:k3s:default-node-token")
    .option("--usages <usages>", "what it may be used for", "signing,authentication")
    .option("--ttl <duration>", "how long it is valid; 0 for ever", "24h")
    .option(...kubeconfig)
    .action(async (given: string | undefined, flags: Record<string, string>) => {
      const text = given ?? `${randomText(6)}.${randomText(16)}`;
      const match = pattern.exec(text);
      if (!match) throw new Error(`the token must read <6 characters>.<16 characters> of a-z and 0-9`);
      const ttlMs = parseDuration(flags["ttl"]!);
      const data: Record<string, string> = {
        "token-id": match[1]!,
        "token-secret": match[2]!,
        "auth-extra-groups": flags["groups"]!,
        ...Object.fromEntries(flags["usages"]!.split(",").map((usage) => [`usage-bootstrap-${usage}`, "true"])),
        ...(flags["description"] ? { description: flags["description"] } : {}),
        ...(ttlMs > 0 ? { expiration: formatTime(ioClock.now() + ttlMs) } : {}),
      };
      const secret: Secret = {
        metadata: { name: `bootstrap-token-${match[1]}`, namespace },
        type: secretType,
        stringData: data,
      };
      await withClient(flags["kubeconfig"]!, (client) => client.create(secrets, secret));
      const ca = readFileSync(join(flags["dataDir"]!, "server", "tls", "server-ca.crt"), "utf8");
      process.stdout.write(`K10${caHash(ca)}::${text}\n`);
    });
  program
    .command("delete")
    .description("Delete tokens")
    .argument("<tokens...>", "ids, or whole tokens")
    .option(...kubeconfig)
    .action(async (tokens: string[], flags: Record<string, string>) => {
      for (const text of tokens) {
        const id = text.replace(/^K10[0-9a-f]*::/, "").split(".")[0]!;
        await withClient(flags["kubeconfig"]!, (client) =>
          client.delete(secrets, `bootstrap-token-${id}`, { namespace }),
        );
        process.stdout.write(`bootstrap token "${id}" deleted\n`);
      }
    });
  program
    .command("generate")
    .description("Print a random token without making it known to the server")
    .action(() => {
      process.stdout.write(`${randomText(6)}.${randomText(16)}\n`);
    });
  program
    .command("list")
    .description("List tokens")
    .option("-o, --output <format>", "text or json", "text")
    .option(...kubeconfig)
    .action(async (flags: Record<string, string>) => {
      const { items } = await withClient(flags["kubeconfig"]!, (client) =>
        client.list(secrets, { namespace, fieldSelector: `type=${secretType}` }),
      );
      const of = (secret: Secret, key: string) => Buffer.from(secret.data?.[key] ?? "", "base64").toString("utf8");
      const rows = items.map((secret) => ({
        id: of(secret, "token-id"),
        expires: of(secret, "expiration") || "<never>",
        usages: Object.keys(secret.data ?? {})
          .filter((key) => key.startsWith("usage-bootstrap-"))
          .map((key) => key.slice("usage-bootstrap-".length))
          .join(","),
        description: of(secret, "description") || "<none>",
        groups: of(secret, "auth-extra-groups"),
      }));
      process.stdout.write(
        flags["output"] === "json"
          ? `${JSON.stringify(rows, null, 2)}\n`
          : formatTable(
              ["TOKEN", "EXPIRES", "USAGES", "DESCRIPTION", "GROUPS"],
              rows.map(({ id, expires, usages, description, groups }) => [id, expires, usages, description, groups]),
            ),
      );
    });
  program
    .command("rotate")
    .description("Change the server's token (not supported by this version of k3ts)")
    .action(() => {
      throw new Error("k3ts token rotate is not supported by this version of k3ts");
    });
  await program.parseAsync([...args], { from: "user" });
  return 0;
}
